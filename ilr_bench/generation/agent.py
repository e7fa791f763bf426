"""An agent: a policy with its own tokenizer, prompt style and sampling engine.

Agents exchange text, since their tokens differ.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from ilr_bench.generation.engine import Engine
from ilr_bench.prompts import PromptStyle
from ilr_bench.prompts.thoughts import ANY, Thoughts

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prompt:
    """A rendered prompt in the agent's own tokens."""

    ids: tuple[int, ...]
    cut_tokens: int
    """Tokens left out to fit the limit; 0 where the prompt is whole."""


@dataclass
class Agent:
    """One policy, with what turns text into its tokens and back."""

    name: str
    model: Any
    """A transformers causal language model."""
    tokenizer: Any
    style: PromptStyle
    engine: Engine
    max_prompt_tokens: int
    thoughts: Thoughts = ANY
    """How it marks what it thinks before it answers."""

    def render(self, text: str) -> Prompt:
        """One user turn as prompt tokens; a prompt over the limit loses the middle of its text."""
        ids = self._tokens(text)
        over = len(ids) - self.max_prompt_tokens
        if over <= 0:
            return Prompt(tuple(ids), 0)
        whole, keep = len(ids), len(text)
        while len(ids) > self.max_prompt_tokens and keep > 1:
            keep = min(keep - 1, int(keep * self.max_prompt_tokens / len(ids)))
            head, tail = keep // 2, keep - keep // 2
            ids = self._tokens(text[:head] + text[len(text) - tail :])
        return Prompt(tuple(ids), whole - len(ids))

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of a turn, without end and padding tokens."""
        text = self.text_of(token_ids)
        for stop in self.style.stop_strings():
            text = text.split(stop, 1)[0]
        return text.strip()

    def text_of(self, token_ids: Sequence[int]) -> str:
        """The text of tokens without special ones, but for those that mark a thought."""
        kept = {self.tokenizer.convert_tokens_to_ids(token): token for token in self.thoughts.kept_tokens}
        pieces: list[str] = []
        run: list[int] = []
        for token in token_ids if kept else ():
            if token in kept:
                pieces += [self.tokenizer.decode(run, skip_special_tokens=True), kept[token]]
                run = []
            else:
                run.append(token)
        last: str = self.tokenizer.decode(run if kept else list(token_ids), skip_special_tokens=True)
        return "".join([*pieces, last])

    def encode(self, text: str) -> tuple[int, ...]:
        """`text` as a turn in the agent's own tokens, with the stop string or end token of its turns."""
        stops = self.style.stop_strings()
        ids: list[int] = self.tokenizer(text + "".join(stops[:1]), add_special_tokens=False)["input_ids"]
        ends = stops or self.tokenizer.eos_token_id is None
        return tuple(ids) if ends else (*ids, self.tokenizer.eos_token_id)

    def _tokens(self, text: str) -> list[int]:
        chat = self.tokenizer.chat_template is not None and self.style.uses_chat_template
        if chat:
            turn = [{"role": "user", "content": text}]
            text = self.tokenizer.apply_chat_template(turn, add_generation_prompt=True, tokenize=False)
        ids: list[int] = self.tokenizer(text, add_special_tokens=not chat)["input_ids"]
        if not chat and ids[-1:] == [self.tokenizer.eos_token_id]:
            _say_ended_prompts(self.name)
            ids = ids[:-1]
        return ids


@cache
def _say_ended_prompts(name: str) -> None:
    _log.warning(
        "the tokenizer of %s ends prompts with its end token, which is taken off: nothing would follow it", name
    )
