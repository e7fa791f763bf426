"""Prompts for small instruct models whose answers are a word or a number: plain questions through the chat template.

Models of this size follow no form such as a box and lose themselves in steps. What their first line says is read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ilr_bench.prompts import STYLES
from ilr_bench.prompts.chat import CODE_FORM, ChatStyle
from ilr_bench.prompts.letters import letter_of
from ilr_bench.prompts.style import Kind, Mode
from ilr_bench.prompts.thoughts import without_thought

ANSWER_FORM = "Answer with one word or number."
CHOICE_FORM = "Answer with the letter of the right option."
LONGEST = 5
"""Words of an answer; a longer line is none."""
_SENTENCE = re.compile(r".*(?:\b(?:is|are|was|were|be|equals)\b|[=:])[\s=:]*(?P<answer>[^\s=:].*)?")
_ARTICLE = re.compile(r"\Aan? (?=\S)", re.IGNORECASE)
_PEER = {Mode.COOPERATE: "Your partner", Mode.COMPETE: "Your opponent"}
_ANALYSE = {
    Mode.COOPERATE: "Say in one sentence what is right in the other answer.",
    Mode.COMPETE: "Say in one sentence what is wrong with the other answer.",
}


class ShortStyle(ChatStyle):
    """The question and how long its answer may be; of a sentence (`Twice 4 is 8.`) what it ends with."""

    name = "short"

    def solve(self, question: str) -> str:
        """The question, and how short its answer should be."""
        return f"{question}\n{ANSWER_FORM}"

    def analyse(self, question: str, own_idea: str, peer_ideas: Sequence[str], mode: Mode) -> str:
        """All answers, and a sentence that is asked for on the peers'."""
        return "\n".join([*_answers(question, own_idea, peer_ideas, mode), _ANALYSE[mode]])

    def fuse(
        self,
        question: str,
        own_idea: str,
        peer_ideas: Sequence[str],
        own_analysis: str,
        peer_analyses: Sequence[str],
        mode: Mode,
    ) -> str:
        """Answers and remarks, then the question again."""
        remarks = [f"You remarked: {own_analysis}"]
        remarks += [f"{peer} remarked: {remark}" for peer, remark in _by_peer(peer_analyses, mode)]
        parts = [*_answers(question, own_idea, peer_ideas, mode), *remarks, f"Now once more: {self.solve(question)}"]
        return "\n".join(parts)

    def rank(self, questions: Sequence[str]) -> str:
        """The questions under numbers."""
        listed = [f"{number}: {' '.join(question.split())}" for number, question in enumerate(questions, start=1)]
        return "\n".join([*listed, "Order these questions from easy to hard. Answer with their numbers alone."])

    def parse_ranking(self, text: str, size: int) -> tuple[int, ...] | None:
        """`2, 1, 3` -> (1, 0, 2); None where the first line's numbers are no permutation of 1 .. `size`."""
        indices = tuple(int(number) - 1 for number in re.findall(r"\d{1,6}", _first_line(text)))
        return indices if sorted(indices) == list(range(size)) else None

    def extract_answer(self, completion: str) -> str | None:
        """The first line, or what follows its last verb or colon, without `a`; None for more than `LONGEST` words."""
        line = _first_line(completion)
        sentence = _SENTENCE.fullmatch(line)
        answer = (line if sentence is None else sentence["answer"] or "").strip("*\"'` ")
        answer = _ARTICLE.sub("", answer)
        return answer if 0 < len(answer.split()) <= LONGEST else None

    def stop_strings(self) -> tuple[str, ...]:
        """The end of the line."""
        return ("\n",)

    def solve_as(self, question: str, kind: Kind) -> str:
        """The question, and in which form its answer is wanted."""
        if kind in ("code", "function"):
            return f"{question}\n\n{CODE_FORM}"
        return f"{question}\n{CHOICE_FORM}" if kind == "choice" else self.solve(question)

    def extract_as(self, completion: str, kind: Kind) -> str | None:
        """As in training; of a choice its letter, None for two of them."""
        return letter_of(_first_line(completion)) if kind == "choice" else self.extract_answer(completion)

    def stops_as(self, kind: Kind) -> tuple[str, ...]:
        """The end of the line; programs end as the model ends its turn."""
        return () if kind in ("code", "function") else self.stop_strings()


def _first_line(text: str) -> str:
    lines = without_thought(text).strip().splitlines()
    return lines[0].strip().rstrip(".!").strip() if lines else ""


def _answers(question: str, own_idea: str, peer_ideas: Sequence[str], mode: Mode) -> list[str]:
    peers = [f"{peer} answered: {idea}" for peer, idea in _by_peer(peer_ideas, mode)]
    return [f"Question: {question}", f"You answered: {own_idea}", *peers]


def _by_peer(texts: Sequence[str], mode: Mode) -> list[tuple[str, str]]:
    names = [_PEER[mode] if len(texts) == 1 else f"{_PEER[mode]} {index + 1}" for index in range(len(texts))]
    return list(zip(names, texts, strict=True))


STYLES.add("short", ShortStyle())
