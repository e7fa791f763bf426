"""What the store promises when a run is killed, a disk is full or a file is altered."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from processes import contents, run_python

from ilr_bench.core.errors import StoreError
from ilr_bench.storage.checkpoints import save_checkpoint
from ilr_bench.storage.files import write_atomic
from ilr_bench.storage.store import Artifacts, RecordFile, append_records, lock_study


@dataclass(frozen=True)
class Line:
    step: int
    text: str = ""


def write_weights(value: str):
    def write(folder: Path) -> None:
        for agent in ("A", "B"):
            (folder / agent).mkdir()
            (folder / agent / "weights").write_text(value * 100)

    return write


# --- single files ---------------------------------------------------------------------------------------------------


def test_write_atomic_replaces_the_whole_file_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "result.json"
    write_atomic(path, "long earlier text")
    write_atomic(path, b"new")
    assert contents(tmp_path) == {"deep/result.json": b"new"}


LIMITED = """
    import resource, sys
    from pathlib import Path
    from ilr_bench.storage import files
    from ilr_bench.core.errors import StoreError
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    try:
        {call}
    except StoreError as error:
        print(error)
    """


def test_a_write_that_does_not_fit_on_the_disk_leaves_the_earlier_file_intact(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_atomic(path, "earlier")
    process = run_python(LIMITED.format(call="files.write_atomic(Path(sys.argv[1]), 'x' * 5000)"), str(path))
    output, errors = process.communicate(timeout=60)
    assert output.count("\n") == 1, errors
    assert f"cannot write {path}" in output
    assert contents(tmp_path) == {"result.json": b"earlier"}


@pytest.mark.parametrize(
    "call",
    [
        lambda folder: write_atomic(folder / "inner" / "file", "x"),
        lambda folder: append_records(folder / "records.jsonl", [Line(1)]),
        lambda folder: Artifacts(folder).get({"a": 1}, write_weights("a")),
        lambda folder: save_checkpoint(folder, 1, write_weights("a")),
        lambda folder: lock_study(folder).__enter__(),
    ],
    ids=["write_atomic", "append_records", "artifacts", "save_checkpoint", "lock_study"],
)
def test_a_file_where_a_folder_is_needed_is_one_clear_line(tmp_path: Path, call) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(StoreError, match="a file lies where a folder is needed") as caught:
        call(tmp_path / "taken")
    assert "\n" not in str(caught.value)
    assert (tmp_path / "taken").read_text() == "a file"


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "free some space and run the same command again"),
        (errno.EDQUOT, "free some space and run the same command again"),
        (errno.EROFS, "read-only; choose another folder"),
        (errno.EACCES, "choose a folder that you may write to"),
        (errno.EIO, "the disk reports an error"),
    ],
)
def test_what_the_disk_refuses_is_one_clear_line_and_leaves_the_earlier_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, advice: str
) -> None:
    path = tmp_path / "result.json"
    write_atomic(path, "earlier")

    def refuse(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StoreError, match=advice) as caught:
        write_atomic(path, "later")
    assert str(path) in str(caught.value)
    assert contents(tmp_path) == {"result.json": b"earlier"}


# --- records ---------------------------------------------------------------------------------------------------------


@given(
    before=st.lists(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=3), max_size=4),
    after=st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=3),
    torn=st.binary(max_size=5),
)
@settings(max_examples=40, deadline=None)
def test_records_return_to_what_was_noted_and_go_on_from_there(tmp_path_factory, before, after, torn) -> None:
    path = tmp_path_factory.mktemp("records") / "train.jsonl"
    written = RecordFile(path)
    for step, texts in enumerate(before):
        written.append([Line(step, text) for text in texts])
    noted, wanted = written.noted(), path.read_bytes() if path.exists() else b""
    written.append([Line(9, text) for text in after])
    if path.exists():
        path.write_bytes(path.read_bytes() + torn)

    resumed = RecordFile(path)
    assert resumed.begins_with(noted)
    resumed.return_to(noted)
    assert (path.read_bytes() if path.exists() else b"") == wanted
    assert resumed.noted() == noted
    resumed.append([Line(9, text) for text in after])
    assert resumed.noted() == written.noted()


def test_records_with_any_byte_flipped_or_cut_are_not_what_was_noted(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    written = RecordFile(path)
    written.append([Line(1, "ä"), Line(2, "b")])
    noted, whole = written.noted(), path.read_bytes()
    for index in range(len(whole)):
        path.write_bytes(whole[:index] + bytes([whole[index] ^ 1]) + whole[index + 1 :])
        assert not RecordFile(path).begins_with(noted)
        path.write_bytes(whole[:index])
        assert not RecordFile(path).begins_with(noted)
    path.unlink()
    assert not RecordFile(path).begins_with(noted)


def test_records_that_return_to_nothing_leave_no_file(tmp_path: Path) -> None:
    written = RecordFile(tmp_path / "train.jsonl")
    nothing = written.noted()
    written.append([Line(1)])
    written.return_to(nothing)
    assert contents(tmp_path) == {}
    written.return_to(None)
    assert written.noted() == nothing


# --- locks -----------------------------------------------------------------------------------------------------------


def test_a_second_process_on_a_study_is_told_who_holds_it(tmp_path: Path) -> None:
    code = """
    import sys
    from pathlib import Path
    from ilr_bench.core.errors import StoreError
    from ilr_bench.storage.store import lock_study
    try:
        with lock_study(Path(sys.argv[1])):
            print("held")
    except StoreError as error:
        print(error)
    """
    with lock_study(tmp_path):
        output, errors = run_python(code, str(tmp_path)).communicate(timeout=60)
        assert f"in use by process {os.getpid()}" in output, errors
    output, errors = run_python(code, str(tmp_path)).communicate(timeout=60)
    assert output == "held\n", errors


def test_a_killed_holder_leaves_no_lock_behind(tmp_path: Path) -> None:
    code = """
    import sys, time
    from pathlib import Path
    from ilr_bench.storage.store import lock_study
    with lock_study(Path(sys.argv[1])):
        print("held", flush=True)
        time.sleep(60)
    """
    process = run_python(code, str(tmp_path))
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with pytest.raises(StoreError, match=f"process {process.pid}"), lock_study(tmp_path):
        pass
    process.kill()
    process.communicate(timeout=60)
    with lock_study(tmp_path):
        assert (tmp_path / ".lock.pid").read_text().split()[0] == str(os.getpid())


def test_the_store_needs_no_torch() -> None:
    code = (
        "import sys, ilr_bench.storage.store, ilr_bench.storage.provenance, ablations; "
        "ablations.names(); print('torch' in sys.modules)"
    )
    output, errors = run_python(code).communicate(timeout=60)
    assert output == "False\n", errors
