"""Profiles are frozen here: a setting that changes unseen changes every number of a study."""

from __future__ import annotations

import pytest

from ilr_bench.core.config import RunConfig, to_dict
from ilr_bench.core.errors import ConfigurationError
from ilr_bench.core.profiles import MODEL_GROUPS, PROFILES, profile

LLAMA, QWEN, LARGE_QWEN = (
    "meta-llama/Llama-3.1-8B-Instruct", "Qwen/Qwen2.5-7B-Instruct", "Qwen/Qwen2.5-14B-Instruct"
)  # fmt: skip
EXPECTED = {
    "micro": {"models": ["A", "B"], "pool": ["A", "B", "C", "A2"], "update.learning_rate": 1e-4},
    "small": {
        "models": ["smollm2"] * 2, "pool": ["smollm2"] * 4, "prompt_style": "fewshot",
        "questions.source": "sums", "questions.train": 320, "questions.validation": 105,
        "difficulty.shuffles": 1, "reward.kind": "verified",
        "sampling.max_new_tokens": 8, "sampling.max_analysis_tokens": 24, "sampling.max_prompt_tokens": 768,
        "sampling.rows_per_call": 64,
        "update.learning_rate": 1e-4, "update.adapter": "lora", "update.precision": "bf16",
        "update.rows_per_micro_batch": 32,
        "training.questions_per_step": 8, "training.validate_every": 6, "training.checkpoint_every": 2,
        "evaluation.benchmarks": ["sums"], "evaluation.max_new_tokens": 128, "evaluation.rows_per_call": 32,
    },
    "paper": {
        "models": [LLAMA, QWEN], "pool": [LLAMA, QWEN, LARGE_QWEN, LLAMA], "prompt_style": "chat",
        "questions.source": "math", "questions.train": 10_999, "questions.validation": 1_000,
        "difficulty.batch_size": 8, "discussion.trained_turns": "fusion", "reward.kind": "verified",
        "sampling.max_new_tokens": 1024, "sampling.max_analysis_tokens": 512, "sampling.max_ranking_tokens": 64,
        "sampling.max_prompt_tokens": 6144, "sampling.rows_per_call": 256, "sampling.engine": "vllm",
        "update.learning_rate": 1e-6, "update.warmup_steps": 10, "update.precision": "bf16",
        "update.gradient_checkpointing": True, "update.rows_per_micro_batch": 8,
        "training.steps": 171, "training.questions_per_step": 64, "training.validate_every": 57,
        "evaluation.benchmarks": ["paper"], "evaluation.max_new_tokens": 2048, "evaluation.rows_per_call": 256,
    },
}  # fmt: skip
STATED = {
    "difficulty.batch_size": {"small": 4, "paper": 8},
    "difficulty.shuffles": {"small": 1, "paper": 4},
    "discussion.trained_turns": {"small": "both", "paper": "fusion"},
    "sampling.samples": {"small": 8, "paper": 8},
    "training.steps": {"small": 30, "paper": 171},
    "training.checkpoint_every": {"small": 2, "paper": 10},
}
"""What a profile states for itself even where it is today's default."""


def settings(config: RunConfig) -> dict[str, object]:
    """Dotted keys and values."""
    flat = {}
    for key, value in to_dict(config).items():
        inner = value if isinstance(value, dict) else {"": value}
        flat.update({f"{key}.{name}".rstrip("."): setting for name, setting in inner.items()})
    return flat


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_differs_from_the_defaults_in_nothing_else(name: str) -> None:
    plain = settings(RunConfig(profile=name, variant="ilr", models=(), pool=()))
    found = settings(profile(name))
    assert {key: value for key, value in found.items() if value != plain[key]} == EXPECTED[name]


@pytest.mark.parametrize("key", STATED)
def test_what_a_profile_states_for_itself_is_there(key: str) -> None:
    assert {name: settings(profile(name))[key] for name in STATED[key]} == STATED[key]


def test_an_unknown_profile_says_what_was_meant_or_what_there_is() -> None:
    with pytest.raises(ConfigurationError, match="did you mean paper"):
        profile("papre")
    with pytest.raises(ConfigurationError, match="known: micro, small, paper"):
        profile("enormous")


def test_the_groups_of_models_are_the_papers() -> None:
    assert MODEL_GROUPS == {"group1": (LLAMA, QWEN), "group2": (LLAMA, LARGE_QWEN), "group3": (QWEN, LARGE_QWEN)}
