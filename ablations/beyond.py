"""What the paper leaves open: questions of its reviewers and of this laboratory."""

from __future__ import annotations

from ilr_bench.core.config import RunConfig, change
from ilr_bench.core.errors import ConfigurationError

from .baselines import grpo
from .paper import di_only, ilr
from .registry import register


@register
def random_matched(config: RunConfig) -> RunConfig:
    """Modes by a coin that has, agent by agent, the share of cooperation that the rule gives.

    Source: reviewers (does choosing the mode by question matter?)
    """
    return change(ilr(config), {"interaction.rule": "matched_coin"})


@register
def agents_3(config: RunConfig) -> RunConfig:
    """Three agents: the pool's first other model joins.

    Source: reviewers (more than two agents)
    """
    return _with_agents(config, 3)


@register
def agents_4(config: RunConfig) -> RunConfig:
    """Four agents: the pool's first two other models join.

    Source: reviewers (more than two agents)
    """
    return _with_agents(config, 4)


@register
def twins(config: RunConfig) -> RunConfig:
    """Two agents that start as copies of the first model.

    Source: reviewers (do the backbones have to differ?)
    """
    return ilr(change(config, {"models": (config.models[0], config.models[0])}))


@register
def train_fusion(config: RunConfig) -> RunConfig:
    """Only fusion turns are trained.

    Source: reviewers (which turns are trained?)
    """
    return change(ilr(config), {"discussion.trained_turns": "fusion"})


@register
def train_sharing(config: RunConfig) -> RunConfig:
    """Only sharing turns are trained; the discussion is held and not learned from.

    Source: reviewers (which turns are trained?)
    """
    return change(ilr(config), {"discussion.trained_turns": "sharing"})


@register
def pooled_baseline(config: RunConfig) -> RunConfig:
    """Advantages against a baseline pooled over the agents.

    Source: this laboratory (equation (5) cannot act inside a group without active clips)
    """
    return change(ilr(config), {"advantages.baseline": "agents"})


@register
def no_std(config: RunConfig) -> RunConfig:
    """Advantages without division by the group's standard deviation.

    Source: this laboratory (there equation (5) scales the step)
    """
    return change(ilr(config), {"advantages.scale": "none"})


@register
def batch_scale(config: RunConfig) -> RunConfig:
    """Advantages divided by the standard deviation of the whole batch.

    Source: this laboratory (there equation (5) weighs the groups)
    """
    return change(ilr(config), {"advantages.scale": "batch"})


@register
def online_ability(config: RunConfig) -> RunConfig:
    """The ability follows the share of right solo answers while training.

    Source: reviewers (a static ability grows stale)
    """
    return change(ilr(config), {"interaction.ability": "online"})


@register
def solve_rate_difficulty(config: RunConfig) -> RunConfig:
    """The rule compares ability with the share of the agents' wrong answers, two accuracies on one scale.

    Source: reviewers (is a mean rank a difficulty?)
    """
    return change(ilr(config), {"difficulty.source": "solve_rate"})


@register
def self_reflection(config: RunConfig) -> RunConfig:
    """Each agent analyses and improves its own idea; no text and no reward of a peer reaches it.

    Source: reviewers (is it the other model, or the second look?)
    """
    return change(di_only(config), {"discussion.hears": "itself"})


@register
def peer_pooling(config: RunConfig) -> RunConfig:
    """Agents answer alone, and what a peer solved joins an agent's own group.

    Source: this laboratory (Peer Rollout Pooling, arXiv 2605.07244)
    """
    return change(grpo(config), {"pooling.kind": "successes"})


def _with_agents(config: RunConfig, number: int) -> RunConfig:
    others = list(config.pool)
    for model in config.models:
        if model in others:
            others.remove(model)
    models = (*config.models, *others)
    if len(models) < number:
        raise ConfigurationError(f"pool: {number} models are needed, {len(models)} are there; name more in `pool`")
    return ilr(change(config, {"models": models[:number]}))
