"""The workers of one study and the rules they work by; what went wrong is noted in the study's `failures.jsonl`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from ilr_bench.core.interrupt import Interrupt, interruptible
from ilr_bench.storage.files import explained
from ilr_bench.study.launch.choice import Execution, open_executor
from ilr_bench.study.launch.process import log_name
from ilr_bench.study.launch.scheduler import Event, Executor, Failure, Job, Source, run_jobs
from ilr_bench.study.tracking import make_loggers
from ilr_bench.study.tracking.study_log import StudyLog

FAILURES = "failures.jsonl"
"""A line per attempt that failed; outside the promise of equal bytes."""


class Crew:
    """Runs jobs for a study until it is stopped."""

    def __init__(
        self, out: Path, execution: Execution, executor: Executor, interrupt: Interrupt | None, log: StudyLog
    ) -> None:
        self._out, self._execution, self._executor, self._interrupt = out, execution, executor, interrupt
        self._log = log

    @property
    def stopped(self) -> bool:
        """Whether a signal has asked to stop."""
        return self._interrupt is not None and self._interrupt.signal is not None

    def run(self, jobs: Sequence[Job] | Source, watch: Callable[[Event], None]) -> dict[str, Failure]:
        """See `run_jobs`. Raises Stopped once all that ran has been saved after a signal."""

        def note_and_watch(event: Event) -> None:
            if event.failure is not None:
                self._note(event, event.failure)
            watch(event)
            self._log(event)

        return run_jobs(jobs, self._executor, note_and_watch, self._execution.retries, self._interrupt)

    def _note(self, event: Event, failure: Failure) -> None:
        line = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "job": event.job,
            "outcome": "retried" if event.again else "failed" if failure.status is not None else "not run",
            "message": failure.message,
            "log": f"logs/{log_name(event.job)}",
            "tail": failure.tail,
        }
        path = self._out / FAILURES
        with explained(path), path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


@contextmanager
def hired(out: Path, execution: Execution) -> Iterator[Crew]:
    """A crew for a study's folder; its workers end with the context. Raises what `open_executor` raises."""
    # In this order: Ray has handlers of its own.
    with (
        closing(open_executor(execution, out)) as executor,
        interruptible() as interrupt,
        StudyLog(out, make_loggers(execution.log)) as log,
    ):
        yield Crew(out, execution, executor, interrupt, log)


def note_time(out: Path, **what: float) -> None:
    """Adds a line to the study's `timing.jsonl`."""
    path = out / "timing.jsonl"
    with explained(path), path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(what) + "\n")
