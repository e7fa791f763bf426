"""A run as data: one frozen configuration decides everything that a trial computes.

A profile makes a configuration, a variant makes one from another, and the hash of the result names the
trial. The fields `variant` and `profile` are labels for people: two configurations that differ in nothing
else have the same hash and are run once.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Literal

from ilr_bench.core.errors import ConfigurationError

Stage = Literal["sharing", "analysis", "fusion"]
STANDALONE_STAGES: tuple[Stage, ...] = ("sharing",)
IDEA3_STAGES: tuple[Stage, ...] = ("sharing", "analysis", "fusion")


@dataclass(frozen=True)
class QuestionSettings:
    """Which questions train the agents, and which ones estimate their ability."""

    source: str = "micro"
    """Name of a question source (`ilr_bench.tasks.sources`)."""
    train: int = 512
    """Number of training questions."""
    validation: int = 200
    """Number of held-out questions for ability and validation curves; never evaluated in a report."""


@dataclass(frozen=True)
class DifficultySettings:
    """How hard each training question is (Dynamic Interaction, paper section 3)."""

    source: Literal["self_ranking", "solve_rate"] = "self_ranking"
    """`self_ranking`: the agents order the questions; `solve_rate`: the fraction of wrong answers (ours)."""
    samples: int = 8
    """Answers of each agent to each question that a solve rate is measured on."""
    batch_size: int = 4
    """Questions that are ranked against each other in one prompt (at least 2)."""
    shuffles: int = 4
    """How often the questions are shuffled into batches and ranked anew."""


@dataclass(frozen=True)
class InteractionSettings:
    """How each agent's mode is chosen for each question."""

    rule: Literal["irt", "coin", "matched_coin"] = "irt"
    """`irt`: item-response rule; `coin`: cooperation with probability `cooperation_ratio`;
    `matched_coin`: a coin with the fraction of cooperation that the rule gives each agent."""
    cooperation_ratio: float | None = None
    disagreement: Literal["own", "any", "mean"] = "own"
    """`own`: each agent follows its own verdict; `any`: all cooperate if one would; `mean`: the rule on
    the mean ability."""
    ability: Literal["static", "online"] = "static"
    """`online`: ability follows the fraction of right ideas seen while training."""
    online_rate: float = 0.1
    """Weight of a step's accuracy in the online estimate (exponential moving average)."""


@dataclass(frozen=True)
class DiscussionSettings:
    """Which stages of Idea3 run, and which of their turns are trained."""

    stages: tuple[Stage, ...] = IDEA3_STAGES
    """Idea3, or `("sharing",)` alone: every agent answers by itself."""
    hears: Literal["peers", "itself"] = "peers"
    """`itself`: an agent analyses and improves its own idea, and no text of a peer reaches it (self-reflection)."""
    trained_turns: Literal["fusion", "sharing", "both", "all"] = "both"
    dialogues_per_question: int = 1
    """Independent dialogues on one question in one step; divides the number of samples."""


@dataclass(frozen=True)
class RewardSettings:
    """Base reward of one answer, before calibration."""

    kind: Literal["verified", "graded"] = "graded"
    """`verified`: right or wrong; `graded`: partial credit for right intermediate steps as well."""
    format_weight: float = 0.1
    step_weight: float = 0.5
    """Largest partial credit for right intermediate steps of an answer that is not right (`graded`)."""


@dataclass(frozen=True)
class CalibrationSettings:
    """What couples the agents' rewards."""

    kind: Literal["perception", "none"] = "perception"
    """`perception`: equation (5) of the paper."""


@dataclass(frozen=True)
class AdvantageSettings:
    """From calibrated rewards to advantages."""

    scale: Literal["group", "batch", "none"] = "group"
    baseline: Literal["group", "agents", "batch", "none"] = "group"
    """`none`: the rewards as they are, for a critic that takes its own baseline off them."""


@dataclass(frozen=True)
class PoolingSettings:
    """Whether an agent learns from what its peers wrote (Peer Rollout Pooling, arXiv 2605.07244)."""

    kind: Literal["none", "successes"] = "none"
    """`successes`: every right idea of a peer joins the agent's own group of ideas on that question."""


@dataclass(frozen=True)
class CriticSettings:
    """The value function of PPO; without one, advantages come from the rewards alone."""

    kind: Literal["none", "value_head"] = "none"
    """`value_head`: a linear layer on the policy's last hidden states, trained with it."""
    discount: float = 1.0
    trace: float = 0.95
    """lambda of generalised advantage estimation."""
    value_weight: float = 0.1
    """Weight of the value loss beside the policy's."""
    value_clip: float = 0.2
    """Furthest that a value may move on one batch of turns before its loss stops pulling."""
    learning_rate: float = 0.02
    """Of the value head, in rewards per optimizer step, whatever the model's width."""


@dataclass(frozen=True)
class SamplingSettings:
    """How turns are sampled while training."""

    samples: int = 8
    """n, the answers of one agent to one question that form its GRPO group."""
    samples_per_agent: tuple[int, ...] | None = None
    """Replaces `samples`, by agent (resolved by a trial that matches another one's tokens)."""
    match_tokens_of: str | None = None
    """Variant whose sampled completion tokens, agent by agent, this trial spends as well."""
    temperature: float = 1.0
    max_new_tokens: int = 64
    """Longest sharing or fusion turn, in the agent's own tokens."""
    max_analysis_tokens: int = 64
    max_ranking_tokens: int = 24
    max_prompt_tokens: int = 448
    """Longest prompt; longer ones lose the middle of their text, and are counted."""
    rows_per_call: int = 512
    """Most sequences sampled in one batch."""
    engine: Literal["transformers", "vllm"] = "transformers"
    """`vllm` draws other random numbers; docs/vllm.md has what it needs and what it promises."""


@dataclass(frozen=True)
class WarmStartSettings:
    """Supervised fine-tuning on written solutions before anything else; all weights, once for all seeds."""

    steps: int = 0
    """0: the models as they come."""
    questions: int = 256
    """How many training questions are taken, the first of the source's; they must have worked solutions."""
    rows_per_step: int = 16
    learning_rate: float = 1e-5


@dataclass(frozen=True)
class UpdateSettings:
    """The GRPO update of one agent (TRL's loss, names as in TRL's GRPOConfig)."""

    learning_rate: float = 3e-4
    warmup_steps: int = 2
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    loss_type: Literal["grpo", "bnpo", "dr_grpo", "dapo"] = "dapo"
    beta: float = 0.0
    epsilon: float = 0.2
    epsilon_high: float | None = None
    iterations: int = 1
    """Optimizer steps taken on one batch of turns (mu in GRPO)."""
    rows_per_micro_batch: int = 256
    adapter: Literal["full", "lora"] = "full"
    lora_rank: int = 16
    precision: Literal["fp32", "bf16"] = "fp32"
    """`bf16`: autocast over fp32 master weights."""
    gradient_checkpointing: bool = False
    """Layers are computed again in the backward pass instead of kept: less memory, about a third more time."""


@dataclass(frozen=True)
class TrainingSettings:
    """The length of the run."""

    steps: int = 30
    """Joint steps; every agent takes one batch of updates in each. 0 leaves the models as they are."""
    questions_per_step: int = 16
    validate_every: int = 10
    """Steps between standalone accuracies on held-out questions (0: never)."""
    checkpoint_every: int = 10


@dataclass(frozen=True)
class EvaluationSettings:
    """Standalone evaluation after training."""

    benchmarks: tuple[str, ...] = ("micro",)
    """Names of benchmarks or groups of them."""
    limit: int | None = None
    """Questions per benchmark (all when None)."""
    samples: int = 1
    temperature: float = 0.0
    max_new_tokens: int = 96
    """Longest answer to a benchmark that states no limit of its own."""
    token_limit: int | None = None
    """Longest answer to any benchmark, whatever it states."""
    rows_per_call: int = 512
    batch_tokens: int | None = None
    """Most tokens in one batch, each row counted as the longest prompt and the longest answer."""
    jail: bool = True
    """Whether model-written programs run in a jail; without one they can do whatever you can."""


@dataclass(frozen=True)
class InferenceSettings:
    """Joint inference: agents answer benchmarks together instead of each alone."""

    method: Literal["none", "single", "debate", "idea3"] = "none"
    """`none`: every agent is evaluated alone; `single`: one answer each; `debate`: answers revised in sight of the
    others'; `idea3`: share, analyse, fuse."""
    rounds: int = 3
    """Turns of every agent in a debate, its first answer included."""


@dataclass(frozen=True)
class RunConfig:
    """Everything that determines a trial: variant x profile x models x seed, resolved."""

    profile: str
    variant: str
    models: tuple[str, ...]
    pool: tuple[str, ...]
    """Models that variants with more agents may add, in this order."""
    seed: int = 0
    prompt_style: str = "micro"
    """Wording of the prompts (`ilr_bench.prompts`): one for all agents, or one per agent as `chat+fewshot`."""
    thought_marks: str = "auto"
    """Marks around what models think before they answer, as `<think> </think>`; no answer is read there. `auto`: those
    of each chat template, else any known (`ilr_bench.prompts.thoughts`)."""
    questions: QuestionSettings = field(default_factory=QuestionSettings)
    difficulty: DifficultySettings = field(default_factory=DifficultySettings)
    interaction: InteractionSettings = field(default_factory=InteractionSettings)
    discussion: DiscussionSettings = field(default_factory=DiscussionSettings)
    reward: RewardSettings = field(default_factory=RewardSettings)
    calibration: CalibrationSettings = field(default_factory=CalibrationSettings)
    advantages: AdvantageSettings = field(default_factory=AdvantageSettings)
    pooling: PoolingSettings = field(default_factory=PoolingSettings)
    critic: CriticSettings = field(default_factory=CriticSettings)
    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    warm_start: WarmStartSettings = field(default_factory=WarmStartSettings)
    update: UpdateSettings = field(default_factory=UpdateSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    inference: InferenceSettings = field(default_factory=InferenceSettings)

    @property
    def agents(self) -> tuple[str, ...]:
        """Names of the agents: the models' without their folders, numbered (`A.1`, `A.2`) where one occurs twice."""
        short = [model.rstrip("/").rsplit("/", 1)[-1] for model in self.models]
        return tuple(
            f"{name}.{short[: index + 1].count(name)}" if short.count(name) > 1 else name
            for index, name in enumerate(short)
        )

    @property
    def styles(self) -> tuple[str, ...]:
        """Every agent's prompt style."""
        named = tuple(self.prompt_style.split("+"))
        return named * len(self.models) if len(named) == 1 else named

    def samples_of(self, agent: int) -> int:
        """n, the answers that the agent at an index samples."""
        per_agent = self.sampling.samples_per_agent
        return self.sampling.samples if per_agent is None else per_agent[agent]


LABELS = ("profile", "variant", "pool")
"""Fields that name a run without changing what it computes."""


def to_dict(config: RunConfig) -> dict[str, Any]:
    """Plain JSON data; `from_dict` is the inverse."""
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))
    return plain


def from_dict(data: Mapping[str, Any]) -> RunConfig:
    """The inverse of `to_dict`; raises ConfigurationError on unknown or ill-typed fields."""
    config: RunConfig = _build(RunConfig, data, "")
    return config


def content_hash(data: Any) -> str:
    """First 12 hexadecimal digits of the SHA-256 of canonical JSON."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def change(config: RunConfig, changes: Mapping[str, Any]) -> RunConfig:
    """A copy with some settings replaced, named by dotted keys such as `interaction.rule`.

    Strings are accepted for every type (as `--set` hands them over). Raises ConfigurationError.
    """
    data = to_dict(config)
    for key, value in changes.items():
        *parents, leaf = key.split(".")
        group: Any = data
        for parent in parents:
            group = group.get(parent) if isinstance(group, dict) else None
        if not isinstance(group, dict) or leaf not in group or isinstance(group[leaf], dict):
            raise _unknown(key, _keys(config))
        group[leaf] = value
    return from_dict(data)


def _keys(value: Any, prefix: str = "") -> list[str]:
    keys = []
    for item in dataclasses.fields(value):
        inner = getattr(value, item.name)
        keys += _keys(inner, f"{prefix}{item.name}.") if dataclasses.is_dataclass(inner) else [prefix + item.name]
    return keys


def _unknown(key: str, known: list[str]) -> ConfigurationError:
    close = get_close_matches(key, known, n=1)
    hint = f"; did you mean {close[0]}?" if close else f"; known settings: {', '.join(known)}"
    return ConfigurationError(f"unknown setting {key}{hint}")


def _build(cls: type, data: Mapping[str, Any], prefix: str) -> Any:
    if not isinstance(data, Mapping):
        raise ConfigurationError(f"{prefix.rstrip('.') or 'configuration'}: {data!r} is not a group of settings")
    hints = typing.get_type_hints(cls)
    names = [item.name for item in dataclasses.fields(cls)]
    for key in data:
        if key not in names:
            raise _unknown(f"{prefix}{key}", [prefix + name for name in names])
    values = {}
    for name in names:
        if name in data:
            hint = hints[name]
            if dataclasses.is_dataclass(hint) and isinstance(hint, type):
                values[name] = _build(hint, data[name], f"{prefix}{name}.")
            else:
                values[name] = _convert(data[name], hint, f"{prefix}{name}")
    try:
        return cls(**values)
    except TypeError as error:
        raise ConfigurationError(f"{prefix or 'configuration'}: {error}") from error


def _convert(value: Any, hint: Any, key: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        if value is None or (value == "none" and str not in arguments):
            return None
        return _convert(value, next(part for part in arguments if part is not types.NoneType), key)
    if origin is Literal:
        if value not in arguments:
            raise ConfigurationError(f"{key}: {value!r} is none of {', '.join(map(repr, arguments))}")
        return value
    if hint is bool:
        if str(value).lower() not in ("true", "false"):
            raise ConfigurationError(f"{key}: {value!r} is neither true nor false")
        return str(value).lower() == "true"
    if origin is tuple:
        parts = value.split("+") if isinstance(value, str) else value
        if not isinstance(parts, list | tuple):
            raise ConfigurationError(f"{key}: {value!r} is not a list; write it as a+b")
        return tuple(_convert(part, arguments[0], key) for part in parts)
    try:
        if hint is int and isinstance(value, float) and not value.is_integer():
            raise ValueError
        converted = hint(value)
        if hint is float and not math.isfinite(converted):
            raise ValueError
        return converted
    except (TypeError, ValueError) as error:
        wanted = {int: "an integer", float: "a finite number"}.get(hint, f"a {hint.__name__}")
        raise ConfigurationError(f"{key}: {value!r} is not {wanted}") from error
