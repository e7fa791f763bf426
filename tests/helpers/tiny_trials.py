"""Whole trials on tiny random checkpoints, in this process: seconds instead of a worker's start."""

from __future__ import annotations

from pathlib import Path

from tiny_models import tiny_model, tiny_tokenizer

from ilr_bench.models.loading import save_prepared
from ilr_bench.storage.records import Study, write_study
from ilr_bench.storage.store import Artifacts
from ilr_bench.study.plan import Plan, plan_study
from ilr_bench.study.trial import run_trial

SETTINGS = {
    "training.steps": "2",
    "training.questions_per_step": "2",
    "training.checkpoint_every": "2",
    "training.validate_every": "2",
    "questions.train": "4",
    "questions.validation": "2",
    "sampling.samples": "3",
    "sampling.max_new_tokens": "8",
    "sampling.max_analysis_tokens": "6",
    "sampling.max_ranking_tokens": "6",
    "evaluation.limit": "2",
    "evaluation.max_new_tokens": "8",
}


def tiny_checkpoints(folder: Path) -> tuple[str, str]:
    """A Llama and a Qwen2, in folders of their own."""
    for name, kind, seed in (("first", "llama", 1), ("second", "qwen2", 2)):
        (folder / name).mkdir()
        save_prepared(tiny_model(kind, seed=seed), tiny_tokenizer(), folder / name)
    return str(folder / "first"), str(folder / "second")


def tiny_plan(models: tuple[str, ...], *variants: str, **changes: str) -> Plan:
    settings = SETTINGS | {key.replace("__", "."): value for key, value in changes.items()}
    fixed = {"training.steps"} if all(name.startswith(("base", "infer_")) for name in variants) else set()
    overrides = {key: (value,) for key, value in settings.items() if key not in fixed}
    return plan_study("micro", variants, [models], [0], overrides)


def run_plan(plan: Plan, out: Path, others: tuple[Path, ...] = ()) -> None:
    """Runs every trial of a plan, one after the other."""
    out.mkdir(parents=True, exist_ok=True)
    write_study(out, Study("micro", "test", plan.entries))
    for trial in plan.trials:
        needed = None if trial.dependency is None else out / plan.by_hash(trial.dependency).folder
        run_trial(trial.config, trial.hash, out / trial.folder, Artifacts(out / "artifacts", others), needed)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file that equal runs leave equal, by its place."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "timing.jsonl"
    }
