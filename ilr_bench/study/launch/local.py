"""Jobs on worker processes of this machine, one thread each, each with a set of GPUs to itself where wanted."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path

from ilr_bench.core.signals import Interrupt
from ilr_bench.study.launch.process import Worker
from ilr_bench.study.launch.scheduler import Event, Job, JobEnd

TIMEOUT = 1800.0
"""Seconds: more than any one call takes that sends no sign of life, such as a large batch sampled by vLLM."""


@dataclass
class _Slot:
    environment: dict[str, str]
    worker: Worker | None = None


class Local:
    """As many workers as there are slots; the death of one touches no other."""

    def __init__(
        self, workers: int, logs: Path, timeout: float = TIMEOUT, environments: Sequence[dict[str, str]] = ()
    ) -> None:
        """`logs` is the folder of the jobs' logs, `environments` holds variables of each worker's own."""
        logs.mkdir(parents=True, exist_ok=True)
        self._logs = logs
        self._timeout = timeout
        self._slots = [_Slot(environment) for environment in environments or [{} for _ in range(workers)]]

    @property
    def slots(self) -> int:
        """See Executor."""
        return len(self._slots)

    def start(self, job: Job) -> None:
        """See Executor."""
        free = [slot for slot in self._slots if slot.worker is None or slot.worker.job is None]
        # A process that runs has its libraries loaded.
        slot = max(free, key=lambda slot: slot.worker is not None and not slot.worker.spent)
        if slot.worker is not None and slot.worker.spent:
            slot.worker.close()
            slot.worker = None
        if slot.worker is None:
            slot.worker = Worker(self._logs, slot.environment)
        slot.worker.start(job)

    def wait(self, interrupt: Interrupt | None) -> Sequence[Event | JobEnd]:
        """See Executor."""
        busy = {worker.connection: worker for worker in self._busy()}
        patience = min(worker.heard for worker in busy.values()) + self._timeout - time.monotonic()
        received = wait([*busy, *([] if interrupt is None else [interrupt.fileno()])], max(0.0, patience))
        news: list[Event | JobEnd] = []
        for connection, worker in busy.items():
            if connection in received:
                news += worker.news()
            elif time.monotonic() - worker.heard > self._timeout:
                news.append(worker.kill_silent(self._timeout))
        return news

    def stop(self) -> None:
        """See Executor."""
        for worker in self._busy():
            worker.ask_to_stop()

    def close(self) -> None:
        """See Executor."""
        for slot in self._slots:
            if slot.worker is not None:
                slot.worker.close()
                slot.worker = None

    def _busy(self) -> list[Worker]:
        return [slot.worker for slot in self._slots if slot.worker is not None and slot.worker.job is not None]
