"""Idea3: share, analyse, fuse (paper section 3.2).

Turns of one stage do not read each other (our choice), so a stage is one batched call per agent, and a single one
for all LoRA agents on a shared base. Every function returns turns by agent, question and number:
`turns[agent][question][k]`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ilr_bench.core.config import SamplingSettings
from ilr_bench.core.seeds import derive_seed
from ilr_bench.generation.agent import Agent, Prompt
from ilr_bench.generation.dispatch import sample_all
from ilr_bench.generation.engine import Completion, SamplingOptions, SamplingRequest
from ilr_bench.method.rewards import ANSWERS
from ilr_bench.method.stages import Heard, StagePrompt, analysis, fusion, sharing
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
class StepBatch:
    """The agents and questions of one step, with each agent's mode on each question."""

    agents: Sequence[Agent]
    questions: Sequence[Question]
    cooperation: NDArray[np.bool_]
    """(agents, questions)"""
    sampling: SamplingSettings
    seed: int
    """Of this step."""
    peer_context: Literal["peers", "itself"] = "peers"
    """Whose ideas an agent analyses: its peers', or its own (self-reflection)."""
    question_offset: int = 0
    """Index of the first question in the step, where each rank has a part of them."""

    def slice(self, indices: range) -> StepBatch:
        """The questions at consecutive indices; sampling from it draws the same turns as from the whole batch."""
        kept = slice(indices.start, indices.stop)
        return replace(
            self,
            questions=self.questions[kept],
            cooperation=self.cooperation[:, kept],
            question_offset=self.question_offset + indices.start,
        )

    def mode(self, agent: int, question: int) -> Mode:
        """The agent's mode on a question."""
        return Mode.COOPERATE if self.cooperation[agent, question] else Mode.COMPETE


def share(batch: StepBatch, counts: Sequence[int]) -> Turns:
    """Idea Sharing: `counts[agent]` first solutions to every question, on the prompt of standalone evaluation."""
    return generate_stage(batch, "sharing", lambda agent, n: [sharing(_before(batch, agent, n))], counts)


def analyse(batch: StepBatch, ideas: Turns, dialogues: int) -> Turns:
    """Idea Analysis: what is good and bad in each peer's idea, one turn per agent and dialogue.

    Dialogue d is about idea d of every agent, or of the agent itself where the peer context is `itself`.
    """
    return remark(batch, "analysis", analysis, ideas, [], dialogues)


def remark(
    batch: StepBatch, stage: str, prompt: StagePrompt, ideas: Turns, remarks: Sequence[Turns], dialogues: int
) -> Turns:
    """A stage between sharing and fusion: one turn per agent and dialogue, on ideas and on earlier `remarks`."""

    def prompts(agent: int, index: int) -> list[str]:
        return [prompt(_heard(batch, agent, index, d, ideas, remarks)) for d in range(dialogues)]

    return generate_stage(batch, stage, prompts, [1] * len(batch.agents))


def fuse(batch: StepBatch, ideas: Turns, remarks: Sequence[Turns], counts: Sequence[int]) -> Turns:
    """Idea Fusion: improved answers from all ideas and remarks, `counts[agent]` per dialogue, dialogue by dialogue.

    remarks: of every stage between, such as the analyses.
    """

    def prompts(agent: int, index: int) -> list[str]:
        dialogues = range(len(remarks[0][agent][index]))
        return [fusion(_heard(batch, agent, index, d, ideas, remarks)) for d in dialogues]

    return generate_stage(batch, "fusion", prompts, counts)


def _before(batch: StepBatch, agent: int, index: int) -> Heard:
    style, mode = batch.agents[agent].style, batch.mode(agent, index)
    return Heard(batch.questions[index].text, style, mode, batch.peer_context)


def _heard(batch: StepBatch, agent: int, index: int, dialogue: int, ideas: Turns, remarks: Sequence[Turns]) -> Heard:
    def said(turns: Turns, who: int) -> str:
        return turns[who][index][dialogue].text

    peers = [peer for peer in range(len(batch.agents)) if peer != agent and batch.peer_context == "peers"]
    return replace(
        _before(batch, agent, index),
        own_idea=said(ideas, agent),
        peer_ideas=[said(ideas, peer) for peer in peers],
        own_remarks=[said(turns, agent) for turns in remarks],
        peer_remarks=[[said(turns, peer) for turns in remarks] for peer in peers],
    )


def generate_stage(
    batch: StepBatch, stage: str, prompts: Callable[[int, int], list[str]], counts: Sequence[int]
) -> Turns:
    """One stage: `counts[agent]` turns on each of the texts that `prompts(agent index, question index)` returns."""
    rendered = [
        [[agent.render(text) for text in prompts(number, index)] for index in range(len(batch.questions))]
        for number, agent in enumerate(batch.agents)
    ]
    by_request = sample_all(
        [
            (agent.engine, _request(batch, stage, number, dialogues, count))
            for number, (agent, dialogues, count) in enumerate(zip(batch.agents, rendered, counts, strict=True))
        ]
    )
    turns: Turns = []
    for agent, dialogues, sampled in zip(batch.agents, rendered, by_request, strict=True):
        completions = iter(sampled)
        turns.append([
            [
                Turn(prompt, completion, agent.decode(completion.token_ids))
                for prompt in dialogue
                for completion in next(completions)
            ]
            for dialogue in dialogues
        ])  # fmt: skip
    return turns


def _request(batch: StepBatch, stage: str, number: int, dialogues: list[list[Prompt]], count: int) -> SamplingRequest:
    agent, flat = batch.agents[number], [prompt.ids for dialogue in dialogues for prompt in dialogue]
    return SamplingRequest(
        flat,
        [count] * len(flat),
        options(batch.sampling, stage, agent.style.stop_strings()),
        derive_seed(batch.seed, stage, number),
        first=batch.question_offset * (len(flat) // max(1, len(dialogues))),
    )


def options(sampling: SamplingSettings, stage: str, stops: tuple[str, ...]) -> SamplingOptions:
    """How the turns of a stage are sampled: answers, or remarks between sharing and fusion."""
    limit = sampling.max_new_tokens if stage in ANSWERS else sampling.max_analysis_tokens
    return SamplingOptions(limit, sampling.temperature, sampling.rows_per_call, stops)


def sampled_tokens(turns: Turns) -> int:
    """Completion tokens of a stage, over all agents."""
    return sum(len(turn.completion.token_ids) for groups in turns for group in groups for turn in group)
