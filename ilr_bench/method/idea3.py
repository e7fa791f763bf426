"""Idea3: share, analyse, fuse (paper section 3.2).

Turns of one stage do not hear each other (our choice), so a stage is one batched call per agent, and one for
all twins on one base. Every function returns turns by agent, question and number: `turns[agent][question][k]`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ilr_bench.core.config import SamplingSettings, Stage
from ilr_bench.core.seeds import derive_seed
from ilr_bench.generation.agent import Agent, Prompt
from ilr_bench.generation.dispatch import sample_all
from ilr_bench.generation.engine import Completion, Request, SamplingOptions
from ilr_bench.prompts.baselines import rival_wordings
from ilr_bench.prompts.style import Mode
from ilr_bench.tasks.types import Question


@dataclass(frozen=True)
class Turn:
    """One message of one agent in one stage."""

    prompt: Prompt
    completion: Completion
    text: str


Turns = list[list[list[Turn]]]
"""By agent, question and number within (agent, question)."""


@dataclass(frozen=True)
class Table:
    """Who sits at the table in one step: agents, questions, and each agent's mode on each question."""

    agents: Sequence[Agent]
    questions: Sequence[Question]
    cooperation: NDArray[np.bool_]
    """(agents, questions)"""
    sampling: SamplingSettings
    seed: int
    """Seed of this step."""
    hears: Literal["peers", "itself"] = "peers"
    """Whose ideas an agent analyses."""
    first: int = 0
    """Questions of the step that stand before these, where several processes share them."""

    def part(self, places: range) -> Table:
        """Neighbouring questions of this table by themselves; what is said of them is what it would be among all."""
        kept = slice(places.start, places.stop)
        return replace(
            self,
            questions=self.questions[kept],
            cooperation=self.cooperation[:, kept],
            first=self.first + places.start,
        )

    def mode(self, agent: int, question: int) -> Mode:
        """The agent's mode on a question."""
        return Mode.COOPERATE if self.cooperation[agent, question] else Mode.COMPETE


def share(table: Table, counts: Sequence[int]) -> Turns:
    """Idea Sharing: `counts[agent]` first solutions to every question, on the prompt that solo inference uses."""
    return speak(
        table, "sharing", lambda agent, place: [table.agents[agent].style.solve(table.questions[place].text)], counts
    )


def analyse(table: Table, ideas: Turns, dialogues: int) -> Turns:
    """Idea Analysis: what is good and bad in each peer's idea, one turn per agent and dialogue.

    Dialogue d hears idea d of every agent, or of the agent alone where it hears itself.
    """

    def prompts(agent: int, place: int) -> list[str]:
        style, mode, text = table.agents[agent].style, table.mode(agent, place), table.questions[place].text
        if table.hears == "itself":
            return [rival_wordings(style).reflect(text, ideas[agent][place][d].text) for d in range(dialogues)]
        return [
            style.analyse(text, ideas[agent][place][d].text, _peers(ideas, agent, place, d), mode)
            for d in range(dialogues)
        ]

    return speak(table, "analysis", prompts, [1] * len(table.agents))


def fuse(table: Table, ideas: Turns, analyses: Turns, counts: Sequence[int]) -> Turns:
    """Idea Fusion: improved answers from all that was said, `counts[agent]` per dialogue, dialogue after dialogue."""

    def prompts(agent: int, place: int) -> list[str]:
        style, mode, text = table.agents[agent].style, table.mode(agent, place), table.questions[place].text
        if table.hears == "itself":
            own = zip(ideas[agent][place], analyses[agent][place], strict=False)
            return [rival_wordings(style).improve(text, idea.text, found.text) for idea, found in own]
        return [
            style.fuse(
                text,
                ideas[agent][place][d].text,
                _peers(ideas, agent, place, d),
                analyses[agent][place][d].text,
                _peers(analyses, agent, place, d),
                mode,
            )
            for d in range(len(analyses[agent][place]))
        ]

    return speak(table, "fusion", prompts, counts)


def _peers(turns: Turns, agent: int, place: int, dialogue: int) -> list[str]:
    return [turns[peer][place][dialogue].text for peer in range(len(turns)) if peer != agent]


def speak(table: Table, stage: Stage, prompts: Callable[[int, int], list[str]], counts: Sequence[int]) -> Turns:
    """One stage: `counts[agent]` turns on each of the texts that `prompts(agent, question)` gives."""
    rendered = [
        [[agent.render(text) for text in prompts(number, place)] for place in range(len(table.questions))]
        for number, agent in enumerate(table.agents)
    ]
    said = sample_all(
        [
            (agent.engine, _request(table, stage, number, dialogues, count))
            for number, (agent, dialogues, count) in enumerate(zip(table.agents, rendered, counts, strict=True))
        ]
    )
    turns: Turns = []
    for agent, dialogues, sampled in zip(table.agents, rendered, said, strict=True):
        completions = iter(sampled)
        turns.append(
            [
                [
                    Turn(prompt, completion, agent.decode(completion.token_ids))
                    for prompt in dialogue
                    for completion in next(completions)
                ]
                for dialogue in dialogues
            ]
        )
    return turns


def _request(table: Table, stage: Stage, number: int, dialogues: list[list[Prompt]], count: int) -> Request:
    agent, flat = table.agents[number], [prompt.ids for dialogue in dialogues for prompt in dialogue]
    return Request(
        flat,
        [count] * len(flat),
        options(table.sampling, stage, agent.style.stop_strings()),
        derive_seed(table.seed, stage, number),
        first=table.first * (len(flat) // max(1, len(dialogues))),
    )


def options(sampling: SamplingSettings, stage: Stage, stops: tuple[str, ...]) -> SamplingOptions:
    """How the turns of a stage are sampled."""
    limit = sampling.max_analysis_tokens if stage == "analysis" else sampling.max_new_tokens
    return SamplingOptions(limit, sampling.temperature, sampling.rows_per_call, stops)
