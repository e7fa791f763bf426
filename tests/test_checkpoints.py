"""What checkpoints promise when a run is killed, a disk is full or a file is altered."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from processes import contents, run_python

from ilr_bench.checkpoints import latest_checkpoint, save_checkpoint
from ilr_bench.store import lock_study


def write_weights(value: str):
    def write(folder: Path) -> None:
        for agent in ("A", "B"):
            (folder / agent).mkdir()
            (folder / agent / "weights").write_text(value * 100)

    return write


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
    from ilr_bench.checkpoints import save_checkpoint
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
