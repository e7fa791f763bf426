"""Training curves in accelerate's trackers are the records, each step once."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from stand_in_trackers import StandIn
from study_folders import both, finish, lines, step_record, write_steps, write_trial
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ilr_bench.core.errors import ConfigurationError, MissingInputError
from ilr_bench.storage.records import RecordTail
from ilr_bench.study.tracking import LOGGERS, make_loggers
from ilr_bench.study.tracking.study_log import StudyLog, step_scalars


def events(study: Path, trial: Path) -> dict[str, list[tuple[int, float]]]:
    """Tag -> (step, value) as TensorBoard reads them."""
    found = EventAccumulator(str(study / "events" / trial.name), size_guidance={"scalars": 0})
    found.Reload()
    return {tag: [(one.step, one.value) for one in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def expected(steps: range, questions: int = 16) -> dict[str, list[tuple[int, float]]]:
    curves = defaultdict(list)
    for step in steps:
        for record in both(step, 0.25 if step == 2 else None):
            for tag, value in step_scalars(record, questions).items():
                curves[tag].append((step, pytest.approx(value, rel=1e-6)))
    return dict(curves)


def train(folder: Path, steps: range) -> None:
    for step in steps:
        write_steps(folder, both(step, 0.25 if step == 2 else None))


def test_event_files_hold_the_records_of_every_agent_and_step(tmp_path: Path) -> None:
    folder = write_trial(tmp_path)
    with StudyLog(tmp_path, make_loggers(["tensorboard"])) as log:
        train(folder, range(1, 3))
        log.look()
        train(folder, range(3, 5))
        finish(folder)
        log.look()
    standalone = {"A/solo/micro_ood": [(4, 0.5)], "B/solo/micro_ood": [(4, 0.0)]}
    found = events(tmp_path, folder)
    assert found == expected(range(1, 5)) | standalone
    assert found["A/loss"][2] == (3, pytest.approx(-0.03))
    assert found["A/sharing_length"][0] == (1, 64 / (8 * 16))
    assert found["B/validation_accuracy"] == [(2, 0.25)]


def test_a_trial_that_is_resumed_at_its_checkpoint_shows_no_step_twice(tmp_path: Path) -> None:
    folder = write_trial(tmp_path)
    with StudyLog(tmp_path, make_loggers(["tensorboard"])) as log:
        train(folder, range(1, 4))
        log.look()
        (folder / "train.jsonl").write_bytes(lines([*both(1), *both(2, 0.25)]))  # back to the checkpoint
        log.look()
        train(folder, range(3, 5))
    assert events(tmp_path, folder) == expected(range(1, 5))


def test_a_sweep_after_a_killed_one_shows_no_step_twice(tmp_path: Path) -> None:
    folder, whole = write_trial(tmp_path), write_trial(tmp_path, "grpo")
    train(whole, range(1, 5))
    finish(whole)
    train(folder, range(1, 4))
    killed = StudyLog(tmp_path, make_loggers(["tensorboard"]))
    killed.look()  # and never closed
    (torn,) = (tmp_path / "events" / folder.name).iterdir()
    torn.write_bytes(torn.read_bytes()[:-5])
    before = {path: path.read_bytes() for path in (tmp_path / "events" / whole.name).iterdir()}
    with StudyLog(tmp_path, make_loggers(["tensorboard"])):
        train(folder, range(4, 5))
    assert events(tmp_path, folder) == expected(range(1, 5))
    assert {path: path.read_bytes() for path in (tmp_path / "events" / whole.name).iterdir()} == before


def test_half_written_steps_wait_for_their_other_half(tmp_path: Path) -> None:
    folder = write_trial(tmp_path)
    first, second = both(1)
    content = lines([first, second])
    cut = len(lines([first]))
    with StudyLog(tmp_path, make_loggers(["tensorboard"])) as log:
        for end in (10, cut, cut + 10, len(content)):
            (folder / "train.jsonl").write_bytes(content[:end])
            log.look()
    assert events(tmp_path, folder) == expected(range(1, 2))


@pytest.mark.parametrize("name", [name for name in LOGGERS if name != "tensorboard"])
def test_a_tracker_has_one_run_per_trial_and_each_step_once_over_all_sweeps(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = StandIn(name)
    monkeypatch.setitem(sys.modules, name, tracker)
    folders = write_trial(tmp_path), write_trial(tmp_path, "grpo")
    for steps in (range(1, 3), range(3, 5)):
        with StudyLog(tmp_path, make_loggers([name])) as log:
            for step in steps:  # both are under way
                for folder in folders:
                    train(folder, range(step, step + 1))
                    log.look()
    for folder in folders:
        finish(folder)
    for _ in range(2):
        with StudyLog(tmp_path, make_loggers([name])):
            pass
    assert tracker.most_open == (1 if LOGGERS[name].one_at_a_time else 2)
    assert not tracker.open
    assert set(tracker.told) == set(tracker.settings) == {folder.name for folder in folders}
    for folder in folders:
        told = tracker.told[folder.name]
        curve = [(step, values["A/mean_reward"]) for step, values in told if "A/mean_reward" in values]
        assert curve == [(step, pytest.approx(0.2 * step)) for step in (1, 2, 3, 4)]
        scores = {tag: (step, value) for step, values in told for tag, value in values.items() if "/solo/" in tag}
        assert scores == {"A/solo/micro_ood": (4, 0.5), "B/solo/micro_ood": (4, 0.0)}
        assert sum(len(values) for _, values in told) == len(scores) + sum(map(len, expected(range(1, 5)).values()))
        assert tracker.settings[folder.name]["training.steps"] == 4
    assert len(tracker.asked) == 3 * len(folders)  # none for what was logged to its end


@pytest.mark.parametrize("name", ["wandb", "trackio", "swanlab", "comet_ml"])
def test_a_run_is_found_again_by_what_the_trial_is_called(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = StandIn(name)
    monkeypatch.setitem(sys.modules, name, tracker)
    folder = write_trial(tmp_path)
    for step in (1, 2):
        with StudyLog(tmp_path, make_loggers([name])):
            train(folder, range(step, step + 1))
    first, second = tracker.asked
    assert first == second
    assert first.get("resume", "allow") == "allow"
    assert len(first.get("experiment_key", "x" * 32)) >= 32  # Comet takes none that is shorter


def test_a_real_mlflow_holds_the_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    folders = write_trial(tmp_path), write_trial(tmp_path, "grpo")
    for steps in (range(1, 3), range(3, 5)):
        with StudyLog(tmp_path, make_loggers(["mlflow"])) as log:
            for folder in folders:
                train(folder, steps)
                log.look()
    client = mlflow.MlflowClient()
    runs = client.search_runs([client.get_experiment_by_name("ilr_bench").experiment_id])
    histories = {run.info.run_name: client.get_metric_history(run.info.run_id, "A/mean_reward") for run in runs}
    curve = [(step, pytest.approx(0.2 * step)) for step in (1, 2, 3, 4)]
    assert {name: [(point.step, point.value) for point in history] for name, history in histories.items()} == {
        folder.name: curve for folder in folders
    }


def test_several_loggers_are_told_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = StandIn("wandb")
    monkeypatch.setitem(sys.modules, "wandb", tracker)
    folder = write_trial(tmp_path)
    train(folder, range(1, 3))
    with StudyLog(tmp_path, make_loggers(["tensorboard", "wandb"])):
        pass
    assert events(tmp_path, folder) == expected(range(1, 3))
    assert [step for step, _ in tracker.told[folder.name]] == [1, 2]
    assert json.loads((tmp_path / "events" / "wandb.json").read_text())[folder.name]["step"] == 2


def test_a_logger_that_is_missing_or_unknown_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="did you mean tensorboard"):
        make_loggers(["tensorbord"])
    with pytest.raises(ConfigurationError, match="choose from tensorboard, trackio, wandb, mlflow"):
        make_loggers(["x"])
    monkeypatch.setattr("ilr_bench.study.tracking.find_spec", lambda name: None)
    with pytest.raises(MissingInputError, match=r"pip install 'ilr-bench\[watch\]'"):
        make_loggers(["tensorboard"])
    with pytest.raises(MissingInputError, match="mlflow is not installed; pip install mlflow, or leave it out"):
        make_loggers(["mlflow"])


def test_nothing_is_written_where_no_logger_is_asked_for(tmp_path: Path) -> None:
    train(write_trial(tmp_path), range(1, 3))
    with StudyLog(tmp_path, ()) as log:
        log(None)
    assert not (tmp_path / "events").exists()


def test_a_follower_passes_over_lines_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    follower = RecordTail(path)
    assert follower.new() == []
    path.write_bytes(lines([step_record(1, "A")]) + b'{"step": 2}\nno JSON\n' + lines([step_record(3, "A")]) + b'{"st')
    assert [record.step for record in follower.new()] == [1, 3]
    assert follower.new() == []
