"""What changed between two results: `python -m bench.compare OLD.json NEW.json`; status 1 where anything did.

Seconds, ratios and memory of rows with the same name; a change is one of more than a tenth in either direction.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bench.results import load
from bench.rows import Row

KEYS = ("ours", "ratio", "memory")
LIMIT = 0.10


class Change(NamedTuple):
    """One number that moved."""

    what: str
    key: str
    before: float
    after: float


def changes(old: Sequence[Row], new: Sequence[Row]) -> list[Change]:
    """Numbers that moved by more than `LIMIT` of what they were."""
    before = {(row["group"], row["what"]): row for row in old}
    found = []
    for row in new:
        known = before.get((row["group"], row["what"]), {})
        for key in KEYS:
            one, other = known.get(key), row.get(key)
            if isinstance(one, float | int) and isinstance(other, float | int) and abs(other - one) > LIMIT * abs(one):
                found.append(Change(f"{row['group']}: {row['what']}", key, float(one), float(other)))
    return found


def unmatched(old: Sequence[Row], new: Sequence[Row]) -> list[str]:
    """Rows that only one of them has."""
    names = [{f"{row['group']}: {row['what']}" for row in rows} for rows in (old, new)]
    return sorted(names[0] ^ names[1])


def compare(old: Path, new: Path) -> int:
    """Prints the changes; the status to exit with. Raises MissingInputError for a file that holds no results."""
    one, other = load(old), load(new)
    if one["machine"] != other["machine"]:
        print(f"Two machines, so only ratios mean something: {one['machine']} and {other['machine']}")
    found = changes(one["rows"], other["rows"])
    for change in found:
        moved = change.after / change.before - 1
        print(f"{change.what}: {change.key} {change.before:.4g} -> {change.after:.4g} ({moved:+.0%})")
    for name in unmatched(one["rows"], other["rows"]):
        print(f"only in one of them: {name}")
    print(f"{len(found)} numbers changed by more than {LIMIT:.0%}")
    return 1 if found else 0


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    arguments = parser.parse_args()
    raise SystemExit(compare(arguments.old, arguments.new))


if __name__ == "__main__":
    main()
