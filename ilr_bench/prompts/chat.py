r"""Prompts for instruction-tuned models, in full sentences after the paper: a partner, or an opponent to criticise.

Final answers stand in `\boxed{}`.
"""

from __future__ import annotations

from collections.abc import Sequence

from ilr_bench.prompts import STYLES
from ilr_bench.prompts.letters import letter_of
from ilr_bench.prompts.style import Kind, Mode
from ilr_bench.prompts.thoughts import without_thought
from ilr_bench.tasks.types import boxed, boxed_answer

ANSWER_FORM = r"Think step by step, and put your final answer within \boxed{}."
CHOICE_FORM = r"Think step by step, and put the letter of the right option within \boxed{}."
CODE_FORM = "Write complete Python code that solves this, in one block that begins with ```python and ends with ```."

_SCENE = {
    Mode.COOPERATE: "You are working on this question together with {peers}.",
    Mode.COMPETE: "You are competing on this question against {peers}.",
}
_PEER = {Mode.COOPERATE: "partner", Mode.COMPETE: "opponent"}
_ANALYSE = {
    Mode.COOPERATE: (
        "Read each partner's solution with good will. Say which of its steps are right and worth building on, which "
        "need mending, and how it completes your own solution. Do not give a final answer yet."
    ),
    Mode.COMPETE: (
        "Analyse each opponent's solution critically. Check every step, point out each error or gap and say why it "
        "is one, and admit what withstands your criticism. Do not give a final answer yet."
    ),
}
_FUSE = {
    Mode.COOPERATE: (
        "Combine the strengths of all solutions and analyses above into one improved solution of the question."
    ),
    Mode.COMPETE: (
        "Use every flaw that the analyses have found, in your opponents' solutions and in your own, to write a "
        "better solution of the question than theirs."
    ),
}


class ChatStyle:
    """Full English wordings for instruct models."""

    name = "chat"
    uses_chat_template = True

    def solve(self, question: str) -> str:
        """The question, and where its answer goes."""
        return f"{question}\n\n{ANSWER_FORM}"

    def analyse(self, question: str, own_idea: str, peer_ideas: Sequence[str], mode: Mode) -> str:
        """All solutions, and how to judge the peers'."""
        return "\n\n".join([*_solutions(question, own_idea, peer_ideas, mode), _ANALYSE[mode]])

    def fuse(
        self,
        question: str,
        own_idea: str,
        peer_ideas: Sequence[str],
        own_analysis: str,
        peer_analyses: Sequence[str],
        mode: Mode,
    ) -> str:
        """Solutions and analyses, and how to make one answer of them."""
        analyses = [f"Your analysis:\n{own_analysis}"]
        analyses += [
            f"The analysis of {_peer(mode, index, len(peer_analyses))}:\n{analysis}"
            for index, analysis in enumerate(peer_analyses)
        ]
        parts = [*_solutions(question, own_idea, peer_ideas, mode), *analyses, f"{_FUSE[mode]} {ANSWER_FORM}"]
        return "\n\n".join(parts)

    def rank(self, questions: Sequence[str]) -> str:
        """The questions under numbers."""
        listed = [f"Question {number}: {question}" for number, question in enumerate(questions, start=1)]
        task = (
            f"Do not solve these {len(questions)} questions. Order them from the easiest to the hardest, and give "
            r"all their numbers in that order, separated by commas, within \boxed{}."
        )
        return "\n\n".join([*listed, task])

    def parse_ranking(self, text: str, size: int) -> tuple[int, ...] | None:
        r"""`\boxed{2, 1, 3}` -> (1, 0, 2); None where the numbers are no permutation of 1 .. `size`."""
        ranking = self.extract_answer(text)
        parts = [] if ranking is None else [part.strip() for part in ranking.split(",")]
        indices = tuple(int(part) - 1 if part.isdecimal() else -1 for part in parts)
        return indices if sorted(indices) == list(range(size)) else None

    def extract_answer(self, completion: str) -> str | None:
        r"""What stands in `\boxed{}`, None where nothing does; see `boxed_answer` for several boxes."""
        return boxed_answer(without_thought(completion))

    def stop_strings(self) -> tuple[str, ...]:
        """None: instruct models end their turns."""
        return ()

    def solve_as(self, question: str, kind: Kind) -> str:
        """The question, and in which form its answer is wanted."""
        form = CHOICE_FORM if kind == "choice" else CODE_FORM if kind in ("code", "function") else ANSWER_FORM
        return f"{question}\n\n{form}"

    def extract_as(self, completion: str, kind: Kind) -> str | None:
        r"""What stands in `\boxed{}`; of a choice its letter (`letter_of`), None for two of them."""
        if kind != "choice":
            return self.extract_answer(completion)
        letters = {letter_of(content) for content in boxed(without_thought(completion)) if content}
        return letters.pop() if len(letters) == 1 else None

    def stops_as(self, kind: Kind) -> tuple[str, ...]:
        """None: instruct models end their turns."""
        return self.stop_strings()


def _solutions(question: str, own_idea: str, peer_ideas: Sequence[str], mode: Mode) -> list[str]:
    count = len(peer_ideas)
    peers = f"a {_PEER[mode]}" if count == 1 else f"{count} {_PEER[mode]}s"
    if mode is Mode.COMPETE and count == 1:
        peers = f"an {_PEER[mode]}"
    return [
        f"{_SCENE[mode].format(peers=peers)}\n\nQuestion: {question}",
        f"Your solution:\n{own_idea}",
        *(f"The solution of {_peer(mode, index, count)}:\n{idea}" for index, idea in enumerate(peer_ideas)),
    ]


def _peer(mode: Mode, index: int, count: int) -> str:
    return f"your {_PEER[mode]}" if count == 1 else f"{_PEER[mode]} {index + 1}"


STYLES.add("chat", ChatStyle())
