"""A run as data: one frozen configuration decides everything that a trial computes.

A profile makes a configuration, a variant makes one from another, and the hash of the result names the
trial. The fields `variant` and `profile` are labels for people: two configurations that differ in nothing
else have the same hash and are run once.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import Ge

from ilr_bench.core.plugins import Name, agent_name, short_label
from ilr_bench.core.settings import Count, CountOrNone, Options, Positive, Share, Weight, hints, keys, read, unknown

STANDALONE_STAGES = ("sharing",)
IDEA3_STAGES = ("sharing", "analysis", "fusion")

Several = Annotated[int, Ge(2)]


@dataclass(frozen=True)
class QuestionSettings:
    """Which questions train the agents, and which ones estimate their ability."""

    source: Name = "micro"
    """Name of a question source (`ilr_bench.tasks.sources`)."""
    train: Count = 512
    """Number of training questions."""
    validation: Count = 200
    """Number of held-out questions for ability and validation curves; never evaluated in a report."""


@dataclass(frozen=True)
class DifficultySettings:
    """How hard each training question is (Dynamic Interaction, paper section 3)."""

    source: Literal["self_ranking", "solve_rate"] = "self_ranking"
    """`self_ranking`: the agents order the questions; `solve_rate`: the fraction of wrong answers (ours)."""
    samples: Count = 8
    """Answers of each agent to each question that a solve rate is measured on."""
    batch_size: Several = 4
    """Questions that are ranked against each other in one prompt (at least 2)."""
    shuffles: Count = 4
    """How often the questions are shuffled into batches and ranked anew."""


@dataclass(frozen=True)
class InteractionSettings:
    """How each agent's mode is chosen for each question."""

    rule: Name = "irt"
    """`irt`: item-response rule; `coin`: cooperation with probability `cooperation_ratio`;
    `matched_coin`: a coin with the fraction of cooperation that the rule gives each agent."""
    cooperation_ratio: Share | None = None
    disagreement: Literal["own", "any", "mean"] = "own"
    """`own`: each agent follows its own verdict; `any`: all cooperate if one would; `mean`: the rule on
    the mean ability."""
    ability: Literal["static", "online"] = "static"
    """`online`: ability follows the fraction of right ideas seen while training."""
    online_rate: Share = 0.1
    """Weight of a step's accuracy in the online estimate (exponential moving average)."""
    options: Options = field(default_factory=Options)
    """What another rule has to be told."""


@dataclass(frozen=True)
class DiscussionSettings:
    """Which stages of Idea3 run, and which of their turns are trained."""

    stages: tuple[Name, ...] = IDEA3_STAGES
    """Idea3, with other stages between sharing and fusion, or `("sharing",)` alone: every agent answers by itself."""
    hears: Literal["peers", "itself"] = "peers"
    """`itself`: an agent analyses and improves its own idea, and no text of a peer reaches it (self-reflection)."""
    trained_turns: Literal["fusion", "sharing", "both", "all"] = "both"
    dialogues_per_question: Count = 1
    """Independent dialogues on one question in one step; divides the number of samples."""
    options: Options = field(default_factory=Options)
    """What other stages have to be told."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The stages as records name them."""
        return tuple(map(short_label, self.stages))

    @property
    def discusses(self) -> bool:
        """Whether agents say more than their first ideas."""
        return len(self.stages) > 1

    @property
    def trained(self) -> tuple[str, ...]:
        """Labels of the stages whose turns are trained."""
        named = {"fusion": ("fusion",), "sharing": ("sharing",), "both": ("sharing", "fusion"), "all": self.labels}
        return named[self.trained_turns]


@dataclass(frozen=True)
class RewardSettings:
    """Base reward of one answer, before calibration."""

    kind: Name = "graded"
    """`verified`: right or wrong; `graded`: partial credit for right intermediate steps as well; `judge`: what a model
    behind an address says (docs/plug-ins.md)."""
    format_weight: Weight = 0.1
    step_weight: Weight = 0.5
    """Largest partial credit for right intermediate steps of an answer that is not right (`graded`)."""
    options: Options = field(default_factory=Options)
    """What another reward has to be told."""


@dataclass(frozen=True)
class CalibrationSettings:
    """What couples the agents' rewards."""

    kind: Name = "perception"
    """`perception`: equation (5) of the paper."""
    options: Options = field(default_factory=Options)
    """What another calibration has to be told."""


@dataclass(frozen=True)
class AdvantageSettings:
    """From calibrated rewards to advantages."""

    kind: Name = "standardised"
    """`standardised`: (reward - baseline) / scale."""
    scale: Literal["group", "batch", "none"] = "group"
    baseline: Literal["group", "agents", "batch", "none"] = "group"
    """`none`: the rewards as they are, for a critic that takes its own baseline off them."""
    options: Options = field(default_factory=Options)
    """What another estimator has to be told."""


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
    discount: Share = 1.0
    trace: Share = 0.95
    """lambda of generalised advantage estimation."""
    value_weight: Weight = 0.1
    """Weight of the value loss beside the policy's."""
    value_clip: Positive = 0.2
    """Furthest that a value may move on one batch of turns before its loss stops pulling."""
    learning_rate: Positive = 0.02
    """Of the value head, in rewards per optimizer step, whatever the model's width."""


@dataclass(frozen=True)
class SamplingSettings:
    """How turns are sampled while training."""

    samples: Count = 8
    """n, the answers of one agent to one question that form its GRPO group."""
    samples_per_agent: tuple[Count, ...] | None = None
    """Replaces `samples`, by agent (resolved by a trial that matches another one's tokens)."""
    match_tokens_of: str | None = None
    """Variant whose sampled completion tokens, agent by agent, this trial spends as well."""
    temperature: Positive = 1.0
    max_new_tokens: Count = 64
    """Longest sharing or fusion turn, in the agent's own tokens."""
    max_analysis_tokens: Count = 64
    """Longest analysis of a peer's idea."""
    max_ranking_tokens: Count = 24
    """Longest ranking of a batch of questions by difficulty."""
    max_prompt_tokens: Count = 448
    """Longest prompt; longer ones lose the middle of their text, and are counted."""
    rows_per_call: Count = 512
    """Most sequences sampled in one batch."""
    engine: Literal["transformers", "vllm", "tinker"] = "transformers"
    """`vllm` and `tinker` (a server that trains as well) draw other random numbers: docs/vllm.md, docs/tinker.md."""


@dataclass(frozen=True)
class WarmStartSettings:
    """Supervised fine-tuning on written solutions before anything else; all weights, once for all seeds."""

    steps: CountOrNone = 0
    """0: the models as they come."""
    questions: Count = 256
    """How many training questions are taken, the first of the source's; they must have worked solutions."""
    rows_per_step: Count = 16
    """Solutions in one optimizer step."""
    learning_rate: Positive = 1e-5


@dataclass(frozen=True)
class UpdateSettings:
    """The GRPO update of one agent (TRL's loss, names as in TRL's GRPOConfig)."""

    learning_rate: Positive = 3e-4
    warmup_steps: CountOrNone = 2
    """Optimizer steps over which the learning rate rises to its value."""
    weight_decay: Weight = 0.0
    max_grad_norm: Positive = 1.0
    """Gradients are clipped to this norm."""
    loss_type: Literal["grpo", "bnpo", "dr_grpo", "dapo"] = "dapo"
    beta: Weight = 0.0
    """Weight of the divergence from the models as they came; 0: none."""
    epsilon: Positive = 0.2
    epsilon_high: Positive | None = None
    iterations: Count = 1
    """Optimizer steps taken on one batch of turns (mu in GRPO)."""
    rows_per_micro_batch: Count = 256
    """Most turns in one forward and backward pass."""
    adapter: Literal["full", "lora"] = "full"
    lora_rank: Count = 16
    """Rank of the adapters where `adapter` is `lora`."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """`bf16`: autocast over fp32 master weights."""
    gradient_checkpointing: bool = False
    """Layers are computed again in the backward pass instead of kept: less memory, about a third more time."""


@dataclass(frozen=True)
class TrainingSettings:
    """The length of the run."""

    steps: CountOrNone = 30
    """Joint steps; every agent takes one batch of updates in each. 0 leaves the models as they are."""
    questions_per_step: Count = 16
    """Questions that a joint step is about."""
    validate_every: CountOrNone = 10
    """Steps between standalone accuracies on held-out questions (0: never)."""
    checkpoint_every: Count = 10
    """Steps between checkpoints."""


@dataclass(frozen=True)
class EvaluationSettings:
    """Standalone evaluation after training."""

    benchmarks: tuple[Name, ...] = ("micro",)
    """Names of benchmarks or groups of them."""
    limit: Count | None = None
    """Questions per benchmark; none: all."""
    samples: Count = 1
    """Answers per question."""
    temperature: Weight = 0.0
    """0 is greedy."""
    max_new_tokens: Count = 96
    """Longest answer to a benchmark that states no limit of its own."""
    token_limit: Count | None = None
    """Longest answer to any benchmark, whatever it states."""
    rows_per_call: Count = 512
    batch_tokens: Count | None = None
    """Most tokens in one batch, each row counted as the longest prompt and the longest answer."""
    jail: bool = True
    """Whether model-written programs run in a jail; without one they can do whatever you can."""


@dataclass(frozen=True)
class InferenceSettings:
    """Joint inference: agents answer benchmarks together instead of each alone."""

    method: Literal["none", "single", "debate", "idea3"] = "none"
    """`none`: every agent is evaluated alone; `single`: one answer each; `debate`: answers revised in sight of the
    others'; `idea3`: share, analyse, fuse."""
    rounds: Several = 3
    """Turns of every agent in a debate, its first answer included."""


@dataclass(frozen=True)
class RunConfig:
    """Everything that determines a trial: variant x profile x models x seed, resolved."""

    profile: str
    """Where the settings came from; a label."""
    variant: str
    """What changed them; a label."""
    models: tuple[Name, ...]
    """Models that learn together: names (`ilr-bench models`), folders, GGUF files or hub names."""
    pool: tuple[Name, ...]
    """Models that variants with more agents may add, in this order."""
    seed: int = 0
    """Seed of everything that is drawn."""
    prompt_style: Name = "micro"
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
        """Names of the agents: given (`NAME=MODEL`) or the models' own, numbered (`A.1`, `A.2`) where several are."""
        short = [agent_name(model) for model in self.models]
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
    """Plain JSON data; `from_dict` is the inverse. Options that nobody has set are left out."""
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config, dict_factory=_without_silent)))
    return plain


def from_dict(data: Mapping[str, Any]) -> RunConfig:
    """The inverse of `to_dict`; raises ConfigurationError on fields that are unknown, ill-typed or out of bounds."""
    return read(RunConfig, data)


def content_hash(data: Any) -> str:
    """First 12 hexadecimal digits of the SHA-256 of canonical JSON."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def change(config: RunConfig, changes: Mapping[str, Any]) -> RunConfig:
    """A copy with some settings replaced, named by dotted keys such as `interaction.rule`.

    Strings are accepted for every type (as `--set` hands them over). Another mechanism begins without the options of
    the one that it replaces. Raises ConfigurationError.
    """
    options = {key: value for key, value in changes.items() if ".options" in key}
    made = _changed(config, {key: value for key, value in changes.items() if key not in options})
    before, after = _mechanisms(config), _mechanisms(made)
    stale: dict[str, Any] = {f"{group}.options": {} for group in after if after[group] != before[group]}
    return _changed(made, stale | options) if stale or options else made


def _changed(config: RunConfig, changes: Mapping[str, Any]) -> RunConfig:
    data = to_dict(config)
    for key, value in changes.items():
        parent, _, leaf = key.rpartition(".")
        if key not in keys(RunConfig) and not are_options(parent):
            raise unknown(key, keys(RunConfig))
        group = data
        for name in parent.split(".") if parent else ():
            group = group.setdefault(name, {})
        group[leaf] = value
    return from_dict(data)


def _mechanisms(config: RunConfig) -> dict[str, Any]:
    """Group -> what its mechanism is called: the first setting of every group with options."""
    groups = {item.name: getattr(config, item.name) for item in dataclasses.fields(config)}
    named = {name: group for name, group in groups.items() if hasattr(group, "options")}
    return {name: getattr(group, dataclasses.fields(group)[0].name) for name, group in named.items()}


def are_options(key: str) -> bool:
    """Whether a plug-in names what stands under a key."""
    group, _, leaf = key.rpartition(".")
    return key in keys(RunConfig) and hints(hints(RunConfig)[group] if group else RunConfig)[leaf] is Options


def _without_silent(items: list[tuple[str, Any]]) -> dict[str, Any]:
    """As it was before there were these settings, where they say nothing new."""
    silent: tuple[tuple[str, Any], ...] = (("kind", AdvantageSettings.kind), ("options", {}))
    return {key: value for key, value in items if (key, value) not in silent}
