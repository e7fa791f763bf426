"""Two models' answers to the same questions: what is comparable, and who is right more often."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from ilr_bench.core.errors import ConfigurationError
from reports.compare.joining import NotComparableError as NotComparableError
from reports.compare.joining import Options as Options
from reports.compare.joining import Texts, joined, other_settings, same_prompts, same_questions, same_samples
from reports.compare.sources import Answer, Key, Log, read_logs
from reports.statistics import estimates
from reports.statistics.estimates import PairedDifference


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
    """What is known of them."""
    questions: int
    samples: int
    a: float
    b: float
    result: PairedDifference
    detectable: float | None
    """None where the two agree on every sample of several per question: nothing says how much they could differ."""
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
    key, left, right = joined(name, one, other, options, texts)
    if key == "id":
        left, right = same_questions(name, one.kind == other.kind, left, right, options)
    prompts, left, right = same_prompts(name, one, other, left, right, options)
    left, right = same_samples(name, left, right, options)
    prompts += other_settings(left, right)
    lines: list[Line] = []
    reasons: list[str] = []
    for pair in _measures(name, one, other, options):
        reason = _unusable(left, right, pair)
        if reason is None:
            line = _line(name, key, prompts, left, right, pair)
            lines.append(_with_examples(line, left, right, pair, options.examples))
        else:
            reasons.append(f"{name} ({' / '.join(dict.fromkeys(pair))}): {reason}")
    return lines, reasons


def _measures(name: str, one: Log, other: Log, options: Options) -> list[tuple[str, str]]:
    """The common ones or, where there are none, the only one of each; `--metric` chooses."""
    chosen = [[item for item in log.measures if _is_asked(item, options.metric)] for log in (one, other)]
    if options.metric is None or any(chosen):
        # A log that has no choice (ours: accuracy) keeps what it has.
        sides = [
            mine or (list(log.measures) if len(log.measures) == 1 else [])
            for mine, log in zip(chosen, (one, other), strict=True)
        ]
        common = [(measure, measure) for measure in sides[0] if measure in sides[1]]
        if common:
            return common
        if len(sides[0]) == len(sides[1]) == 1:
            return [(sides[0][0], sides[1][0])]
    known = " against ".join(" ".join(log.measures) or "none" for log in (one, other))
    wanted = "no measure in common" if options.metric is None else f"no measure {options.metric} to compare by"
    raise NotComparableError(f"{name}: {wanted}: {known}; choose with --metric METRIC,FILTER")


def _is_asked(measure: str, metric: str | None) -> bool:
    return metric is None or metric in (measure, measure.partition(",")[0])


def _unusable(left: list[Answer], right: list[Answer], measures: tuple[str, str]) -> str | None:
    """Why a measure cannot be compared, where it cannot."""
    sides = [[answer.scores[measure] for answer in side] for side, measure in zip((left, right), measures, strict=True)]
    if len({len(scores) for side in sides for scores in side}) > 1:
        return "a score per sample against a single one for all samples of a question"
    values = np.array(sides)
    if not np.isfinite(values).all():
        return "some scores are no numbers (NaN or infinite)"
    if values.min() < 0 or values.max() > 1:
        return f"no share of right answers (scores from {values.min():.4g} to {values.max():.4g})"
    return None


def _line(
    name: str, key: Key, prompts: str, left: list[Answer], right: list[Answer], measures: tuple[str, str]
) -> Line:
    a, b = (
        np.array([answer.scores[measure] for answer in side])
        for side, measure in zip((left, right), measures, strict=True)
    )
    result = estimates.paired_difference(a.ravel(), b.ravel(), np.repeat(np.arange(len(a)), a.shape[1]))
    change = a.mean(axis=1) - b.mean(axis=1)
    return Line(
        benchmark=name,
        measure=measures[0] if measures[0] == measures[1] else " / ".join(measures),
        joined_by=key,
        prompts=prompts,
        questions=len(a),
        samples=left[0].samples,
        a=float(a.mean()),
        b=float(b.mean()),
        result=result,
        detectable=_detectable(result, len(a), left[0].samples),
        won=int((change > 0).sum()),
        lost=int((change < 0).sum()),
        won_examples=(),
        lost_examples=(),
    )


def _detectable(result: PairedDifference, questions: int, samples: int) -> float | None:
    if result.standard_error:
        return estimates.detectable_difference(result)
    return estimates.mcnemar_detectable_effect(questions, 0) if samples == 1 else None


def _with_examples(line: Line, left: list[Answer], right: list[Answer], measures: tuple[str, str], count: int) -> Line:
    won: list[Example] = []
    lost: list[Example] = []
    for a, b in zip(left, right, strict=True):
        change = float(np.mean(a.scores[measures[0]]) - np.mean(b.scores[measures[1]]))
        if change:
            example = Example(
                name=a.name,
                question=a.question or b.question,
                gold=a.gold or b.gold,
                a=a.completion,
                b=b.completion,
            )
            (won if change > 0 else lost).append(example)
    return replace(line, won_examples=tuple(won[:count]), lost_examples=tuple(lost[:count]))
