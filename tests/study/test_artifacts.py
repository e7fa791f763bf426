"""Artifacts are computed once, shared, and never used where they were altered."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from processes import contents, run_python

from ilr_bench.storage import files
from ilr_bench.storage.files import write_atomic
from ilr_bench.storage.store import Artifacts


def test_an_artifact_is_made_once_for_equal_keys(tmp_path: Path) -> None:
    made = []

    def make(folder: Path) -> None:
        made.append(folder)
        (folder / "difficulty.json").write_text("[0.5]")

    store = Artifacts(tmp_path)
    first = store.get({"models": ("A", "B"), "seed": 0}, make)
    second = store.get({"seed": 0, "models": ["A", "B"]}, make)
    other = store.get({"models": ["A", "B"], "seed": 1}, make)
    assert first == second != other
    assert len(made) == 2
    assert (first / "difficulty.json").read_text() == "[0.5]"


DAMAGES = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-2]),
    "emptied": lambda path: path.write_bytes(b""),
    "flipped": lambda path: path.write_bytes(path.read_bytes()[:-4] + b"\x00" + path.read_bytes()[-3:]),
    "missing": lambda path: path.unlink(),
    "joined by another": lambda path: (path.parent / "added").write_text(""),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["manifest.json", "inner/values"])
def test_an_altered_artifact_is_made_anew_and_said_so(tmp_path: Path, damage: str, name: str, caplog) -> None:
    made = []

    def make(folder: Path) -> None:
        made.append(folder)
        write_atomic(folder / "inner" / "values", "0123456789")

    folder = Artifacts(tmp_path).get({"seed": 0}, make)
    good = contents(folder)
    DAMAGES[damage](folder / name)
    assert contents(folder) != good
    assert Artifacts(tmp_path).get({"seed": 0}, make) == folder
    assert contents(folder) == good
    assert len(made) == 2
    assert "made anew" in caplog.text


def test_an_artifact_whose_making_fails_leaves_nothing_to_be_used(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise KeyError("no such question")

    with pytest.raises(KeyError):
        Artifacts(tmp_path).get({"seed": 0}, fail)
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []


def test_processes_that_ask_at_once_make_an_artifact_once(tmp_path: Path) -> None:
    code = """
    import sys, time
    from pathlib import Path
    from ilr_bench.storage.store import Artifacts
    root = Path(sys.argv[1])
    def make(folder):
        with (root / "log").open("a") as log:
            log.write("made\\n")
        time.sleep(0.3)
        (folder / "value").write_text("1")
    print((Artifacts(root / "artifacts").get({"seed": 0}, make) / "value").read_text())
    """
    processes = [run_python(code, str(tmp_path)) for _ in range(3)]
    outputs = [process.communicate(timeout=60) for process in processes]
    assert [output for output, _ in outputs] == ["1\n"] * 3, outputs
    assert (tmp_path / "log").read_text() == "made\n"


def test_an_artifact_whose_maker_is_killed_is_left_to_the_next_and_never_read_half_written(tmp_path: Path) -> None:
    code = """
    import os, signal, sys
    from pathlib import Path
    from ilr_bench.storage.store import Artifacts
    root = Path(sys.argv[1])
    def make(folder):
        first = not (root / "log").exists()
        with (root / "log").open("a") as log:
            log.write(f"{os.getpid()}\\n")
        (folder / "value").write_text("half")
        if first:
            os.kill(os.getpid(), signal.SIGKILL)
        (folder / "value").write_text("whole")
    print((Artifacts(root / "artifacts").get({"seed": 0}, make) / "value").read_text())
    """
    processes = [run_python(code, str(tmp_path)) for _ in range(3)]
    outputs = [process.communicate(timeout=60) for process in processes]
    ends = {process.pid: (process.returncode, output) for process, (output, _) in zip(processes, outputs, strict=True)}
    killed, maker = map(int, (tmp_path / "log").read_text().split())
    assert ends.pop(killed) == (-9, "")
    assert maker in ends
    assert list(ends.values()) == [(0, "whole\n")] * 2, outputs
    assert sorted(path.name for path in (tmp_path / "artifacts").iterdir() if path.suffix != ".lock") == [
        Artifacts(tmp_path / "artifacts").get({"seed": 0}, lambda folder: None).name
    ]


def test_who_waits_for_an_artifact_says_that_it_is_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alive = threading.Event()
    monkeypatch.setattr(files, "SECONDS_BETWEEN_SIGNS", 0.01)
    monkeypatch.setattr(files, "send_heartbeat", alive.set)

    def make(folder: Path) -> None:
        assert alive.wait(timeout=60)
        (folder / "value").write_text("1")

    threads = [threading.Thread(target=Artifacts(tmp_path).get, args=({"seed": 0}, make)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert alive.is_set()


def test_threads_that_ask_at_once_make_an_artifact_once(tmp_path: Path) -> None:
    made: list[int] = []

    def make(folder: Path) -> None:
        made.append(1)
        time.sleep(0.05)
        (folder / "value").write_text("1")

    threads = [threading.Thread(target=Artifacts(tmp_path).get, args=({"seed": 0}, make)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [1]
