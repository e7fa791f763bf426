"""Model folders in the cache: whole, absent, or known to have changed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ilr_bench.models.catalogue import LISTING, prepare_once


def make(folder: Path) -> None:
    (folder / "inner").mkdir()
    (folder / "weights").write_bytes(bytes(range(200)))
    (folder / "inner" / "tokenizer").write_text("ä")


def listed(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["weights", "inner/tokenizer", LISTING])
def test_a_model_with_any_byte_flipped_or_cut_is_made_anew(tmp_path: Path, name: str, caplog) -> None:
    folder = prepare_once(tmp_path / "model", make)
    whole = listed(folder)
    data = whole[name]
    for index in range(0, len(data), 7):
        for damaged in (data[:index] + bytes([data[index] ^ 1]) + data[index + 1 :], data[:index]):
            (folder / name).write_bytes(damaged)
            assert listed(prepare_once(folder, make)) == whole, (index, damaged)
    assert "made anew" in caplog.text


def test_a_missing_or_an_added_file_is_noticed(tmp_path: Path) -> None:
    folder = prepare_once(tmp_path / "model", make)
    whole = listed(folder)
    (folder / "weights").unlink()
    assert listed(prepare_once(folder, make)) == whole
    (folder / "adapter").write_text("")
    assert listed(prepare_once(folder, make)) == whole


def test_a_model_is_not_trusted_without_its_list_of_files(tmp_path: Path, caplog) -> None:
    folder = prepare_once(tmp_path / "model", make)
    whole = listed(folder)
    (folder / LISTING).unlink()
    (folder / "weights").write_bytes(b"poisoned")
    assert listed(prepare_once(folder, make)) == whole
    assert "made anew" in caplog.text
    (folder / LISTING).unlink()
    (folder / LISTING).mkdir()
    assert listed(prepare_once(folder, make)) == whole


def test_a_whole_model_is_not_made_again_and_what_a_killed_process_left_is_swept_up(tmp_path: Path) -> None:
    (tmp_path / ".model.tmp").mkdir()
    (tmp_path / ".model.tmp" / "weights").write_text("half")
    folder = prepare_once(tmp_path / "model", make)
    prepare_once(folder, lambda folder: pytest.fail("made again"))
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["model"]


def test_sha256sum_reads_the_listing(tmp_path: Path) -> None:
    folder = prepare_once(tmp_path / "model", make)
    done = subprocess.run(["sha256sum", "--check", LISTING], cwd=folder, capture_output=True, text=True, check=False)
    assert done.stdout == "inner/tokenizer: OK\nweights: OK\n"
