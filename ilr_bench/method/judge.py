"""A model as the reward: behind any address that speaks OpenAI's chat completions, hosted or on this machine.

A judgement is asked for once: it is kept in the cache folder under what decides it (address, model, prompt), so that a
trial that continues, or runs again, earns the same rewards, whatever the server would say by then.
"""

from __future__ import annotations

import http.client
import json
import logging
import os
import re
import sqlite3
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Gt

from ilr_bench.core.config import content_hash
from ilr_bench.core.errors import IlrError, MissingInputError, StoreError, first_line
from ilr_bench.method.rewards import REWARDS, Answer
from ilr_bench.storage.files import cache_folder

PROMPT = (
    "Question:\n{question}\n\nReference answer: {gold}\n\nStudent's answer:\n{answer}\n\nHow good is the student's "
    "answer, from 0 (useless) to 1 (right, and its reasoning sound)? Reply with the number alone."
)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Judge:
    """What a model says an answer is worth, between 0 and `best`."""

    address: str
    """Such as `http://localhost:8000/v1`; `/chat/completions` is added."""
    model: str
    """As the server calls it."""
    prompt: str = PROMPT
    """With `{question}`, `{gold}` and `{answer}`; asks for a number."""
    best: Annotated[float, Gt(0)] = 1.0
    """The largest number that the prompt asks for; rewards are numbers divided by it, from 0 to 1."""
    key_variable: str = "OPENAI_API_KEY"
    """Environment variable that holds the server's key, where it wants one."""
    timeout: Annotated[float, Gt(0)] = 60.0
    """Seconds that one request may take."""
    retries: Annotated[int, Ge(0)] = 4
    """Further tries of a request, after 1, 2, 4, ... seconds."""
    at_once: Annotated[int, Ge(1)] = 8
    """Requests in flight."""
    max_tokens: Annotated[int, Ge(1)] = 256
    """Longest reply."""

    def __call__(self, answers: Sequence[Answer]) -> list[float]:
        """A reward for each answer; 0 where the reply holds no number, which is logged.

        Raises MissingInputError where the server cannot be reached or refuses, StoreError for a damaged cache.
        """
        prompts = [self._prompt(answer) for answer in answers]
        keys = [content_hash([self.address, self.model, self.max_tokens, prompt]) for prompt in prompts]
        asked = dict(zip(keys, prompts, strict=True))
        known = _known(keys)
        new = {key: prompt for key, prompt in asked.items() if key not in known}
        with ThreadPoolExecutor(self.at_once) as pool:
            futures = {key: pool.submit(self._ask, prompt) for key, prompt in new.items()}
            try:
                for key, future in futures.items():
                    known[key] = future.result()
            finally:
                for future in futures.values():
                    future.cancel()
                _keep({key: known[key] for key in new if key in known})
        return [self._reward(known[key]) for key in keys]

    def _prompt(self, answer: Answer) -> str:
        filled = {"question": answer.question.text, "gold": answer.question.answer, "answer": answer.text}
        # Not by format(): questions and prompts hold braces of their own.
        return re.sub(r"\{(question|gold|answer)\}", lambda found: filled[found[1]], self.prompt)

    def _reward(self, reply: str) -> float:
        numbers = _NUMBER.findall(reply)
        if not numbers:
            _log.warning("the judge %s gave no number and the answer earns 0: %r", self.model, reply[:80])
            return 0.0
        return min(1.0, max(0.0, float(numbers[-1]) / self.best))

    def _ask(self, prompt: str) -> str:
        for further in range(self.retries, -1, -1):
            try:
                return self._request(prompt)
            except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
                if not further or _is_refusal(error):
                    raise MissingInputError(
                        f"reward.kind: the judge at {self.address} does not answer ({_why(error)}); start it or mend "
                        "reward.options.address, then run the same command again: the trial continues"
                    ) from error
                time.sleep(2.0 ** (self.retries - further))
        raise AssertionError("every try returns or raises")

    def _request(self, prompt: str) -> str:
        body = {"model": self.model, "messages": [{"role": "user", "content": prompt}], "temperature": 0}
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(self.key_variable):
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(
            f"{self.address.rstrip('/')}/chat/completions",
            json.dumps(body | {"max_tokens": self.max_tokens}).encode(),
            headers,
        )
        with urllib.request.urlopen(request, timeout=self.timeout) as response:
            return self._content(response.read())

    def _content(self, data: bytes) -> str:
        try:
            return str(json.loads(data)["choices"][0]["message"]["content"] or "")
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise MissingInputError(
                f"reward.kind: {self.address} is no address of chat completions: it replied {data[:80]!r}; it ends in "
                "/v1 as a rule"
            ) from error


def _is_refusal(error: Exception) -> bool:
    """Whether asking again would be no use."""
    return isinstance(error, urllib.error.HTTPError) and error.code < 500 and error.code not in (408, 429)


def _why(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        told = error.read(200).decode("utf-8", "replace").strip().split("\n")[0]
        return f"HTTP status {error.code}{f': {told}' if told else ''}"
    return first_line(error.reason if isinstance(error, urllib.error.URLError) else error)


def _database() -> tuple[Path, sqlite3.Connection]:
    path = cache_folder() / "judgements.sqlite"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=60)
        connection.execute("CREATE TABLE IF NOT EXISTS judgements (key TEXT PRIMARY KEY, reply TEXT NOT NULL)")
    except (OSError, sqlite3.Error) as error:
        raise _damaged(path, error) from error
    return path, connection


def _known(keys: Iterable[str]) -> dict[str, str]:
    path, connection = _database()
    found: dict[str, str] = {}
    with closing(connection):
        for key in dict.fromkeys(keys):
            try:
                row = connection.execute("SELECT reply FROM judgements WHERE key = ?", (key,)).fetchone()
            except sqlite3.Error as error:
                raise _damaged(path, error) from error
            if row is not None:
                found[key] = row[0]
    return found


def _keep(replies: Mapping[str, str]) -> None:
    path, connection = _database()
    rows: list[tuple[Any, ...]] = list(replies.items())
    with closing(connection):
        try:
            with connection:
                connection.executemany("INSERT OR IGNORE INTO judgements VALUES (?, ?)", rows)
        except sqlite3.Error as error:
            raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> IlrError:
    return StoreError(f"{path} cannot be used ({first_line(error)}); delete it: judgements are asked for again")


REWARDS.register("judge", Judge)
