"""Folders of trials that are on their way, as a run leaves them, without running anything."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from ilr_bench.core.config import change, to_dict
from ilr_bench.core.profiles import profile
from ilr_bench.storage.records import (
    SampleRecord,
    StepRecord,
    Study,
    TrialEntry,
    TrialResult,
    Verdict,
    to_line,
    write_study,
)
from ilr_bench.storage.store import append_records


def step_record(step: int, agent: str, validation: float | None = None) -> StepRecord:
    """A record whose numbers tell step and agent apart."""
    shift = step + (0.5 if agent == "B" else 0.0)
    return StepRecord(
        step=step, agent=agent, loss=-0.01 * shift, gradient_norm=shift, learning_rate=1e-4 * shift, kl=None,
        sharing_accuracy=0.1 * shift, fusion_accuracy=None, mean_reward=0.2 * shift, mean_calibrated_reward=0.3 * shift,
        cooperation_share=0.5, clipped_share=None, flat_peer_share=None, changed_group_share=None,
        mean_advantage_change=None, groups=4, flat_groups=1, trained_tokens=100 + step, sampled_tokens=200 + step,
        sharing_tokens=64 * step, sharing_samples=8, cut_prompts=0, unfinished_turns=step, ability=0.4,
        validation_accuracy=validation,
    )  # fmt: skip


def write_trial(study: Path, variant: str = "ilr", seed: int = 0, steps: int = 4) -> Path:
    """A trial that has begun, of the models A and B; its folder."""
    changes = {"variant": variant, "models": ["A", "B"], "seed": seed, "training.steps": steps}
    config = change(profile("micro"), changes)
    folder = study / "trials" / f"{variant}-A+B-{seed}-{abs(hash_of(variant, seed)):012x}"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"hash": folder.name[-12:], "config": to_dict(config)}))
    return folder


def hash_of(variant: str, seed: int) -> int:
    """A number that stands for a trial."""
    return sum(ord(letter) << index for index, letter in enumerate(variant)) * 1000 + seed


def write_steps(folder: Path, records: Sequence[StepRecord]) -> None:
    """Adds lines to `train.jsonl`."""
    append_records(folder / "train.jsonl", records)


def both(step: int, validation: float | None = None) -> list[StepRecord]:
    """One step of both agents."""
    return [step_record(step, agent, validation) for agent in ("A", "B")]


def finish(folder: Path, ability: float = 0.4) -> None:
    """Answers to one benchmark (A has half of two right, B none), and a result."""
    for agent, verdicts in (("A", "correct wrong"), ("B", "wrong missing")):
        records = [
            SampleRecord("micro_ood", agent, f"q{index}", 0, "", "", None, "1", Verdict(verdict), 3, 0)
            for index, verdict in enumerate(verdicts.split())
        ]
        append_records(folder / "eval" / agent / "micro_ood.jsonl", records)
    variant, _, seed, key = folder.name.rsplit("-", 3)
    agents = ("A", "B")
    result = TrialResult(
        key, variant, "micro", agents, agents, int(seed), 4, dict.fromkeys(agents, 810), dict.fromkeys(agents, 0.5),
        dict.fromkeys(agents, ability), {}, {}, {},
    )  # fmt: skip
    (folder / "result.json").write_text(json.dumps(asdict(result)))


def write_entries(study: Path, folders: Sequence[Path]) -> None:
    """`study.json` for these trials."""
    parts = [folder.name.rsplit("-", 3) for folder in folders]
    entries = tuple(
        TrialEntry(variant, ("A", "B"), ("A", "B"), int(seed), key, f"trials/{folder.name}")
        for folder, (variant, _, seed, key) in zip(folders, parts, strict=True)
    )
    write_study(study, Study("micro", "test", entries))


def lines(records: Sequence[StepRecord]) -> bytes:
    """As they stand in the file."""
    return "".join(to_line(record) + "\n" for record in records).encode()
