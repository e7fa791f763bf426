"""Public data sets: read in every form, counted, hashed, and refused in words."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from operator import itemgetter
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from ilr_bench.core.errors import MissingInputError
from ilr_bench.tasks.data import Dataset, read_rows, rows_hash

ROWS: list[dict[str, object]] = [
    {"question": "Ein wie großes Feld?\nSay.", "answer": "4", "parts": ["a", "b"], "level": 1},
    {"question": "2 + 2", "answer": "4", "parts": ["c"], "level": 2},
]
TEXT = itemgetter("question", "answer", "parts", "level")
DATASET = Dataset("set/test.jsonl", "owner/set", "default", "test", text=TEXT)


def json_lines(rows: Sequence[object]) -> bytes:
    return "".join(json.dumps(row) + "\n\n" for row in rows).encode()


def json_list(rows: Sequence[object]) -> bytes:
    return json.dumps(rows, indent=1, ensure_ascii=False).encode()


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, bytes], Dataset]:
    """Writes a file of the data folder; its data set checks for ROWS."""
    monkeypatch.setenv("ILR_BENCH_DATA", str(tmp_path))
    (tmp_path / "set").mkdir()

    def write(name: str, content: bytes) -> Dataset:
        (tmp_path / "set" / name).write_bytes(content)
        return replace(DATASET, file=f"set/{name}", rows=len(ROWS), sha256=rows_hash(DATASET, ROWS))

    return write


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.jsonl", json_lines(ROWS)),
        ("rows.json", json_lines(ROWS)),
        ("rows.json", json_list(ROWS)),
        ("rows.jsonl", b"\xef\xbb\xbf" + json_lines(ROWS).replace(b"\n", b"\r\n")),
        ("rows.json", b"\xef\xbb\xbf" + json_list(ROWS).replace(b"\n", b"\r\n")),
        ("rows.jsonl.gz", gzip.compress(json_lines(ROWS))),
    ],
)
def test_every_way_of_writing_them_gives_the_same_rows(
    name: str, content: bytes, put: Callable[[str, bytes], Dataset]
) -> None:
    assert read_rows(put(name, content)) == ROWS


def test_parquet_and_csv_are_read(put: Callable[[str, bytes], Dataset], tmp_path: Path) -> None:
    parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "rows.parquet")
    assert read_rows(put("rows.parquet", (tmp_path / "rows.parquet").read_bytes())) == ROWS
    table = put("rows.csv", b'Question,"Correct Answer"\r\n"a, b\nc",4\r\n')
    assert read_rows(replace(table, rows=1, sha256=None)) == [{"Question": "a, b\nc", "Correct Answer": "4"}]


def test_the_hash_sees_text_and_order_and_neither_spacing_nor_other_columns() -> None:
    published = rows_hash(DATASET, ROWS)
    spaced = [row | {"question": f" {row['question']}\r\n", "level": str(row["level"]), "new": 7} for row in ROWS]
    assert rows_hash(DATASET, spaced) == published
    for altered in (
        ROWS[::-1],
        ROWS[:1],
        [ROWS[0], ROWS[1] | {"answer": "5"}],
        [ROWS[0] | {"parts": ["ab"]}, ROWS[1]],
    ):
        assert rows_hash(DATASET, altered) != published
    whole = Dataset("set/test.jsonl", "owner/set", "default", "test")
    assert rows_hash(whole, spaced) != rows_hash(whole, ROWS)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (ROWS[:1], r"rows.jsonl: 1 rows where the published split has 2; fetch the file again, or unset ILR_BENCH"),
        ([ROWS[0], ROWS[0]], r"rows.jsonl: .* some text was altered \(content hash \w{12}, expected \w{12}\); fetch"),
        ([ROWS[0], {"text": "x"}], r"set/rows.jsonl: row 1 is none of owner/set \(KeyError\('question'\)\)"),
        ([ROWS[0], ["x"]], r"set/rows.jsonl: row 1 is none of owner/set"),
    ],
)
def test_other_rows_than_the_published_ones_are_refused(
    rows: Sequence[object], message: str, put: Callable[[str, bytes], Dataset]
) -> None:
    with pytest.raises(MissingInputError, match=message):
        read_rows(put("rows.jsonl", json_lines(rows)))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.jsonl", json_lines(ROWS)[:-20]),
        ("rows.json", json_list(ROWS)[:-20]),
        ("rows.jsonl.gz", gzip.compress(json_lines(ROWS))[:-20]),
        ("rows.jsonl.gz", json_lines(ROWS)),
        ("rows.jsonl", b"\xff\xfe"),
        ("rows.parquet", b"PAR1 and then nothing"),
        ("rows.csv", b'a,b\n"cut'),
    ],
)
def test_torn_files_are_refused_by_name(name: str, content: bytes, put: Callable[[str, bytes], Dataset]) -> None:
    with pytest.raises(MissingInputError, match=rf"{name}.*fetch the file again"):
        read_rows(put(name, content))


def test_missing_data_name_both_ways_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ILR_BENCH_DATA", str(tmp_path))
    with pytest.raises(
        MissingInputError, match=r"set/test.jsonl is not here: .* ILR_BENCH_DATA .* the hub, .*owner/set"
    ):
        read_rows(DATASET)


def test_rows_of_the_hub_are_checked_as_a_file_is(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    asked: list[object] = []

    def load_dataset(*name: str, split: str) -> list[dict[str, object]]:
        asked.append((*name, split))
        return ROWS

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.delenv("ILR_BENCH_DATA", raising=False)
    published = replace(DATASET, rows=2, sha256=rows_hash(DATASET, ROWS))
    assert read_rows(published) == ROWS
    assert asked == [("owner/set", "default", "test")]
    with pytest.raises(MissingInputError, match=r"owner/set on the hub: 2 rows .* 3; put the published rows into"):
        read_rows(replace(published, rows=3))
