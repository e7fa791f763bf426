"""The corpus that trains the micro models: solutions, analyses, fusions, rankings and small programs.

Every author of the corpus has habits: random slips, and kinds of steps that it usually gets wrong in one systematic
way (forgets the carry, forgets the borrow). Later steps use the wrong result. So a trained model is right often enough
for reinforcement to find something and wrong often enough to need it, and different models err in different steps.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_lowercase

from ilr_bench.prompts.micro import MicroStyle
from ilr_bench.prompts.style import Mode
from ilr_bench.tasks.sources.micro import (
    LARGEST,
    TRAINING_FAMILIES,
    CodeTask,
    Operation,
    Step,
    apply,
    chain_of,
    code_stream,
    question_stream,
    write_tape,
)
from ilr_bench.tasks.types import Question

VERSION = 1
"""Raised when the corpus changes without its settings changing."""
STYLE = MicroStyle()


@dataclass(frozen=True)
class Habits:
    """How an author errs."""

    weak: tuple[str, ...]
    """Kinds of steps (`carry`, `borrow`, `product`, `group`) that go wrong in a systematic way."""
    slip: float = 0.08
    """Probability of an ordinary slip in a step."""
    weak_slip: float = 0.6
    """Probability of the systematic mistake in a weak step."""


@dataclass(frozen=True)
class CorpusSettings:
    """How many rows of each kind."""

    sums: int = 7500
    reviews: int = 4500
    solutions: int = 7500
    analyses: int = 4000
    fusions: int = 4500
    rankings: int = 2500
    programs: int = 1000
    pool: int = 6000
    """Most different questions per family."""


@dataclass(frozen=True)
class CorpusExample:
    """One user turn and the reply to be learned."""

    prompt: str
    completion: str
    heading: str = ""
    """The start of the prompt that cannot be predicted and is not learned: the question."""


@dataclass(frozen=True)
class Idea:
    """A worked solution, right or not."""

    steps: tuple[Step, ...]

    def text(self) -> str:
        """The turn as written."""
        return " ".join([*write_tape(self.steps), rf"\boxed{{{self.steps[-1][2]}}}"])

    def first_error(self) -> int | None:
        """Index of the first wrong step."""
        wrong = (
            index for index, (value, operation, result) in enumerate(self.steps) if believed(value, operation) != result
        )
        return next(wrong, None)


def believed(value: int, operation: Operation) -> int:
    """The result to be learned as right; a difference below zero, which only mistakes lead to, counts as 0."""
    return max(0, apply(value, operation))


def kind_of(value: int, operation: Operation) -> str:
    """The kind of a step, for habits: `carry`, `borrow`, `product` or `plain`."""
    operator, operand = operation
    if operator == "*":
        return "product"
    if operator == "+":
        return "carry" if value % 10 + operand % 10 >= 10 else "plain"
    return "borrow" if operand <= value and value % 10 < operand % 10 else "plain"


def systematic_mistake(value: int, operation: Operation) -> int:
    """What a weak author makes of a step: no carry, no borrow, the row above in the table."""
    right = believed(value, operation)
    return {"carry": right - 10, "borrow": right + 10, "product": right - value}.get(kind_of(value, operation), right)


def take_step(value: int, operation: Operation, habits: Habits, rng: random.Random) -> int:
    """The result that an author writes down."""
    right = believed(value, operation)
    chance = rng.random()
    if kind_of(value, operation) in habits.weak and chance < habits.weak_slip:
        return systematic_mistake(value, operation)
    if chance > 1 - habits.slip:
        return max(0, right + rng.choice((-10, -2, -1, 1, 2, 10)))
    return right


def solve(question: Question, habits: Habits, rng: random.Random) -> Idea:
    """An author's own solution."""
    value, operations = chain_of(question)
    steps: list[Step] = []
    for operation in operations:
        result = take_step(value, operation, habits, rng)
        steps.append((value, operation, result))
        value = result
    return Idea(tuple(steps))


def analyse(idea: Idea, mode: Mode, habits: Habits, rng: random.Random) -> str:
    """A view of one peer's idea: its steps, each followed by the result the author believes in, up to a difference.

    `20+9=29/29 +5=33/34 fix`. A partner is now and then believed against better knowledge, an opponent doubted; the
    last word is `fix` or `keep` for a partner's idea, `wrong` or `sound` for an opponent's.
    """
    words = []
    tape = write_tape(idea.steps)
    for written, (value, operation, result) in zip(tape, idea.steps, strict=True):
        believes = take_step(value, operation, habits, rng)
        chance = rng.random()
        if mode is Mode.COOPERATE and chance < 0.2:
            believes = result
        if mode is Mode.COMPETE and chance < 0.04 and believes == result:
            believes = max(0, result + rng.choice((-10, -1, 1, 10)))
        words.append(f"{written}/{believes}")
        if believes != result:
            return " ".join([*words, "fix" if mode is Mode.COOPERATE else "wrong"])
    return " ".join([*words, "keep" if mode is Mode.COOPERATE else "sound"])


def corrections(view: str) -> tuple[str | None, ...]:
    """What an analysis claims of each peer's idea: its first wrong step put right, None where it finds no error."""
    return tuple(next(filter(None, map(_correction, part.split())), None) for part in view.split(";"))


def _correction(word: str) -> str | None:
    step, _, believed_result = word.partition("/")
    left, _, result = step.partition("=")
    return f"{left}={believed_result}" if believed_result not in ("", result) else None


def fuse(
    question: Question,
    own: Idea,
    peers: Sequence[Idea],
    views: Sequence[str],
    mode: Mode,
    habits: Habits,
    rng: random.Random,
) -> Idea:
    """The best of all ideas and views, step by step; where they disagree, a partner is trusted, an opponent is not."""
    value, operations = chain_of(question)
    steps: list[Step] = []
    for operation in operations:
        right = believed(value, operation)
        correction = write_tape([*steps, (value, operation, right)])[-1]
        mine = [result for left, taken, result in own.steps if (left, taken) == (value, operation)]
        theirs = [result for peer in peers for left, taken, result in peer.steps if (left, taken) == (value, operation)]
        corrected = any(correction in corrections(view) for view in views)
        favoured = theirs if mode is Mode.COOPERATE else mine
        chance = rng.random()
        if right in mine + theirs or corrected:
            result = right
            if favoured and chance < 0.3:
                result = rng.choice(favoured)
        elif mine + theirs and chance < 0.7:
            result = rng.choice(mine + theirs)
        else:
            result = take_step(value, operation, habits, rng)
        if rng.random() < habits.slip / 3:
            result = max(0, right + rng.choice((-10, -1, 1, 10)))
        steps.append((value, operation, result))
        value = result
    return Idea(tuple(steps))


def write_program(task: CodeTask, habits: Habits, rng: random.Random) -> str:
    """A program, now and then without its brackets or with another operator."""
    program = task.program
    if "group" in habits.weak and "(x" in program[6:] and rng.random() < habits.weak_slip:
        head, body = program[:15], program[15:]
        return head + body.replace("(", "").replace(")", "")
    if rng.random() < habits.slip:
        head, body = program[:15], program[15:]
        used = rng.choice([letter for letter in body if letter in "+-*<>"])
        return head + body.replace(used, rng.choice("+-*"), 1)
    return program


def sums(count: int, seed: int) -> list[str]:
    """Lines of right steps, two chains each: arithmetic is learned before anything else."""
    rng = random.Random(f"micro sums {seed}")
    return [" ".join(" ".join(write_tape(_drill(rng, 0.0))) for _ in range(2)) for _ in range(count)]


def reviews(count: int, seed: int) -> list[str]:
    """A chain with mistakes and its exact review in each line: copying and comparing are learned next."""
    rng = random.Random(f"micro reviews {seed}")
    lines = []
    for _ in range(count):
        steps = _drill(rng, 0.3)
        review = (f"{written}/{believed(*step[:2])}" for written, step in zip(write_tape(steps), steps, strict=True))
        lines.append(f"{' '.join(write_tape(steps))}\n{' '.join(review)}")
    return lines


def corpus(habits: Habits, others: Sequence[Habits], settings: CorpusSettings, seed: int) -> list[CorpusExample]:
    """All rows for one author, shuffled; `others` write the peers' ideas and analyses."""
    rng = random.Random(f"micro corpus {seed}")
    pools = {
        family: [q for q, _ in zip(question_stream(family, "training", rng), range(settings.pool), strict=False)]
        for family in TRAINING_FAMILIES
    }
    tasks = [task for task, _ in zip(code_stream("training", rng), range(settings.pool), strict=False)]

    def question() -> Question:
        return rng.choice(pools[rng.choice(TRAINING_FAMILIES)])

    rows = []
    for _ in range(settings.solutions):
        asked = question()
        rows.append(CorpusExample(STYLE.solve(asked.text), solve(asked, habits, rng).text()))
    for index in range(settings.analyses + settings.fusions):
        rows.append(_discussion(question(), index < settings.analyses, habits, others, rng))
    for _ in range(settings.rankings):
        size = 4 if rng.random() < 0.8 else rng.choice((2, 3, 5))
        rows.append(_ranking([question() for _ in range(size)], rng))
    for _ in range(settings.programs):
        task = rng.choice(tasks)
        rows.append(CorpusExample(STYLE.solve(task.question), write_program(task, habits, rng)))
    rng.shuffle(rows)
    return rows


def _drill(rng: random.Random, mistakes: float) -> list[Step]:
    """Three steps from anywhere, products only where they start, each wrong with some probability."""
    if rng.random() < 0.3:
        value, operation = rng.randint(2, 9), ("*", rng.randint(2, 9))
    else:
        value, operation = rng.randint(0, LARGEST), (rng.choice("+-"), rng.randint(1, 9))
    steps: list[Step] = []
    while len(steps) < 3:
        result = apply(value, operation)
        if rng.random() < mistakes:
            result += rng.choice((-10, -2, -1, 1, 2, 10))
        if 0 <= result <= LARGEST and apply(value, operation) >= 0:
            steps.append((value, operation, result))
            value = result
        operation = (rng.choice("+-"), rng.randint(1, 9))
    return steps


def _discussion(
    asked: Question, analysis: bool, habits: Habits, others: Sequence[Habits], rng: random.Random
) -> CorpusExample:
    """One reply of the second or third stage; the turns before it are made up here."""
    mode = rng.choice((Mode.COOPERATE, Mode.COMPETE))
    authors = [rng.choice(others) for _ in range(rng.choices((1, 2, 3), (8, 1, 1))[0])]
    own = solve(asked, habits, rng)
    peers = [solve(asked, author, rng) for author in authors]
    own_view = "; ".join(analyse(idea, mode, habits, rng) for idea in peers)
    texts = [idea.text() for idea in peers]
    if analysis:
        return CorpusExample(STYLE.analyse(asked.text, own.text(), texts, mode), own_view, asked.text)
    views = []
    for index, author in enumerate(authors):
        their_mode = rng.choice((Mode.COOPERATE, Mode.COMPETE))
        heard = [own, *peers[:index], *peers[index + 1 :]]
        views.append("; ".join(analyse(idea, their_mode, author, rng) for idea in heard))
    answer = fuse(asked, own, peers, [own_view, *views], mode, habits, rng)
    return CorpusExample(STYLE.fuse(asked.text, own.text(), texts, own_view, views, mode), answer.text(), asked.text)


def _ranking(questions: Sequence[Question], rng: random.Random) -> CorpusExample:
    """The steps of each question are counted, with some noise, then the questions ordered by that count."""
    felt = [max(1, len(question.steps) + rng.choices((-1, 0, 1), (1, 8, 1))[0]) for question in questions]
    letters = ascii_lowercase[: len(questions)]
    counts = " ".join(f"{letter}{count}" for letter, count in zip(letters, felt, strict=True))
    ranking = " ".join(letters[index] for index in sorted(range(len(questions)), key=felt.__getitem__))
    return CorpusExample(STYLE.rank([question.text for question in questions]), f"{counts} : {ranking}")
