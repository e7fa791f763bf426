"""What the store promises when a run is killed, a disk is full or a file is altered."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from processes import contents, run_python

from ilr_bench.errors import StoreError
from ilr_bench.store import (
    Artifacts,
    append_records,
    latest_checkpoint,
    lock_study,
    save_checkpoint,
    truncate_after,
    write_atomic,
)


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
    from ilr_bench import store
    from ilr_bench.errors import StoreError
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    try:
        {call}
    except StoreError as error:
        print(error)
    """


def test_a_write_that_does_not_fit_on_the_disk_leaves_the_earlier_file_intact(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_atomic(path, "earlier")
    process = run_python(LIMITED.format(call="store.write_atomic(Path(sys.argv[1]), 'x' * 5000)"), str(path))
    output, errors = process.communicate(timeout=60)
    assert output.count("\n") == 1, errors
    assert f"cannot write {path}" in output
    assert contents(tmp_path) == {"result.json": b"earlier"}


def test_a_checkpoint_that_does_not_fit_on_the_disk_leaves_the_earlier_one(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 1, write_weights("a"))
    before = contents(tmp_path)
    code = """
    import numpy as np
    from safetensors.numpy import save_file
    def write(folder):
        save_file({"w": np.zeros(5000)}, folder / "w.safetensors")
    """ + LIMITED.format(call="store.save_checkpoint(Path(sys.argv[1]), 2, write)")
    output, errors = run_python(code, str(tmp_path)).communicate(timeout=60)
    assert output.count("\n") == 1, errors
    assert "cannot write" in output
    assert contents(tmp_path) == before


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


# --- records ---------------------------------------------------------------------------------------------------------


@given(
    steps=st.lists(st.integers(0, 5), max_size=12).map(sorted),
    text=st.text(st.characters(exclude_categories=["Cs"])),
    limit=st.integers(-1, 6),
)
@settings(max_examples=40, deadline=None)
def test_truncation_keeps_exactly_the_lines_up_to_a_step(tmp_path_factory, steps, text, limit) -> None:
    path = tmp_path_factory.mktemp("records") / "train.jsonl"
    for step in steps:
        append_records(path, [Line(step, text)])
    truncate_after(path, limit)
    kept = [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]] if path.exists() else []
    assert kept == [{"step": step, "text": text} for step in steps if step <= limit]


def test_truncation_at_every_byte_leaves_the_whole_lines_and_appending_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    append_records(path, [Line(1, "ä"), Line(2, "b"), Line(3, "c")])
    whole = path.read_bytes()
    ends = [place + 1 for place, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        truncate_after(path, 9)
        assert path.read_bytes() == whole[: max([end for end in ends if end <= cut], default=0)]
        append_records(path, [Line(7)])
        assert path.read_bytes().endswith(b'{"step":7,"text":""}\n')


def test_a_damaged_line_before_the_last_one_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text('{"step":1}\n{"st\n{"step":3}\n')
    with pytest.raises(StoreError, match="line 2"):
        truncate_after(path, 3)


def test_truncating_a_file_that_was_never_written_makes_none(tmp_path: Path) -> None:
    truncate_after(tmp_path / "train.jsonl", 3)
    assert contents(tmp_path) == {}


# --- checkpoints -----------------------------------------------------------------------------------------------------


def test_the_newest_checkpoint_is_found_and_older_ones_are_dropped(tmp_path: Path) -> None:
    assert latest_checkpoint(tmp_path / "none") is None
    for step in (1, 2, 10):
        saved = save_checkpoint(tmp_path, step, write_weights(str(step)), keep=2)
    assert latest_checkpoint(tmp_path) == (10, saved)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000002", "step-00000010"]


def test_a_checkpoint_with_any_byte_flipped_or_cut_anywhere_is_not_used(tmp_path: Path) -> None:
    saved = save_checkpoint(tmp_path, 1, write_weights("a"))
    for name, data in contents(saved).items():
        for place in range(len(data)):
            if not data[place : place + 1].isspace():  # white space in the manifest carries nothing
                (saved / name).write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
                assert latest_checkpoint(tmp_path) is None, (name, place)
        for cut in range(len(data) - 2):
            (saved / name).write_bytes(data[:cut])
            assert latest_checkpoint(tmp_path) is None, (name, cut)
        (saved / name).write_bytes(data)
        assert latest_checkpoint(tmp_path) == (1, saved)


@pytest.mark.parametrize("damage", ["cut", "flip", "missing", "manifest", "added"])
def test_a_torn_checkpoint_gives_way_to_the_one_before(tmp_path: Path, damage: str, caplog) -> None:
    earlier = save_checkpoint(tmp_path, 1, write_weights("a"), keep=2)
    torn = save_checkpoint(tmp_path, 2, write_weights("b"), keep=2)
    weights = torn / "B" / "weights"
    data = weights.read_bytes()
    match damage:
        case "cut":
            weights.write_bytes(data[:-1])
        case "flip":
            weights.write_bytes(data[:50] + b"c" + data[51:])
        case "missing":
            weights.unlink()
        case "manifest":
            (torn / "manifest.json").unlink()
        case "added":
            (torn / "A" / "adapter").write_text("")
    assert latest_checkpoint(tmp_path) == (1, earlier)
    assert "step-00000002" in caplog.text
    again = save_checkpoint(tmp_path, 2, write_weights("b"), keep=2)
    assert latest_checkpoint(tmp_path) == (2, again)


def test_saving_an_earlier_step_drops_the_later_ones_of_an_abandoned_run(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 20, write_weights("b"))
    (tmp_path / "step-00000020" / "manifest.json").unlink()
    saved = save_checkpoint(tmp_path, 15, write_weights("c"))
    assert list(tmp_path.iterdir()) == [saved]


def test_a_checkpoint_under_the_name_of_another_step_is_not_used(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 1, write_weights("a")).rename(tmp_path / "step-00000003")
    assert latest_checkpoint(tmp_path) is None


SAVES_UNTIL_KILLED = """
    import itertools, sys
    from pathlib import Path
    from ilr_bench.store import save_checkpoint
    def write(folder):
        for agent in ("A", "B"):
            (folder / agent).mkdir()
            with (folder / agent / "weights").open("w") as file:
                for _ in range(50):
                    file.write(f"{step} " * 20)
                    file.flush()
    for step in itertools.count(1):
        save_checkpoint(Path(sys.argv[1]), step, write)
        print(step, flush=True)
    """


def test_a_kill_at_any_moment_of_saving_leaves_one_whole_joint_checkpoint(tmp_path: Path) -> None:
    for attempt in range(8):
        folder = tmp_path / str(attempt)
        process = run_python(SAVES_UNTIL_KILLED, str(folder))
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.0037 * attempt)
        process.send_signal(signal.SIGKILL)
        printed, _ = process.communicate(timeout=60)
        reported = int(printed.split()[-1]) if printed.split() else 1
        found = latest_checkpoint(folder)
        assert found is not None
        step, place = found
        assert step in (reported, reported + 1)
        expected = (f"{step} " * 1000).encode()
        assert {name: data for name, data in contents(place).items() if name != "manifest.json"} == {
            "A/weights": expected,
            "B/weights": expected,
        }


def test_a_half_written_checkpoint_is_ignored_and_swept_up_by_the_next_holder(tmp_path: Path) -> None:
    checkpoints = tmp_path / "trials" / "ilr" / "checkpoints"
    saved = save_checkpoint(checkpoints, 1, write_weights("a"))
    half = checkpoints / ".step-00000002.tmp"
    half.mkdir()
    (half / ".manifest.json.1.tmp").write_text("")
    assert latest_checkpoint(checkpoints) == (1, saved)
    with lock_study(tmp_path):
        assert list(checkpoints.iterdir()) == [saved]


# --- locks -----------------------------------------------------------------------------------------------------------


def test_a_second_process_on_a_study_is_told_who_holds_it(tmp_path: Path) -> None:
    code = """
    import sys
    from pathlib import Path
    from ilr_bench.errors import StoreError
    from ilr_bench.store import lock_study
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
    from ilr_bench.store import lock_study
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
        assert (tmp_path / ".lock.pid").read_text() == str(os.getpid())


def test_the_store_needs_no_torch() -> None:
    code = (
        "import sys, ilr_bench.store, ilr_bench.identity, ablations; ablations.names(); print('torch' in sys.modules)"
    )
    output, errors = run_python(code).communicate(timeout=60)
    assert output == "False\n", errors
