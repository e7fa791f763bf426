"""Everything that is measured: `python -m bench [--agents 1,2] [--models A,B] [--steps 3] [--out FILE]`.

`--sharing` measures a study of twelve variants against twelve cold runs instead, which takes minutes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from bench import engine, grading, jail, sharing, step, update


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    step.add_options(parser)
    parser.add_argument("--sharing", action="store_true", help="one study against cold runs, and nothing else")
    parser.add_argument("--workers", type=int, default=2, help="with --sharing: processes at a time")
    parser.add_argument("--folder", type=Path, help="with --sharing: an empty folder that keeps the studies")
    arguments = parser.parse_args()
    if arguments.sharing:
        sharing.run(arguments)
        return
    steps = step.measure_all(arguments)
    parts = [*engine.measure(), *update.measure(), *grading.measure(), *jail.measure()]
    print(f"{'ours against the library we could have used':62} {'ours':>8} {'other':>8} {'ratio':>6}")
    for row in parts:
        print(f"{row['what']:62} {row['ours']:7.3f}s {row['other']:7.3f}s {row['ratio']:6.2f}")
    step.write({"steps": steps, "parts": parts}, arguments.out)


if __name__ == "__main__":
    main()
