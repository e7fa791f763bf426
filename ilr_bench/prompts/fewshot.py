"""Plain text to be continued, with worked examples: for base models and instruct models too weak for their template.

Every turn is one line, so a newline ends it, and a solution closes with `The answer is ...`; a program ends with its
fence. Sums, word problems, formulas, choices and programs have examples of their own kind. All are ours; none is a
benchmark's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_lowercase

from ilr_bench.prompts import STYLES
from ilr_bench.prompts.letters import names_another
from ilr_bench.prompts.style import Kind, Mode
from ilr_bench.tasks.sources.sums import SHOWN, value_of

_SUM = re.compile(r"\d+ [+-] \d+")
_NUMBER = r"-?\$?\d[\d,]*(?:\.\d+)?"
_ANSWER = re.compile(rf"answer is ({_NUMBER})")
_ALONE = re.compile(_NUMBER)
_SAID = re.compile(r"answer is:? *(.+?) *(?:\.(?=\s|$)|$)", re.MULTILINE)
_COUNTED = re.compile(rf"({_NUMBER})(?: [A-Za-z ]+)?")
_LETTER = re.compile(r"answer is:? *\(?([A-Z])(?![A-Za-z])\)?+(?=(.*))")
_LETTER_ALONE = re.compile(r"\A\(?([A-Z])\)?\.?\Z")
_PEER = {Mode.COOPERATE: "Partner", Mode.COMPETE: "Opponent"}
_LOOK = {Mode.COOPERATE: "Help the partner", Mode.COMPETE: "Refute the opponent"}
_JOIN = {Mode.COOPERATE: "Together", Mode.COMPETE: "Better than the opponent"}


@dataclass(frozen=True)
class Example:
    """A question whose whole dialogue is shown: a right idea, a wrong one, and the analysis of each."""

    question: str
    right: str
    wrong: str
    praise: str
    blame: str


WORDED = (
    Example(
        "Tom has 3 boxes with 4 pens each. He gives 2 pens away. How many pens are left?",
        "3*4=12 pens. 12-2=10 pens. The answer is 10.",
        "3+4=7 pens. 7-2=5 pens. The answer is 5.",
        "3*4=12 is right and 12-2=10 is right. 10 is right.",
        "3+4=7 is wrong, since 3 boxes of 4 pens are 3*4=12. 5 is wrong.",
    ),
    Example(
        "A cake costs $6 and a tea costs $2. Ann buys 2 cakes and 1 tea. How much does she pay?",
        "2*6=12 dollars. 12+2=14 dollars. The answer is 14.",
        "6+2=8 dollars. 2*8=16 dollars. The answer is 16.",
        "2*6=12 is right and 12+2=14 is right. 14 is right.",
        "2*8=16 is wrong, since Ann buys only 1 tea. 16 is wrong.",
    ),
    Example(
        "Ben reads 5 pages a day. His book has 35 pages. How many weeks does he need?",
        "35/5=7 days. 7/7=1 week. The answer is 1.",
        "35/5=7 days. The answer is 7.",
        "35/5=7 is right and 7/7=1 is right. 1 is right.",
        "35/5=7 is right, but it counts days, not weeks. 7 is wrong.",
    ),
    Example(
        "There are 20 birds on a roof. 8 fly off and half of the rest follow. How many birds stay?",
        "20-8=12 birds. 12/2=6 birds. The answer is 6.",
        "20-8=12 birds. 12-8=4 birds. The answer is 4.",
        "20-8=12 is right and 12/2=6 is right. 6 is right.",
        "12-8=4 is wrong, since half of 12 is 12/2=6. 4 is wrong.",
    ),
)
"""Word problems."""

FORMULAS = (
    (
        r"Compute $\dfrac{3}{4} + \dfrac{1}{6}$.",
        r"$\frac{3}{4} = \frac{9}{12}$ and $\frac{1}{6} = \frac{2}{12}$, which makes $\frac{11}{12}$. "
        r"The answer is $\frac{11}{12}$.",
    ),
    (
        r"For which positive number $x$ is $x^2 - 2x = 15$?",
        r"$x^2 - 2x - 15 = (x - 5)(x + 3)$, so $x = 5$ or $x = -3$, and $5$ is positive. The answer is $5$.",
    ),
    (
        r"The legs of a right triangle are $4$ and $6$ long. How long is its longest side?",
        r"$4^2 + 6^2 = 52$ and $\sqrt{52} = 2\sqrt{13}$. The answer is $2\sqrt{13}$.",
    ),
    (
        r"Where does the line $y = 3x - 6$ meet the $x$-axis?",
        r"$3x - 6 = 0$ gives $x = 2$, where $y = 0$. The answer is $(2, 0)$.",
    ),
)
"""Problems written in LaTeX, with answers in LaTeX."""

CHOICES = (
    (
        "Which of these is a mammal?\nA. trout\nB. dolphin\nC. penguin\nD. gecko",
        "Trout are fish, penguins birds and geckos reptiles; dolphins nurse their young. The answer is B.",
    ),
    (
        "A car drives 150 km in 2 hours. What is its mean speed?\nA. 50 km/h\nB. 60 km/h\nC. 75 km/h\nD. 300 km/h",
        "150/2=75, so it is 75 km/h. The answer is C.",
    ),
    (
        "Who decides a case in which two companies accuse each other of a breach of contract?\n"
        "A. a civil court\nB. a criminal court\nC. a parliament\nD. the police",
        "A contract between companies is a private matter, which civil courts decide. The answer is A.",
    ),
    (
        "Which gas do green leaves take up in sunlight?\nA. oxygen\nB. helium\nC. nitrogen\nD. carbon dioxide",
        "Photosynthesis makes sugar out of water and carbon dioxide. The answer is D.",
    ),
)
"""A question with its options, and a solution."""

PROGRAMS = (
    (
        "Write a function to count the vowels of a word.\nassert count_vowels('banana') == 3",
        "def count_vowels(word):\n    return sum(letter in 'aeiou' for letter in word.lower())",
    ),
    (
        'def largest_gap(numbers):\n    """The largest difference of neighbours in a list.\n'
        '    >>> largest_gap([1, 4, 2])\n    3\n    """',
        "def largest_gap(numbers):\n    gaps = [abs(b - a) for a, b in zip(numbers, numbers[1:])]\n"
        "    return max(gaps, default=0)",
    ),
    (
        "Write a function to keep the even numbers of a list.\nassert keep_even([1, 2, 4]) == [2, 4]",
        "def keep_even(numbers):\n    kept = []\n    for number in numbers:\n        if number % 2 == 0:\n"
        "            kept.append(number)\n    return kept",
    ),
)
"""A task as benchmarks word it, and a program that does it."""


def _shown_sum(text: str, slip: int) -> Example:
    value = value_of(text)
    wrong = value + slip
    return Example(text, str(value), str(wrong), f"{value} is right.", f"{wrong} is wrong, since {text} = {value}.")


SUMS = tuple(_shown_sum(text, slip) for text, slip in zip(SHOWN[:4], (1, -1, -10, 2), strict=True))
EASY_TO_HARD = (SHOWN[4], SHOWN[0], SHOWN[5], WORDED[0].question)
"""Questions of the ranking examples, in the order of their steps and digits."""
SHUFFLES = ((2, 0, 3, 1), (1, 3, 0, 2), (3, 2, 0, 1), (0, 3, 1, 2))
"""Orders in which the ranking examples list them; none is the identity, so copying the list is no answer."""


class FewShotStyle:
    """Continuations of worked examples, without a chat template."""

    name = "fewshot"
    uses_chat_template = False

    def solve(self, question: str) -> str:
        """Four solved questions of the same kind, then this one."""
        if _is_sum(question):
            return "\n".join([*(f"{shown.question} = {shown.right}" for shown in SUMS), f"{question} ="])
        examples = [f"Question: {shown.question}\nAnswer: {shown.right}" for shown in WORDED]
        return "\n\n".join([*examples, f"Question: {question}\nAnswer:"])

    def analyse(self, question: str, own_idea: str, peer_ideas: Sequence[str], mode: Mode) -> str:
        """Judged ideas, right and wrong ones, then the peers' own."""
        shown = [
            f"{_ideas(dialogue.question, dialogue.own_idea, [dialogue.peer_idea], mode)}\n"
            f"{_LOOK[mode]}: {dialogue.own_analysis}"
            for dialogue in _example_dialogues(question)
        ]
        return "\n\n".join([*shown, f"{_ideas(question, own_idea, peer_ideas, mode)}\n{_LOOK[mode]}:"])

    def fuse(
        self,
        question: str,
        own_idea: str,
        peer_ideas: Sequence[str],
        own_analysis: str,
        peer_analyses: Sequence[str],
        mode: Mode,
    ) -> str:
        """Discussions that end in the right answer, then this one."""
        shown = [
            _discussion(
                dialogue.question,
                dialogue.own_idea,
                [dialogue.peer_idea],
                dialogue.own_analysis,
                [dialogue.peer_analysis],
                mode,
            )
            + f" {dialogue.fusion}"
            for dialogue in _example_dialogues(question)
        ]
        return "\n\n".join([*shown, _discussion(question, own_idea, peer_ideas, own_analysis, peer_analyses, mode)])

    def rank(self, questions: Sequence[str]) -> str:
        """Four lists in order, then these questions under letters."""
        shown = []
        for order in SHUFFLES:
            letters = " ".join(ascii_lowercase[order.index(index)] for index in range(len(order)))
            shown.append(f"{_listed([EASY_TO_HARD[index] for index in order])} {letters}")
        return "\n\n".join([*shown, _listed(questions)])

    def parse_ranking(self, text: str, size: int) -> tuple[int, ...] | None:
        """`c a b` or `c, a, b` -> (2, 0, 1), or None where the letters are no permutation of the first `size`."""
        words = text.replace(",", " ").split()
        indices = tuple(ascii_lowercase.find(word) if len(word) == 1 else -1 for word in words)
        return indices if sorted(indices) == list(range(size)) else None

    def extract_answer(self, completion: str) -> str | None:
        """The number after `answer is`, or a completion that is a number alone; None where two are given."""
        text = completion.strip()
        answers = {_plain(answer) for answer in _ANSWER.findall(text)}
        if answers:
            return answers.pop() if len(answers) == 1 else None
        alone = text.removesuffix(".")
        return _plain(alone) if _ALONE.fullmatch(alone) else None

    def stop_strings(self) -> tuple[str, ...]:
        """The end of the line."""
        return ("\n",)

    def solve_as(self, question: str, kind: Kind) -> str:
        """Solved questions of the same kind, then this one; a question with LaTeX is shown answers in LaTeX."""
        if kind in ("code", "function"):
            examples = [f"Question: {task}\nAnswer:\n```python\n{program}\n```" for task, program in PROGRAMS]
            return "\n\n".join([*examples, f"Question: {question}\nAnswer:\n```python\n"])
        if kind == "answer" and "\\" not in question:
            return self.solve(question)
        examples = [f"Question: {asked}\nAnswer: {said}" for asked, said in (CHOICES if kind == "choice" else FORMULAS)]
        return "\n\n".join([*examples, f"Question: {question}\nAnswer:"])

    def extract_as(self, completion: str, kind: Kind) -> str | None:
        """What stands after `answer is`: a letter, a number without its unit, or a formula; None where two do."""
        text = completion.strip()
        if kind == "choice":
            said = _LETTER.findall(text)
            letters = {letter for letter, _ in said} or set(_LETTER_ALONE.findall(text))
            hedged = any(names_another(words, letter) for letter, words in said)
            return letters.pop() if len(letters) == 1 and not hedged else None
        answers = {_bare(answer) for answer in _SAID.findall(text)}
        if answers:
            return answers.pop() if len(answers) == 1 else None
        return self.extract_answer(completion)

    def stops_as(self, kind: Kind) -> tuple[str, ...]:
        """The end of the line; of a program its fence, or the next question."""
        return ("\n```", "\nQuestion:") if kind in ("code", "function") else self.stop_strings()


def _is_sum(question: str) -> bool:
    return _SUM.fullmatch(question) is not None


@dataclass(frozen=True)
class ExampleDialogue:
    """An example's discussion, between one who is right and one who is wrong."""

    question: str
    own_idea: str
    peer_idea: str
    own_analysis: str
    peer_analysis: str
    fusion: str


def _example_dialogues(question: str) -> list[ExampleDialogue]:
    """Examples of the question's kind; the peer is wrong in every other one."""
    scenes = []
    for index, shown in enumerate(SUMS if _is_sum(question) else WORDED[:2]):
        own, peer = (shown.right, shown.wrong) if index % 2 == 0 else (shown.wrong, shown.right)
        of_peer, of_own = (shown.blame, shown.praise) if index % 2 == 0 else (shown.praise, shown.blame)
        scenes.append(ExampleDialogue(shown.question, own, peer, of_peer, of_own, shown.right))
    return scenes


def _ideas(question: str, own_idea: str, peer_ideas: Sequence[str], mode: Mode) -> str:
    peers = [f"{_PEER[mode]}: {_line(idea)}" for idea in peer_ideas]
    return "\n".join([f"Question: {question}", f"Mine: {_line(own_idea)}", *peers])


def _discussion(
    question: str,
    own_idea: str,
    peer_ideas: Sequence[str],
    own_analysis: str,
    peer_analyses: Sequence[str],
    mode: Mode,
) -> str:
    views = [f"My view: {_line(own_analysis)}"]
    views += [f"{_PEER[mode]}'s view: {_line(analysis)}" for analysis in peer_analyses]
    ending = f"{_JOIN[mode]}: {question} =" if _is_sum(question) else f"{_JOIN[mode]}:"
    return "\n".join([_ideas(question, own_idea, peer_ideas, mode), *views, ending])


def _listed(questions: Sequence[str]) -> str:
    rows = [f"{letter}) {_line(question)}" for letter, question in zip(ascii_lowercase, questions, strict=False)]
    return "\n".join([*rows, "From easy to hard:"])


def _plain(number: str) -> str:
    return number.replace(",", "").replace("$", "")


def _bare(text: str) -> str:
    """A number without currency, thousands' commas and unit; anything else without its dollars."""
    counted = _COUNTED.fullmatch(text)
    if counted is not None:
        return _plain(counted[1])
    return text[1:-1].strip() if len(text) > 2 and text[0] == text[-1] == "$" else text


def _line(text: str) -> str:
    return " ".join(text.split())


STYLES.add("fewshot", FewShotStyle())
