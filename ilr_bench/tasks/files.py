"""A user's own file of questions, as a benchmark or as a question source (docs/own-data.md).

It is named where a benchmark's or a source's name stands: `mine.jsonl`, `mine.csv:question=prompt:answer=target`. What
counts of it are its rows: neither where it lies nor what it is called changes a number.
"""

from __future__ import annotations

import hashlib
import inspect
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache, lru_cache, partial
from multiprocessing import parent_process
from typing import Any, Literal

from ilr_bench.core.console import note
from ilr_bench.core.errors import ConfigurationError, MissingInputError, did_you_mean, first_line
from ilr_bench.core.plugins import load_reference
from ilr_bench.tasks.columns import FileRow, FileRows, RowKind, read_columns
from ilr_bench.tasks.data import DataFile, data_file, file_rows
from ilr_bench.tasks.overlap import normalised
from ilr_bench.tasks.sources import SOURCES
from ilr_bench.tasks.types import BENCHMARKS, GROUPS, Benchmark, BenchmarkQuestion, Question, QuestionSource

OPTIONS = ("question", "answer", "choices", "id", "kind", "name", "tokens")
"""What may follow the path, as `:kind=other`."""
_MEND = "mend it, and save the file as UTF-8"
_DEFAULT_FUNCTION = "questions"

_Subject = Literal["maths", "code", "general"]
_FORMS: dict[RowKind, tuple[Literal["answer", "choice", "code"], _Subject]] = {
    "maths": ("answer", "maths"),
    "choices": ("choice", "general"),
    "code": ("code", "code"),
    "other": ("answer", "general"),
}
"""Kind of a file -> kind and subject of its benchmark."""


def file_benchmark(file: DataFile) -> Benchmark:
    """A file as a benchmark; its rows are read now, and again where the file changes.

    Raises ConfigurationError and MissingInputError, with file and line, for what is wrong with it.
    """
    _check_name(file, "benchmark", file.name in BENCHMARKS or file.name in GROUPS)
    found = _made(file)
    if isinstance(found, Benchmark):
        return found
    rows = _read(file)
    kind, subject = _FORMS[rows.kind]
    return Benchmark(
        name=file.name,
        column=file.name,
        summary=rows.said,
        kind=kind,
        domain="out-of-domain",
        subject=subject,
        load=partial(_benchmark_rows, file),
        max_new_tokens=_tokens(file),
        size=len(rows.rows),
        own=True,
    )


def question_source(name: str) -> QuestionSource:
    """The source of a name, or of a file; raises ConfigurationError and MissingInputError."""
    file = data_file(name)
    if file is None:
        return SOURCES.get(name)
    _check_name(file, "question source", file.name in SOURCES)
    found = _made(file)
    if isinstance(found, QuestionSource):
        return found
    if _takes_counts(found):
        return QuestionSource(file.name, found)
    return QuestionSource(file.name, partial(_split, file))


def _check_name(file: DataFile, what: str, taken: bool) -> None:
    for key, _ in file.options:
        if key not in OPTIONS:
            hint = did_you_mean(key, OPTIONS, f"there are {', '.join(OPTIONS)}")
            raise ConfigurationError(f"{file.path}: unknown option {key}; {hint}")
    if taken:
        raise ConfigurationError(
            f"{file.path}: {file.name} is a {what} of this program already; say another name: "
            f"{file.path}:name=my_{file.name}"
        )


def _tokens(file: DataFile) -> int | None:
    stated = file.values("tokens")
    if stated and not (stated[-1].isdecimal() and int(stated[-1]) > 0):
        raise ConfigurationError(f"{file.path}: tokens={stated[-1]} is no number of tokens")
    return int(stated[-1]) if stated else None


def _benchmark_rows(file: DataFile) -> tuple[BenchmarkQuestion, ...]:
    return tuple(BenchmarkQuestion(row.id, row.text, row.gold, row.problem) for row in _read(file).rows)


def _split(file: DataFile, train: int, validation: int) -> tuple[tuple[Question, ...], tuple[Question, ...]]:
    """Training and validation questions: the two ends of one order that the hashes of the texts give.

    So a row that is edited, added or moved changes no other row's part, but for those at the borders.
    """
    rows = _read(file)
    if rows.kind == "code":
        raise ConfigurationError(
            f"{file.path}: programs cannot be learnt from here, only evaluated; name it as a benchmark"
        )
    count = len(rows.rows)
    if train + validation > count:
        held = max(1, count // 5)
        advice = (
            f"set questions.train={count - held} and questions.validation={held}, or less" if count > 1 else "add some"
        )
        raise ConfigurationError(
            f"{file.path}: {count} questions, {train} for training and {validation} for validation asked for; {advice}"
        )
    ordered = sorted(rows.rows, key=lambda row: hashlib.sha256(normalised(row.text).encode()).digest())
    _say_once(f"{file.path}: {train} questions to train on, {validation} others to validate, chosen by their texts")
    return tuple(map(_question, ordered[:train])), tuple(map(_question, ordered[count - validation :]))


def _question(row: FileRow) -> Question:
    return Question(row.id, row.text, row.gold, row.steps)


def _read(file: DataFile) -> FileRows:
    """The questions of a file as it is now; columns and kind are said once."""
    try:
        state = file.path.expanduser().stat()
    except OSError as error:
        raise MissingInputError(
            f"{file.path}: {error.strerror or 'cannot be read'}; name a file as seen from the working directory"
        ) from error
    found = _read_state(file, (state.st_size, state.st_mtime_ns, state.st_ino))
    _say_once(found.said)
    return found


@lru_cache(maxsize=16)
def _read_state(file: DataFile, state: tuple[int, ...]) -> FileRows:
    """Read once for everything that asks; `state`: what changes where the file does."""
    path = file.path.expanduser()
    if path.suffix == ".py":
        return read_columns(file, list(_from_code(file)))
    if path.suffix in (".yaml", ".yml"):
        return read_columns(file, list(_from_task(file)))
    return read_columns(file, list(file_rows(path, _MEND)))


def _made(file: DataFile) -> Any:
    """What the function or value in a file of Python code is; None for a file of another kind."""
    if file.path.suffix != ".py":
        return None
    return load_reference(f"{file.path.expanduser()}:{file.function or _DEFAULT_FUNCTION}")[0]


def _takes_counts(found: Any) -> bool:
    """Whether a function makes both parts itself, of the numbers of training and validation questions."""
    with suppress(TypeError, ValueError):
        return callable(found) and len(inspect.signature(found).parameters) >= 2
    return False


def _from_code(file: DataFile) -> Iterator[tuple[str, Any]]:
    found = _made(file)
    rows = found() if callable(found) else found
    if not isinstance(rows, Iterable) or isinstance(rows, str | bytes | Mapping):
        raise ConfigurationError(
            f"{file.path}: {file.function or _DEFAULT_FUNCTION} gives {type(rows).__name__}; let it return rows like "
            '[{"question": "1+1?", "answer": "2"}]'
        )
    for number, row in enumerate(rows, start=1):
        yield f"row {number}", row


def _from_task(file: DataFile) -> Iterator[tuple[str, Any]]:
    """The rows of a task in lm-eval's format, by its own `doc_to_text`, `doc_to_target` and `doc_to_choice`."""
    # lm-eval takes seconds to import.
    import datasets
    from datasets.exceptions import DatasetsError
    from lm_eval.tasks import TaskManager
    from yaml import YAMLError  # type: ignore[import-untyped]

    path = file.path.expanduser()
    datasets.disable_progress_bars()
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    try:
        tasks = TaskManager(include_defaults=False, include_path=str(path.parent)).load([str(path)])["tasks"]
        if len(tasks) != 1:
            raise ConfigurationError(f"{file.path}: {len(tasks)} tasks; name the file of a single one")
        (task,) = tasks.values()
        rows = [_task_row(task, document) for document in task.eval_docs]
    except (OSError, ValueError, KeyError, TypeError, ImportError, AttributeError, YAMLError, DatasetsError) as error:
        raise MissingInputError(
            f"{file.path}: lm-eval cannot load it as a task ({first_line(error)}); try `lm-eval validate`, or name the "
            "file of rows itself"
        ) from error
    yield from ((f"row {number}", row) for number, row in enumerate(rows, start=1))


def _task_row(task: Any, document: Any) -> dict[str, Any]:
    asked, target = task.doc_to_text(document), task.doc_to_target(document)
    if task.OUTPUT_TYPE != "multiple_choice":
        return {"question": asked, "answer": target}
    choices = task.doc_to_choice(document)
    return {"question": asked, "answer": choices[target] if isinstance(target, int) else target, "choices": choices}


@cache
def _say_once(text: str) -> None:
    """To the person at the terminal, not to every worker's log."""
    if parent_process() is None:
        note(text)
