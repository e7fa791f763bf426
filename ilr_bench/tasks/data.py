"""Files of rows: public data sets, from the folder `ILR_BENCH_DATA` or else from the hub, and users' own.

What arrives of a public data set is counted and hashed, so that a truncated or altered copy is refused rather than
scored. The hash covers what matters of each row (`Dataset.text`: as a rule question and gold answer), not how the file
is written: the hub's rows and a file's agree.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import os
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ilr_bench.core.errors import ConfigurationError, MissingInputError
from ilr_bench.storage.files import parse_json

RawRow = Mapping[str, Any]


def every_cell(row: RawRow) -> Iterable[object]:
    """All of a row, in the order of its columns' names."""
    return [row[name] for name in sorted(row)]


@dataclass(frozen=True)
class Dataset:
    """One split of a public data set, under both names."""

    file: str
    """Inside the data folder, such as `gsm8k/test.jsonl`: JSON lines or one JSON list (also with `.gz`), `.csv` or
    `.parquet`."""
    hub: str
    """`owner/name` on the hub."""
    configuration: str
    split: str
    rows: int | None = None
    """How many there are; None: not checked."""
    sha256: str | None = None
    """`rows_hash` of the published rows; None: not checked."""
    text: Callable[[RawRow], Iterable[object]] = every_cell
    """What of a row the hash covers; `operator.itemgetter("problem", "answer")` takes two columns."""


def read_rows(dataset: Dataset) -> list[dict[str, Any]]:
    """All rows in their order.

    Raises MissingInputError where there are none (it names both ways to get them), where a file cannot be read, and
    where number or content of the rows are not those that `dataset` states.
    """
    path = data_path(dataset.file)
    rows = _from_hub(dataset) if path is None else [row for _, row in file_rows(path)]
    origin = f"the data set {dataset.hub} on the hub" if path is None else str(path)
    advice = (
        f"put the published rows into ILR_BENCH_DATA as {dataset.file}"
        if path is None
        else f"fetch the file again, or unset ILR_BENCH_DATA to read {dataset.hub} from the hub"
    )
    if dataset.rows is not None and len(rows) != dataset.rows:
        raise MissingInputError(
            f"{origin}: {len(rows):,} rows where the published split has {dataset.rows:,}; {advice}"
        )
    found = rows_hash(dataset, rows) if dataset.sha256 is not None else None
    if found != dataset.sha256:
        raise MissingInputError(
            f"{origin}: the {len(rows):,} rows are not the published ones, some text was altered (content hash "
            f"{str(found)[:12]}, expected {str(dataset.sha256)[:12]}); {advice}"
        )
    return rows


def rows_hash(dataset: Dataset, rows: Iterable[RawRow]) -> str:
    """SHA-256 over a line per row: the JSON list of what `dataset.text` takes from it.

    White space is left out, and a number counts as its digits, since copies differ in both. Raises
    MissingInputError for a row without the columns that `text` needs.
    """
    texts = []
    for index, row in enumerate(rows):
        try:
            texts.append(tuple(dataset.text(row)))
        except (KeyError, TypeError) as error:
            raise MissingInputError(
                f"{dataset.file}: row {index} is none of {dataset.hub} ({error!r}); get the data set again"
            ) from error
    return hash_of(texts)


def hash_of(rows: Iterable[Iterable[object]]) -> str:
    """SHA-256 over a line per row: the JSON list of its cells, without white space and with numbers as digits."""
    digest = hashlib.sha256()
    for row in rows:
        cells = [_canonical(cell) for cell in row]
        digest.update(json.dumps(cells, ensure_ascii=False).encode() + b"\n")
    return digest.hexdigest()


def data_path(file: str) -> Path | None:
    """A file of the data folder, or None where there is no such folder or file."""
    folder = os.environ.get("ILR_BENCH_DATA")
    path = Path(folder).expanduser() / file if folder else None
    return path if path is not None and path.is_file() else None


def _canonical(cell: object) -> object:
    if isinstance(cell, list | tuple):
        return [_canonical(part) for part in cell]
    return "".join(str(cell).split()) if isinstance(cell, str | int) else cell


_REFERENCE = re.compile(
    r"(?P<path>.*?\.(?:(?:jsonl|ndjson|json|csv|tsv)(?:\.gz)?|parquet|ya?ml|py))(?::(?P<rest>.*))?", re.DOTALL
)
_OUTER = re.compile(r"\.(?:jsonl|ndjson|json|csv|tsv|parquet|ya?ml|py)(?:\.gz)?$")


@dataclass(frozen=True)
class DataFile:
    """A user's file as configurations name it: `mine.jsonl`, `mine.csv:question=prompt:answer=target`, `mine.py:rows`.

    Options follow the path after colons; one that is given several times has several values.
    """

    path: Path
    options: tuple[tuple[str, str], ...]
    function: str | None
    """In a file of Python code."""

    @property
    def name(self) -> str:
        """As in tables and file names: the option `name`, else the file's own without folder and ending."""
        named = self.values("name")
        plain = named[-1] if named else _OUTER.sub("", self.path.name)
        return "".join(sign if sign.isalnum() or sign in "._-" else "_" for sign in plain)

    @property
    def absolute(self) -> str:
        """The same reference from any working directory."""
        function = [] if self.function is None else [self.function]
        rest = [*function, *(f"{key}={value}" for key, value in self.options)]
        return ":".join([str(self.path.expanduser().absolute()), *rest])

    def values(self, key: str) -> tuple[str, ...]:
        """All values of an option, none where it is not given."""
        return tuple(value for name, value in self.options if name == key)


def data_file(reference: str) -> DataFile | None:
    """The file that a name stands for; None for a name that has no ending of a file, such as `gsm8k`."""
    found = _REFERENCE.fullmatch(reference)
    if found is None:
        return None
    parts = found["rest"].split(":") if found["rest"] else []
    function = parts.pop(0) if parts and found["path"].endswith(".py") and "=" not in parts[0] else None
    options = []
    for part in parts:
        key, equals, value = part.partition("=")
        if not equals or not key or not value:
            raise ConfigurationError(
                f"{reference}: {part!r} is no option; write them as {found['path']}:question=COLUMN:answer=COLUMN"
            )
        options.append((key, value))
    return DataFile(Path(found["path"]), tuple(options), function)


FETCH = "fetch the file again"


def file_rows(path: Path, advice: str = FETCH) -> Iterator[tuple[str, Any]]:
    """The rows of a file, each after where it stands (`line 7`, or `row 7` of a `.parquet` file or a JSON list).

    JSON lines or one JSON list, `.csv` or `.tsv` (also with `.gz`), or `.parquet`. Raises MissingInputError, which
    names the line and ends in `advice`, where something cannot be read.
    """
    if path.suffix == ".parquet":
        yield from _numbered("row", _from_parquet(path, advice))
        return
    text = _text(path, advice)
    if {".csv", ".tsv"} & {*path.suffixes[-2:]}:
        yield from _from_table(text, path, advice)
    elif text.lstrip().startswith("["):
        yield from _numbered("row", list(_json(text, path, "the list", advice)))
    else:
        for number, line in enumerate(text.split("\n"), start=1):
            if line.strip():
                yield f"line {number}", _json(line, path, f"line {number}", advice)


def _numbered(unit: str, rows: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    for number, row in enumerate(rows, start=1):
        yield f"{unit} {number}", row


def _text(path: Path, advice: str) -> str:
    data = b""
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise MissingInputError(
            f"{path}, line {line}: cannot be read (byte {data[error.start]:#x} is not UTF-8); {advice}"
        ) from error
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(path, error, advice) from error


def _from_table(text: str, path: Path, advice: str) -> Iterator[tuple[str, Any]]:
    header = text.partition("\n")[0]
    rows = csv.DictReader(io.StringIO(text, newline=""), strict=True, delimiter=max(",;\t", key=header.count))
    try:
        for row in rows:
            inside = sum(str(cell).count("\n") for cell in row.values())
            yield f"line {rows.line_num - inside}", row
    except csv.Error as error:
        raise MissingInputError(f"{path}, line {rows.line_num + 1}: cannot be read ({error}); {advice}") from error


def _unreadable(path: Path, error: Exception, advice: str) -> MissingInputError:
    return MissingInputError(f"{path} cannot be read ({error}); {advice}")


def _json(text: str, path: Path, where: str, advice: str) -> Any:
    try:
        return parse_json(text)
    except ValueError as error:
        what = f"{error.msg} at character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else str(error)
        raise MissingInputError(f"{path}, {where}: no JSON ({what}); {advice}") from error


def _from_parquet(path: Path, advice: str) -> list[dict[str, Any]]:
    # A second to import, for one benchmark in ten.
    import pyarrow
    from pyarrow import parquet

    try:
        rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        raise _unreadable(path, error, advice) from error
    return rows


def _from_hub(dataset: Dataset) -> list[dict[str, Any]]:
    # The library takes seconds to import and is needed for the hub only. Since version 4 it runs no code of a data set.
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError

    try:
        table = load_dataset(dataset.hub, dataset.configuration, split=dataset.split)
    except (OSError, ValueError, DatasetsError) as error:
        reason = str(error).strip().split("\n")[0]
        raise MissingInputError(
            f"{dataset.file} is not here: either set ILR_BENCH_DATA to a folder that holds it, or connect to the hub, "
            f"which has it as the data set {dataset.hub} (accept its terms there if it has any). What the hub's "
            f"library said: {reason}"
        ) from error
    return [dict(row) for row in table]
