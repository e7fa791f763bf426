"""The paper's profile: its groups and its data, and the whole line on tiny checkpoints of the same architectures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_trials import run_plan, tiny_checkpoints

import ablations
from ilr_bench.core.profiles import MODEL_GROUPS, profile
from ilr_bench.storage.records import DialogueRecord, SampleRecord, StepRecord, read, read_result
from ilr_bench.study.plan import plan_study
from ilr_bench.tasks.benchmarks import expand
from ilr_bench.tasks.sources import SOURCES, math

SMALLER = {
    "questions.train": ("16",),
    "questions.validation": ("4",),
    "training.steps": ("2",),
    "training.questions_per_step": ("2",),
    "training.validate_every": ("2",),
    "sampling.engine": ("transformers",),
    "sampling.samples": ("3",),
    "sampling.max_new_tokens": ("8",),
    "sampling.max_analysis_tokens": ("6",),
    "sampling.max_ranking_tokens": ("6",),
    "sampling.max_prompt_tokens": ("900",),
    "update.learning_rate": ("1e-3",),
    "update.warmup_steps": ("0",),
    "evaluation.limit": ("2",),
    "evaluation.token_limit": ("8",),
}
"""Tiny models read a character at a time and know a thousand places."""


def test_groups_hold_the_papers_models_and_can_be_named() -> None:
    plan = plan_study("paper", ["ilr"], [("group1",), ("group2",), ("group3",), ("A", "B")])
    assert [entry.models for entry in plan.entries] == [*MODEL_GROUPS.values(), ("A", "B")]
    assert {model for group in MODEL_GROUPS.values() for model in group} == {
        "meta-llama/Llama-3.1-8B-Instruct", "Qwen/Qwen2.5-7B-Instruct", "Qwen/Qwen2.5-14B-Instruct",
    }  # fmt: skip


def test_the_profile_states_the_papers_data_and_benchmarks() -> None:
    config = profile("paper")
    assert (config.questions.train, config.questions.validation) == (math.TRAINING, math.VALIDATION) == (10_999, 1_000)
    assert {"gsm8k", "math500", "minerva", "olympiadbench", "aime", "mbpp"} <= set(expand(config.evaluation.benchmarks))
    assert config.discussion.trained_turns == "fusion"
    for name in ablations.names():
        assert ablations.get(name)(config).questions.source == "math"


@pytest.mark.slow
@pytest.mark.data
def test_a_whole_trial_on_real_questions_with_tiny_checkpoints(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    plan = plan_study("paper", ["ilr"], [tiny_checkpoints(tmp_path)], [0], SMALLER)
    (trial,) = plan.trials
    run_plan(plan, tmp_path / "study")
    folder = tmp_path / "study" / trial.folder
    training, _ = SOURCES.get("math").load(16, 4)
    record_property("rows", len(training) + 2 * len(expand(["paper"])))
    dialogues = list(read(folder / "dialogues.jsonl", DialogueRecord))
    assert {record.question_id for record in dialogues} <= {question.id for question in training}
    steps = list(read(folder / "train.jsonl", StepRecord))
    assert [(record.step, record.agent) for record in steps] == [
        (step, agent) for step in (1, 2) for agent in trial.config.agents
    ]
    assert all(record.trained_tokens == 0 or record.gradient_norm > 0 for record in steps)
    for agent in trial.config.agents:
        for name in expand(["paper"]):
            samples = list(read(folder / "eval" / agent / f"{name}.jsonl", SampleRecord))
            assert len(samples) == 2, name
    assert read_result(folder).steps == 2
