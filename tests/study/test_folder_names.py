"""What a study's folder is called changes no byte in it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_trials import contents, run_plan, tiny_checkpoints, tiny_plan

from ilr_bench.core.errors import StoreError
from ilr_bench.models.loading import save_tensors
from ilr_bench.storage.files import write_atomic

NAMES = ("plain", "Übung 数 é", "=with 'quotes' and $HOME", "emoji 😀")


def test_a_trial_leaves_the_same_bytes_in_a_folder_of_any_name(tmp_path: Path) -> None:
    plan = tiny_plan(tiny_checkpoints(tmp_path), "grpo")
    found = []
    for name in NAMES[:2]:
        run_plan(plan, tmp_path / name)
        found.append(contents(tmp_path / name))
    assert any(path.endswith("optimizer.pt") for path in found[0])
    assert found[0] == found[1]


@pytest.mark.parametrize("name", NAMES)
def test_saved_tensors_have_the_same_bytes_under_any_path(tmp_path: Path, name: str) -> None:
    data = {"weights": torch.arange(6.0), "step": 3}
    torch.save(data, tmp_path / "state.pt")
    (tmp_path / name).mkdir()
    save_tensors(data, tmp_path / name / "state.pt")
    assert (tmp_path / name / "state.pt").read_bytes() == (tmp_path / "state.pt").read_bytes()
    assert [path.name for path in (tmp_path / name).iterdir()] == ["state.pt"]


def test_saved_tensors_have_the_same_bytes_where_temporary_files_lie_in_such_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "é").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "é"))
    torch.save({"step": 3}, tmp_path / "state.pt")
    save_tensors({"step": 3}, tmp_path / "é" / "state.pt")
    assert (tmp_path / "é" / "state.pt").read_bytes() == (tmp_path / "state.pt").read_bytes()


def test_a_name_that_is_no_text_is_refused_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"study.json.*not UTF-8 \('\\udcff'\); rename") as caught:
        write_atomic(tmp_path / "study.json", "sweep --out runs/\udcff")
    assert str(caught.value).isascii()
    assert not list(tmp_path.iterdir())
