r"""MATH (Hendrycks et al. 2021) split as in the paper, without MATH-500: 10,999 questions to train on, 1,000 validate.

MATH's 12,500 problems less the 500 of MATH-500 are exactly 12,000. Five of these occur twice; they stay on the
training side, so that no validation question is among the training questions. Which of the others validate is not
stated in the paper: a shuffle of ours decides, once for all. One training question stands in OlympiadBench, which the
paper scores by: it is left out.
"""

from __future__ import annotations

import random
from collections import Counter
from operator import itemgetter

from ilr_bench.core.errors import ConfigurationError, MissingInputError
from ilr_bench.tasks.data import Dataset, RawRow, read_rows
from ilr_bench.tasks.overlap import normalised
from ilr_bench.tasks.sources import SOURCES
from ilr_bench.tasks.types import Question, QuestionSource, boxed

TRAINING, VALIDATION = 10_999, 1_000
TESTED = "math-intermediate_algebra-train-0058"
"""Is `olympiadbench-2890` word by word."""
SUBJECTS = (
    "algebra", "counting_and_probability", "geometry", "intermediate_algebra", "number_theory", "prealgebra",
    "precalculus",
)  # fmt: skip
PUBLISHED = {
    ("algebra", "train"): (1744, "93fd4fcbb45fd486c62e7294079a11098d6981c5760c6150eb686351d2bfd9fb"),
    ("algebra", "test"): (1187, "f1007c164ac33ce76ec19a42a2b8064ceb225a67bbdfb302d28e3989d2030b9b"),
    ("counting_and_probability", "train"): (771, "672ef809fbc98e5594165b94e0b100ef49ba1b2137f73e38a41a830db23a9261"),
    ("counting_and_probability", "test"): (474, "ccb7401c45456083050fb0451159d71fb51e7cbd88d126aebe0490e2d5031cc2"),
    ("geometry", "train"): (870, "73dabfe0b141c1a5414609cd7a56aa61f30d97b9d28f6da3a38e74c6b0620494"),
    ("geometry", "test"): (479, "1bb5bd615962a48abdaaeabd3795b56c65fab02df2df84fa468ec40b1b82be49"),
    ("intermediate_algebra", "train"): (1295, "316af15a26778e35083a8ab8b9ca7027847dac513db0589fece9de30816dfc86"),
    ("intermediate_algebra", "test"): (903, "ba82bed5e5b027130281acaf4980af8289466a5879893fb27fd0a26b12f15281"),
    ("number_theory", "train"): (869, "6c9e2a573bdc46292d8a4e358af0dccef8273a938a97bf04996afd30d7082391"),
    ("number_theory", "test"): (540, "2d6bfeee0a22045505137ee961d078620d0a8762f682fc32ca68437cdf86877b"),
    ("prealgebra", "train"): (1205, "0f44c191eca542af3c2e6e916b81dc68d388f5418414c84db3e2ab7d9fe59c54"),
    ("prealgebra", "test"): (871, "acb10793a58c4b96d39ae323670cbfb2b6a1dcd6269b8a14512b0f76841939e4"),
    ("precalculus", "train"): (746, "75bb04f00be75a0b36c95bdf44b8246d65a24f168004578e7c86d725f2e069f1"),
    ("precalculus", "test"): (546, "1e445861333ed00eb8368428bb875fd789804641826b0c29a41de0619aaafe3b"),
}
"""Rows and content hash of every file, over problem and solution."""
MATH500 = Dataset(
    "math500/test.jsonl",
    "HuggingFaceH4/MATH-500",
    "default",
    "test",
    rows=500,
    sha256="473c52afc365066c5028a513816101d7d1d5f8d31c4bb28c8357711937c5a93f",
    text=itemgetter("problem", "answer"),
)


def load(n_train: int, n_validation: int) -> tuple[tuple[Question, ...], tuple[Question, ...]]:
    """Training and validation questions, none of them in MATH-500 and no text in both.

    Raises MissingInputError without the data, and ConfigurationError where more are asked for than there are.
    """
    if n_train > TRAINING or n_validation > VALIDATION:
        raise ConfigurationError(
            f"source math: {TRAINING:,} training and {VALIDATION:,} validation questions, {n_train:,} and "
            f"{n_validation:,} asked for; lower questions.train or questions.validation"
        )
    tested = {normalised(row["problem"]) for row in read_rows(MATH500)}
    questions = [question for question in _all() if normalised(question.text) not in tested]
    random.Random("math").shuffle(questions)
    seen = Counter(normalised(question.text) for question in questions)
    single = [question for question in questions if seen[normalised(question.text)] == 1]
    validation = single[-VALIDATION:]
    held_out = {question.id for question in validation}
    training = [question for question in questions if question.id not in held_out and question.id != TESTED]
    return tuple(training[:n_train]), tuple(validation[:n_validation])


_BOXED_NOTHING = {"math-number_theory-train-0661": "0", "math-number_theory-train-0663": "0"}
"""Two rows box nothing; their solutions end at no prime at all, which is option (A) of both."""


def parse(row: RawRow, identity: str) -> Question:
    """A row with `problem` and `solution`, whose last box holds the answer; raises MissingInputError for another."""
    problem, solution = row.get("problem"), row.get("solution")
    answer = last_box(solution) if isinstance(solution, str) else None
    answer = answer or _BOXED_NOTHING.get(identity)
    if not isinstance(problem, str) or answer is None:
        raise MissingInputError(f"{identity} is no row of MATH (problem, solution with \\boxed); fetch the file again")
    return Question(identity, problem.strip(), answer, family=str(row.get("type", "")))


def last_box(solution: str) -> str | None:
    r"""What stands in the last `\boxed{...}`, or after a bare `\boxed `; None without one."""
    _, found, rest = solution.rpartition(r"\boxed")
    if not found:
        return None
    rest = rest.lstrip()
    if not rest.startswith("{"):
        return rest.split("$", 1)[0].split(" ", 1)[0].strip() or None
    return next(iter(boxed(rf"\boxed{rest}")), None)


def files() -> tuple[Dataset, ...]:
    """The fourteen files, subject by subject, training split first."""
    return tuple(
        Dataset(
            f"math/hendrycks_math_{subject}_{split}.json", "EleutherAI/hendrycks_math", subject, split,
            *PUBLISHED[subject, split], itemgetter("problem", "solution"),
        )
        for subject in SUBJECTS
        for split in ("train", "test")
    )  # fmt: skip


def _all() -> list[Question]:
    return [
        parse(row, f"math-{data.configuration}-{data.split}-{index:04d}")
        for data in files()
        for index, row in enumerate(read_rows(data))
    ]


SOURCES.add("math", QuestionSource("math", load))
