"""The paper's own method, its components taken away one at a time, and its cooperation ratio."""

from __future__ import annotations

from ilr_bench.core.config import IDEA3_STAGES, RunConfig, change
from ilr_bench.core.validation import is_built_in

from .baselines import grpo
from .registry import register

RATIOS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Cooperation ratios of Figure 3."""


@register
def ilr(config: RunConfig) -> RunConfig:
    """The whole method: the item-response rule, Idea3 and perception calibration.

    A mechanism from outside in place of one of them stays.
    Source: paper, sections 3.1 to 3.3
    """
    own = {"discussion.stages": IDEA3_STAGES, "interaction.rule": "irt", "calibration.kind": "perception"}
    return change(config, {key: value for key, value in own.items() if is_built_in(config, key)})


@register
def di_only(config: RunConfig) -> RunConfig:
    """Dynamic interaction without perception calibration.

    Source: paper, component ablation
    """
    return change(ilr(config), {"calibration.kind": "none"})


@register
def pc_only(config: RunConfig) -> RunConfig:
    """Perception calibration without interaction: the same questions, each agent answering alone.

    Source: paper, component ablation (what stays in place of the interaction is not stated there)
    """
    calibration = ilr(config).calibration
    return change(grpo(config), {"calibration.kind": calibration.kind, "calibration.options": calibration.options})


@register
def pure_cooperative(config: RunConfig) -> RunConfig:
    """Every agent cooperates on every question.

    Source: paper, Figure 3 (p = 1)
    """
    return with_cooperation_ratio(config, 1.0)


@register
def pure_competitive(config: RunConfig) -> RunConfig:
    """Every agent competes on every question.

    Source: paper, Figure 3 (p = 0)
    """
    return with_cooperation_ratio(config, 0.0)


@register
def coin(config: RunConfig) -> RunConfig:
    """A coin in place of the rule, with the probability of cooperation that is set (half, if none is).

    Source: paper, Figure 3, with `--set interaction.cooperation_ratio=0.0,0.2,0.4`
    """
    ratio = config.interaction.cooperation_ratio
    bare = change(config, {"interaction.cooperation_ratio": None})  # only a coin may have one, and ilr has none yet
    return with_cooperation_ratio(bare, 0.5 if ratio is None else ratio)


def with_cooperation_ratio(config: RunConfig, ratio: float) -> RunConfig:
    """The method with a coin in place of the rule: cooperation with probability `ratio`."""
    return change(ilr(config), {"interaction.rule": "coin", "interaction.cooperation_ratio": ratio})


def _register_ratio(ratio: float) -> None:
    def cooperation(config: RunConfig) -> RunConfig:
        return with_cooperation_ratio(config, ratio)

    cooperation.__doc__ = (
        f"A coin in place of the rule: cooperation with probability {ratio}.\n\nSource: paper, Figure 3 (p = {ratio})"
    )
    register(cooperation, name=f"cooperation_{ratio}")


for _ratio in RATIOS:
    _register_ratio(_ratio)
