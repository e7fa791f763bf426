"""Prices a plan with what is known or can be timed, and leaves the result with the study."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ilr_bench.core.console import note
from ilr_bench.core.errors import MissingInputError
from ilr_bench.storage.files import explained, write_atomic
from ilr_bench.study.cost.fits import available_resources, require
from ilr_bench.study.cost.gpu_hours import is_large
from ilr_bench.study.cost.state import NEW, State, states
from ilr_bench.study.cost.study import StudyCost, study_cost, to_data
from ilr_bench.study.cost.timings import known, run_timings, unknown
from ilr_bench.study.plan import Plan, PlannedTrial
from ilr_bench.study.reuse import sibling_studies

PLAN = "plan.json"
"""What a study was expected to cost, beside its records; outside every hash."""


def price(plan: Plan, workers: int, out: Path | None = None, fresh: bool = False, quick: bool = False) -> StudyCost:
    """Prices a plan by earlier trials, or by short ones that are run now; not where `quick`, or without the models.

    Models too large for that are priced by their limits, and in GPU-hours.
    """
    studies = _studies(out, fresh)
    large = any(is_large(trial.config) for trial in plan.trials)
    missing = [] if quick or large else unknown(plan.trials, studies)
    if missing:
        note(f"timing runs: {len(missing)}, some seconds each with tiny models, and kept for the next plan")
        try:
            run_timings(missing)
        except MissingInputError as error:
            note(str(error))
    return study_cost(plan, known(plan.trials, studies), workers, states(plan, out, fresh))


def check_and_keep(plan: Plan, left: Sequence[PlannedTrial], workers: int, out: Path, force: bool = False) -> None:
    """Before a study starts: refuses what does not fit, and notes in `plan.json` what it is expected to cost.

    Timings are used where there are any; none are made. `left`: the trials that are still to be run; called again
    without any once a sweep has made timing runs, it notes what is expected by them. Raises
    DoesNotFitError unless `force`.
    """
    done = State("finished")
    found = {trial.hash: NEW if trial in left else done for trial in plan.trials}
    cost = study_cost(plan, known(plan.trials, _studies(out)), workers, found)
    if not force:
        require(cost, available_resources(out))
    path = out / PLAN
    data = to_data(cost)
    with explained(path):
        write_atomic(path, json.dumps(data | {"trials": _earlier(path) | data["trials"]}, indent=1) + "\n")


def _studies(out: Path | None, fresh: bool = False) -> tuple[Path, ...]:
    """Whose trials a plan may go by."""
    return () if out is None else (out, *(() if fresh else sibling_studies(out)))


def _earlier(path: Path) -> dict[str, Any]:
    """What another command planned in the same folder; nothing where the file is torn, since it decides nothing."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))["trials"]) if path.exists() else {}
    except (ValueError, KeyError, TypeError):
        note(f"{path} was torn and is written anew")
        return {}
