"""Two models' answers to the same questions: what is comparable, and who is right more often."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from ilr_bench.errors import ConfigurationError, IlrError
from reports import statistics
from reports.compare_sources import KEYS, Answer, Key, Log, read_logs, with_texts
from reports.statistics import PairedDifference

Texts = Callable[[str], Mapping[str, str]]
"""Benchmark -> question id -> wording; raises IlrError where the questions cannot be had."""


@dataclass(frozen=True)
class Options:
    """What a user allows."""

    common: bool = False
    """Only the common questions, the common number of samples, and the questions with equal prompts."""
    any_prompt: bool = False
    """Also where the prompts differ, or cannot be told to be equal."""
    metric: str | None = None
    """`METRIC` or `METRIC,FILTER` of logs that have several."""
    pairs: tuple[tuple[str, str], ...] = ()
    """Benchmarks that have different names in A and B."""
    correction: Literal["holm", "bh"] = "holm"
    examples: int = 3


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
    """None where the two agree on every question."""
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


class NotComparableError(IlrError):
    """The two logs answer different questions, or in ways that cannot be set side by side."""


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
            lines += _lines(one, other, options, texts)
        except NotComparableError as reason:
            refused.append(str(reason))
    if not lines:
        raise NotComparableError("; ".join(refused))
    adjust = statistics.holm if options.correction == "holm" else statistics.benjamini_hochberg
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


def _lines(one: Log, other: Log, options: Options, texts: Texts) -> list[Line]:
    name = one.benchmark if one.benchmark == other.benchmark else f"{one.benchmark} / {other.benchmark}"
    key, left, right = _joined(name, one, other, options, texts)
    prompts, left, right = _same_prompts(name, one, other, left, right, options)
    left, right = _same_samples(name, left, right, options)
    return [
        _with_examples(_line(name, key, prompts, left, right, pair), left, right, pair, options.examples)
        for pair in _measures(name, one, other, options)
    ]


def _joined(name: str, one: Log, other: Log, options: Options, texts: Texts) -> tuple[Key, list[Answer], list[Answer]]:
    """The common questions of both, in A's order."""
    tried = []
    for key in KEYS:
        if key == "text" and one.kind != other.kind:
            try:
                one, other = with_texts(one, texts), with_texts(other, texts)
            except IlrError as error:
                tried.append(f"text ({error})")
                continue
        sides = [_by_key(log, key) for log in (one, other)]
        missing = next((log for log, side in zip((one, other), sides, strict=True) if side is None), None)
        if missing is not None or sides[0] is None or sides[1] is None:
            tried.append(f"{key} (not in, or not unique in, {missing.path if missing else ''})")
            continue
        shared = [found for found in sides[0] if found in sides[1]]
        if not shared:
            tried.append(f"{key} (none in common)")
            continue
        if not options.common and not len(shared) == len(sides[0]) == len(sides[1]):
            raise NotComparableError(
                f"{name}: different questions, {len(sides[0])} in A and {len(sides[1])} in B, {len(shared)} of them "
                f"common (by {key}); --common compares those"
            )
        return key, [sides[0][found] for found in shared], [sides[1][found] for found in shared]
    raise NotComparableError(
        f"{name}: no way to join the questions of {one.path} and {other.path}; tried {', '.join(tried)}"
    )


def _by_key(log: Log, key: Key) -> dict[str, Answer] | None:
    found = {answer.keys[key]: answer for answer in log.answers if key in answer.keys}
    return found if len(found) == len(log.answers) else None


def _same_prompts(
    name: str, one: Log, other: Log, left: list[Answer], right: list[Answer], options: Options
) -> tuple[str, list[Answer], list[Answer]]:
    if one.hashing != other.hashing:
        if not options.any_prompt:
            raise NotComparableError(
                f"{name}: {one.kind} and {other.kind} word their prompts in their own ways, so a difference may be "
                "the prompt's; --any-prompt compares all the same"
                if one.kind != other.kind
                else f"{name}: made from different editions of the data ({one.hashing}, {other.hashing}); "
                "--any-prompt compares all the same"
            )
        return "each program's own", left, right
    equal = [a.prompt == b.prompt for a, b in zip(left, right, strict=True)]
    if all(equal):
        return "equal", left, right
    if options.any_prompt:
        return f"{equal.count(False)} of {len(equal)} differ", left, right
    if options.common and any(equal):
        kept = [pair for pair, same in zip(zip(left, right, strict=True), equal, strict=True) if same]
        return "equal (others left out)", [a for a, _ in kept], [b for _, b in kept]
    raise NotComparableError(
        f"{name}: {equal.count(False)} of {len(equal)} prompts differ; "
        + ("--common compares the questions with equal ones, " if any(equal) else "")
        + "--any-prompt all of them"
    )


def _same_samples(
    name: str, left: list[Answer], right: list[Answer], options: Options
) -> tuple[list[Answer], list[Answer]]:
    counts = [{answer.samples for answer in side} for side in (left, right)]
    if counts[0] == counts[1] and len(counts[0]) == 1:
        return left, right
    words = " and ".join("/".join(map(str, sorted(side))) for side in counts)
    fewest = min(counts[0] | counts[1])
    if not options.common:
        raise NotComparableError(f"{name}: {words} samples per question; --common compares the first {fewest}")
    if any(len(scores) < answer.samples for answer in (*left, *right) for scores in answer.scores.values()):
        raise NotComparableError(
            f"{name}: {words} samples per question, but one log holds a single score for all of them"
        )
    return [_first(answer, fewest) for answer in left], [_first(answer, fewest) for answer in right]


def _first(answer: Answer, count: int) -> Answer:
    return replace(answer, samples=count, scores={name: values[:count] for name, values in answer.scores.items()})


def _measures(name: str, one: Log, other: Log, options: Options) -> list[tuple[str, str]]:
    sides = [_asked(log.measures, options.metric) for log in (one, other)]
    common = [(measure, measure) for measure in sides[0] if measure in sides[1]]
    if common:
        return common
    if len(sides[0]) == len(sides[1]) == 1:
        return [(sides[0][0], sides[1][0])]
    raise NotComparableError(
        f"{name}: no measure in common: {' '.join(sides[0]) or 'none'} against {' '.join(sides[1]) or 'none'}; "
        "choose one with --metric METRIC,FILTER"
    )


def _asked(measures: Iterable[str], metric: str | None) -> list[str]:
    """The chosen ones; a log that has no choice (ours: accuracy) keeps what it has."""
    found = list(measures)
    chosen = [name for name in found if metric in (name, name.partition(",")[0])]
    return chosen if chosen or (metric is not None and len(found) > 1) else found


def _line(
    name: str, key: Key, prompts: str, left: list[Answer], right: list[Answer], measures: tuple[str, str]
) -> Line:
    a, b = (
        np.array([answer.scores[measure] for answer in side])
        for side, measure in zip((left, right), measures, strict=True)
    )
    result = statistics.paired_difference(a.ravel(), b.ravel(), np.repeat(np.arange(len(a)), a.shape[1]))
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
        detectable=statistics.detectable_difference(result) if result.standard_error else None,
        won=int((change > 0).sum()),
        lost=int((change < 0).sum()),
        won_examples=(),
        lost_examples=(),
    )


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
                a=a.said,
                b=b.said,
            )
            (won if change > 0 else lost).append(example)
    return replace(line, won_examples=tuple(won[:count]), lost_examples=tuple(lost[:count]))
