"""Runs a study's jobs on persistent local worker processes, one thread each."""

from __future__ import annotations

import multiprocessing
import os
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.queues import SimpleQueue
from typing import Any

from ilr_bench.errors import IlrError

THREADS = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
"""Two OpenMP threads of one tiny model on a busy machine are slower than one, by up to two hundred times."""


@dataclass(frozen=True)
class Job:
    """A function call for a worker, and the jobs that must have succeeded before."""

    name: str
    function: Callable[..., None]
    arguments: tuple[Any, ...]
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Event:
    """News of a job: `done` of `total` units of work, or its end (`error` empty where it succeeded)."""

    job: str
    done: float = 0.0
    ended: bool = False
    error: str = ""


@dataclass(frozen=True)
class Failure:
    """Why a job did not succeed."""

    message: str
    status: int | None
    """Exit status of its error; None where it was not run because another one failed."""


ATTEMPTS = 2
DIED = "its worker process died (killed, or out of memory); run the same command again to continue from its checkpoint"

_events: SimpleQueue[Event] | None = None


def tell(event: Event) -> None:
    """Called in a worker: passes news on to the process that shows progress."""
    if _events is not None:
        _events.put(event)


def run_jobs(jobs: Sequence[Job], workers: int, watch: Callable[[Event], None]) -> dict[str, Failure]:
    """Runs every job whose needs succeeded, in the order given; returns job -> failure for those that failed.

    A job whose worker died is started once more; trials continue from their checkpoints.
    """
    context = multiprocessing.get_context("spawn")
    queue: SimpleQueue[Event] = context.SimpleQueue()
    waiting, failed, done = list(jobs), dict[str, Failure](), set[str]()
    attempts: Counter[str] = Counter()
    running: dict[Future[None], Job] = {}

    def new_pool() -> ProcessPoolExecutor:
        return ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=(queue,))

    with _environment(THREADS):
        pool = new_pool()
        try:
            while waiting or running:
                for job in [job for job in waiting if any(need in failed for need in job.needs)]:
                    culprit = next(need for need in job.needs if need in failed)
                    failed[job.name] = Failure(f"not run, because {culprit} failed", None)
                    waiting.remove(job)
                broken = False
                for job in [job for job in waiting if done.issuperset(job.needs)][: workers - len(running)]:
                    try:
                        running[pool.submit(job.function, *job.arguments)] = job
                    except BrokenProcessPool:  # a worker died since the last look
                        broken = True
                        break
                    attempts[job.name] += 1
                    waiting.remove(job)
                ended, _ = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
                for event in _drain(queue):
                    watch(event)
                for future in ended:
                    job, error = running.pop(future), future.exception()
                    broken |= isinstance(error, BrokenProcessPool)
                    if isinstance(error, BrokenProcessPool) and attempts[job.name] < ATTEMPTS:
                        waiting.insert(0, job)
                        continue
                    if error is None:
                        done.add(job.name)
                    else:
                        failed[job.name] = _describe(error)
                    watch(Event(job.name, ended=True, error=failed[job.name].message if job.name in failed else ""))
                if broken:
                    # Every job of a broken pool is lost with it, also those of the workers that lived.
                    waiting[:0] = [job for job in running.values() if attempts[job.name] < ATTEMPTS]
                    failed |= {
                        job.name: Failure(DIED, IlrError.exit_status)
                        for job in running.values()
                        if attempts[job.name] >= ATTEMPTS
                    }
                    running.clear()
                    pool.shutdown(wait=False, cancel_futures=True)
                    pool = new_pool()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    return failed


def _describe(error: BaseException) -> Failure:
    if isinstance(error, BrokenProcessPool):
        return Failure(DIED, IlrError.exit_status)
    if isinstance(error, IlrError):
        return Failure(str(error), error.exit_status)
    return Failure("".join(traceback.format_exception(error)), IlrError.exit_status)


def _start(queue: SimpleQueue[Event]) -> None:
    global _events
    _events = queue
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Ends this worker when the process that started it dies.

    With that process the study's lock is gone: a worker that went on would write beside the next sweep's.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _drain(queue: SimpleQueue[Event]) -> Iterator[Event]:
    while not queue.empty():
        yield queue.get()


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {key: os.environ.get(key) for key in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value
