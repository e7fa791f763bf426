"""`ilr-bench status` shows how far a study is, from its folder alone."""

from __future__ import annotations

import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path

import pytest
from study_folders import both, finish, write_entries, write_steps, write_trial

from ilr_bench.cli.status import status
from ilr_bench.study.status import read_state

HERE = f"{os.getpid()} on {platform.node()}"


def fail(study: Path, folder: Path, outcome: str = "failed", message: str = "Traceback\nValueError: no") -> None:
    time = datetime.fromtimestamp(datetime.now(UTC).timestamp() + 10, UTC)
    line = {"time": time.isoformat(), "job": f"trials/{folder.name}", "outcome": outcome, "message": message}
    with (study / "failures.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


def states(study: Path) -> dict[str, str]:
    return {trial.entry.variant: f"{trial.state} {trial.detail}".strip() for trial in read_state(study).trials}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """One trial of every kind, with a process that works on them."""
    done, going, broken, absent, last = (
        write_trial(tmp_path, variant) for variant in ("grpo", "ilr", "pc_only", "grpo_matched", "di_only")
    )
    for folder in (done, last):
        for step in range(1, 5):
            write_steps(folder, both(step, 0.3 if step == 2 else None))
    finish(done)
    write_steps(going, [*both(1, 0.25), *both(2, 0.5)])
    fail(tmp_path, broken)
    (absent / "config.json").unlink()
    write_entries(tmp_path, [done, going, broken, absent, last])
    (tmp_path / ".lock.pid").write_text(HERE)
    return tmp_path


def test_every_trial_says_where_it_is(study: Path) -> None:
    assert states(study) == {
        "grpo": "finished", "ilr": "running at step 2 of 4", "pc_only": "failed ValueError: no",
        "grpo_matched": "waiting for ilr", "di_only": "running in the evaluation",
    }  # fmt: skip
    found = read_state(study)
    assert found.counts == {"finished": 1, "running": 2, "failed": 1, "waiting": 1}
    assert found.best is not None
    assert (found.best.entry.variant, found.best.progress.validation) == ("ilr", 0.5)
    assert found.trials[1].progress.sampled_tokens == 2 * (201 + 202)
    assert found.holder == f"process {HERE}"


def test_nothing_runs_where_no_process_holds_the_study(study: Path) -> None:
    (study / ".lock.pid").unlink()
    assert states(study)["ilr"] == "stopped at step 2 of 4"


def test_a_holder_that_has_died_here_holds_nothing_and_one_elsewhere_is_believed(study: Path) -> None:
    dead = 2**22 + 1  # more than Linux ever gives
    (study / ".lock.pid").write_text(f"{dead} on {platform.node()}")
    assert read_state(study).holder is None
    (study / ".lock.pid").write_text(f"{dead} on another-machine")
    assert read_state(study).holder == f"process {dead} on another-machine"


def test_a_failure_ends_with_the_next_attempt(study: Path) -> None:
    broken = next((study / "trials").glob("pc_only*"))
    fail(study, broken, "retried")
    assert states(study)["pc_only"] == "running at step 0 of 4"
    fail(study, broken)
    os.utime(broken / "config.json", (4e9, 4e9))  # another sweep has started it again
    assert states(study)["pc_only"] == "running at step 0 of 4"


def test_what_is_being_written_is_read_as_far_as_it_goes(study: Path) -> None:
    going = next((study / "trials").glob("ilr-*"))
    with (going / "train.jsonl").open("a") as file:
        file.write('{"step":3,"agent":"A","lo')
    with (study / "failures.jsonl").open("a") as file:
        file.write('{"time": "20')
    (next((study / "trials").glob("di_only*")) / "result.json").write_text('{"hash": "')
    assert states(study)["ilr"] == "running at step 2 of 4"
    assert states(study)["di_only"] == "running in the evaluation"


def test_points_that_a_search_gave_up_are_shown_and_are_never_best(study: Path) -> None:
    given_up = write_trial(study, "ilr", seed=7)
    write_steps(given_up, both(1, 0.9))
    points = [
        {"state": "pruned", "reason": "after 1 of 4 steps", "trials": [f"trials/{given_up.name}"]},
        {"state": "running", "reason": "", "trials": []},
    ]
    (study / "search.json").write_text(json.dumps({"points": points}))
    found = read_state(study)
    assert found.trials[-1].flat() == {
        "variant": "ilr", "models": "A+B", "seed": 7, "folder": f"trials/{given_up.name}", "state": "pruned",
        "detail": "after 1 of 4 steps", "step": 1, "steps": 4, "validation": 0.9, "sampled_tokens": 402,
    }  # fmt: skip
    assert found.best is not None
    assert found.best.entry.seed == 0


def test_reading_changes_nothing(study: Path) -> None:
    def everything() -> dict[Path, tuple[bytes, int]]:
        return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in study.rglob("*") if path.is_file()}

    before = everything()
    read_state(study)
    assert everything() == before


def test_the_table_and_the_json_say_the_same(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status(study)
    table = capsys.readouterr().out
    assert "ilr" in table
    assert "ilr A+B 0 running at step 2 of 4 50.0% 806" in " ".join(table.split())
    assert "1 finished, 2 running, 1 failed, 1 waiting" in table
    assert "best so far: ilr A+B 0, 50.0% on validation" in table
    assert table.endswith(f"process {HERE} works on it\n")
    status(study, as_json=True)
    data = json.loads(capsys.readouterr().out)
    assert [trial["state"] for trial in data["trials"]] == ["finished", "running", "failed", "waiting", "running"]
    assert data["best"]["variant"] == "ilr"
    assert data["counts"]["running"] == 2


def test_watching_ends_when_nothing_runs(
    study: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        going = next((study / "trials").glob("ilr-*"))
        if len(looks) == 2:
            write_steps(going, both(3))
        if len(looks) == 3:
            (study / ".lock.pid").unlink()

    monkeypatch.setattr("ilr_bench.cli.status.time.sleep", sleep)
    status(study, watch=True, as_json=True)
    shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(looks) == 3
    assert [look["trials"][1]["step"] for look in shown] == [2, 3, 3]
    assert shown[-1]["holder"] is None


def test_a_folder_without_a_study_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        status(tmp_path)
    assert "holds no study" in capsys.readouterr().err
