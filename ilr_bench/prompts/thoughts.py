"""Thoughts before an answer: reasoning models write them between two marks, and nothing in them is an answer."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ilr_bench.core.errors import ConfigurationError

Marks = tuple[str, str]
"""Where a thought begins and where it ends."""
KNOWN: tuple[Marks, ...] = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<thoughts>", "</thoughts>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),
    ("<unused94>thought", "<unused95>"),
    ("<|inner_prefix|>", "<|inner_suffix|>"),
)
"""The marks of the model families that are known here; each model writes one kind."""
FROM_TEMPLATE = "auto"


@dataclass(frozen=True)
class Thoughts:
    """How one model marks its thoughts."""

    marks: tuple[Marks, ...] = KNOWN
    opened: bool = False
    """Whether its prompts end inside a thought, so that a completion holds the end mark alone."""
    kept_tokens: tuple[str, ...] = ()
    """Special tokens of the tokenizer that the marks are made of; decoding keeps them."""


ANY = Thoughts()
"""For models that say nothing of their marks: any of the known ones."""


def without_thought(text: str, thoughts: Thoughts = ANY) -> str:
    """What follows the last end of a thought; empty where a thought was begun and not ended. Case does not count."""
    ended = False
    for _, end in thoughts.marks:
        *_, rest = re.split(re.escape(end), text, flags=re.IGNORECASE)
        text, ended = rest, ended or rest != text
    begun = "|".join(re.escape(start) for start, _ in thoughts.marks)
    unended = re.search(begun, text, re.IGNORECASE) or (thoughts.opened and not ended)
    return "" if unended else text


def thoughts_of(tokenizer: Any, setting: str = FROM_TEMPLATE) -> Thoughts:
    """The marks that a setting names, `START END`, or with `auto` those that the chat template holds, else any known.

    Raises ConfigurationError for a setting that is neither.
    """
    template = getattr(tokenizer, "chat_template", None)
    named = tuple(setting.split())
    if setting != FROM_TEMPLATE and len(named) != 2:
        raise ConfigurationError(
            f"thought_marks: {setting!r} is neither `{FROM_TEMPLATE}` nor two marks with a space between them, such as "
            "`<think> </think>`"
        )
    found = [pair for pair in KNOWN if pair[1] in str(template)] if setting == FROM_TEMPLATE else [(named[0], named[1])]
    if template is None or not found:
        return Thoughts(tuple(found) or KNOWN)
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "?"}], add_generation_prompt=True, tokenize=False
    )
    opened = any(prompt.rfind(start) > prompt.rfind(end) for start, end in found)
    marks = "".join(start + end for start, end in found)
    kept = tuple(token for token in getattr(tokenizer, "all_special_tokens", ()) if token and token in marks)
    return Thoughts(tuple(found), opened, kept)
