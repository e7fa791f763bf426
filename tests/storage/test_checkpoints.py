"""What checkpoints promise when a run is killed, a disk is full or a file is altered."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from processes import contents, run_python

from ilr_bench.storage.checkpoints import latest_checkpoint, save_checkpoint, torn_checkpoints
from ilr_bench.storage.store import lock_study


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
        for index in range(len(data)):
            (saved / name).write_bytes(data[:index] + bytes([data[index] ^ 1]) + data[index + 1 :])
            assert latest_checkpoint(tmp_path) is None, (name, index)
        for cut in range(len(data)):
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


AT_EVERY_MOMENT = """
    import sys
    sys.path.insert(0, sys.argv[1])
    import shutil
    from pathlib import Path
    from faults import Changes, attempt, die, die_at_byte, full, last_change
    from processes import contents
    from ilr_bench.storage.checkpoints import latest_checkpoint, save_checkpoint

    def write(value):
        def fill(folder):
            for agent in ("A", "B"):
                (folder / agent).mkdir()
                (folder / agent / "weights").write_text(value * 100)
        return fill

    root = Path(sys.argv[2])
    old, new = root / "old", root / "new"
    save_checkpoint(old, 1, write("a"))
    shutil.copytree(old, new)
    save_checkpoint(new, 2, write("b"))
    before, after = contents(old), contents(new)

    def run(arm):
        folder = root / "now"
        shutil.copytree(old, folder)
        how = attempt(lambda: save_checkpoint(folder, 2, write("b")), lambda: arm(folder))
        step, place = latest_checkpoint(folder)
        wanted = {f"step-{step:08d}/{name}": data for name, data in contents(place).items()}
        assert wanted == (before if step == 1 else after), step
        if how.startswith("StoreError"):
            assert {name for name in contents(folder) if not name.startswith(".")} <= {*before, *after}
        save_checkpoint(folder, 2, write("b"))
        assert contents(folder) == after
        shutil.rmtree(folder)
        return how.split("/now")[0].split(":")[0], step

    shutil.copytree(old, root / "now")
    count = last_change(lambda: save_checkpoint(root / "now", 2, write("b")), root / "now")
    shutil.rmtree(root / "now")
    moments = range(1, count + 1)
    print([run(lambda folder: Changes(folder, number, die)) for number in moments])
    print([run(lambda folder: Changes(folder, number, full)) for number in moments])
    print([run(lambda folder: die_at_byte(size)) for size in range(0, 500, 50)])
    """


@pytest.fixture(scope="module")
def moments(tmp_path_factory) -> list[list[tuple[str, int]]]:
    """How a second checkpoint's saving ended, and which step was there then: killed and refused at every change to
    the folder, and killed in the middle of writes."""
    folder = tmp_path_factory.mktemp("moments")
    output, errors = run_python(AT_EVERY_MOMENT, str(Path(__file__).parents[1] / "helpers"), str(folder)).communicate(
        timeout=300
    )
    assert output.count("\n") == 3, errors
    return [ast.literal_eval(line) for line in output.splitlines()]


def test_a_kill_at_any_change_to_the_disk_leaves_one_whole_joint_checkpoint(moments) -> None:
    killed, _, cut = moments
    assert len(killed) > 20
    assert {how for how, _ in killed} == {"killed"}
    steps = [step for _, step in killed]
    assert steps == sorted(steps)  # the old one up to the rename, the new one from it on
    assert set(steps) == {1, 2}
    assert ("killed", 1) in cut


def test_a_disk_that_is_full_at_any_change_is_a_clear_error_and_leaves_one_whole_joint_checkpoint(moments) -> None:
    _, refused, _ = moments
    assert {how for how, _ in refused} == {"StoreError"}


def test_a_half_written_checkpoint_is_ignored_and_swept_up_by_the_next_holder(tmp_path: Path) -> None:
    checkpoints = tmp_path / "trials" / "ilr" / "checkpoints"
    saved = save_checkpoint(checkpoints, 1, write_weights("a"))
    half = checkpoints / ".step-00000002.tmp"
    half.mkdir()
    (half / ".manifest.json.1.tmp").write_text("")
    assert latest_checkpoint(checkpoints) == (1, saved)
    with lock_study(tmp_path):
        assert list(checkpoints.iterdir()) == [saved]


def test_torn_checkpoints_before_a_step_are_named(tmp_path: Path) -> None:
    first, second = (save_checkpoint(tmp_path, step, write_weights("a"), keep=2) for step in (1, 2))
    assert torn_checkpoints(tmp_path, 2) == []
    for saved in (first, second):
        (saved / "A" / "weights").write_text("")
    assert torn_checkpoints(tmp_path, 2) == [first]
    assert torn_checkpoints(tmp_path, 3) == [second, first]


def test_irregular_checkpoints_go_with_the_next_one_and_the_best_stays(tmp_path: Path) -> None:
    def left() -> list[int]:
        return sorted(int(path.name.removeprefix("step-")) for path in tmp_path.iterdir())

    for step, best, wanted in ((2, 2, [2]), (3, 2, [2, 3]), (4, 2, [2, 4]), (5, 5, [4, 5]), (6, 5, [5, 6])):
        save_checkpoint(tmp_path, step, write_weights("a"), best=best, regular=lambda step: step % 2 == 0)
        assert left() == wanted
