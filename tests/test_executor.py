"""Jobs on worker processes: order, failures, and workers that die."""

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from ilr_bench.errors import MissingInputError, NumericalError
from ilr_bench.executor import Event, Failure, Job, run_jobs, tell
from ilr_bench.executors.local import Local


def touch(path: Path) -> None:
    path.write_text(f"{os.getpid()} {os.environ['OMP_NUM_THREADS']}")


def follow(path: Path, before: Path) -> None:
    path.write_text(before.read_text())


def fail() -> None:
    raise MissingInputError("no such model; install it")


def die_once(marker: Path) -> None:
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def diverge() -> None:
    raise NumericalError("agent A, step 3: the loss is nan; lower update.learning_rate")


def tick(path: Path) -> None:
    while True:
        path.write_text(str(time.monotonic()))
        time.sleep(0.02)


def report_progress() -> None:
    tell(Event("progress", done=3.0))


@pytest.fixture
def run(tmp_path):
    def run(jobs, workers=2, **options):
        events = []
        with closing(Local(workers, tmp_path / "logs")) as executor:
            return run_jobs(jobs, executor, events.append, **options), events

    return run


def test_a_job_starts_after_what_it_needs_and_workers_have_one_thread(run, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    failed, events = run([Job("b", follow, (second, first), ("a",)), Job("a", touch, (first,))])
    assert failed == {}
    assert second.read_text().split()[1] == "1"
    assert [event.job for event in events if event.ended] == ["a", "b"]


def test_a_failure_is_one_line_and_what_needs_it_is_not_run(run, tmp_path):
    other = tmp_path / "other"
    failed, _ = run(
        [Job("bad", fail, ()), Job("after", touch, (tmp_path / "x",), ("bad",)), Job("other", touch, (other,))]
    )
    assert failed == {
        "bad": Failure("no such model; install it", 3),
        "after": Failure("not run, because bad failed", None),
    }
    assert other.exists()


def test_a_job_whose_worker_was_killed_is_started_once_more(run, tmp_path):
    other = tmp_path / "other"
    failed, _ = run([Job("killed", die_once, (tmp_path / "marker",)), Job("other", touch, (other,))])
    assert failed == {}
    assert other.exists()


def test_a_job_that_kills_its_worker_every_time_fails_and_the_rest_goes_on(run, tmp_path):
    other = tmp_path / "other"
    failed, _ = run([Job("killer", die, ()), Job("other", touch, (other,), ())], workers=1)
    assert "killed by SIGKILL" in failed["killer"].message
    assert other.exists()


def test_progress_told_in_a_worker_reaches_the_watcher(run):
    _, events = run([Job("progress", report_progress, ())])
    assert Event("progress", done=3.0) in events


def test_a_loss_that_is_not_finite_is_one_line_that_names_agent_and_step(run):
    failed, _ = run([Job("trial", diverge, ())])
    assert failed == {"trial": Failure("agent A, step 3: the loss is nan; lower update.learning_rate", 5)}


def test_workers_end_with_the_process_that_started_them(tmp_path):
    """Else they would write beside those of the next sweep, which finds the study's lock free."""
    clock = tmp_path / "clock"
    code = (
        "import sys; from pathlib import Path; from test_executor import tick; "
        "from ilr_bench.executor import Job, run_jobs; from ilr_bench.executors.local import Local; "
        "clock = Path(sys.argv[1]); local = Local(1, clock.parent / 'logs'); "
        "run_jobs([Job('tick', tick, (clock,))], local, lambda event: None)"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    parent = subprocess.Popen([sys.executable, "-c", code, str(clock)], env=environment)
    try:
        deadline = time.monotonic() + 60
        while not clock.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert clock.exists()
    finally:
        parent.kill()
        parent.wait()
    time.sleep(1)
    last = clock.read_text()
    time.sleep(0.5)
    assert clock.read_text() == last
