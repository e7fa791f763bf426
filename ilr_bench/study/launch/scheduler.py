"""Jobs, who hands them out, who runs them, and the one loop between the two.

A *source* names the jobs that may start now (a list of jobs with needs is the simplest one), an *executor* runs
them somewhere else, and `run_jobs` passes jobs one way and news the other. What may succeed at another attempt (a
worker that died, hung or ran out of memory) is started again; trials continue from their last checkpoint.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ilr_bench.core.signals import Interrupt, Stopped

RETRIES = 2


@dataclass(frozen=True)
class Job:
    """A function call for a worker, and the jobs that must have succeeded before."""

    name: str
    function: Callable[..., None]
    """Of a module: workers look it up by its name."""
    arguments: tuple[Any, ...]
    needs: tuple[str, ...] = ()
    resources: Mapping[str, float] = field(default_factory=dict)
    """What a cluster has to hold ready beside one core: `memory` in bytes."""
    heeds_stop: bool = True
    """Whether it ends soon after a request to stop; else it is killed, which must lose nothing but its own time."""


@dataclass(frozen=True)
class Failure:
    """Why a job did not succeed."""

    message: str
    status: int | None
    """Exit status of its error; None where it was not run because another one failed."""
    passing: bool = False
    """Whether another attempt may succeed."""
    tail: str = ""
    """Last lines of its log, where the message alone does not tell what happened."""


@dataclass(frozen=True)
class Event:
    """News of a job: its start, units of work `done`, a new attempt, or its end (`error` empty if it succeeded)."""

    job: str
    done: float = 0.0
    ended: bool = False
    error: str = ""
    failure: Failure | None = None
    """Of the attempt that is over: the job starts `again`, or has `ended`."""
    again: bool = False
    begun: bool = False
    """It has been handed to a worker, who may be long in telling more."""


@dataclass(frozen=True)
class JobEnd:
    """The end of a job, from an executor."""

    job: str
    failure: Failure | None = None


class Executor(Protocol):
    """Runs jobs somewhere else than in this thread."""

    @property
    def slots(self) -> int:
        """Jobs that it takes at a time."""

    def start(self, job: Job) -> None:
        """Takes a job; called at most `slots` times more than jobs have ended."""

    def wait(self, interrupt: Interrupt | None) -> Sequence[Event | JobEnd]:
        """Blocks until there is news, which may be none, or until `interrupt` comes."""

    def stop(self) -> None:
        """Asks what runs to end where everything is saved; kills jobs that do not heed that."""

    def close(self) -> None:
        """Ends all workers at once."""


class JobSource(Protocol):
    """Hands out jobs while others run."""

    def ready(self) -> list[Job]:
        """New jobs that may start now; called first of all, and after every end."""

    def ended(self, job: Job, failure: Failure | None) -> None:
        """Takes note of a job that succeeded, or failed for good."""


class JobGraph:
    """A source for jobs that are all known: each starts when those it needs have succeeded, in the order given."""

    def __init__(self, jobs: Iterable[Job], skip: Callable[[Job, Failure], None]) -> None:
        """`skip` is called for jobs that are not run because another one failed."""
        self._waiting = list(jobs)
        self._skip = skip
        self._done: set[str] = set()
        self._failed: set[str] = set()

    def ready(self) -> list[Job]:
        """See `JobSource`."""
        while lost := [job for job in self._waiting if not self._failed.isdisjoint(job.needs)]:
            for job in lost:
                culprit = next(need for need in job.needs if need in self._failed)
                self._failed.add(job.name)
                self._waiting.remove(job)
                self._skip(job, Failure(f"not run, because {culprit} failed", None))
        ready = [job for job in self._waiting if self._done.issuperset(job.needs)]
        self._waiting = [job for job in self._waiting if job not in ready]
        return ready

    def ended(self, job: Job, failure: Failure | None) -> None:
        """See `JobSource`."""
        (self._done if failure is None else self._failed).add(job.name)


def run_jobs(
    jobs: Sequence[Job] | JobSource,
    executor: Executor,
    watch: Callable[[Event], None],
    retries: int = RETRIES,
    interrupt: Interrupt | None = None,
) -> dict[str, Failure]:
    """Runs jobs until nothing runs and the source has nothing ready; returns job -> failure for those that failed.

    A passing failure costs a job one of its `retries`. After `interrupt` no job starts, those that run are asked to
    stop, and Stopped is raised when the last one has ended.
    """
    failed: dict[str, Failure] = {}

    def lose(job: Job, failure: Failure) -> None:
        failed[job.name] = failure
        watch(Event(job.name, ended=True, error=failure.message, failure=failure))

    source = JobGraph(jobs, lose) if isinstance(jobs, Sequence) else jobs
    waiting = deque(source.ready())
    running: dict[str, Job] = {}
    attempts: Counter[str] = Counter()
    stopping = False
    while running or (waiting and not stopping):
        while waiting and not stopping and len(running) < executor.slots:
            job = waiting.popleft()
            running[job.name] = job
            attempts[job.name] += 1
            executor.start(job)
            watch(Event(job.name, begun=True))
        for news in executor.wait(None if stopping else interrupt):
            if isinstance(news, Event):
                watch(news)
                continue
            job, failure = running.pop(news.job), news.failure
            if failure is not None and failure.passing:
                if stopping:
                    continue
                if attempts[job.name] <= retries:
                    watch(Event(job.name, error=failure.message, failure=failure, again=True))
                    waiting.appendleft(job)
                    continue
            del attempts[job.name]  # a source may name another job like one that has ended
            if failure is None:
                watch(Event(job.name, ended=True))
            else:
                lose(job, failure)
            source.ended(job, failure)
            if not stopping:
                waiting.extend(source.ready())
        if interrupt is not None and interrupt.signal is not None and not stopping:
            stopping = True
            executor.stop()
    if interrupt is not None and interrupt.signal is not None:
        raise Stopped(f"stopped by {interrupt.signal.name}; what has been done is saved", interrupt.signal)
    return failed


_subscriber: Callable[[Event], None] | None = None


def emit(event: Event) -> None:
    """Called where a job runs: passes news on to the process that shows progress."""
    if _subscriber is not None:
        _subscriber(event)


def subscribe(subscriber: Callable[[Event], None]) -> None:
    """Has the news of the jobs in this process passed to `subscriber`."""
    global _subscriber
    _subscriber = subscriber
