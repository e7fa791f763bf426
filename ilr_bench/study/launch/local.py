"""Jobs on worker processes of this machine, one thread each, each with a set of GPUs to itself where wanted."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path

from ilr_bench.core.signals import Interrupt
from ilr_bench.study.launch.process import Worker
from ilr_bench.study.launch.scheduler import Ended, Event, Job

PATIENCE = 1800.0
"""Seconds: more than any one call takes that sends no sign of life, such as a large batch sampled by vLLM."""


@dataclass
class _Place:
    environment: dict[str, str]
    worker: Worker | None = None


class Local:
    """As many workers as there are slots; the death of one touches no other."""

    def __init__(
        self, workers: int, logs: Path, patience: float = PATIENCE, environments: Sequence[dict[str, str]] = ()
    ) -> None:
        """`logs` is the folder of the jobs' logs, `environments` holds variables of each worker's own."""
        logs.mkdir(parents=True, exist_ok=True)
        self._logs = logs
        self._patience = patience
        self._places = [_Place(environment) for environment in environments or [{} for _ in range(workers)]]

    @property
    def slots(self) -> int:
        """See Executor."""
        return len(self._places)

    def start(self, job: Job) -> None:
        """See Executor."""
        free = [place for place in self._places if place.worker is None or place.worker.job is None]
        # A process that runs has its libraries loaded.
        place = max(free, key=lambda place: place.worker is not None and not place.worker.spent)
        if place.worker is not None and place.worker.spent:
            place.worker.close()
            place.worker = None
        if place.worker is None:
            place.worker = Worker(self._logs, place.environment)
        place.worker.start(job)

    def wait(self, interrupt: Interrupt | None) -> Sequence[Event | Ended]:
        """See Executor."""
        busy = {worker.connection: worker for worker in self._busy()}
        patience = min(worker.heard for worker in busy.values()) + self._patience - time.monotonic()
        heard = wait([*busy, *([] if interrupt is None else [interrupt.fileno()])], max(0.0, patience))
        news: list[Event | Ended] = []
        for connection, worker in busy.items():
            if connection in heard:
                news += worker.news()
            elif time.monotonic() - worker.heard > self._patience:
                news.append(worker.give_up(self._patience))
        return news

    def stop(self) -> None:
        """See Executor."""
        for worker in self._busy():
            worker.ask_to_stop()

    def close(self) -> None:
        """See Executor."""
        for place in self._places:
            if place.worker is not None:
                place.worker.close()
                place.worker = None

    def _busy(self) -> list[Worker]:
        return [place.worker for place in self._places if place.worker is not None and place.worker.job is not None]
