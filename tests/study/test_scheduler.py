"""Jobs on worker processes: order, failures, workers that die or hang, and requests to stop."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import jobs
import pytest

from ilr_bench.core.errors import ConfigurationError
from ilr_bench.core.settings import Options
from ilr_bench.core.signals import Interrupt, Stopped, interruptible
from ilr_bench.study.launch.local import Local
from ilr_bench.study.launch.pool import FAILURES, Execution, gpu_sets, open_worker_pool, visible_gpus
from ilr_bench.study.launch.scheduler import Event, Failure, Job, run_jobs


@pytest.fixture
def run(tmp_path):
    def run(given, workers=2, patience=600.0, environments=(), watch=lambda event: None, **options):
        events = []

        def note(event):
            events.append(event)
            watch(event)

        with closing(Local(workers, tmp_path / "logs", patience, environments)) as executor:
            return run_jobs(given, executor, note, **options), events

    return run


def test_a_job_starts_after_what_it_needs_and_workers_have_one_thread(run, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    failed, events = run([Job("b", jobs.follow, (second, first), ("a",)), Job("a", jobs.touch, (first,))])
    assert failed == {}
    assert second.read_text().split()[1] == "1"
    assert [event.job for event in events if event.ended] == ["a", "b"]


def test_a_failure_is_one_line_and_what_needs_it_is_not_run(run, tmp_path):
    other = tmp_path / "other"
    failed, _ = run(
        [
            Job("bad", jobs.fail, ()),
            Job("after", jobs.touch, (tmp_path / "x",), ("bad",)),
            Job("after that", jobs.touch, (tmp_path / "x",), ("after",)),
            Job("other", jobs.touch, (other,)),
        ]
    )
    assert failed == {
        "bad": Failure("no such model; install it", 3),
        "after": Failure("not run, because bad failed", None),
        "after that": Failure("not run, because after failed", None),
    }
    assert other.exists()
    assert not (tmp_path / "x").exists()


def test_a_loss_that_is_not_finite_is_not_tried_again(run):
    failed, events = run([Job("trial", jobs.diverge, ())])
    assert failed == {"trial": Failure("agent A, step 3: the loss is nan; lower update.learning_rate", 5)}
    assert not any(event.again for event in events)


def test_the_death_of_a_worker_costs_its_job_an_attempt_and_touches_no_other(run, tmp_path):
    killed, other = tmp_path / "killed", tmp_path / "other"
    failed, events = run(
        [Job("killed", jobs.die_once, (killed,)), Job("other", jobs.wait_for, (other, killed, 2))], workers=2
    )
    assert failed == {}
    assert (len(killed.read_text()), len(other.read_text())) == (2, 1)
    [again] = [event for event in events if event.again]
    assert again.job == "killed"
    assert "killed by SIGKILL" in again.error


def test_a_job_that_kills_its_worker_every_time_fails_and_the_rest_goes_on(run, tmp_path):
    starts, other = tmp_path / "starts", tmp_path / "other"
    given = [Job("killer", jobs.die, (starts,)), Job("other", jobs.touch, (other,))]
    failed, _ = run(given, workers=1, retries=1)
    assert "killed by SIGKILL" in failed["killer"].message
    assert len(starts.read_text()) == 2
    assert other.exists()


def test_a_worker_without_a_sign_of_life_is_killed_and_its_job_tried_again(run, tmp_path):
    starts = tmp_path / "starts"
    # A machine so busy that a worker needs seconds to start costs more attempts.
    failed, events = run([Job("hangs", jobs.hang_once, (starts,))], workers=1, patience=4.0, retries=30)
    assert failed == {}
    assert all("no heartbeat for 4 s" in event.error for event in events if event.again)
    assert any(event.again for event in events)


def test_a_want_of_memory_is_tried_again_in_a_fresh_worker(run, tmp_path):
    failed, events = run([Job("large", jobs.run_out_of_memory, (tmp_path / "starts",))], workers=1)
    assert failed == {}
    assert [event.error for event in events if event.again] == [
        "out of memory: on the host", "out of memory: on the card",
    ]  # fmt: skip


def test_an_error_that_should_not_happen_fails_its_job_with_the_end_of_its_log(run, tmp_path):
    other = tmp_path / "other"
    failed, events = run([Job("sum", jobs.divide, ()), Job("other", jobs.touch, (other,))], workers=1)
    assert failed["sum"].message == "an error that should not happen ended it (status 1)"
    lines = failed["sum"].tail.splitlines()
    assert lines[0] == "about to divide"
    assert lines[-1] == "ZeroDivisionError: division by zero"
    assert not any(event.again for event in events)
    assert other.exists()


def test_what_a_job_and_its_children_print_goes_to_its_own_log(run, tmp_path):
    run([Job("trials/a b", jobs.generate_stage, ("one",)), Job("c", jobs.generate_stage, ("two",))], workers=1)
    assert sorted((tmp_path / "logs/a_b.log").read_text().splitlines()) == [
        "a child says one", "complained of one", "printed one",
    ]  # fmt: skip
    assert "two" in (tmp_path / "logs/c.log").read_text()


def test_a_worker_goes_from_job_to_job(run, tmp_path):
    run([Job(name, jobs.touch, (tmp_path / name,)) for name in "ab"], workers=1)
    assert (tmp_path / "a").read_text() == (tmp_path / "b").read_text()


def test_progress_told_in_a_worker_reaches_the_watcher_under_the_name_of_the_job(run):
    _, events = run([Job("progress", jobs.report_progress, ())])
    assert Event("progress", done=3.0) in events


class Chain:
    """Names a job when the one before it has ended."""

    def __init__(self, folder):
        self.folder, self.seen = folder, []

    def ready(self):
        index = len(self.seen)
        return (
            [Job(f"job {index}", jobs.touch if index != 1 else jobs.fail, self.arguments(index))] if index < 3 else []
        )

    def arguments(self, index):
        return () if index == 1 else (self.folder / str(index),)

    def ended(self, job, failure):
        self.seen.append((job.name, failure is None))


def test_a_source_names_jobs_as_others_end(run, tmp_path):
    chain = Chain(tmp_path)
    failed, _ = run(chain)
    assert chain.seen == [("job 0", True), ("job 1", False), ("job 2", True)]
    assert list(failed) == ["job 1"]


def test_after_a_signal_running_jobs_save_and_no_other_starts(run, tmp_path):
    interrupt, saved, later = Interrupt(), tmp_path / "saved", tmp_path / "later"

    def stop_both(event):
        if not event.begun:  # it has told something itself
            begun.add(event.job)
        if len(begun) == 2 and interrupt.signal is None:
            interrupt.receive(signal.SIGINT)

    begun = set()
    given = [
        Job("heeds", jobs.work_until_stopped, (saved,)),
        Job("does not", jobs.work_for_ever, (), heeds_stop=False),
        Job("later", jobs.touch, (later,)),
    ]
    with pytest.raises(Stopped, match="stopped by SIGINT") as caught:
        run(given, watch=stop_both, interrupt=interrupt)
    assert caught.value.exit_status == 130
    assert saved.exists()
    assert not later.exists()
    interrupt.close()


def test_the_first_signal_asks_and_the_second_insists():
    before = signal.getsignal(signal.SIGINT)  # a shell's background jobs ignore it
    with interruptible() as interrupt:
        os.kill(os.getpid(), signal.SIGTERM)
        assert interrupt.signal == signal.SIGTERM
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_failures_stand_in_the_studys_folder_with_what_was_done_about_them(tmp_path):
    given = [
        Job("once", jobs.die_once, (tmp_path / "once",)),
        Job("always", jobs.die, (tmp_path / "always",)),
        Job("after", jobs.touch, (tmp_path / "x",), ("always",)),
    ]
    with open_worker_pool(tmp_path, Execution(retries=1)) as pool:
        assert not pool.stopped
        failed = pool.run(given, lambda event: None)
    assert set(failed) == {"always", "after"}
    lines = [json.loads(line) for line in (tmp_path / FAILURES).read_text().splitlines()]
    assert sorted((line["job"], line["outcome"]) for line in lines) == [
        ("after", "not run"), ("always", "failed"), ("always", "retried"), ("once", "retried"),
    ]  # fmt: skip
    assert (tmp_path / lines[0]["log"]).exists()


def test_every_worker_sees_gpus_of_its_own(run, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0, 2,5,GPU-7")
    sets = gpu_sets(visible_gpus(), 2, 2)
    assert sets == [{"CUDA_VISIBLE_DEVICES": "0,2"}, {"CUDA_VISIBLE_DEVICES": "5,GPU-7"}]
    one, two = tmp_path / "one", tmp_path / "two"
    given = [Job("one", jobs.wait_for, (one, two, 1)), Job("two", jobs.wait_for, (two, one, 1))]
    given += [Job(f"see {index}", jobs.touch, (tmp_path / f"see {index}",)) for index in range(2)]
    run(given, environments=sets)
    assert {(tmp_path / f"see {index}").read_text().split()[2] for index in range(2)} <= {"0,2", "5,GPU-7"}


def test_more_gpus_than_there_are_is_refused():
    with pytest.raises(ConfigurationError, match="need 6 GPUs and 4 are visible"):
        gpu_sets(["0", "1", "2", "3"], 2, 3)
    assert gpu_sets([], 0, 3) == [{}, {}, {}]


@pytest.mark.parametrize(
    "settings", [{"executor": "pbs"}, {"ray_address": "auto"}, {"executor": "slurm"}, {"slurm": Options({"time": 5})}]
)
def test_an_execution_that_cannot_be_meant_is_refused(settings):
    with pytest.raises(ConfigurationError, match="--executor"):
        Execution(**settings)


def test_workers_end_with_the_process_that_started_them(tmp_path):
    """Else they would write beside those of the next sweep, which finds the study's lock free."""
    clock = tmp_path / "clock"
    code = (
        "import sys; from pathlib import Path; from jobs import tick; "
        "from ilr_bench.study.launch.scheduler import Job, run_jobs; from ilr_bench.study.launch.local import Local; "
        "clock = Path(sys.argv[1]); local = Local(1, clock.parent / 'logs'); "
        "run_jobs([Job('tick', tick, (clock,))], local, lambda event: None)"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1] / "helpers")}
    parent = subprocess.Popen([sys.executable, "-c", code, str(clock)], env=environment)
    try:
        deadline = time.monotonic() + 120
        while not clock.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert clock.exists()
    finally:
        parent.kill()
        parent.wait()
    deadline = time.monotonic() + 120
    last, now = "", clock.read_text()
    while last != now and time.monotonic() < deadline:
        time.sleep(1)
        last, now = now, clock.read_text()
    assert last == now
