"""A study's folder with known effects, written through the record classes of the package."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

import ablations
from ilr_bench.core.config import LABELS, RunConfig, content_hash, to_dict
from ilr_bench.core.profiles import MICRO
from ilr_bench.storage.records import (
    JOINT,
    InferenceRecord,
    SampleRecord,
    StepRecord,
    Study,
    TrialEntry,
    TrialResult,
    Verdict,
    to_line,
    write_study,
)

MATHS = ("micro_short_chain", "micro_word_problem", "micro_two_step", "micro_long_chain", "micro_ood")
VARIANTS = ("base", "grpo", "grpo_matched", "di_only", "pc_only", "ilr")
GAINS = {"base": 0.0, "grpo": 0.12, "grpo_matched": 0.14, "di_only": 0.17, "pc_only": 0.12, "ilr": 0.18}
LEVELS = {
    "micro_short_chain": 0.62,
    "micro_long_chain": 0.35,
    "micro_word_problem": 0.48,
    "micro_two_step": 0.5,
    "micro_ood": 0.22,
    "micro_code": 0.4,
}
INFERENCE_GAINS = {"single": 0.0, "debate": 0.06, "idea3": 0.1}
TOKENS = {"grpo": 210_000, "grpo_matched": 420_000, "di_only": 421_000, "pc_only": 211_000, "ilr": 419_000}


def write_synthetic_study(
    folder: Path,
    variants: Sequence[str] = VARIANTS,
    models: tuple[str, ...] = ("A", "B"),
    groups: Sequence[tuple[str, ...]] | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    questions: int = 40,
    samples: int = 1,
    steps: int = 6,
    benchmarks: Sequence[str] = (*MATHS, "micro_code"),
    gains: Mapping[str, float] = GAINS,
    run_spread: float = 0.02,
    unfinished: Sequence[tuple[str, int]] = (),
    unclipped: Sequence[str] = (),
    twins: Mapping[str, str] | None = None,
) -> Path:
    """Writes the study and returns its folder.

    `groups` are several groups of models in place of `models`, `gains` is what training adds to the accuracy of every
    benchmark, `run_spread` the standard deviation between training runs, `unclipped` the variants in which
    calibration changes no group, and `twins` names variants whose answers copy those of another one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    indices: dict[str, str] = {}
    for group, variant, seed in itertools.product(groups or (models,), variants, seeds):
        config = dataclasses.replace(MICRO, models=group, seed=seed)
        config = ablations.get(variant)(config)
        key = content_hash({name: value for name, value in to_dict(config).items() if name not in LABELS})
        index = indices.setdefault(key, f"trials/{variant}-{'+'.join(config.agents)}-{seed}-{key}")
        entries.append(TrialEntry(variant, config.models, config.agents, seed, key, index))
        if (folder / index).exists():
            continue
        _write_trial(
            folder / index, config, variant, seed, key, questions, samples, steps, benchmarks,
            (twins or {}).get(variant, variant), gains, run_spread, (variant, seed) not in unfinished,
            variant not in unclipped,
        )  # fmt: skip
    write_study(folder, Study("micro", "python -m ilr_bench.sweep --profile micro", tuple(entries)))
    return folder


def _write_trial(
    folder: Path, config: RunConfig, variant: str, seed: int, key: str, questions: int, samples: int, steps: int,
    benchmarks: Sequence[str], source: str, gains: Mapping[str, float], spread: float, finished: bool, clips: bool,
) -> None:  # fmt: skip
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"hash": key, "config": to_dict(config)}))
    trained = config.training.steps > 0
    if config.inference.method == "none":
        for agent in config.agents:
            _write_answers(folder, config, agent, seed, questions, samples, benchmarks, source, gains, spread)
    else:
        _write_inference(folder, config, seed, questions, benchmarks)
    if trained:
        lines = [
            to_line(_step(config, agent, number, step, seed, gains.get(variant, 0.1), clips))
            for step in range(1, steps + 1)
            for number, agent in enumerate(config.agents)
        ]
        (folder / "train.jsonl").write_text("\n".join(lines) + "\n")
    if not finished:
        return
    share = {agent: 0.35 + 0.2 * number for number, agent in enumerate(config.agents)}
    result = TrialResult(
        hash=key, variant=variant, profile="micro", models=config.models, agents=config.agents, seed=seed,
        steps=steps if trained else 0,
        sampled_tokens={agent: TOKENS.get(variant, 400_000) + 900 * seed if trained else 0 for agent in config.agents},
        cooperation_share=dict(share), ability={agent: 0.41 + 0.1 * n for n, agent in enumerate(config.agents)},
        difficulty={"mean": 0.5, "std": 0.2, "valid": 90, "invalid": 10}, artifacts={},
        versions={"torch": "2.13.0", "commit": "0" * 12, "lock": "1" * 12},
    )  # fmt: skip
    (folder / "result.json").write_text(json.dumps(dataclasses.asdict(result)))


def _number(agent: str) -> int:
    """The same for a model in every group; copies of one model differ."""
    name, _, copy = agent.partition(".")
    return "ABC".find(name) % 4 + 4 * (copy == "2")


def _chances(agent: str, column: int, benchmark: str, questions: int, gain: float) -> np.ndarray:
    """How likely the agent is to be right, question by question; the same questions for every variant and seed."""
    number = _number(agent)
    ease = np.random.default_rng([11, number, column]).normal(0, 1.4, questions)
    level = min(LEVELS.get(benchmark, 0.5) + 0.08 * (number % 4) + gain, 0.95)
    return 1 / (1 + np.exp(-(ease + math.log(level / (1 - level)) * 1.6)))


def _write_inference(folder: Path, config: RunConfig, seed: int, questions: int, benchmarks: Sequence[str]) -> None:
    method = config.inference.method
    rounds = {"single": 1, "debate": 1 + config.inference.rounds, "idea3": 3}[method]
    lines = []
    for column, benchmark in enumerate(name for name in benchmarks if name in MATHS):
        chances = {
            agent: _chances(agent, column, benchmark, questions, INFERENCE_GAINS[method]) for agent in config.agents
        }
        draw = np.random.default_rng([19, column, rounds, seed])
        for question in range(questions):
            right = {agent: bool(draw.random() < chances[agent][question]) for agent in config.agents}
            right[JOINT] = right[config.agents[0]]
            for agent in (*config.agents, JOINT):
                answer = f"{question}" if right[agent] else f"{question + 1}"
                lines.append(
                    to_line(
                        InferenceRecord(
                            benchmark, method, agent, f"{benchmark}-{question}", rounds,
                            int(draw.integers(8, 14)) * rounds, content_hash([benchmark, question, rounds]),
                            f"x = {answer}", answer, f"{question}",
                            Verdict.CORRECT if right[agent] else Verdict.WRONG, seed,
                        )
                    )
                )  # fmt: skip
    (folder / "inference.jsonl").write_text("\n".join(lines) + "\n")


def _write_answers(
    place: Path, config: RunConfig, agent: str, seed: int, questions: int, samples: int, benchmarks: Sequence[str],
    source: str, gains: Mapping[str, float], spread: float,
) -> None:  # fmt: skip
    trained = source != "base"
    number = _number(agent)
    identity = VARIANTS.index(source) if source in VARIANTS else sum(map(ord, source))
    if len(config.discussion.stages) > 1 and config.models != ("A", "B"):
        identity += 1000 * sum(map(ord, "".join(config.models)))  # another group is another training
    run = np.random.default_rng([7, number, identity, seed])
    gain = (gains.get(source, 0.1) + run.normal(0, spread)) if trained else 0.0
    folder = place / "eval" / agent
    folder.mkdir(parents=True)
    for column, benchmark in enumerate(benchmarks):
        chance = _chances(agent, column, benchmark, questions, gain)
        # An untrained model answers alike under every seed.
        draw = np.random.default_rng([13, number, column, identity, seed if trained else 0])
        lines = []
        for question in range(questions):
            for sample in range(samples):
                right = bool(draw.random() < chance[question])
                text = f"x = {question}" if right else f"x = {question} + {draw.integers(1, 9)}"
                verdict = Verdict.CORRECT if right else Verdict.WRONG
                name = f"{benchmark}-{question}"
                prompt = content_hash([agent, benchmark, question])
                lines.append(
                    to_line(
                        SampleRecord(
                            benchmark, agent, name, sample, prompt, text, text, f"{question}", verdict, 12, seed
                        )
                    )
                )
        (folder / f"{benchmark}.jsonl").write_text("\n".join(lines) + "\n")


def _step(config: RunConfig, agent: str, number: int, step: int, seed: int, gain: float, clips: bool) -> StepRecord:
    noise = np.random.default_rng([17, number, step, seed, int(1000 * gain)])
    calibrated = config.calibration.kind == "perception"
    talks = len(config.discussion.stages) > 1
    accuracy = 0.4 + 0.1 * number + gain * step / config.training.steps + float(noise.normal(0, 0.02))
    values = {
        "step": step, "agent": agent, "loss": 0.01, "gradient_norm": 0.5, "learning_rate": 3e-4, "kl": None,
        "sharing_accuracy": accuracy, "fusion_accuracy": accuracy + 0.05 if talks else None,
        "mean_reward": accuracy + 0.1, "mean_calibrated_reward": accuracy + 0.1,
        "cooperation_share": 0.35 + 0.2 * number if talks else None,
        "clipped_share": (0.06 if clips else 0.0) if calibrated else None,
        "flat_peer_share": 0.2 if calibrated else None,
        "changed_group_share": (0.11 if clips else 0.0) if calibrated else None,
        "mean_advantage_change": (0.02 if clips else 0.0) if calibrated else None,
        "groups": 32, "flat_groups": 5, "trained_tokens": 9000, "sampled_tokens": 12_000,
        "sharing_tokens": 6000, "sharing_samples": 8, "cut_prompts": 0, "unfinished_turns": 2, "ability": 0.41,
        "validation_accuracy": accuracy if step % 2 == 0 else None, "value_loss": None, "borrowed_turns": 0,
    }  # fmt: skip
    return StepRecord(**{field.name: values[field.name] for field in dataclasses.fields(StepRecord)})
