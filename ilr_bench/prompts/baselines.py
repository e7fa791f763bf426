"""Wordings of what ILR is compared with: Debate, and reflection on one's own idea.

The style `chat` has wordings of its own for them. Any other uses those of Idea3, which may be all that a small model
knows: in a debate each agent's analysis is its own answer, and an agent that reflects analyses its own idea as if it
were the peer's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ilr_bench.prompts.chat import ANSWER_FORM
from ilr_bench.prompts.style import Mode, PromptStyle


class BaselinePrompts(Protocol):
    """Texts of one user turn each."""

    def revise(self, question: str, own: str, peers: Sequence[str]) -> str:
        """A further round of a debate: the own answer again, in sight of the peers' (Du et al. 2023)."""
        ...

    def reflect(self, question: str, idea: str) -> str:
        """What is good and bad in the own idea."""
        ...

    def improve(self, question: str, idea: str, reflection: str) -> str:
        """A better answer from the own idea and what was found in it."""
        ...


def baseline_prompts(style: PromptStyle) -> BaselinePrompts:
    """A style's wordings of the baselines."""
    return ChatBaselinePrompts() if style.name == "chat" else Idea3Fallback(style)


@dataclass(frozen=True)
class Idea3Fallback:
    """The baselines in a style that has wordings for Idea3 only."""

    style: PromptStyle

    def revise(self, question: str, own: str, peers: Sequence[str]) -> str:
        """A fusion in which answers stand where analyses would; without any, micro models analyse and do not answer."""
        return self.style.fuse(question, own, peers, own, peers, Mode.COOPERATE)

    def reflect(self, question: str, idea: str) -> str:
        """The analysis of an opponent's idea that is the own one."""
        return self.style.analyse(question, idea, [idea], Mode.COMPETE)

    def improve(self, question: str, idea: str, reflection: str) -> str:
        """The fusion after that analysis."""
        return self.style.fuse(question, idea, [idea], reflection, [reflection], Mode.COMPETE)


class ChatBaselinePrompts:
    """Full English wordings, for instruct models."""

    def revise(self, question: str, own: str, peers: Sequence[str]) -> str:
        """Question and all agents' answers, and the request for an updated one."""
        others = [f"The answer of agent {index}:\n{peer}" for index, peer in enumerate(peers, start=2)]
        task = f"Taking the other agents' answers as additional advice, give your updated answer. {ANSWER_FORM}"
        return "\n\n".join([f"Question: {question}", f"Your answer:\n{own}", *others, task])

    def reflect(self, question: str, idea: str) -> str:
        """Question and own solution, to be criticised."""
        task = (
            "Analyse your own solution critically. Check every step, point out each error or gap and say why it is "
            "one, and say which steps are right. Do not give a final answer yet."
        )
        return "\n\n".join([f"Question: {question}", f"Your solution:\n{idea}", task])

    def improve(self, question: str, idea: str, reflection: str) -> str:
        """Question, own solution and its criticism, to be made better."""
        task = f"Use your analysis to write an improved solution of the question. {ANSWER_FORM}"
        return "\n\n".join(
            [f"Question: {question}", f"Your solution:\n{idea}", f"Your analysis of it:\n{reflection}", task]
        )
