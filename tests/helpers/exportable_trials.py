"""Finished trials of tiny models with several checkpoints, and what their agents are compared by."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import torch
from safetensors.torch import load_file
from shared_trials import odd_lengths_win
from tiny_models import tiny_model, tiny_tokenizer
from tiny_trials import tiny_plan

from ilr_bench.method import rewards
from ilr_bench.models.loading import save_prepared
from ilr_bench.storage.records import SampleRecord, Study, read, write_study
from ilr_bench.storage.store import Artifacts
from ilr_bench.study.trial import run_trial

CARD = "---\nlicense: mit\n---\n# A base model\n"
IDS = torch.arange(4, 20)[None]
FAST = {
    "training__checkpoint_every": "1",
    "training__validate_every": "1",
    "evaluation__benchmarks": "sums",
    "evaluation__limit": "6",
    "update__learning_rate": "0.02",
    "update__warmup_steps": "0",
}


def base_models(folder: Path) -> tuple[str, str]:
    """Two Llamas with heads of 32 dimensions; the first one's card states a licence."""
    for name, seed in (("first", 1), ("second", 2)):
        (folder / name).mkdir(parents=True)
        save_prepared(tiny_model("llama", seed=seed, hidden=64), tiny_tokenizer(), folder / name)
    (folder / "first" / "README.md").write_text(CARD)
    return str(folder / "first"), str(folder / "second")


def run_study(
    models: tuple[str, ...], out: Path, variant: str = "ilr", until: int | None = None, **changes: str
) -> Path:
    """Runs one trial, of which every checkpoint stays, and returns its folder; `until`: stops there."""
    plan = tiny_plan(models, variant, **FAST | changes)
    (trial,) = plan.trials
    out.mkdir(parents=True, exist_ok=True)
    write_study(out, Study("micro", f"python -m ilr_bench.sweep --models {','.join(models)} --out DIR", plan.entries))
    with mock.patch.object(rewards, "score", odd_lengths_win):
        run_trial(trial.config, trial.hash, out / trial.folder, Artifacts(out / "artifacts"), until=until, keep=9)
    return out / trial.folder


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        result: torch.Tensor = model(IDS).logits
    return result


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of the one file of weights in a folder."""
    (path,) = folder.glob("*.safetensors")
    return load_file(path)


def same_tensors(one: Path, other: Path) -> bool:
    """Whether two folders hold the same tensors, bit for bit."""
    left, right = tensors(one), tensors(other)
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def answers(path: Path) -> list[tuple[str, str, str]]:
    """Question, completion and verdict of every record."""
    return [(record.question_id, record.completion, record.verdict.value) for record in read(path, SampleRecord)]
