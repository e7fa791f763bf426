"""What the method has to beat: no training, and agents that train alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ilr_bench.core.config import STANDALONE_STAGES, RunConfig, change
from ilr_bench.core.validation import is_built_in

from .registry import register


@register
def base(config: RunConfig) -> RunConfig:
    """The models as they are, without training.

    Source: paper, main result (row Base)
    """
    return change(grpo(config), {"training.steps": 0})


@register
def grpo(config: RunConfig) -> RunConfig:
    """Each agent trained alone on the same questions by GRPO.

    Source: paper, main result (row GRPO)
    """
    alone = {
        "discussion.stages": STANDALONE_STAGES,
        "discussion.trained_turns": "sharing",
        "discussion.dialogues_per_question": 1,
    }
    return change(config, {**alone, "calibration.kind": "none"})


@register
def grpo_matched(config: RunConfig) -> RunConfig:
    """GRPO alone with as many sampled tokens per agent and seed as ILR, spent on more samples per question.

    Source: reviewers (is it just more sampling?)
    """
    return change(grpo(config), {"sampling.match_tokens_of": "ilr"})


@register
def ppo(config: RunConfig) -> RunConfig:
    """Each agent trained alone by PPO: a value head in place of the group as the baseline.

    Source: paper, main result (row PPO)
    """
    critic = {"critic.kind": "value_head", "advantages.scale": "none", "advantages.baseline": "none"}
    return change(grpo(config), critic)


@register
def infer_single(config: RunConfig) -> RunConfig:
    """Untrained agents, one answer each: what Debate and Idea3 as inference methods are compared with.

    Source: paper, Table 4 (single)
    """
    return _answering(config, {"inference.method": "single"})


@register
def infer_debate(config: RunConfig) -> RunConfig:
    """Untrained agents answer, see each other's answers and answer again; the majority decides at the end.

    Source: paper, Table 4 (Debate, after Du et al. 2023)
    """
    return _answering(config, {"inference.method": "debate"})


@register
def infer_idea3(config: RunConfig) -> RunConfig:
    """Untrained agents share, analyse and fuse once, as partners; the fusions are the answers.

    Source: paper, Table 4 (Idea3)
    """
    # Questions of a benchmark have no difficulty, so nothing can choose a mode.
    partners = {"interaction.rule": "coin", "interaction.cooperation_ratio": 1.0}
    stages = {"discussion.stages": config.discussion.stages, "discussion.options": config.discussion.options}
    kept = {} if is_built_in(config, "discussion.stages") else stages
    return _answering(config, {**partners, **kept, "inference.method": "idea3"})


def _answering(config: RunConfig, method: Mapping[str, Any]) -> RunConfig:
    return change(base(config), {"evaluation.samples": 1, **method})
