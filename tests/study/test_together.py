"""A study under a launch: what rank 0 does around its trials."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_trials import contents, run_plan, tiny_checkpoints, tiny_plan

from ilr_bench.core import signals
from ilr_bench.core.errors import DoesNotFitError, MissingInputError
from ilr_bench.learner.distributed import DistContext
from ilr_bench.study import together
from ilr_bench.study.tracking import LOGGERS, TrackedTrial


class Memory:
    """A logger that remembers; it is its own curves."""

    name, starts_anew, one_at_a_time, id = "memory", True, False, None

    def __init__(self) -> None:
        self.steps: dict[str, list[int]] = {}

    def open(self, trial: TrackedTrial) -> Memory:
        self._trial = trial.name
        return self

    def log(self, values: Any, step: int) -> None:
        self.steps.setdefault(self._trial, []).append(step)

    def close(self) -> None:
        pass


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    monkeypatch.setattr(signals, "install", lambda: None)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    return tiny_checkpoints(tmp_path)


def test_curves_are_logged_and_what_a_neighbour_has_finished_is_taken_over(
    models: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    first = tiny_plan(models, "pure_cooperative")
    run_plan(first, runs / "first")
    memory = Memory()
    monkeypatch.setattr(together, "make_loggers", lambda names: [memory] if names == ("memory",) else [])
    both = tiny_plan(models, "pure_cooperative", "pure_competitive")
    waited: list[bool] = []
    run_trial = together.run_trial

    def attended(*given: Any, dist: DistContext, **named: Any) -> Any:
        waited.append(dist.others_wait)
        return run_trial(*given, dist=dist, **named)

    monkeypatch.setattr(together, "run_trial", attended)
    together.run_distributed(both, "micro", runs / "second", "test", ("memory",))
    output = capsys.readouterr().err
    assert f"taken over from {runs / 'first'}: 1 trials" in output
    taken, made = (trial.folder for trial in both.trials)
    assert contents(runs / "second" / taken) == contents(runs / "first" / taken)
    assert f"{taken}: step" not in output
    assert f"{made}: step 2 of 2" in output
    assert {trial: sorted(set(steps)) for trial, steps in memory.steps.items()} == {
        Path(folder).name: [1, 2] for folder in (taken, made)
    }
    assert set(json.loads((runs / "second" / "plan.json").read_text())["trials"]) == {taken, made}
    assert waited == [True, False]


def test_a_logger_that_is_missing_and_a_disk_that_is_full_are_found_before_anything_runs(
    models: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = tiny_plan(models, "pure_cooperative")
    monkeypatch.setattr("ilr_bench.study.tracking.find_spec", lambda name: None)
    with pytest.raises(MissingInputError, match=LOGGERS["tensorboard"].install.replace("[", "\\[")):
        together.run_distributed(plan, "micro", tmp_path / "out", "test", ("tensorboard",))
    monkeypatch.setattr("ilr_bench.study.cost.fits._free_disk", lambda folder: 1)
    with pytest.raises(DoesNotFitError, match="disk"):
        together.run_distributed(plan, "micro", tmp_path / "out", "test")
    assert not (tmp_path / "out" / "trials").exists()
