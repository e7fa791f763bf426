"""Jobs through submitit: its local and debug executors, and its SLURM one with the commands of `fake_slurm`."""

from __future__ import annotations

import os
import signal
import time
from contextlib import closing, suppress

import fake_slurm
import jobs
import pytest
from tiny_trials import contents, tiny_checkpoints, tiny_plan

from ilr_bench.core.errors import ConfigurationError, MissingInputError
from ilr_bench.core.settings import Options
from ilr_bench.core.signals import Interrupt, Stopped
from ilr_bench.study.launch.pool import Execution
from ilr_bench.study.launch.ray import TOKEN
from ilr_bench.study.launch.scheduler import Event, Failure, Job, run_jobs
from ilr_bench.study.launch.slurm import Slurm, as_submitit, explain_state
from ilr_bench.study.sweep import run_sweep

submitit = pytest.importorskip("submitit", reason="submitit is not installed (extra slurm)")


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr("submitit.core.core.Job._results_timeout_s", 1)

    def run(given, cluster="local", watch=lambda event: None, slots=2, **options):
        events = []

        def note(event):
            events.append(event)
            watch(event)

        with closing(Slurm(slots, tmp_path, 600.0, cluster=cluster)) as executor:
            return run_jobs(given, executor, note, **options), events

    return run


@pytest.fixture
def books(tmp_path, monkeypatch):
    fake_slurm.install(tmp_path / "bin")
    (tmp_path / "books").mkdir()
    monkeypatch.setenv("FAKE_SLURM", str(tmp_path / "books"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr(submitit.SlurmJob, "watcher", type(submitit.SlurmJob.watcher)(delay_s=1))
    yield tmp_path / "books"
    for path in (tmp_path / "books").glob("*.pid"):  # of a test that failed
        with suppress(ProcessLookupError):
            os.killpg(int(path.read_text()), signal.SIGKILL)


def wait_until(true, seconds=120.0):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("cluster", ["local", "debug"])
def test_jobs_end_and_leave_their_logs_and_nothing_else(cluster, run, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    given = [Job("trials/b", jobs.follow, (second, first), ("a",)), Job("a", jobs.touch, (first,))]
    given += [Job("speak", jobs.generate_stage, ("one",)), Job("progress", jobs.report_progress, ())]
    failed, events = run(given, cluster)
    assert failed == {}
    assert second.read_text().split()[1] == "1"
    assert int(first.read_text().split()[0]) != os.getpid()
    assert Event("progress", done=3.0) in events
    assert "a child says one" in (tmp_path / "logs/speak.log").read_text()
    assert {path.name for path in tmp_path.iterdir()} == {"first", "second", "logs"}


@pytest.mark.parametrize("cluster", ["local", "debug"])
def test_an_error_fails_its_job_at_once_and_what_needs_it_is_not_run(cluster, run, tmp_path):
    given = [Job("bad", jobs.fail, ()), Job("after", jobs.touch, (tmp_path / "x",), ("bad",))]
    failed, events = run([*given, Job("sum", jobs.divide, ())], cluster)
    assert failed["bad"] == Failure("no such model; install it", 3)
    assert failed["after"].status is None
    assert failed["sum"].tail.splitlines()[-1] == "ZeroDivisionError: division by zero"
    assert not any(event.again for event in events)


def test_a_killed_worker_and_a_killed_job_cost_an_attempt_each(run, tmp_path):
    worker, whole = tmp_path / "worker", tmp_path / "whole"
    given = [Job("worker", jobs.die_once, (worker,)), Job("whole", jobs.lose_node_once, (whole, ""))]
    failed, events = run(given)
    assert failed == {}
    assert (len(worker.read_text()), len(whole.read_text())) == (2, 2)
    messages = {event.job: event.error for event in events if event.again}
    assert "killed by SIGKILL" in messages["worker"]
    assert "left no result" in messages["whole"]


def test_a_job_whose_time_is_nearly_over_saves_and_goes_on_in_another(run, tmp_path):
    starts, saved = tmp_path / "starts", tmp_path / "saved"
    failed, events = run([Job("long", jobs.save_when_warned, (starts, saved))])
    assert failed == {}
    assert saved.exists()
    assert ["after step 1" in event.error for event in events if event.again] == [True]


def test_after_a_signal_running_jobs_save_and_no_other_starts(run, tmp_path):
    interrupt, saved, begun = Interrupt(), tmp_path / "saved", set()
    given = [Job("heeds", jobs.work_until_stopped, (saved,)), Job("does not", jobs.work_for_ever, (), heeds_stop=False)]

    def stop_both(event):
        if not event.begun:  # it has told something itself
            begun.add(event.job)
        if len(begun) == 2 and interrupt.signal is None:
            interrupt.receive(signal.SIGINT)

    with pytest.raises(Stopped, match="stopped by SIGINT"):
        run([*given, Job("later", jobs.touch, (tmp_path / "x",))], watch=stop_both, interrupt=interrupt)
    interrupt.close()
    assert saved.exists()
    assert {path.name for path in tmp_path.iterdir()} == {"saved", "logs"}


def test_a_job_that_slurm_ends_is_submitted_again_and_one_that_someone_cancels_is_not(run, books, tmp_path):
    states = ("TIMEOUT", "PREEMPTED", "FAILED", "CANCELLED by 0")
    given = [Job(state, jobs.lose_node_once, (tmp_path / state, state)) for state in states]
    failed, events = run(given, "slurm", slots=4)
    assert {job: failure.message for job, failure in failed.items()} == {
        "CANCELLED by 0": "its SLURM job was cancelled (scancel)"
    }
    assert [len((tmp_path / state).read_text()) for state in states] == [2, 2, 2, 1]
    again = {event.job: event.error for event in events if event.again}
    assert set(again) == set(states[:3])
    assert all(f"ended as {state}" in message for state, message in again.items())
    assert len(list(books.glob("*.sh"))) == 7


def test_what_slurm_says_of_a_job_decides_whether_another_attempt_may_succeed():
    passing = {state for state in ("NODE_FAIL", "OUT_OF_MEMORY") if explain_state(state, begun=False).passing}
    assert passing == {"NODE_FAIL", "OUT_OF_MEMORY"}
    assert "as the kernel does where memory runs out" in explain_state("OUT_OF_MEMORY", begun=True).message
    assert explain_state("FAILED", begun=True).passing
    assert not explain_state("FAILED", begun=False).passing
    assert "before its work began" in explain_state("FAILED", begun=False).message


def test_jobs_in_the_queue_are_cancelled_when_the_sweep_is_stopped(run, books, tmp_path):
    (books / "hold").touch()
    interrupt = Interrupt()
    interrupt.receive(signal.SIGTERM)
    with pytest.raises(Stopped):
        run([Job("waits", jobs.touch, (tmp_path / "x",))], "slurm", interrupt=interrupt)
    interrupt.close()
    assert (books / "1.state").read_text() == "CANCELLED by 1000"


def test_jobs_of_a_command_that_was_killed_end_before_the_next_one_begins(books, tmp_path):
    clock, out = tmp_path / "clock", tmp_path / "out"
    Slurm(1, out, 600.0).start(Job("tick", jobs.tick, (clock,)))
    wait_until(clock.exists)
    with closing(Slurm(1, out, 600.0)) as second:
        assert (books / "1.state").read_text() == "CANCELLED by 1000"
        last = clock.read_text()
        time.sleep(1)
        assert clock.read_text() == last
        assert run_jobs([Job("touch", jobs.touch, (tmp_path / "x",))], second, lambda event: None) == {}
    assert not (out / TOKEN).exists()


def test_a_job_that_nobody_waits_for_ends_by_itself(run, tmp_path):
    """Submitted by a command that was killed, and begun only when the next one has the study."""
    out, saved = tmp_path / "out", tmp_path / "saved"
    executor = Slurm(1, out, 600.0, cluster="local")
    executor.start(Job("heeds", jobs.work_until_stopped, (saved,)))
    while not executor.wait(None):
        pass
    with closing(Slurm(1, out, 600.0, cluster="local")):
        wait_until(saved.exists)


def test_options_reach_sbatch(books, tmp_path):
    options = Options({"time": "60", "partition": "gpu", "mem_gb": "3", "additional_parameters.reservation": "x"})
    with closing(Slurm(1, tmp_path, 600.0, 2, options)) as executor:
        assert run_jobs([Job("trials/a b", jobs.touch, (tmp_path / "x",))], executor, lambda event: None) == {}
    lines = {line for line in (books / "1.sh").read_text().splitlines() if line.startswith("#SBATCH")}
    wanted = {
        "time=60",
        "partition=gpu",
        "mem=3GB",
        "gpus-per-node=2",
        "reservation=x",
        "job-name=ilr-a_b",
        "no-requeue",
    }
    assert {f"#SBATCH --{one}" for one in wanted} <= lines


def test_what_cannot_be_meant_is_refused_before_anything_is_submitted(books, tmp_path, monkeypatch):
    with pytest.raises(ConfigurationError, match="one process on one node"):
        as_submitit({"nodes": 2}, 0)
    with pytest.raises(ConfigurationError, match=r"--slurm: .*colour"):
        Slurm(1, tmp_path, 600.0, options={"time": 5, "colour": "red"})
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingInputError, match="srun"):
        Slurm(1, tmp_path, 600.0)


def test_what_sbatch_refuses_fails_with_its_words(run, books, tmp_path):
    (books / "refuse").touch()
    failed, _ = run([Job("touch", jobs.touch, (tmp_path / "x",))], "slurm")
    assert failed["touch"].message == "SLURM did not take it: sbatch: error: invalid partition specified: moon"


@pytest.mark.slow
def test_a_study_through_slurm_leaves_the_bytes_of_a_local_one(books, tmp_path):
    plan = tiny_plan(tiny_checkpoints(tmp_path), "pure_cooperative", "pure_competitive")
    lasting = []
    for execution in (Execution("slurm", slurm=Options({"time": 5})), Execution("local")):
        out = tmp_path / execution.executor / "study"
        assert run_sweep(plan, "micro", out, 2, "test", execution=execution).failed == {}
        found = contents(out)
        lasting.append({path: data for path, data in found.items() if path.split("/")[0] in ("trials", "artifacts")})
    assert lasting[0] == lasting[1]
    assert sum(path.endswith("result.json") for path in lasting[0]) == 2
    assert len(list(books.glob("*.sh"))) >= 2
