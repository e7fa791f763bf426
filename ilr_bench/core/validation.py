"""Checks a configuration before anything runs: settings that contradict each other.

Of one setting alone its type and bounds are checked where it is read (`core.config`).
"""

from __future__ import annotations

from ilr_bench.core.config import (
    IDEA3_STAGES,
    STANDALONE_STAGES,
    AdvantageSettings,
    DiscussionSettings,
    RunConfig,
    from_dict,
    to_dict,
)
from ilr_bench.core.errors import ConfigurationError

NO_STAGES = (
    "ability", "checkpoint", "evaluation", "grading", "loading", "measurement", "models", "ranking", "total", "update",
    "validation",
)  # fmt: skip
"""What else takes time in a trial, under its own name in `timing.jsonl`."""
BUILT_IN = {
    "interaction.rule": ("irt", "coin", "matched_coin"),
    "discussion.stages": IDEA3_STAGES,
    "reward.kind": ("verified", "graded"),
    "calibration.kind": ("perception", "none"),
}
"""The mechanisms of the paper and of its ablations, by the settings that name them."""


def validate(config: RunConfig) -> RunConfig:
    """The configuration itself, or a ConfigurationError that names the setting at fault."""
    from_dict(to_dict(config))  # bounds, where it was not made by `change`
    discussion, sampling, training = config.discussion, config.sampling, config.training
    if not config.models:
        raise ConfigurationError("models: at least one model is needed")
    if len(config.styles) != len(config.models):
        raise ConfigurationError(
            f"prompt_style: {len(config.styles)} styles for {len(config.models)} agents; name one for all, or one each"
        )
    if sampling.samples_per_agent is not None and len(sampling.samples_per_agent) != len(config.models):
        raise ConfigurationError("sampling.samples_per_agent: one number per agent is needed")
    _validate_stages(discussion)
    if discussion.discusses and discussion.hears == "peers" and len(config.models) < 2:
        raise ConfigurationError(
            "discussion.stages: a discussion needs at least two agents; add a model, or use the variant grpo"
        )
    if discussion.stages == STANDALONE_STAGES and discussion.trained_turns != "sharing":
        raise ConfigurationError("discussion.trained_turns: only `sharing` can be trained where nothing is fused")
    if config.interaction.rule == "coin" and config.interaction.cooperation_ratio is None:
        raise ConfigurationError("interaction.cooperation_ratio: the rule `coin` needs a probability between 0 and 1")
    if config.interaction.rule != "coin" and config.interaction.cooperation_ratio is not None:
        raise ConfigurationError(
            "interaction.cooperation_ratio: only the rule `coin` has one; set interaction.rule=coin"
        )
    uneven = sampling.match_tokens_of is not None or len(set(sampling.samples_per_agent or ())) > 1
    standardised = config.advantages.kind == AdvantageSettings.kind
    if standardised and config.advantages.baseline == "agents" and uneven:
        raise ConfigurationError("advantages.baseline: `agents` needs equally many samples from every agent")
    for agent in range(len(config.models)):
        if config.samples_of(agent) % discussion.dialogues_per_question:
            raise ConfigurationError("discussion.dialogues_per_question: must divide sampling.samples")
    if discussion.trained_turns == "all" and discussion.dialogues_per_question != sampling.samples:
        raise ConfigurationError(
            "discussion.trained_turns: `all` needs one dialogue per sample; "
            "set discussion.dialogues_per_question to sampling.samples"
        )
    _validate_learning(config)
    _validate_inference(config)
    _validate_served(config)
    if training.questions_per_step > config.questions.train:
        raise ConfigurationError("training.questions_per_step: larger than questions.train")
    return config


def _validate_stages(discussion: DiscussionSettings) -> None:
    stages, labels = discussion.stages, discussion.labels
    ends = (stages[0], stages[-1]) if len(stages) > 2 else ()
    if stages != STANDALONE_STAGES and ends != ("sharing", "fusion"):
        raise ConfigurationError(
            f"discussion.stages: {'+'.join(stages)} is neither {'+'.join(STANDALONE_STAGES)} nor sharing, other stages "
            f"and fusion, such as {'+'.join(IDEA3_STAGES)}"
        )
    for label in labels:
        if labels.count(label) > 1 or label in NO_STAGES:
            raise ConfigurationError(f"discussion.stages: records need another name than {label}; rename that stage")


def _validate_learning(config: RunConfig) -> None:
    standardised = config.advantages.kind == AdvantageSettings.kind
    plain = standardised and (config.advantages.scale, config.advantages.baseline) == ("none", "none")
    if config.critic.kind != "none" and not plain:
        raise ConfigurationError(
            "critic.kind: a critic takes its own baseline off the rewards; "
            "set advantages.scale and advantages.baseline to none"
        )
    alone = any(config.samples_of(agent) == 1 for agent in range(len(config.models)))
    grouped = standardised and config.advantages.baseline == "group"
    if alone and grouped and config.pooling.kind == "none" and config.training.steps:
        raise ConfigurationError(
            "sampling.samples: a group of one answer has its own mean, so every advantage is 0 and nothing is learned; "
            "set sampling.samples to 2 or more, or advantages.baseline to agents, batch or none"
        )
    if config.pooling.kind != "none":
        if not grouped or config.advantages.scale == "batch":
            raise ConfigurationError(
                "pooling.kind: peers' answers join a group; set advantages.baseline=group and advantages.scale=group"
            )
        if config.calibration.kind != "none":
            raise ConfigurationError(
                "pooling.kind: equation (5) compares groups that pooling joins; set calibration.kind=none"
            )
        if config.discussion.trained_turns == "fusion":
            raise ConfigurationError(
                "pooling.kind: only ideas are pooled; set discussion.trained_turns=sharing or both"
            )


def _validate_served(config: RunConfig) -> None:
    """What a server behind the Tinker API cannot do."""
    if config.sampling.engine != "tinker":
        return
    instead = "train with sampling.engine=transformers or vllm"
    if config.update.adapter != "lora":
        raise ConfigurationError(f"update.adapter: servers train LoRA adapters only; set it to lora, or {instead}")
    if config.critic.kind != "none":
        raise ConfigurationError(f"critic.kind: a server gives no hidden states to a critic; {instead}")
    if config.warm_start.steps:
        raise ConfigurationError(f"warm_start.steps: changes all weights, which a server does not; {instead}")
    if config.training.steps and config.sampling.temperature != 1:
        raise ConfigurationError(
            "sampling.temperature: servers give log-probabilities at temperature 1, and the update needs those of the "
            f"sampling distribution; set it to 1, or {instead}"
        )


def _validate_inference(config: RunConfig) -> None:
    method = config.inference.method
    if method != "none" and config.evaluation.samples != 1:
        raise ConfigurationError("inference.method: gives one answer per question; set evaluation.samples=1")
    if method in ("debate", "idea3") and len(config.models) < 2:
        raise ConfigurationError(f"inference.method: {method} needs at least two agents; add a model")
    if method == "idea3" and config.interaction.rule != "coin":
        raise ConfigurationError(
            "inference.method: benchmark questions have no difficulty for the rule; set interaction.rule=coin "
            "and interaction.cooperation_ratio"
        )


def is_built_in(config: RunConfig, key: str) -> bool:
    """Whether what a configuration names under a key of `BUILT_IN` is this project's own."""
    group, _, name = key.partition(".")
    named = getattr(getattr(config, group), name)
    return all(one in BUILT_IN[key] for one in ((named,) if isinstance(named, str) else named))
