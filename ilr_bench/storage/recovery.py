"""Recovery from a shortage of memory, and a report of batches whose numbers are not finite.

Events go to the log and to the trial's `events.jsonl`, a broken batch to a file under `broken/`: both are outside the
promise of equal bytes and outside every hash.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from ilr_bench.core.errors import MemoryShortageError, NumericalError, first_line
from ilr_bench.storage.files import write_atomic
from ilr_bench.storage.store import BROKEN, EVENTS

T = TypeVar("T")
_log = logging.getLogger(__name__)


class BrokenBatchError(NumericalError):
    """Numbers that are not finite, with the batch they came from."""

    def __init__(self, message: str, name: str, batch: Mapping[str, Any]) -> None:
        """`name` of the file that the batch goes into; `batch` is JSON data."""
        super().__init__(message)
        self.name = name
        self.batch = batch


@contextmanager
def log_incidents(folder: Path) -> Iterator[None]:
    """Within it incidents are logged in a trial's folder too, and a broken batch is saved there.

    Raises NumericalError naming its file instead of BrokenBatchError.
    """
    handler = _EventFile(folder / EVENTS)
    _log.addHandler(handler)
    try:
        yield
    except BrokenBatchError as error:
        path = folder / BROKEN / error.name
        write_atomic(path, json.dumps(error.batch, indent=1) + "\n")
        log_incident("a batch broke and was saved", file=f"{BROKEN}/{error.name}")
        raise NumericalError(f"{error}. The batch is in {path}, earlier checkpoints are as they were") from error
    finally:
        _log.removeHandler(handler)


def log_incident(what: str, **facts: Any) -> None:
    """Logs what happened, also in the folder of `log_incidents`; `facts` are JSON data."""
    message = ", ".join(f"{key}: {value}" for key, value in facts.items())
    _log.warning("%s (%s)", what, message, extra={"event": {"event": what} | facts})


def retry_smaller_batch(rows: int, attempt: Callable[[int], T], what: str, setting: str) -> T:
    """What `attempt(rows)` gives, with half as many rows whenever it runs out of memory.

    `what` names the work in log and error, `setting` the configuration key that lowers its rows. A failed attempt must
    leave nothing behind. Raises MemoryShortageError where one row does not fit.
    """
    while True:
        try:
            return attempt(rows)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if rows <= 1:
                raise MemoryShortageError(
                    f"{what}: out of memory with a single row ({first_line(error)}); take a smaller model, shorter "
                    "turns (sampling.max_new_tokens, sampling.max_prompt_tokens), update.gradient_checkpointing=true, "
                    "update.adapter=lora, or a machine with more memory"
                ) from error
            reason = first_line(error)
        # After the handler, since the error's frames hold the tensors of the attempt.
        _release()
        log_incident(
            f"{what}: out of memory, repeated with half the rows; sums may differ in their last bits",
            rows=rows,
            then=rows // 2,
            setting=setting,
            error=reason,
        )
        rows //= 2


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that the machine or a graphics card has no memory left; needs no torch."""
    named = any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__)
    return named or isinstance(error, MemoryError) or "can't allocate memory" in str(error)


def _release() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()


class _EventFile(logging.Handler):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def emit(self, record: logging.LogRecord) -> None:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="seconds")
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"time": time} | record.__dict__["event"]) + "\n")
