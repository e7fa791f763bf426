"""Which answers of two logs can be compared: those to the same questions and prompts, as many samples of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from ilr_bench.core.errors import IlrError

from .sources import KEYS, Answer, Key, Log, normal, with_texts

Pairs = list[tuple[Answer, Answer]]
"""The answers of A and of B to one question each, in A's order."""
Texts = Callable[[str], Mapping[str, str]]
"""Benchmark -> question id -> wording; raises IlrError where the questions cannot be had."""


@dataclass(frozen=True)
class Options:
    """What a user allows."""

    common: bool = False
    """Only the common questions, the common number of samples, and the questions with equal prompts."""
    any_prompt: bool = False
    """Also where the prompts differ, or may differ."""
    metric: str | None = None
    """`METRIC` or `METRIC,FILTER` of logs that have several."""
    pairs: tuple[tuple[str, str], ...] = ()
    """Benchmarks that have different names in A and B."""
    correction: Literal["holm", "bh"] = "holm"
    examples: int = 3


class NotComparableError(IlrError):
    """The two logs answer different questions, or in ways that cannot be compared."""


def comparable(name: str, one: Log, other: Log, options: Options, texts: Texts) -> tuple[Key, str, Pairs]:
    """What the questions were joined by, what is known of the prompts, and the answers that may be compared.

    Raises NotComparableError where the options allow no comparison.
    """
    key, pairs = _joined(name, one, other, options, texts)
    if key == "id":
        pairs = _same_questions(name, one.kind == other.kind, pairs, options)
    prompts, pairs = _same_prompts(name, one, other, pairs, options)
    pairs = _same_samples(name, pairs, options)
    return key, prompts + _other_settings(pairs), pairs


def _joined(name: str, one: Log, other: Log, options: Options, texts: Texts) -> tuple[Key, Pairs]:
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
        return key, [(left[found], right[found]) for found in shared]
    raise NotComparableError(
        f"{name}: no way to join the questions of {one.path} and {other.path}; tried {', '.join(tried)}"
    )


def _by_key(log: Log, key: Key) -> dict[str, Answer]:
    """The answers to questions that the key tells apart."""
    counts = Counter(answer.keys.get(key) for answer in log.answers)
    return {answer.keys[key]: answer for answer in log.answers if key in answer.keys and counts[answer.keys[key]] == 1}


def _same_questions(name: str, same_kind: bool, pairs: Pairs, options: Options) -> Pairs:
    """Names such as `17` are given by many data sets, and editions of one keep a name when they mend its question."""
    kept = [(a, b) for a, b in pairs if not _other_question(a, b, same_kind)]
    if len(kept) < len(pairs) and not (options.common and kept):
        raise NotComparableError(
            f"{name}: {len(pairs) - len(kept)} of {len(pairs)} questions of the same name have another wording or gold "
            "answer: other questions, or another edition" + ("; --common compares the others" if kept else "")
        )
    return kept


def _other_question(a: Answer, b: Answer, same_kind: bool) -> bool:
    if a.question is not None and b.question is not None and normal(a.question) != normal(b.question):
        return True
    # Programs print one gold answer in different ways.
    return same_kind and a.gold != b.gold


def _same_prompts(name: str, one: Log, other: Log, pairs: Pairs, options: Options) -> tuple[str, Pairs]:
    if one.hashing != other.hashing:
        if not options.any_prompt:
            raise NotComparableError(
                f"{name}: {one.kind} and {other.kind} word their prompts in their own ways, so a difference may be "
                "the prompt's; --any-prompt compares all the same"
                if one.kind != other.kind
                else f"{name}: made from different editions of the data ({one.hashing}, {other.hashing}); "
                "--any-prompt compares all the same"
            )
        return "each program's own", pairs
    equal = [(a, b) for a, b in pairs if a.prompt == b.prompt]
    different = f"{len(pairs) - len(equal)} of {len(pairs)}"
    if len(equal) == len(pairs):
        return "equal", pairs
    if options.any_prompt:
        return f"{different} differ", pairs
    if options.common and equal:
        return "equal (others left out)", equal
    raise NotComparableError(
        f"{name}: {different} prompts differ; "
        + ("--common compares the questions with equal ones, " if equal else "")
        + "--any-prompt all of them"
    )


def _other_settings(pairs: Pairs) -> str:
    """Words about answers that were sampled in another way (temperature, limits, stops), where logs record how.

    No reason to refuse: how a model answers may be what is compared.
    """
    other = [(a.settings, b.settings) for a, b in pairs if a.settings and b.settings and a.settings != b.settings]
    if not other:
        return ""
    return f", {len(other)} of {len(pairs)} answered with other settings (such as {other[0][0]} against {other[0][1]})"


def _same_samples(name: str, pairs: Pairs, options: Options) -> Pairs:
    """As many samples of every question."""
    counts = [{answer.samples for answer in side} for side in zip(*pairs, strict=True)]
    if counts[0] == counts[1] and len(counts[0]) == 1:
        return pairs
    words = " and ".join("/".join(map(str, sorted(side))) for side in counts)
    fewest = min(counts[0] | counts[1])
    if not options.common:
        raise NotComparableError(f"{name}: {words} samples per question; --common compares the first {fewest}")
    if any(len(scores) < answer.samples for pair in pairs for answer in pair for scores in answer.scores.values()):
        raise NotComparableError(
            f"{name}: {words} samples per question, but one log holds a single score for all of them"
        )
    return [(_first(a, fewest), _first(b, fewest)) for a, b in pairs]


def _first(answer: Answer, count: int) -> Answer:
    return replace(answer, samples=count, scores={name: values[:count] for name, values in answer.scores.items()})
