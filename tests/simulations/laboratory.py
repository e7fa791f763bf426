"""What the untrained micro models know: `python tests/simulations/laboratory.py --out FILE`.

Every number is taken on validation questions, which no table reports, with an interval: self-ranking against the
true number of steps, who would cooperate, whether analyses see errors, whether fusion helps, and what swapping
the mode's wording changes on the same dialogues.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats
from numpy.typing import NDArray
from statsmodels.stats.proportion import proportion_confint

from ilr_bench.core.profiles import profile
from ilr_bench.generation.engine import SamplingOptions
from ilr_bench.grading.math import Grader
from ilr_bench.learner.build import LoadedAgent, build_agents
from ilr_bench.method.difficulty import joint_difficulty, self_rank
from ilr_bench.method.idea3 import StepBatch, Turns, analyse, fuse, share
from ilr_bench.method.interaction import cooperates
from ilr_bench.method.loop import standalone_accuracy
from ilr_bench.method.rewards import REWARDS, score_turns
from ilr_bench.models.micro.corpus import corrections
from ilr_bench.storage.records import Verdict
from ilr_bench.tasks.sources import SOURCES, Question

QUESTIONS = 400


def describe_untrained(models: tuple[str, ...], seed: int = 0) -> dict[str, Any]:
    """All measurements of a group of untrained micro models."""
    config = replace(profile("micro"), models=models)
    training, validation = SOURCES.get("micro").load(config.questions.train, QUESTIONS)
    loaded_agents = build_agents(config)
    with Grader() as grader:
        gamma = np.array(
            [standalone_accuracy(loaded_agent.agent, validation, config, grader) for loaded_agent in loaded_agents]
        )
        found: dict[str, Any] = {
            "models": models,
            "questions": QUESTIONS,
            "greedy": dict(zip(config.agents, gamma, strict=True)),
        }
        found |= _ranking(loaded_agents, training, config, gamma)
        agents = [loaded_agent.agent for loaded_agent in loaded_agents]
        for name, cooperate in (("cooperate", True), ("compete", False)):
            modes = np.full((len(agents), len(validation)), cooperate)
            found[name] = _dialogues(StepBatch(agents, validation, modes, config.sampling, seed), config, grader)
        found["swap"] = _swap(
            StepBatch(agents, validation, np.ones((len(agents), len(validation)), bool), config.sampling, seed)
        )
    return found


def _ranking(
    loaded_agents: Sequence[LoadedAgent], questions: Sequence[Question], config: Any, gamma: NDArray[np.float64]
) -> dict[str, Any]:
    steps = np.array([len(question.steps) for question in questions])
    rankings = []
    for loaded_agent in loaded_agents:
        options = SamplingOptions(config.sampling.max_ranking_tokens, 0.0, 512, loaded_agent.agent.style.stop_strings())
        rankings.append(self_rank(loaded_agent.agent, questions, config.difficulty, options, 0))
    difficulty = joint_difficulty(rankings)
    shares = cooperates(gamma[:, None], difficulty[None, :]).mean(axis=1)
    correlation = scipy.stats.spearmanr(difficulty, steps).statistic
    rng = np.random.default_rng(0)
    draws = [rng.integers(0, len(steps), len(steps)) for _ in range(1000)]
    spread = [scipy.stats.spearmanr(difficulty[draw], steps[draw]).statistic for draw in draws]
    return {
        "spearman": (float(correlation), *map(float, np.quantile(spread, (0.025, 0.975)))),
        "valid_rankings": [_fraction(np.arange(item.valid + item.invalid) < item.valid) for item in rankings],
        "cooperation_share": dict(zip(config.agents, map(float, shares), strict=True)),
    }


def _dialogues(batch: StepBatch, config: Any, grader: Grader) -> dict[str, Any]:
    """One dialogue per question at temperature 1, every agent in the mode given."""
    ideas = share(batch, [1] * len(batch.agents))
    analyses = analyse(batch, ideas, 1)
    answers = fuse(batch, ideas, [analyses], [1] * len(batch.agents))
    standalone, fused = (_right(score_turns(batch, turns, REWARDS.of(config), grader)) for turns in (ideas, answers))
    found: dict[str, Any] = {}
    for index, agent in enumerate(batch.agents):
        peer_is_right = (
            standalone[1 - index] if len(batch.agents) == 2 else np.all(np.delete(standalone, index, axis=0), axis=0)
        )
        says_right = np.array([all(claim is None for claim in corrections(turn[0].text)) for turn in analyses[index]])
        found[agent.name] = {
            "solo": _fraction(standalone[index]),
            "fusion": _fraction(fused[index]),
            "analysis_verdict": _fraction(says_right == peer_is_right),
            "analysis_majority": float(max(peer_is_right.mean(), 1 - peer_is_right.mean())),
            "fusion_by_own_and_peer": {
                f"{'right' if own else 'wrong'}/{'right' if peer else 'wrong'}": _fraction(
                    fused[index][(standalone[index] == own) & (peer_is_right == peer)]
                )
                for own in (False, True)
                for peer in (False, True)
            },
        }
    return found


def _swap(batch: StepBatch) -> dict[str, Any]:
    """The same ideas read in either mode, with the same random numbers: how many turns change."""
    ideas = share(batch, [1] * len(batch.agents))
    other = replace(batch, cooperation=~batch.cooperation)
    first, second = analyse(batch, ideas, 1), analyse(other, ideas, 1)
    fused, fused_other = (fuse(one, ideas, [first], [1] * len(batch.agents)) for one in (batch, other))
    return {
        agent.name: {"analyses": _changed(first, second, index), "fusions": _changed(fused, fused_other, index)}
        for index, agent in enumerate(batch.agents)
    }


def _changed(first: Turns, second: Turns, agent: int) -> tuple[float, float, float]:
    pairs = zip(first[agent], second[agent], strict=True)
    return _fraction(np.array([one[0].text != other[0].text for one, other in pairs]))


def _right(scores: Any) -> NDArray[np.bool_]:
    return np.array([[group[0].verdict is Verdict.CORRECT for group in groups] for groups in scores])


def _fraction(found: NDArray[np.bool_]) -> tuple[float, float, float]:
    """How many are true, with the Wilson interval."""
    if not found.size:
        return (float("nan"),) * 3
    low, high = proportion_confint(int(found.sum()), found.size, method="wilson")
    return (float(found.mean()), float(low), float(high))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default="A,B")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    text = json.dumps(describe_untrained(tuple(arguments.models.split(","))), indent=1)
    print(text)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
