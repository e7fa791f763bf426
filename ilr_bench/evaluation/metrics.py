"""Scores of k answers to each question: mean@k, pass@k, maj@k. Pure functions on arrays.

Arrays are (questions, samples) throughout; each function gives each question a value in [0, 1], on average the score.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ilr_bench.storage.records import SampleRecord, Verdict

NO_ANSWER = -1
"""Class of a sample without an answer; it casts no vote."""
_NUMBER = re.compile(r"-?[0-9]{1,18}(?:\.[0-9]{1,18}|/0*([0-9]{1,18}))?", re.ASCII)
_THOUSANDS = re.compile(r"(?<![0-9.,])([0-9]{1,3}(?:\{?,\}?[0-9]{3})+)(?![0-9,])", re.ASCII)


def mean_at_k(correct: ArrayLike) -> NDArray[np.float64]:
    """(questions,): fraction of right samples."""
    return np.asarray(_table(correct).mean(axis=1), dtype=np.float64)


def pass_at_k(correct: ArrayLike, k: int) -> NDArray[np.float64]:
    """(questions,): chance that one of k samples, drawn without replacement from the n there are, is right.

    1 - C(n - c, k) / C(n, k) for c right ones: the unbiased estimator of Chen et al. 2021 (arXiv 2107.03374, equation
    1), as a product, so that nothing overflows. Raises ValueError unless 1 <= k <= n.
    """
    table = _table(correct)
    n = table.shape[1]
    if not 1 <= k <= n:
        raise ValueError(f"k must lie between 1 and the number of samples, {n}; it is {k}")
    right = table.sum(axis=1)
    # C(n-c, k) / C(n, k) is the product of 1 - k/i over i = n-c+1 .. n, which holds 0 where n - c < k.
    factors = 1 - k / np.arange(1, n + 1)
    missed = np.array([np.prod(factors[n - int(count) :]) for count in right])
    return np.asarray(1.0 - missed, dtype=np.float64)


def majority_at_k(classes: ArrayLike, correct: ArrayLike) -> NDArray[np.float64]:
    """(questions,): whether the answer that most samples give is right.

    `classes` numbers the different answers of a question (`NO_ANSWER`: none, no vote); samples of one class are right
    or wrong together. Where several answers have most votes, the fraction of right ones among them, which is what
    drawing one of them would earn on average. 0 where no sample has an answer.
    """
    votes, right = np.asarray(classes), _table(correct)
    if votes.shape != right.shape:
        raise ValueError(f"classes {votes.shape} and verdicts {right.shape} differ in shape")
    return np.array([_majority(ballot, wins) for ballot, wins in zip(votes, right, strict=True)], dtype=np.float64)


def sample_table(records: Sequence[SampleRecord]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Verdicts and answer classes, both (questions, samples), of one benchmark's records, questions in their order.

    Every right answer is of one class (the grader found each equal to the gold one). Others are equal where they are
    the same number (`1/2`, `0.50`; `1,000`, `1000`) or the same text but for spaces: the grader is not asked whether
    two wrong formulas are equal, so votes for a wrong answer may be counted apart. Raises ValueError where questions
    have unequal numbers of samples.
    """
    by_question: dict[str, list[SampleRecord]] = {}
    for record in records:
        by_question.setdefault(record.question_id, []).append(record)
    groups = list(by_question.values())
    if len({len(group) for group in groups}) != 1:
        raise ValueError("every question needs the same number of samples")
    correct = [[record.verdict is Verdict.CORRECT for record in group] for group in groups]
    classes = [answer_classes([(record.answer, record.verdict) for record in group]) for group in groups]
    return np.array(correct, dtype=np.bool_), np.array(classes, dtype=np.int64)


def answer_classes(answers: Sequence[tuple[str | None, Verdict]]) -> list[int]:
    """A number for each different answer to one question, `NO_ANSWER` where there is none; see `sample_table`."""
    known: dict[str | Fraction, int] = {}
    classes = []
    for answer, verdict in answers:
        if answer is None or verdict is Verdict.MISSING:
            classes.append(NO_ANSWER)
        else:
            # No text without spaces equals this one.
            key = " right " if verdict is Verdict.CORRECT else _value(answer)
            classes.append(known.setdefault(key, len(known)))
    return classes


def _value(answer: str) -> str | Fraction:
    text = "".join(answer.split())
    text = re.sub("[{},]", "", text) if _THOUSANDS.fullmatch(text.lstrip("-").partition(".")[0]) else text
    number = _NUMBER.fullmatch(text)
    return text if number is None or number[1] == "0" else Fraction(text)


def _majority(ballot: NDArray[np.int64], wins: NDArray[np.bool_]) -> float:
    cast = ballot != NO_ANSWER
    if not cast.any():
        return 0.0
    names, counts = np.unique(ballot[cast], return_counts=True)
    first = names[counts == counts.max()]
    return float(np.mean([wins[ballot == name][0] for name in first]))


def _table(correct: ArrayLike) -> NDArray[np.bool_]:
    table = np.asarray(correct, dtype=np.bool_)
    if table.ndim != 2 or 0 in table.shape:
        raise ValueError(f"verdicts must be (questions, samples), neither of them 0; their shape is {table.shape}")
    return table
