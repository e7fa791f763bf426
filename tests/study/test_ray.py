"""Jobs on a Ray cluster of two nodes on this machine, with one core each."""

from __future__ import annotations

import os
import signal
from contextlib import closing

import jobs
import pytest
from tiny_trials import contents, tiny_checkpoints, tiny_plan

from ilr_bench.core.errors import MissingInputError, StoreError
from ilr_bench.core.signals import Interrupt, Stopped
from ilr_bench.study.launch import ray as rays
from ilr_bench.study.launch.pool import Execution
from ilr_bench.study.launch.ray import Ray
from ilr_bench.study.launch.scheduler import Event, Job, run_jobs
from ilr_bench.study.sweep import run_sweep

pytestmark = pytest.mark.cluster
NODE = {
    "num_cpus": 1,
    "object_store_memory": rays.OBJECT_STORE,
    "include_dashboard": False,
    "include_log_monitor": False,
    "no_monitor": True,
}


@pytest.fixture(scope="module")
def cluster():
    pytest.importorskip("ray")
    os.environ.update(rays.RAY_SETTINGS)
    from ray.cluster_utils import Cluster

    two_nodes = Cluster(initialize_head=True, head_node_args=NODE)
    two_nodes.add_node(**NODE)
    yield two_nodes
    two_nodes.shutdown()


@pytest.fixture
def run(cluster, tmp_path):
    def run(given, watch=lambda event: None, **options):
        events = []

        def note(event):
            events.append(event)
            watch(event)

        with closing(Ray(2, tmp_path, 600.0, address=cluster.address)) as executor:
            return run_jobs(given, executor, note, **options), events

    return run


def test_jobs_run_on_both_nodes_at_a_time_and_their_progress_comes_back(run, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    given = [Job("one", jobs.meet, (one, two)), Job("two", jobs.meet, (two, one))]
    given += [Job("after", jobs.report_progress, (), ("one", "two"))]
    failed, events = run(given)
    assert failed == {}
    assert len({one.read_text(), two.read_text()}) == 2
    assert Event("after", done=3.0) in events
    assert not (tmp_path / rays.TOKEN).exists()


def test_workers_have_one_thread_and_a_log_of_their_own(run, tmp_path):
    failed, _ = run([Job("touch", jobs.touch, (tmp_path / "x",)), Job("speak", jobs.generate_stage, ("one",))])
    assert failed == {}
    assert (tmp_path / "x").read_text().split()[1] == "1"
    assert "a child says one" in (tmp_path / "logs/speak.log").read_text()


def test_the_death_of_a_worker_costs_one_attempt_and_an_error_none(run, tmp_path):
    failed, events = run([Job("killed", jobs.die_once, (tmp_path / "starts",)), Job("diverges", jobs.diverge, ())])
    assert [(event.job, "killed by SIGKILL" in event.error) for event in events if event.again] == [("killed", True)]
    assert list(failed) == ["diverges"]
    assert failed["diverges"].status == 5


def test_what_no_node_has_is_not_waited_for(run, tmp_path):
    given = [
        Job("huge", jobs.touch, (tmp_path / "x",), resources={"memory": 2.0**60}),
        Job("small", jobs.touch, (tmp_path / "y",)),
    ]
    failed, _ = run(given)
    assert list(failed) == ["huge"]
    assert "no node of the cluster has what it needs" in failed["huge"].message


def test_after_a_signal_running_jobs_save_and_no_other_starts(run, tmp_path):
    interrupt, saved = Interrupt(), tmp_path / "saved"
    given = [Job("heeds", jobs.work_until_stopped, (saved,)), Job("later", jobs.touch, (tmp_path / "x",), ("heeds",))]

    def stop(event):
        if interrupt.signal is None:
            interrupt.receive(signal.SIGTERM)

    with pytest.raises(Stopped) as caught:
        run(given, watch=stop, interrupt=interrupt)
    interrupt.close()
    assert caught.value.exit_status == 143
    assert saved.exists()
    assert not (tmp_path / "x").exists()


def test_a_node_that_does_not_see_the_studys_folder_is_named_before_anything_runs(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(rays, "write_atomic", lambda path, data: None)
    with pytest.raises(StoreError, match=f"does not see {tmp_path}: .* file system that all nodes share"):
        Ray(2, tmp_path, 600.0, address=cluster.address)


def test_the_death_of_a_node_costs_one_attempt(cluster, run, tmp_path):
    gone, indices = tmp_path / "gone", {}
    [worker] = cluster.worker_nodes
    node = worker.all_processes["raylet"][0].process.pid

    def remove_when_both_run(event):
        if event.done:
            indices.setdefault(event.job, int(event.done))
        if len(indices) == 2 and worker in cluster.worker_nodes:
            cluster.remove_node(worker, allow_graceful=False)
        if event.again:
            gone.touch()

    failed, events = run([Job(name, jobs.stay_until, (gone,)) for name in "ab"], watch=remove_when_both_run)
    lost = [name for name, index in indices.items() if index == node]
    cluster.add_node(**NODE)
    assert failed == {}
    assert [event.job for event in events if event.again] == lost
    assert "its node or its Ray worker died" in next(event.error for event in events if event.again)


def test_a_study_on_a_cluster_leaves_the_bytes_of_a_local_one(cluster, tmp_path):
    models = tiny_checkpoints(tmp_path)
    plan = tiny_plan(models, "pure_cooperative", "pure_competitive")
    lasting = []
    for name, execution in (
        ("ray", Execution("ray", ray_address=cluster.address)), ("local", Execution("local")),
    ):  # fmt: skip
        out = tmp_path / name / "study"
        assert run_sweep(plan, "micro", out, 2, "test", execution=execution).failed == {}
        found = contents(out)
        lasting.append({path: data for path, data in found.items() if path.split("/")[0] in ("trials", "artifacts")})
    assert lasting[0] == lasting[1]
    assert sum(path.endswith("result.json") for path in lasting[0]) == 2


def test_a_cluster_that_is_not_there_is_a_clear_error(tmp_path, monkeypatch):
    pytest.importorskip("ray")
    import ray

    def refuse(*arguments, **options):
        raise ConnectionError("nobody there")

    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(MissingInputError, match="ray start --head"):
        Ray(1, tmp_path, 600.0, address="auto")


def test_without_an_address_a_cluster_is_started_for_the_study(tmp_path):
    pytest.importorskip("ray")
    with closing(Ray(1, tmp_path, 600.0)) as executor:
        assert run_jobs([Job("touch", jobs.touch, (tmp_path / "x",))], executor, lambda event: None) == {}
    assert (tmp_path / "x").exists()
