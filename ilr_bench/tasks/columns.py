r"""From the rows of a user's file to questions: which columns hold what, and what kind of answers they have.

Columns are named by the user or guessed from their names; `answers` of many forms end as one gold answer: the number
after GSM8K's `####`, what the last `\boxed{}` of a solution holds, a letter for a choice.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from ilr_bench.core.errors import ConfigurationError, did_you_mean
from ilr_bench.tasks.data import DataFile
from ilr_bench.tasks.overlap import normalised
from ilr_bench.tasks.sources.gsm8k import calculations
from ilr_bench.tasks.sources.math import last_box
from ilr_bench.tasks.types import LETTERS, with_options

RowKind = Literal["maths", "code", "choices", "other"]
"""`maths`: numbers and formulas; `choices`: a letter; `other`: a word or a name, compared as text."""
QUESTIONS = ("question", "problem", "prompt", "query", "instruction", "input")
ANSWERS = (
    "answer", "final_answer", "gold", "target", "label", "correct answer", "solution", "output", "response",
    "completion",
)  # fmt: skip
"""Names of columns that are guessed, the first that a file has."""
_OPTION = re.compile(r"(?:(?:option|choice)s?[ _]?)?([a-j]|\d{1,2})|incorrect answer \d+")
_PROGRAM = ("task_id", "prompt", "entry_point", "canonical_solution", "base_input", "plus_input", "atol")
"""Columns of a problem in EvalPlus's format; of them `_NEEDED` must be there."""
_NEEDED = {"prompt", "entry_point", "canonical_solution", "base_input"}
_AMOUNT = re.compile(r"(-?)\$?(\d{1,3}(?:,\d{3})+|\d+)(\.\d+)?")
_AFTER_HASHES = re.compile(r"####\s*(.+?)\s*\Z", re.DOTALL)
_FORMULA = re.compile(r"[\d\\^=]")


@dataclass(frozen=True)
class FileRow:
    """One question of a user's file."""

    id: str
    text: str
    """With the options under their letters, for a choice."""
    gold: str
    where: str
    """Such as `line 7`."""
    steps: tuple[str, ...] = ()
    """GSM8K's `<<48/2=24>>`, as `tasks.types.Question` has them."""
    problem: Mapping[str, Any] | None = None
    """The whole problem in EvalPlus's format, for code."""


@dataclass(frozen=True)
class FileRows:
    """The questions of a file, each once, and how they were read."""

    rows: tuple[FileRow, ...]
    kind: RowKind
    said: str
    """Columns, kind and what was left out, in one line."""


Filled = tuple[str, dict[str, Any]]
"""Where a row stands, and its cells by column."""


@dataclass(frozen=True)
class _Columns:
    question: tuple[str, ...]
    answer: str
    choices: tuple[str, ...]
    id: str | None


def read_columns(file: DataFile, found: Sequence[tuple[str, Any]]) -> FileRows:
    """Questions of the rows `found`, each after where it stands.

    Raises ConfigurationError, with file and line, for a row without question or answer, for two rows that ask the same
    with different answers, and where columns are neither named nor known.
    """
    cells = [(where, _cells(file, where, row)) for where, row in found]
    filled = [(where, row) for where, row in cells if any(not _empty(value) for value in row.values())]
    if not filled:
        raise ConfigurationError(f"{file.path}: no rows; a question and its answer are needed on each line")
    names = list(dict.fromkeys(name for _, row in filled for name in row))
    lower = {name.strip().lower(): name for name in reversed(names)}
    stated = _stated_kind(file)
    kind: RowKind
    if stated == "code" or (stated is None and lower.keys() >= _NEEDED and not file.values("question")):
        rows, kind, said = _programs(file, filled, lower), "code", "programs in EvalPlus's format"
    else:
        rows, kind, said = _answers(file, filled, names, lower, stated)
    kept, twice = _each_once(file, rows)
    left_out = [f"empty rows left out: {len(cells) - len(filled)}"] if len(filled) < len(cells) else []
    left_out += [f"repeated rows left out: {twice}"] if twice else []
    text = "; ".join([f"{file.path}: {len(kept)} questions, {said}, kind {kind}", *left_out])
    return FileRows(kept, kind, text)


def _cells(file: DataFile, where: str, row: Any) -> dict[str, Any]:
    if not isinstance(row, Mapping):
        raise ConfigurationError(f'{file.path}, {where}: no object; write one like {{"question": ..., "answer": ...}}')
    if None in row:
        raise ConfigurationError(
            f"{file.path}, {where}: more cells than the header has columns; put a cell with commas into quotes"
        )
    return {str(name): value for name, value in row.items()}


def _stated_kind(file: DataFile) -> RowKind | None:
    stated = file.values("kind")
    for kind in get_args(RowKind):
        if stated and stated[-1] == kind:
            return cast(RowKind, kind)
    if stated:
        raise ConfigurationError(f"{file.path}: kind={stated[-1]} is none of {', '.join(get_args(RowKind))}")
    return None


def _answers(
    file: DataFile,
    filled: Sequence[Filled],
    names: Sequence[str],
    lower: Mapping[str, str],
    stated: RowKind | None,
) -> tuple[list[FileRow], RowKind, str]:
    columns = _find(file, names, lower)
    if stated == "choices" and not columns.choices:
        raise ConfigurationError(
            f"{file.path}: kind=choices needs options; name their column: {file.path}:choices=COLUMN"
        )
    ids = _ids(filled, columns.id)
    said = f"asked in {' + '.join(columns.question)}, answered in {columns.answer}"
    texts = [_question(file, where, row, columns.question) for where, row in filled]
    if columns.choices and stated in (None, "choices"):
        options = [_options(file, where, row, columns) for where, row in filled]
        letters, shown = _letters(file, filled, columns, options, texts)
        rows = [
            FileRow(name, with_options(text, listed), letter, where)
            for name, text, listed, letter, (where, _) in zip(ids, texts, shown, letters, filled, strict=True)
        ]
        return rows, "choices", f"{said}, options in {', '.join(columns.choices)}"
    rows = []
    for name, text, (where, row) in zip(ids, texts, filled, strict=True):
        value = row.get(columns.answer)
        gold = _gold(file, where, columns.answer, value)
        rows.append(FileRow(name, text, gold, where, calculations(value) if isinstance(value, str) else ()))
    guessed: RowKind = "maths" if all(_FORMULA.search(row.gold) for row in rows) else "other"
    return rows, stated or guessed, f"{said} (such as {rows[0].gold!r})"


def _find(file: DataFile, names: Sequence[str], lower: Mapping[str, str]) -> _Columns:
    def named(key: str) -> tuple[str, ...]:
        for name in file.values(key):
            if name not in names:
                hint = did_you_mean(name, names, f"it has {', '.join(names)}")
                raise ConfigurationError(f"{file.path}: no column {name!r}; {hint}")
        return file.values(key)

    question = named("question") or _guessed_question(lower)
    answer = named("answer")[-1:] or tuple(
        lower[name] for name in ANSWERS if name in lower and lower[name] not in question
    )
    if not question or not answer:
        missing = "questions" if not question else "answers"
        raise ConfigurationError(
            f"{file.path}: which column holds the {missing}? It has {', '.join(names)}; "
            f"name them: {file.path}:question=COLUMN:answer=COLUMN"
        )
    choices = named("choices") or _guessed_choices(lower)
    return _Columns(question, answer[0], choices, (named("id") or (None,))[-1] or lower.get("id"))


def _guessed_question(lower: Mapping[str, str]) -> tuple[str, ...]:
    for pair in (("body", "question"), ("instruction", "input")):  # SVAMP; instructions with what they are about
        if all(name in lower for name in pair):
            return tuple(lower[name] for name in pair)
    return tuple(lower[name] for name in QUESTIONS if name in lower)[:1]


def _guessed_choices(lower: Mapping[str, str]) -> tuple[str, ...]:
    for name in ("choices", "options"):
        if name in lower:
            return (lower[name],)
    found = tuple(sorted(name for name in lower if _OPTION.fullmatch(name)))
    return tuple(lower[name] for name in found) if len(found) > 1 else ()


def _ids(filled: Sequence[Filled], column: str | None) -> list[str]:
    """Those of the file where each row has one of its own, else numbers: none depends on the file's name."""
    stated = [str(row.get(column, "")).strip() for _, row in filled] if column is not None else []
    if stated and all(stated) and len({*stated}) == len(stated):
        return stated
    return [f"row-{number:04d}" for number in range(1, len(filled) + 1)]


def _question(file: DataFile, where: str, row: Mapping[str, Any], columns: Sequence[str]) -> str:
    parts = [str(row.get(name)).strip() for name in columns if not _empty(row.get(name))]
    if not parts:
        raise ConfigurationError(
            f"{file.path}, {where}: no question in {' + '.join(columns)}; fill it or remove the row"
        )
    return " ".join(parts)


def _gold(file: DataFile, where: str, column: str, value: Any) -> str:
    if isinstance(value, list | tuple) and len(value) == 1:
        value = value[0]
    if _empty(value):
        raise ConfigurationError(f"{file.path}, {where}: no answer in {column}; fill it or remove the row")
    if isinstance(value, list | tuple | dict):
        raise ConfigurationError(f"{file.path}, {where}: {column} holds {value!r}; one answer is needed")
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)  # a table with an empty cell makes 12.0 of 12
    text = str(value).strip()
    if after := _AFTER_HASHES.search(text):
        text = after[1].split("####")[-1].strip()
    elif r"\boxed" in text:
        text = last_box(text) or ""
        if not text:
            raise ConfigurationError(
                f"{file.path}, {where}: the \\boxed{{}} in {column} is empty or not closed; mend it"
            )
    elif column.strip().lower() == "solution" and len(text.split()) > 3:
        raise ConfigurationError(
            f"{file.path}, {where}: the solution holds no \\boxed{{answer}}; box it, or name another column: "
            f"{file.path}:answer=COLUMN"
        )
    amount = _AMOUNT.fullmatch(text)
    return amount[1] + amount[2].replace(",", "") + (amount[3] or "") if amount else text


def _options(file: DataFile, where: str, row: Mapping[str, Any], columns: _Columns) -> list[str]:
    found: Any = [row.get(name) for name in columns.choices]
    if len(columns.choices) == 1:
        found = found[0].get("text") if isinstance(found[0], Mapping) else found[0]
    options = [str(option).strip() for option in found if not _empty(option)] if isinstance(found, list | tuple) else []
    if not 2 <= len(options) + _is_gpqa(columns) <= len(LETTERS):
        raise ConfigurationError(
            f"{file.path}, {where}: {len(options)} options in {', '.join(columns.choices)}; 2 to {len(LETTERS)} are "
            "needed, as a list or in a column each"
        )
    return options


def _is_gpqa(columns: _Columns) -> bool:
    """Whether the options are the wrong ones, and the right one stands apart."""
    return columns.choices[0].lower().startswith("incorrect")


def _letters(
    file: DataFile, filled: Sequence[Filled], columns: _Columns, options: list[list[str]], texts: Sequence[str]
) -> tuple[list[str], list[list[str]]]:
    """The right option's letter and the options as listed, row by row.

    An answer is the text of an option, its letter, or its number, in the same way in all rows.
    """
    given = [_gold(file, where, columns.answer, row.get(columns.answer)) for where, row in filled]
    if _is_gpqa(columns):
        options = [[right, *wrong] for right, wrong in zip(given, options, strict=True)]
        for text, listed in zip(texts, options, strict=True):
            random.Random(f"options {text}").shuffle(listed)
    first = 0 if "0" in given else 1
    ways = [
        [_by_text(answer, listed) for answer, listed in zip(given, options, strict=True)],
        [_by_letter(answer, listed) for answer, listed in zip(given, options, strict=True)],
        [_by_number(answer, listed, first) for answer, listed in zip(given, options, strict=True)],
    ]
    places = min(ways, key=lambda way: way.count(None))
    if None in places:
        number = places.index(None)
        raise ConfigurationError(
            f"{file.path}, {filled[number][0]}: {given[number]!r} is none of the options; write the right one's text "
            "or letter, in the same way in all rows"
        )
    last = any(place == len(listed) - 1 for place, listed in zip(places, options, strict=True))
    if places is ways[2] and first == 1 and not last:
        raise ConfigurationError(
            f"{file.path}: {columns.answer} holds numbers, and neither 0 nor the last one is among them, so it is not "
            "known from where options are counted; write letters (A, B, ...)"
        )
    return [LETTERS[place] for place in places if place is not None], options


def _by_text(answer: str, options: Sequence[str]) -> int | None:
    return options.index(answer) if options.count(answer) == 1 else None


def _by_letter(answer: str, options: Sequence[str]) -> int | None:
    letter = answer.strip("(). ").upper()
    place = LETTERS.find(letter) if len(letter) == 1 else -1
    return place if 0 <= place < len(options) else None


def _by_number(answer: str, options: Sequence[str], first: int) -> int | None:
    place = int(answer) - first if answer.isdecimal() else -1
    return place if 0 <= place < len(options) else None


def _programs(file: DataFile, filled: Sequence[Filled], lower: Mapping[str, str]) -> list[FileRow]:
    rows = []
    ids = _ids(filled, lower.get("task_id"))
    for name, (where, row) in zip(ids, filled, strict=True):
        problem = {key: row.get(lower[key]) for key in _PROGRAM if key in lower} | {"task_id": name}
        for key in sorted(_NEEDED):
            if _empty(problem.get(key)):
                raise ConfigurationError(f"{file.path}, {where}: no {key}; EvalPlus's format needs it")
        whole = {"plus_input": [], "atol": 0, "contract": ""} | problem
        rows.append(FileRow(name, str(problem["prompt"]), str(problem["canonical_solution"]), where, (), whole))
    return rows


def _each_once(file: DataFile, rows: Sequence[FileRow]) -> tuple[tuple[FileRow, ...], int]:
    """The rows without repetitions, and how many those were; raises ConfigurationError where answers differ."""
    first: dict[str, FileRow] = {}
    differ = []
    for row in rows:
        known = first.setdefault(normalised(row.text), row)
        if known.gold != row.gold:
            differ.append((known, row))
    if differ:
        known, row = differ[0]
        more = f" ({len(differ)} such pairs)" if len(differ) > 1 else ""
        raise ConfigurationError(
            f"{file.path}, {known.where} and {row.where} ask the same, with the answers {known.gold!r} and "
            f"{row.gold!r}{more}; keep one of them"
        )
    return tuple(first.values()), len(rows) - len(first)


def _empty(value: Any) -> bool:
    if isinstance(value, float) and value != value:  # NaN
        return True
    return value is None or (isinstance(value, str) and not value.strip()) or value in ([], {})
