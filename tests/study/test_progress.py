"""What a sweep shows while it runs: one screen on a terminal, plain lines elsewhere."""

from __future__ import annotations

import io
import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console
from study_folders import step_record, write_steps, write_trial

from ilr_bench.study.launch import progress as progress_module
from ilr_bench.study.launch.progress import Expected, JobLine, SweepProgress, View, duration, render
from ilr_bench.study.launch.scheduler import Event

TRIALS = [f"trials/ilr-A+B-{seed}-{seed:012x}" for seed in range(30)]
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def screen(height: int, width: int = 100) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=width, height=height, color_system=None)


def shown(view: View, height: int, width: int = 100) -> list[str]:
    console = screen(height, width)
    console.print(render(view, height, NOON))
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue().splitlines()


def jobs(running: int = 2, failed: int = 1, finished: int = 5) -> list[JobLine]:
    lines = [JobLine(name, 20.0) for name in TRIALS]
    for line in lines[: running + failed + finished]:
        line.take(Event(line.name), 100.0)
        line.take(Event(line.name, done=5.0), 110.0)
    for line in lines[running : running + failed]:
        line.take(Event(line.name, ended=True, error="the loss is nan"), 120.0)
    for line in lines[running + failed : running + failed + finished]:
        line.take(Event(line.name, ended=True), 120.0)
    return lines


def view_of(lines: list[JobLine], retries: int = 0) -> View:
    return View("trials", tuple(lines), now=120.0, elapsed=20.0, retries=retries, best=(TRIALS[3], 0.625))


def test_failed_and_running_trials_come_first_and_the_others_are_counted() -> None:
    lines = shown(view_of(jobs(), retries=1), 24)
    assert lines[0].split() == ["variant", "models", "seed", "state", "step", "validation", "left"]
    assert [line.split()[:4] for line in lines[1:4]] == [
        ["ilr", "A+B", "2", "failed"], ["ilr", "A+B", "0", "running"], ["ilr", "A+B", "1", "running"],
    ]  # fmt: skip
    assert lines[2].split()[-2:] == ["60", "s"]  # 5 of 20 units in 20 s
    assert lines[5] == "5 finished, 2 running, 22 waiting, 1 failed, 1 started again"
    assert lines[6] == "best so far: ilr A+B 3, 62.5% on validation"


def test_the_end_is_estimated_from_what_was_done_since_the_start() -> None:
    (total,) = [line for line in shown(view_of(jobs()), 24) if line.startswith("trials 6/30")]
    # 6 trials ended and 2 are at 5 of 20: 130 of 600 units in 20 s.
    assert "22%" in total
    assert "20 s so far, 72 s left, ends about 12:01" in total


@pytest.mark.parametrize("height", [8, 12, 24])
def test_a_screen_is_never_longer_than_the_terminal(height: int) -> None:
    lines = shown(view_of(jobs(running=20)), height)
    assert len(lines) < height
    if height < 24:
        assert any("not shown" in line for line in lines)


def test_a_resumed_trial_is_not_taken_to_be_fast() -> None:
    line = JobLine("trials/ilr-A-0-0", 100.0)
    line.take(Event(line.name, done=90.0), 0.0)
    line.take(Event(line.name, done=91.0), 10.0)
    assert line.left(10.0) == pytest.approx(90.0)
    line.take(Event(line.name, error="it died", again=True), 20.0)
    assert line.attempts == 2
    assert line.running


def test_records_show_steps_and_validation_of_what_runs(tmp_path: Path) -> None:
    console = screen(20)
    folder = write_trial(tmp_path, "ilr", steps=4)
    job = f"trials/{folder.name}"
    with SweepProgress("trials", {job: 14.0}, tmp_path, console) as progress:
        write_steps(folder, [step_record(1, agent, validation) for agent, validation in (("A", 0.25), ("B", 0.5))])
        progress(Event(job, done=1.0))
        console.print(progress)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert " ".join(["ilr", "A+B", "0", "running", "1/4", "37.5%"]) in " ".join(text.split())
    assert "best so far: ilr A+B 0, 37.5% on validation" in text


def test_plain_lines_where_there_is_no_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(file=io.StringIO())
    with SweepProgress("trials", {"one": 10.0, "two": 10.0}, tmp_path, console) as progress:
        progress(Event("one", done=3.0))
        progress(Event("one", error="its worker died", again=True))
        progress(Event("one", ended=True))
        progress(Event("two", ended=True, error="Traceback ...\nValueError: no"))
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("  ")[:2] for line in lines] == [
        ["trials 0/2", "one starts again: its worker died"],
        ["trials 1/2", "one done"],
        ["trials 2/2", "two failed: ValueError: no"],
    ]
    assert console.file.getvalue() == ""  # type: ignore[attr-defined]


def test_jobs_may_be_added_later() -> None:
    progress = SweepProgress("search", {}, console=screen(20))
    progress.add({"one": 2.0})
    progress(Event("two", done=1.0))
    console = screen(20)
    console.print(progress)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "search 0/2" in text
    assert "1 running, 1 waiting" in text


def test_a_trial_that_goes_on_in_a_later_rung_counts_each_of_its_steps_once(capsys: pytest.CaptureFixture[str]) -> None:
    progress = SweepProgress("jobs", {}, console=Console(file=io.StringIO()))
    names = ("trials/ilr-A-0-0", "trials/ilr-A-0-1")
    for name in names:
        progress.add({name: 5.0})
        progress(Event(name, done=5.0))
        progress(Event(name, ended=True))
    progress.add({names[0]: 20.0})  # the next prune step, for one of them
    waiting = progress._view()
    assert (waiting.done_fraction, sum(job.running for job in waiting.jobs)) == (10 / 25, 0)
    progress(Event(names[0], done=6.0))
    progress(Event(names[0], done=15.0))
    view = progress._view()
    assert view.done_fraction == pytest.approx(20 / 25)
    assert [(job.name, job.units, job.done, job.ended) for job in view.jobs] == [
        (names[0], 5.0, 5.0, True), (names[0], 15.0, 10.0, False), (names[1], 5.0, 5.0, True),
    ]  # fmt: skip
    progress(Event(names[0], ended=True))
    assert progress._view().done_fraction == 1
    progress.add({names[0]: 20.0})  # nothing further to do
    counts = [line.split("  ")[0] for line in capsys.readouterr().err.splitlines()]
    assert counts == ["jobs 1/1", "jobs 2/2", "jobs 3/3"]


def test_a_rung_of_a_killed_search_starts_where_the_trial_was() -> None:
    line = JobLine("trials/ilr-A-0-0", 5.0).onwards(20.0)
    line.take(Event(line.name, done=0.0), 0.0)  # its checkpoint was lost, and the prune step before is trained again
    assert (line.done, line.begun_at, line.units) == (0.0, 0.0, 15.0)
    line.take(Event(line.name, done=8.0), 1.0)
    assert (line.done, line.onwards(30.0).start) == (3.0, 20.0)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (3000, "50 min"), (7500, "2 h 05")]
)
def test_durations_are_short(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_trial_that_cannot_be_read_is_shown_without_its_records(tmp_path: Path) -> None:
    folder = tmp_path / "trials" / "ilr-A+B-0-000000000000"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"config": {}}))
    console = screen(20)
    with SweepProgress("trials", {f"trials/{folder.name}": 2.0}, tmp_path, console) as progress:
        progress(Event(f"trials/{folder.name}", done=1.0))
        console.print(progress)
    assert "running" in console.file.getvalue()  # type: ignore[attr-defined]


def planned(done: float, since: float, is_timed: bool = True) -> View:
    """A model that took 135 s, and two trials of ten units, two planned seconds each; `done` units of the first."""
    model, first, second = JobLine("A", 1.0), JobLine("trials/ilr-A-0-0", 10.0), JobLine("trials/ilr-A-1-1", 10.0)
    model.take(Event("A", ended=True), 135.0)
    first.take(Event(first.name), 135.0)
    first.take(Event(first.name, done=done), 135.0 + since)
    weights = {"A": 0.0, first.name: 2.0, second.name: 2.0}
    return View(
        "jobs", (model, first, second), now=135.0 + since, elapsed=135.0 + since, retries=0, best=None, weights=weights,
        since=since, workers=2 if is_timed else None,
    )  # fmt: skip


def test_before_anything_is_done_the_plan_says_how_long_it_takes() -> None:
    assert planned(0.0, 0.0).left == 2 * 20 / 2
    assert planned(1.0, 9.0).left == (40 - 2) / 2  # a twentieth is done


def test_later_the_pace_counts_and_making_models_has_no_part_in_it() -> None:
    assert planned(5.0, 20.0).left == pytest.approx(20 / 10 * 30)
    assert planned(5.0, 20.0, is_timed=False).left == pytest.approx(60)
    assert planned(0.0, 0.0, is_timed=False).left is None


def test_jobs_that_are_still_to_be_added_count_as_the_known_ones_do() -> None:
    searched = replace(planned(5.0, 20.0, is_timed=False), to_come=60.0)
    assert searched.left == pytest.approx(20 / 10 * (30 + 2 * 60))
    assert searched.done_fraction == pytest.approx((1 + 5) / (21 + 60))
    assert replace(planned(0.0, 0.0), to_come=60.0).left == (40 + 2 * 60) / 2
    assert replace(planned(0.0, 0.0, is_timed=False), to_come=60.0).left is None


def test_progress_asks_what_is_to_come_each_time() -> None:
    progress = SweepProgress("jobs", {"one": 2.0}, console=screen(20))
    left = [6.0, 2.0]
    progress.to_come = lambda: left.pop(0)
    progress(Event("one", done=0.0))
    progress(Event("one", ended=True))
    assert [progress._view().done_fraction for _ in range(2)] == [2 / 8, 2 / 4]


def test_silence_is_broken_with_what_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress_module, "SILENCE", 0.2)
    with SweepProgress("jobs", {"A": 1.0, TRIALS[0]: 10.0}, console=Console(file=io.StringIO())) as progress:
        time.sleep(0.5)
        progress(Event(TRIALS[0], done=1.0))
        time.sleep(0.5)
    lines = [line.split("  ")[:2] for line in capsys.readouterr().err.splitlines()]
    assert lines[0] == ["jobs 0/2", "working"]
    assert lines[-1] == ["jobs 0/2", "working: ilr A+B 0"]
    time.sleep(0.4)
    assert capsys.readouterr().err == ""


def test_the_plan_is_asked_again_when_what_it_may_have_needed_is_there() -> None:
    answers = [Expected({"timing run 1": 0.0}, 1, False), Expected({"timing run 1": 0.0, "one": 3.0}, 1, True)]
    progress = SweepProgress(
        "jobs", {"timing run 1": 5.0, "one": 10.0}, console=Console(file=io.StringIO()), expect=lambda: answers.pop(0)
    )
    with progress:
        assert progress._view().left is None
        progress(Event("timing run 1", ended=True))
        assert progress._view().left == 30.0
        progress(Event("one", done=1.0))
        progress(Event("one", ended=True))
    assert answers == []
    assert progress._view().left == 0
