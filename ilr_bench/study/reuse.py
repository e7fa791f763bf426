"""What a study reuses of the studies beside it: trials that have finished there, and their artifacts.

A trial is known by its hash, so the same one may stand in several studies. It is copied, not run again, where it
is whole and the same inputs made it (`study.inputs`); its copy ends in the bytes that a run would have left here.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from ilr_bench.core.config import LABELS, RunConfig, to_dict
from ilr_bench.core.console import note
from ilr_bench.core.errors import StoreError
from ilr_bench.storage.files import read_json, write_atomic
from ilr_bench.storage.provenance import TrialInputs
from ilr_bench.storage.records import TrialResult, read_result
from ilr_bench.storage.store import Artifacts, is_finalized, publish_copy
from ilr_bench.study.inputs import changes_from
from ilr_bench.study.plan import PlannedTrial


def sibling_studies(out: Path) -> tuple[Path, ...]:
    """The other studies in the folder that a study's folder lies in, by name."""
    own = out.resolve()
    return tuple(sorted(path.parent for path in own.parent.glob("*/study.json") if path.parent != own))


def with_artifacts(out: Path, fresh: bool = False) -> tuple[Artifacts, tuple[Path, ...]]:
    """A study's artifacts, and the studies beside it whose artifacts serve it as well: none where it is `fresh`."""
    siblings = () if fresh else sibling_studies(out)
    return Artifacts(out / "artifacts", tuple(study / "artifacts" for study in siblings)), siblings


def reuse_trials(
    left: Sequence[PlannedTrial],
    now: Mapping[str, TrialInputs],
    out: Path,
    siblings: Sequence[Path],
    artifacts: Artifacts,
) -> set[str]:
    """Copies what has finished in the studies beside; returns the hashes of the trials that are here now.

    `now`: trial hash -> its inputs as they are. Notes how many came from where, and how many there are not taken
    because other inputs made them.
    """
    taken: dict[str, Path] = {}
    other = Counter[tuple[Path, str]]()
    for trial in left:
        for study in siblings:
            found = finished_trial(study, trial.hash)
            if found is None:
                continue
            source, result = found
            changed = changes_from(result.inputs, study / "artifacts", now[trial.hash])
            if changed:
                other[study, str(changed)] += 1
                continue
            if not is_finalized(source, trial.hash) or not all(
                map(artifacts.import_artifact, (*result.artifacts.values(), result.inputs))
            ):
                note(f"{source} is not whole and is not taken over")
                continue
            publish_copy(
                source, out / trial.folder, trial.hash, partial(_with_own_labels, config=trial.config, result=result)
            )
            taken[trial.hash] = study
            break
    for study, count in Counter(taken.values()).items():
        note(f"taken over from {study}: {count} trials (run with --fresh to repeat them)")
    for (study, changed_since), count in other.items():
        note(f"not taken over from {study}: {count} trials; since then {changed_since}")
    return set(taken)


def finished_trial(study: Path, key: str) -> tuple[Path, TrialResult] | None:
    """Folder and result of a finished trial of a study, by its hash; None where it has none that can be read."""
    for path in sorted(study.glob(f"trials/*-{key}/result.json")):
        try:
            return path.parent, read_result(path.parent)
        except (StoreError, TypeError):  # torn, or written by a version with other fields
            return None
    return None


def _with_own_labels(folder: Path, config: RunConfig, result: TrialResult) -> None:
    """Gives a copy the names under which this study asked for it; they are no part of what it computed."""
    noted = read_json(folder / "config.json", "run with --fresh to take nothing over")
    noted["config"] |= {label: value for label, value in to_dict(config).items() if label in LABELS}
    write_atomic(folder / "config.json", json.dumps(noted, indent=1) + "\n")
    named = dataclasses.replace(result, variant=config.variant, profile=config.profile)
    write_atomic(folder / "result.json", json.dumps(dataclasses.asdict(named), indent=1) + "\n")
