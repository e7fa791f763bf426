"""Jobs on a Ray cluster: an actor per job at work, which looks after one worker process on its node.

The worker is the same process as on one machine, under the same rules; only what passes between it and the scheduler
goes through Ray. Study, models and data must lie where every node sees them under the same path.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import secrets
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ilr_bench.core.errors import IlrError, MissingInputError, StoreError
from ilr_bench.core.signals import Interrupt
from ilr_bench.storage.files import explained, write_atomic
from ilr_bench.study.launch.local import Local, log_name, tail
from ilr_bench.study.launch.scheduler import Event, Failure, Job, JobEnd

LOOK_SECONDS = 0.5
"""How often a wait for Ray looks up to see whether a signal has come."""
OBJECT_STORE = 80 * 2**20
"""Bytes; results lie in files, and Ray carries nothing but news."""
TOKEN = ".cluster-token"
RAY_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_agent_register_timeout_ms": "600000",
    "RAY_worker_register_timeout_seconds": "600",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
"""Environment of a cluster that is started here: no usage statistics, and a busy machine may take its time."""
FORWARDED_VARIABLES = ("ILR_BENCH_", "HF_", "TRANSFORMERS_", "TOKENIZERS_")
"""Beginnings of the environment variables that workers on other nodes get from this process."""


@dataclass(frozen=True)
class NodeEnv:
    """What a worker finds on the machine that runs the study, and must find on its own."""

    folder: str
    out: str
    token: str
    paths: tuple[str, ...]
    environment: Mapping[str, str]
    timeout: float

    def mismatch(self) -> str | None:
        """Why a job cannot run on this node; None where it can."""
        seen = Path(self.out) / TOKEN
        if Path(self.folder).is_dir() and seen.is_file() and seen.read_bytes() == self.token.encode():
            return None
        missing = self.folder if not Path(self.folder).is_dir() else self.out
        return (
            f"the node {socket.gethostname()} does not see {missing}: the study's folder and the one this command runs "
            "in must lie on a file system that all nodes share, such as NFS"
        )


def announce(out: Path, timeout: float) -> NodeEnv:
    """Leaves a fresh token in the study's folder; returns what workers on other nodes are to find."""
    token = secrets.token_hex(16)
    with explained(out):
        out.mkdir(parents=True, exist_ok=True)
    write_atomic(out / TOKEN, token)
    carried = {name: value for name, value in os.environ.items() if name.startswith(FORWARDED_VARIABLES)}
    paths = tuple(path or str(Path.cwd()) for path in sys.path)
    return NodeEnv(str(Path.cwd()), str(out), token, paths, carried, timeout)


class NodeWorker:
    """Keeps one worker process on its node, as a Ray actor or in a SLURM job; ends with it."""

    def __init__(self, node_env: NodeEnv) -> None:
        self._node_env = node_env
        self._local: Local | None = None

    def poll(self, message: bytes | None) -> list[Event | JobEnd]:
        """Takes a job if there is a message, and waits for news of the one it has."""
        if message is not None:
            self._settle()
            job: Job = pickle.loads(message)
            mismatch = self._node_env.mismatch()
            if mismatch is not None:
                return [JobEnd(job.name, Failure(mismatch, StoreError.exit_status))]
            self._workers().start(job)
        return list(self._workers().wait(None))

    def stop(self) -> None:
        """Asks the job, if there is one, to end where everything is saved."""
        if self._local is not None:
            self._local.stop()

    def close(self) -> None:
        """Ends the worker process at once."""
        if self._local is not None:
            self._local.close()

    def _settle(self) -> None:
        with contextlib.suppress(OSError):  # the mismatch is reported below
            os.chdir(self._node_env.folder)
        sys.path.extend(path for path in self._node_env.paths if path not in sys.path)

    def _workers(self) -> Local:
        if self._local is None:
            here = self._node_env
            self._local = Local(1, Path(here.out) / "logs", here.timeout, [dict(here.environment)])
        return self._local


@dataclass
class _Slot:
    resources: dict[str, float]
    actor: Any
    job: Job
    news: Any
    """The reference that becomes ready with the next news."""
    begun: bool = False


class Ray:
    """Up to `slots` jobs at a time; those that the cluster cannot hold yet wait in its queue."""

    def __init__(self, slots: int, out: Path, timeout: float, gpus: int = 0, address: str | None = None) -> None:
        """Connects to the cluster at `address`, or starts one of `slots` cores here; `gpus` are for each job.

        Raises MissingInputError where Ray is not installed or not to be reached, StoreError where a node does not
        see the study's folder.
        """
        self._ray = _connect(address, slots)
        self.slots = slots
        self._gpus = gpus
        self._out = out
        self._idle: list[tuple[dict[str, float], Any]] = []
        self._slots: list[_Slot] = []
        self._refused: list[JobEnd] = []
        self._node_env = announce(out, timeout)
        try:
            self._check_every_node()
        except IlrError:
            self.close()
            raise

    def start(self, job: Job) -> None:
        """See Executor."""
        # With a GPU the model lies there, and the host's memory is hardly used.
        memory = 0.0 if self._gpus else job.resources.get("memory", 0.0)
        resources = {"num_cpus": 1.0, "num_gpus": float(self._gpus), "memory": memory}
        if not self._fits(resources):
            message = (
                f"no node of the cluster has what it needs: 1 core, {self._gpus} GPUs, "
                f"{resources['memory'] / 2**30:.1f} GiB of memory"
            )
            self._refused.append(JobEnd(job.name, Failure(message, IlrError.exit_status)))
            return
        actor = next((actor for asked, actor in self._idle if asked == resources), None)
        if actor is None:
            actor = self._ray.remote(NodeWorker).options(max_concurrency=2, **resources).remote(self._node_env)
        else:
            self._idle.remove((resources, actor))
        self._slots.append(_Slot(resources, actor, job, actor.poll.remote(pickle.dumps(job))))

    def wait(self, interrupt: Interrupt | None) -> Sequence[Event | JobEnd]:
        """See Executor."""
        self._stop_idle()  # who has no job now would keep a core from one that waits for it
        news: list[Event | JobEnd] = [*self._refused]
        self._refused.clear()
        slots = {slot.news: slot for slot in self._slots}
        ready: list[Any] = []
        while not (ready or news or (interrupt is not None and interrupt.signal is not None)):
            ready, _ = self._ray.wait(list(slots), timeout=LOOK_SECONDS)
        for reference in ready:
            news += self._collect(slots[reference])
        return news

    def stop(self) -> None:
        """See Executor."""
        for slot in self._slots:
            if slot.begun:
                slot.actor.stop.remote()
            else:  # it may wait for a core
                self._ray.kill(slot.actor)

    def close(self) -> None:
        """See Executor."""
        for slot in self._slots:
            self._ray.kill(slot.actor)
        self._slots.clear()
        self._stop_idle()
        self._ray.shutdown()
        (self._out / TOKEN).unlink(missing_ok=True)

    def _collect(self, slot: _Slot) -> list[Event | JobEnd]:
        try:
            news: list[Event | JobEnd] = self._ray.get(slot.news)
        except self._ray.exceptions.RayActorError as error:
            self._slots.remove(slot)
            self._ray.kill(slot.actor)  # one that is merely out of reach must not go on beside its successor
            cause = str(error).strip().splitlines()[0]
            log = tail(self._out / "logs" / log_name(slot.job.name))
            failure = Failure(f"its node or its Ray worker died: {cause}", IlrError.exit_status, passing=True, tail=log)
            return [JobEnd(slot.job.name, failure)]
        slot.begun = True
        if any(isinstance(one, JobEnd) for one in news):
            self._slots.remove(slot)
            self._idle.append((slot.resources, slot.actor))
        else:
            slot.news = slot.actor.poll.remote(None)
        return news

    def _stop_idle(self) -> None:
        for _, actor in self._idle:
            self._ray.kill(actor)
        self._idle.clear()

    def _fits(self, resources: Mapping[str, float]) -> bool:
        names = {"num_cpus": "CPU", "num_gpus": "GPU", "memory": "memory"}
        return any(
            all(node["Resources"].get(names[key], 0.0) >= amount for key, amount in resources.items())
            for node in self._ray.nodes()
            if node["Alive"]
        )

    def _check_every_node(self) -> None:
        affinity = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        look = self._ray.remote(NodeEnv.mismatch)
        nodes = [node["NodeID"] for node in self._ray.nodes() if node["Alive"]]
        looks = [
            look.options(num_cpus=0, scheduling_strategy=affinity(node, soft=False)).remote(self._node_env)
            for node in nodes
        ]
        for seen in looks:
            try:
                mismatch = self._ray.get(seen)
            except self._ray.exceptions.TaskUnschedulableError:
                continue  # the node has gone, and the list of nodes does not know it yet
            if mismatch is not None:
                raise StoreError(mismatch)


def _connect(address: str | None, cores: int) -> Any:
    """The `ray` module, connected."""
    for name, value in RAY_SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        import ray
        import ray.util.scheduling_strategies
    except ModuleNotFoundError as error:
        raise MissingInputError("--executor ray needs Ray: python -m pip install 'ilr-bench[ray]'") from error
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    if address is None:
        ray.init("local", num_cpus=cores, include_dashboard=False, object_store_memory=OBJECT_STORE, **quiet)
        return ray
    try:
        ray.init(address, **quiet)
    except ConnectionError as error:
        raise MissingInputError(
            f"--ray-address {address}: no cluster answers there; start one (`ray start --head`), or leave the address "
            "out to have one started here"
        ) from error
    return ray
