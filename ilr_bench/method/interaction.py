"""Dynamic Interaction: who cooperates and who competes on which question (paper section 3.1)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ilr_bench.core.config import InteractionSettings
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


def cooperation(
    settings: InteractionSettings,
    ability: NDArray[np.float64],
    difficulty: NDArray[np.float64],
    cooperation_rates: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    """Which agent cooperates on which question.

    ability: (agents,), difficulty: (questions,), cooperation_rates: (agents,) fraction of all training questions on
    which the rule has each agent cooperate. Returns (agents, questions). The rule `coin` draws once per question for
    all agents, `matched_coin` once per agent and question.
    """
    agents, questions = ability.shape[0], difficulty.shape[0]
    if settings.rule == "coin":
        ratio = settings.cooperation_ratio if settings.cooperation_ratio is not None else 0.5
        return np.broadcast_to(rng.random(questions) < ratio, (agents, questions)).copy()
    if settings.rule == "matched_coin":
        return rng.random((agents, questions)) < cooperation_rates[:, None]
    if settings.disagreement == "mean":
        ability = np.full_like(ability, ability.mean())
    verdicts = cooperates(ability[:, None], difficulty[None, :])
    if settings.disagreement == "any":
        return np.broadcast_to(verdicts.any(axis=0), verdicts.shape).copy()
    return verdicts
