"""Which answers of two logs can be set side by side: the same questions, prompts and numbers of samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from ilr_bench.core.errors import IlrError
from reports.compare.sources import KEYS, Answer, Key, Log, normal, with_texts

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


class NotComparableError(IlrError):
    """The two logs answer different questions, or in ways that cannot be set side by side."""


def joined(name: str, one: Log, other: Log, options: Options, texts: Texts) -> tuple[Key, list[Answer], list[Answer]]:
    """The common questions of both, in A's order."""
    tried = []
    for key in KEYS:
        if key == "text" and one.kind != other.kind:
            try:
                one, other = with_texts(one, texts), with_texts(other, texts)
            except IlrError as error:
                tried.append(f"text ({error})")
                continue
        left, right = _by_key(one, key), _by_key(other, key)
        shared = [found for found in left if found in right]
        vague = [log for log, side in ((one, left), (other, right)) if len(side) < len(log.answers)]
        if vague and not (options.common and shared):
            hint = "; --common takes the others" if shared else ""
            tried.append(f"{key} (not in, or not unique in, {vague[0].path}{hint})")
            continue
        if not shared:
            tried.append(f"{key} (none in common)")
            continue
        if not options.common and not len(shared) == len(left) == len(right):
            raise NotComparableError(
                f"{name}: different questions, {len(left)} in A and {len(right)} in B, {len(shared)} of them "
                f"common (by {key}); --common compares those"
            )
        return key, [left[found] for found in shared], [right[found] for found in shared]
    raise NotComparableError(
        f"{name}: no way to join the questions of {one.path} and {other.path}; tried {', '.join(tried)}"
    )


def _by_key(log: Log, key: Key) -> dict[str, Answer]:
    """The answers to questions that the key tells apart."""
    counts = Counter(answer.keys.get(key) for answer in log.answers)
    return {answer.keys[key]: answer for answer in log.answers if key in answer.keys and counts[answer.keys[key]] == 1}


def same_questions(
    name: str, same_kind: bool, left: list[Answer], right: list[Answer], options: Options
) -> tuple[list[Answer], list[Answer]]:
    """Names such as `17` are given by many data sets, and editions of one keep a name when they mend its question."""
    kept = [(a, b) for a, b in zip(left, right, strict=True) if not _other_question(a, b, same_kind)]
    if len(kept) == len(left):
        return left, right
    if not options.common or not kept:
        raise NotComparableError(
            f"{name}: {len(left) - len(kept)} of {len(left)} questions of the same name have another wording or gold "
            "answer: other questions, or another edition" + ("; --common compares the others" if kept else "")
        )
    return [a for a, _ in kept], [b for _, b in kept]


def _other_question(a: Answer, b: Answer, same_kind: bool) -> bool:
    worded = a.question is not None and b.question is not None
    if worded and normal(a.question or "") != normal(b.question or ""):
        return True
    # Programs print one gold answer in different ways.
    return same_kind and a.gold != b.gold


def same_prompts(
    name: str, one: Log, other: Log, left: list[Answer], right: list[Answer], options: Options
) -> tuple[str, list[Answer], list[Answer]]:
    """What is known of the prompts, and the answers to those that may be compared."""
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


def other_settings(left: list[Answer], right: list[Answer]) -> str:
    """Words about answers that were sampled in another way (temperature, limits, stops), as far as logs say how.

    No reason to refuse: how a model answers may be what is compared.
    """
    known = [(a.settings, b.settings) for a, b in zip(left, right, strict=True) if a.settings and b.settings]
    other = [pair for pair in known if pair[0] != pair[1]]
    if not other:
        return ""
    return f", {len(other)} of {len(left)} answered with other settings (such as {other[0][0]} against {other[0][1]})"


def same_samples(
    name: str, left: list[Answer], right: list[Answer], options: Options
) -> tuple[list[Answer], list[Answer]]:
    """As many samples of every question."""
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
