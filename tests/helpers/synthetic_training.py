"""What training leaves besides steps, added to a synthetic study: dialogues and difficulty rankings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ilr_bench.core.config import from_dict
from ilr_bench.storage.records import DialogueRecord, TurnRecord, to_line

HOSTILE = "</script><script>window.broken = 1</script><img src=x onerror='window.broken = 1'>\u2028&amp; \\u003c ]]>"


def add_training(study: Path, text: str = "3+4=7 \\boxed{7}", per_step: int = 3, ranks: Sequence[float] = ()) -> Path:
    """Writes dialogues in which every turn says `text`, and rankings (default: random ones), for all trials."""
    for trial in sorted((study / "trials").iterdir()):
        if (trial / "result.json").exists():
            _add_rankings(study, trial, ranks)
        if (trial / "train.jsonl").exists():
            _add_dialogues(trial, text, per_step)
    return study


def _add_rankings(study: Path, trial: Path, ranks: Sequence[float]) -> None:
    result = json.loads((trial / "result.json").read_text())
    for index, (agent, model) in enumerate(zip(result["agents"], result["models"], strict=True)):
        folder = study / "artifacts" / f"{model:0>12}"
        folder.mkdir(parents=True, exist_ok=True)
        drawn = np.random.default_rng([3, index]).integers(0, 13, 200) / 12
        values = list(ranks) if len(ranks) else [None, *drawn.tolist()]
        (folder / "rankings.json").write_text(json.dumps({"difficulty": values, "valid": 90, "invalid": 10}))
        result["artifacts"][f"rankings/{agent}"] = folder.name
    (trial / "result.json").write_text(json.dumps(result))


def _add_dialogues(trial: Path, text: str, per_step: int) -> None:
    config = from_dict(json.loads((trial / "config.json").read_text())["config"])
    steps = max(json.loads(line)["step"] for line in (trial / "train.jsonl").read_text().splitlines())
    lines = []
    for step in range(1, steps + 1):
        for number in range(per_step):
            turns = tuple(
                TurnRecord(
                    agent, stage, "cooperate" if number % 2 else "compete", text,
                    None if stage == "analysis" else "correct" if answer % 2 else "wrong",
                    None if stage == "analysis" else float(answer % 2), None if stage == "analysis" else 0.5,
                    # The first question of a step teaches nothing, and comes last in a selection.
                    None if stage == "analysis" else float(number and answer - 0.5),
                )
                for stage in config.discussion.stages
                for agent in config.agents
                for answer in range(1 if stage == "analysis" else 2)
            )  # fmt: skip
            lines.append(
                to_line(
                    DialogueRecord(step, f"q{number}", f"What is {number}? {text}", "7", number / per_step, 0, turns)
                )
            )
    (trial / "dialogues.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
