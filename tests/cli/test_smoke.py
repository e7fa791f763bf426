"""The smoke test's own test: its whole line on a tiny model, without the data folder."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from tiny_models import tiny_model, tiny_tokenizer

from ilr_bench.cli import smoke
from ilr_bench.models.loading import save_prepared
from ilr_bench.storage.records import StepRecord, read, read_study
from ilr_bench.study.plan import plan_study

SMALLER = {"sampling.samples": "2", "sampling.max_new_tokens": "4", "evaluation.max_new_tokens": "4"}


def test_three_steps_a_checkpoint_and_a_table_without_real_questions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_prepared(tiny_model(), tiny_tokenizer(), tmp_path / "tiny")
    monkeypatch.delenv("ILR_BENCH_DATA", raising=False)
    monkeypatch.setattr(smoke, "SETTINGS", smoke.SETTINGS | SMALLER)
    monkeypatch.setattr(smoke, "plan_study", partial(plan_study, model_groups=[(str(tmp_path / "tiny"),) * 2]))
    threads = torch.get_num_threads()
    try:
        smoke.main(tmp_path / "out")
        first, output = (tmp_path / "out" / "smoke.md").read_bytes(), capsys.readouterr()
        smoke.main(tmp_path / "out")
    finally:
        torch.set_num_threads(threads)
    assert "the generated sums alone are used" in output.err
    assert output.out.strip() == first.decode().strip()
    assert (tmp_path / "out" / "smoke.md").read_bytes() == first
    assert "the same answers on sums" in output.out
    (entry,) = read_study(tmp_path / "out").trials
    assert entry.agents == ("tiny.1", "tiny.2")
    steps = list(read(tmp_path / "out" / entry.folder / "train.jsonl", StepRecord))
    assert [(record.step, record.agent) for record in steps] == [
        (n, agent) for n in (1, 2, 3) for agent in entry.agents
    ]
