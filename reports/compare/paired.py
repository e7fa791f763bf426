"""Two models' answers to the same questions: what is comparable, and who is right more often."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from ilr_bench.core.errors import ConfigurationError

from ..statistics import estimates
from ..statistics.estimates import PairedDifference
from ..statistics.power import mcnemar_detectable_effect
from .joining import NotComparableError as NotComparableError
from .joining import Options as Options
from .joining import Pairs, Texts, comparable
from .sources import Key, Log, read_logs


@dataclass(frozen=True)
class Example:
    """One question that only one side has right (or more often right)."""

    name: str
    question: str | None
    gold: str | None
    a: str
    b: str


@dataclass(frozen=True)
class Line:
    """One benchmark by one measure."""

    benchmark: str
    measure: str
    joined_by: Key
    prompts: str
    """Whether they are equal, as far as is known."""
    questions: int
    samples: int
    a: float
    b: float
    result: PairedDifference
    detectable: float | None
    """None where the two agree on every sample of several per question: how much they could differ is unknown."""
    won: int
    """Questions that A answers better."""
    lost: int
    won_examples: tuple[Example, ...]
    lost_examples: tuple[Example, ...]
    adjusted: float = 1.0


@dataclass(frozen=True)
class Compared:
    """Everything that could be compared, and what could not."""

    a: Path
    b: Path
    lines: tuple[Line, ...]
    refused: tuple[str, ...]
    correction: Literal["holm", "bh"]


def compare(a: Path, b: Path, options: Options, texts: Texts) -> Compared:
    """A against B on every benchmark that both have.

    Raises StoreError for logs that cannot be read, ConfigurationError for names that are not there, NotComparableError
    where nothing can be compared.
    """
    left, right = read_logs(a), read_logs(b)
    lines: list[Line] = []
    refused: list[str] = []
    pairs = _pairs(left, right, options)
    for one, other in pairs:
        try:
            compared, reasons = _lines(one, other, options, texts)
            lines += compared
            refused += reasons
        except NotComparableError as reason:
            refused.append(str(reason))
    if not lines:
        raise NotComparableError("; ".join(refused))
    adjust = estimates.holm if options.correction == "holm" else estimates.benjamini_hochberg
    adjusted = adjust([line.result.pvalue for line in lines])
    done = tuple(replace(line, adjusted=float(value)) for line, value in zip(lines, adjusted, strict=True))
    if not options.pairs:
        paired = {log.benchmark for pair in pairs for log in pair}
        refused += [
            f"{name}: only in {path}" for path, logs in ((a, left), (b, right)) for name in logs if name not in paired
        ]
    return Compared(a, b, done, tuple(refused), options.correction)


def _pairs(left: Mapping[str, Log], right: Mapping[str, Log], options: Options) -> list[tuple[Log, Log]]:
    for name, other in options.pairs:
        for wanted, logs in ((name, left), (other, right)):
            if wanted not in logs:
                raise ConfigurationError(f"--pair {name}={other}: no {wanted} there; there are {', '.join(logs)}")
    if options.pairs:
        return [(left[name], right[other]) for name, other in options.pairs]
    common = [name for name in left if name in right]
    if common:
        return [(left[name], right[name]) for name in common]
    if len(left) == len(right) == 1:
        return [(next(iter(left.values())), next(iter(right.values())))]
    raise ConfigurationError(
        f"no benchmark in common: {', '.join(left)} against {', '.join(right)}; join two with --pair IN_A=IN_B"
    )


def _lines(one: Log, other: Log, options: Options, texts: Texts) -> tuple[list[Line], list[str]]:
    """A line per measure, and why other measures have none."""
    name = one.benchmark if one.benchmark == other.benchmark else f"{one.benchmark} / {other.benchmark}"
    key, prompts, pairs = comparable(name, one, other, options, texts)
    lines: list[Line] = []
    reasons: list[str] = []
    for measures in _measures(name, one, other, options):
        label = " / ".join(dict.fromkeys(measures))
        line = _line(name, label, key, prompts, pairs, measures, options.examples)
        if isinstance(line, Line):
            lines.append(line)
        else:
            reasons.append(f"{name} ({label}): {line}")
    return lines, reasons


def _measures(name: str, one: Log, other: Log, options: Options) -> list[tuple[str, str]]:
    """The common ones or, where there are none, the only one of each; `--metric` chooses."""
    chosen = [
        [item for item in log.measures if options.metric in (None, item, item.partition(",")[0])]
        for log in (one, other)
    ]
    if options.metric is None or any(chosen):
        # A log that has no choice (ours: accuracy) keeps what it has.
        choices = zip(chosen, (one, other), strict=True)
        sides = [mine or (list(log.measures) if len(log.measures) == 1 else []) for mine, log in choices]
        common = [(measure, measure) for measure in sides[0] if measure in sides[1]]
        if common:
            return common
        if len(sides[0]) == len(sides[1]) == 1:
            return [(sides[0][0], sides[1][0])]
    known = " against ".join(" ".join(log.measures) or "none" for log in (one, other))
    wanted = "no measure in common" if options.metric is None else f"no measure {options.metric} to compare by"
    raise NotComparableError(f"{name}: {wanted}: {known}; choose with --metric METRIC,FILTER")


def _line(
    name: str, label: str, key: Key, prompts: str, pairs: Pairs, measures: tuple[str, str], examples: int
) -> Line | str:
    """The comparison by one measure of each log, or why there is none."""
    sides = [[pair[side].scores[measure] for pair in pairs] for side, measure in enumerate(measures)]
    if len({len(scores) for side in sides for scores in side}) > 1:
        return "a score per sample against a single one for all samples of a question"
    a, b = values = np.array(sides)
    if not np.isfinite(values).all():
        return "some scores are no numbers (NaN or infinite)"
    if values.min() < 0 or values.max() > 1:
        return f"no share of right answers (scores from {values.min():.4g} to {values.max():.4g})"
    questions, samples = len(pairs), pairs[0][0].samples
    result = estimates.paired_difference(a.ravel(), b.ravel(), np.repeat(np.arange(questions), a.shape[1]))
    detectable = None
    if result.standard_error:
        detectable = estimates.detectable_difference(result)
    elif samples == 1:
        detectable = mcnemar_detectable_effect(questions, 0)
    change = a.mean(axis=1) - b.mean(axis=1)
    won, lost = ([pairs[index] for index in np.flatnonzero(better)] for better in (change > 0, change < 0))
    return Line(
        benchmark=name, measure=label, joined_by=key, prompts=prompts, questions=questions, samples=samples,
        a=float(a.mean()), b=float(b.mean()), result=result, detectable=detectable, won=len(won), lost=len(lost),
        won_examples=_examples(won[:examples]), lost_examples=_examples(lost[:examples]),
    )  # fmt: skip


def _examples(pairs: Pairs) -> tuple[Example, ...]:
    return tuple(
        Example(a.name, a.question or b.question, a.gold or b.gold, a.completion, b.completion) for a, b in pairs
    )
