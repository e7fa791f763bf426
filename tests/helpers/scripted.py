"""Agents that say what a test tells them to: a tokenizer of code points, and an engine that is a function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ilr_bench.generation.agent import Agent
from ilr_bench.generation.engine import Completion, SamplingOptions, SamplingRequest
from ilr_bench.prompts import STYLES

Reply = Callable[[str, int], str]
"""(prompt, number of the sample) -> what is said."""


@dataclass(frozen=True)
class Call:
    """What an engine was asked for, besides the prompts."""

    samples: tuple[int, ...]
    options: SamplingOptions
    seed: int
    first: int


class CodePoints:
    """One token per character, shifted by an offset so that agents' token ids differ."""

    def __init__(self, offset: int = 0) -> None:
        self.offset = offset
        self.chat_template = None
        self.eos_token_id = None

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        return {"input_ids": [ord(letter) + self.offset for letter in text]}

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = False) -> str:
        return "".join(chr(token - self.offset) for token in ids)


class ScriptedEngine:
    """Records every call, every prompt it hears and how often it was sent to rest, and answers by its script."""

    name = "scripted"

    def __init__(self, reply: Reply, tokenizer: CodePoints) -> None:
        self.reply = reply
        self.tokenizer = tokenizer
        self.heard: list[str] = []
        self.calls: list[Call] = []
        self.rests = 0

    def sample(self, request: SamplingRequest) -> list[list[Completion]]:
        self.calls.append(Call(tuple(request.samples), request.options, request.seed, request.first))
        said = []
        for prompt, count in zip(request.prompts, request.samples, strict=True):
            text = self.tokenizer.decode(prompt)
            self.heard.append(text)
            said.append([self._completion(self.reply(text, k), request.options) for k in range(count)])
        return said

    def release(self) -> None:
        self.rests += 1

    def _completion(self, text: str, options: SamplingOptions) -> Completion:
        ids = tuple(self.tokenizer(text)["input_ids"])
        kept = ids[: options.max_new_tokens]
        return Completion(kept, np.zeros(len(kept), dtype=np.float32), len(kept) == len(ids))


def scripted_agent(name: str, reply: Reply, offset: int = 0, limit: int = 10_000, style: str = "micro") -> Agent:
    tokenizer = CodePoints(offset)
    engine = ScriptedEngine(reply, tokenizer)
    return Agent(name, None, tokenizer, STYLES.get(style), engine, limit)
