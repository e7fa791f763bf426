"""Dynamic Interaction: who cooperates and who competes on which question (paper section 3.1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ilr_bench.core.errors import ConfigurationError
from ilr_bench.core.registry import Mechanisms
from ilr_bench.prompts.style import Mode

DISCRIMINATION = 1.7
"""The constant of the two-parameter logistic model in the paper's item-response rule."""


def success_probability(ability: ArrayLike, difficulty: ArrayLike) -> NDArray[np.float64]:
    """P(q, i) = 1 / (1 + exp(-1.7 (ability - difficulty))); broadcasts."""
    margin = np.asarray(ability, dtype=np.float64) - np.asarray(difficulty, dtype=np.float64)
    probability: NDArray[np.float64] = 0.5 * (1 + np.tanh(0.5 * DISCRIMINATION * margin))
    return probability


def cooperates(ability: ArrayLike, difficulty: ArrayLike) -> NDArray[np.bool_]:
    """Where P < 0.5, which is where ability < difficulty; broadcasts."""
    return np.asarray(success_probability(ability, difficulty) < 0.5)


def select_mode(ability: ArrayLike, difficulty: ArrayLike) -> Any:
    """The rule: P < 0.5 -> cooperation, else competition. A Mode, or an object array of them; broadcasts."""
    verdict = cooperates(ability, difficulty)
    modes = np.where(verdict, Mode.COOPERATE, Mode.COMPETE).astype(object)
    return Mode(modes.item()) if modes.ndim == 0 else np.vectorize(Mode, otypes=[object])(modes)


@dataclass(frozen=True)
class Situation:
    """What a rule decides on."""

    ability: NDArray[np.float64]
    """(agents,) gamma."""
    difficulty: NDArray[np.float64]
    """(questions,) D_q of the step's questions, in [0, 1]."""
    all_difficulties: NDArray[np.float64]
    """(training questions,) D_q of all of them."""
    rng: np.random.Generator
    """Seeded by the step."""
    memory: Mapping[str, Any] = field(default_factory=dict)
    """What the rule has learned so far, see `LearningRule`; empty at first."""


@dataclass(frozen=True)
class Outcome:
    """What came of a step."""

    cooperation: NDArray[np.bool_]
    """(agents, questions): who cooperated."""
    difficulty: NDArray[np.float64]
    """(questions,)"""
    ability: NDArray[np.float64]
    """(agents,) that chose the step's modes."""
    idea_accuracy: NDArray[np.float64]
    """(agents, questions): fraction of right first ideas."""
    fusion_accuracy: NDArray[np.float64]
    """(agents, questions): fraction of right answers after the discussion; those of ideas where there was none."""


Rule = Callable[[Situation], NDArray[np.bool_]]
"""Which agent cooperates on which question: (agents, questions)."""
RULES: Mechanisms[Rule] = Mechanisms("interaction rule", "interaction.rule", group="ilr_bench.rules")
"""By `interaction.rule`."""


@runtime_checkable
class LearningRule(Protocol):
    """A rule that learns while the agents do. What it learns is kept in checkpoints."""

    def learn(self, memory: Mapping[str, Any], outcome: Outcome) -> Mapping[str, Any]:
        """What to remember after a step, as JSON data; every process of a trial computes the same."""
        ...


def cooperation(rule: Rule, situation: Situation) -> NDArray[np.bool_]:
    """Which agent cooperates on which question, (agents, questions); raises ConfigurationError for another shape."""
    wanted = (len(situation.ability), len(situation.difficulty))
    found = np.asarray(rule(situation))
    if found.shape != wanted or found.dtype != np.bool_:
        raise ConfigurationError(
            f"interaction.rule: {found.dtype} of shape {found.shape} came back; a rule returns true or false for every "
            f"agent and question, here of shape {wanted}"
        )
    return found


@dataclass(frozen=True)
class ItemResponse:
    """The paper's rule: cooperation where P < 0.5."""

    disagreement: Literal["own", "any", "mean"] = "own"

    def __call__(self, situation: Situation) -> NDArray[np.bool_]:
        """`own`: each agent by its own verdict; `any`: all where one would; `mean`: by the mean ability."""
        ability = situation.ability
        if self.disagreement == "mean":
            ability = np.full_like(ability, ability.mean())
        verdicts = cooperates(ability[:, None], situation.difficulty[None, :])
        if self.disagreement == "any":
            return np.broadcast_to(verdicts.any(axis=0), verdicts.shape).copy()
        return verdicts


@dataclass(frozen=True)
class Coin:
    """Cooperation with a probability, drawn once per question for all agents."""

    cooperation_ratio: float | None = None

    def __call__(self, situation: Situation) -> NDArray[np.bool_]:
        """Half where no probability is set."""
        agents, questions = len(situation.ability), len(situation.difficulty)
        ratio = self.cooperation_ratio if self.cooperation_ratio is not None else 0.5
        return np.broadcast_to(situation.rng.random(questions) < ratio, (agents, questions)).copy()


def matched_coin(situation: Situation) -> NDArray[np.bool_]:
    """A coin per agent and question, with the fraction of all questions on which the rule has the agent cooperate."""
    rates = cooperates(situation.ability[:, None], situation.all_difficulties[None, :]).mean(axis=1)
    drawn = situation.rng.random((len(situation.ability), len(situation.difficulty)))
    return np.asarray(drawn < rates[:, None])


RULES.register("irt", ItemResponse)
RULES.register("coin", Coin)
RULES.register("matched_coin", matched_coin)
