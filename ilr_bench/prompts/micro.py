"""Prompts of the micro profile: as short as they can be, since small vocabularies make words expensive."""

from __future__ import annotations

import re
from collections.abc import Sequence
from string import ascii_lowercase

from ilr_bench.prompts import STYLES
from ilr_bench.prompts.style import Mode

_BOXED = re.compile(r"\\boxed\{([^{}]*)\}")
PEER = {Mode.COOPERATE: "partner", Mode.COMPETE: "opponent"}
ANALYSE = {Mode.COOPERATE: "build on partner", Mode.COMPETE: "refute opponent"}
FUSE = {Mode.COOPERATE: "solve with partner", Mode.COMPETE: "beat opponent"}
RANK = "rank easy to hard"


class MicroStyle:
    """The style that the micro models are pretrained on."""

    name = "micro"
    uses_chat_template = True

    def solve(self, question: str) -> str:
        """The question alone."""
        return question

    def analyse(self, question: str, own_idea: str, peer_ideas: Sequence[str], mode: Mode) -> str:
        """Question, ideas, and what to do about the peers'."""
        return "\n".join([*self._ideas(question, own_idea, peer_ideas, mode), ANALYSE[mode]])

    def fuse(
        self,
        question: str,
        own_idea: str,
        peer_ideas: Sequence[str],
        own_analysis: str,
        peer_analyses: Sequence[str],
        mode: Mode,
    ) -> str:
        """Question, ideas, analyses, and what to do with them."""
        views = [f"my view: {_verdicts(own_analysis)}"]
        views += [f"{PEER[mode]} view: {_verdicts(analysis)}" for analysis in peer_analyses]
        return "\n".join([*self._ideas(question, own_idea, peer_ideas, mode), *views, FUSE[mode]])

    def rank(self, questions: Sequence[str]) -> str:
        """The questions under letters."""
        rows = [f"{letter}) {question}" for letter, question in zip(ascii_lowercase, questions, strict=False)]
        return "\n".join([*rows, RANK])

    def parse_ranking(self, text: str, size: int) -> tuple[int, ...] | None:
        """`a3 b5 c2 : c a b` -> (2, 0, 1), or None where the last letters are no permutation of the first `size`."""
        indices = tuple(ascii_lowercase.find(word) if len(word) == 1 else -1 for word in text.split(":")[-1].split())
        return indices if sorted(indices) == list(range(size)) else None

    def extract_answer(self, completion: str) -> str | None:
        r"""What stands in `\boxed{}`; None where nothing does, or two different things."""
        answers = {answer.strip() for answer in _BOXED.findall(completion)} - {""}
        return answers.pop() if len(answers) == 1 else None

    def stop_strings(self) -> tuple[str, ...]:
        """None: the models end their turns."""
        return ()

    @staticmethod
    def _ideas(question: str, own_idea: str, peer_ideas: Sequence[str], mode: Mode) -> list[str]:
        return [question, f"mine: {_line(own_idea)}", *(f"{PEER[mode]}: {_line(idea)}" for idea in peer_ideas)]


def _verdicts(analysis: str) -> str:
    """The last two words on each peer, the step at which an analysis ends and its verdict: all that fits."""
    return "; ".join(" ".join(part.split()[-2:]) for part in analysis.split(";"))


def _line(text: str) -> str:
    return " ".join(text.split())


STYLES.add("micro", MicroStyle())
