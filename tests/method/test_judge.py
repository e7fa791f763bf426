"""A judge model as the reward, asked from a server on this machine."""

from __future__ import annotations

import http.client
import json
import logging
import sqlite3
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tiny_trials import contents, tiny_checkpoints, tiny_plan

from ilr_bench.core.errors import ConfigurationError, MissingInputError, StoreError
from ilr_bench.method import judge as module
from ilr_bench.method.judge import PROMPT, Judge
from ilr_bench.method.rewards import Answer
from ilr_bench.storage.records import StepRecord, Verdict, read
from ilr_bench.storage.store import Artifacts
from ilr_bench.study.trial import run_trial
from ilr_bench.tasks.types import Question


class Server:
    """Speaks chat completions; `replies` are used up in turn, then every answer is worth its number of letters."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.replies: list[tuple[int, bytes]] = []
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                stub.asked.append(body | {"path": self.path})
                stub.headers.append(dict(self.headers))
                status, data = stub.replies.pop(0) if stub.replies else (200, worth(body))
                self.send_response(status)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/v1"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def said(text: str) -> bytes:
    return json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]}).encode()


def worth(body: dict[str, Any]) -> bytes:
    return said(f"Score: {len(body['messages'][0]['content']) % 11}")


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """With a cache folder of its own."""
    monkeypatch.setenv("ILR_BENCH_CACHE", str(tmp_path / "made" / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("ilr_bench.method.judge.time.sleep", lambda seconds: None)
    stub = Server()
    yield stub
    stub.close()


def answer(text: str, question: str = "1+1 {answer}") -> Answer:
    return Answer(Question("q", question, "2"), text, 3, True, Verdict.WRONG)


def test_an_answer_earns_the_last_number_of_the_reply_within_0_and_1(server: Server) -> None:
    server.replies = [(200, said(text)) for text in ("7", "of 10: 3.5", "12", "-4", "none")]
    judge = Judge(server.address, "j", best=10, at_once=1)
    assert judge([answer(text) for text in "abcde"]) == [0.7, 0.35, 1.0, 0.0, 0.0]
    assert {(body["path"], body["model"], body["temperature"]) for body in server.asked} == {
        ("/v1/chat/completions", "j", 0)
    }


def test_the_prompt_names_question_gold_and_answer_whatever_braces_they_hold(server: Server) -> None:
    Judge(server.address, "j", prompt="{question}|{gold}|{answer}|{x}")([answer("{gold}")])
    assert server.asked[0]["messages"] == [{"role": "user", "content": "1+1 {answer}|2|{gold}|{x}"}]


def test_a_key_comes_from_the_environment_alone(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("MY_KEY", "of-a-test")
    Judge(server.address, "j")([answer("a")])
    Judge(server.address, "j", key_variable="MY_KEY")([answer("b")])
    assert [headers.get("Authorization") for headers in server.headers] == [None, "Bearer of-a-test"]


def test_nothing_is_asked_twice_and_another_model_is_asked_anew(server: Server) -> None:
    judge = Judge(server.address, "j", best=10)
    first = judge([answer("a"), answer("bb"), answer("a")])
    assert len(server.asked) == 2
    assert first[0] == first[2] != first[1]
    assert Judge(server.address, "j", best=10, retries=0)([answer("bb"), answer("a")]) == [first[1], first[0]]
    assert len(server.asked) == 2
    Judge(server.address, "other", best=10)([answer("a")])
    assert len(server.asked) == 3


def test_a_busy_server_is_asked_again_and_a_refusal_is_not(server: Server) -> None:
    server.replies = [(503, b"busy"), (429, b"slower"), (200, said("1"))]
    assert Judge(server.address, "j", retries=2)([answer("a")]) == [1.0]
    server.replies = [(404, b"no such model j\nsee the list")]
    with pytest.raises(MissingInputError, match=r"does not answer \(HTTP status 404: no such model j\); start it or"):
        Judge(server.address, "j")([answer("b")])
    assert len(server.asked) == 4


def test_what_was_said_before_a_failure_is_kept(server: Server) -> None:
    server.replies = [(200, said("1")), (400, b"")]
    judge = Judge(server.address, "j", retries=0, at_once=1)
    with pytest.raises(MissingInputError, match=r"HTTP status 400\)"):
        judge([answer("a"), answer("b")])
    assert judge([answer("a"), answer("b")])[0] == 1.0
    assert [body["messages"][0]["content"].count("answer:\na") for body in server.asked] == [1, 0, 0]


def test_a_server_that_is_down_or_of_another_kind_is_one_line(server: Server) -> None:
    server.replies = [(200, b"<html>")]
    with pytest.raises(MissingInputError, match="is no address of chat completions: it replied b'<html>'"):
        Judge(server.address, "j")([answer("a")])
    server.close()
    with pytest.raises(
        MissingInputError, match=r"judge at http://127.0.0.1:\d+/v1 does not answer \(.*refused"
    ) as raised:
        Judge(server.address, "j", retries=1)([answer("b")])
    assert "\n" not in str(raised.value)


def test_a_damaged_cache_is_named(server: Server, tmp_path: Path) -> None:
    (tmp_path / "made" / "cache").mkdir(parents=True)
    (tmp_path / "made" / "cache" / "judgements.sqlite").write_text("no database " * 100)
    with pytest.raises(StoreError, match=r"judgements\.sqlite cannot be used .*; delete it"):
        Judge(server.address, "j")([answer("a")])


def test_a_trial_earns_what_the_judge_says_and_continues_without_it(server: Server, tmp_path: Path) -> None:
    judge = {"reward.kind": "judge", "reward.options.address": server.address, "reward.options.model": "j"}
    models = tiny_checkpoints(tmp_path)
    with pytest.raises(ConfigurationError, match=r"reward\.options\.model: missing"):
        tiny_plan(models, "ilr", **{key: value for key, value in judge.items() if "model" not in key})
    (planned,) = tiny_plan(models, "ilr", **judge, **{"reward.options.best": "10"}).trials
    for name in ("asked", "kept"):
        artifacts = Artifacts(tmp_path / name / "artifacts")
        run_trial(planned.config, planned.hash, tmp_path / name / "trial", artifacts)
        if name == "asked":
            asked = len(server.asked)
            server.close()
    assert 0 < asked == len(server.asked) <= 2 * 2 * 2 * 2 * 3
    rewards = [record.mean_reward for record in read(tmp_path / "asked" / "trial" / "train.jsonl", StepRecord)]
    assert all(0 <= reward <= 1 for reward in rewards)
    assert len(set(rewards)) > 1
    assert contents(tmp_path / "asked") == contents(tmp_path / "kept")


@pytest.fixture
def slept(server: Server, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that were waited for between tries."""
    waits: list[float] = []
    monkeypatch.setattr("ilr_bench.method.judge.time.sleep", waits.append)
    return waits


def test_a_judge_without_settings() -> None:
    found = Judge("http://x/v1", "j")
    assert (found.best, found.key_variable, found.timeout) == (1.0, "OPENAI_API_KEY", 60.0)
    assert (found.retries, found.at_once, found.max_tokens) == (4, 8, 256)
    assert found._prompt(answer("{gold} 3", "1+1")) == (
        "Question:\n1+1\n\nReference answer: 2\n\nStudent's answer:\n{gold} 3\n\nHow good is the student's "
        "answer, from 0 (useless) to 1 (right, and its reasoning sound)? Reply with the number alone."
    )
    assert found.prompt == PROMPT


def test_a_request_is_one_user_message_at_temperature_0_to_the_address(server: Server) -> None:
    Judge(f"{server.address}/", "j", prompt="{answer}", max_tokens=7)([answer("a")])
    (body,), (headers,) = server.asked, server.headers
    assert body == {
        "model": "j", "messages": [{"role": "user", "content": "a"}], "temperature": 0, "max_tokens": 7,
        "path": "/v1/chat/completions",
    }  # fmt: skip
    assert headers["Content-Type"] == "application/json"


def test_a_request_waits_as_long_as_is_set(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    waits, opened = [], urllib.request.urlopen

    def urlopen(request: Any, timeout: float | None = None) -> Any:
        waits.append(timeout)
        return opened(request, timeout=timeout)

    monkeypatch.setattr("ilr_bench.method.judge.urllib.request.urlopen", urlopen)
    Judge(server.address, "j", timeout=7.5)([answer("a")])
    assert waits == [7.5]


@pytest.mark.parametrize(
    "changed", [{"model": "other"}, {"max_tokens": 255}, {"prompt": "{answer}!"}, {"address": "/"}]
)
def test_a_judgement_is_kept_under_address_model_prompt_and_limit(server: Server, changed: dict[str, Any]) -> None:
    usual: dict[str, Any] = {"address": server.address, "model": "j", "prompt": "{answer}"}
    Judge(**usual)([answer("a")])
    if "address" in changed:
        changed = {"address": f"{server.address}/"}
    Judge(**usual | changed)([answer("a")])
    assert len(server.asked) == 2
    Judge(**usual, best=3, retries=0, timeout=1, at_once=1)([answer("a")])
    assert len(server.asked) == 2


def test_judgements_are_a_table_of_replies_under_unique_keys(server: Server, tmp_path: Path) -> None:
    server.replies = [(200, said("0.5"))]
    Judge(server.address, "j")([answer("a")])
    kept = sqlite3.connect(tmp_path / "made" / "cache" / "judgements.sqlite")
    ((key, reply),) = kept.execute("SELECT key, reply FROM judgements").fetchall()
    assert reply == "0.5"
    module._keep({key: "0.75", "new": "1"})
    assert module._known(["new", "nobody", key, "new"]) == {"new": "1", key: "0.5"}


def test_a_locked_table_is_waited_for_a_minute(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    waits, connect = [], sqlite3.connect

    def recorded(path: Path, timeout: float = 5) -> sqlite3.Connection:
        waits.append(timeout)
        return connect(path, timeout=timeout)

    monkeypatch.setattr("ilr_bench.method.judge.sqlite3.connect", recorded)
    Judge(server.address, "j")([answer("a")])
    assert waits == [60, 60]


def test_a_table_that_breaks_while_it_is_used_is_named(
    server: Server,
    tmp_path: Path,
) -> None:
    (tmp_path / "made" / "cache").mkdir(parents=True)
    with sqlite3.connect(tmp_path / "made" / "cache" / "judgements.sqlite") as other:
        other.execute("CREATE TABLE judgements (key TEXT PRIMARY KEY)")
    for use in (lambda: module._known(["a"]), lambda: module._keep({"a": "b"})):
        with pytest.raises(StoreError, match=r"judgements\.sqlite cannot be used \(.*column"):
            use()


def test_tries_are_further_apart_each_time_and_end(server: Server, slept: list[float]) -> None:
    server.replies = [(500, b"busy")] * 5
    with pytest.raises(MissingInputError, match="HTTP status 500: busy"):
        Judge(server.address, "j")([answer("a")])
    assert len(server.asked) == 5
    assert slept == [1.0, 2.0, 4.0, 8.0]


@pytest.mark.parametrize(("status", "tries"), [(499, 1), (500, 2), (408, 2), (429, 2), (400, 1), (401, 1), (599, 2)])
def test_what_is_asked_again(server: Server, slept: list[float], status: int, tries: int) -> None:
    server.replies = [(status, b"")] * 2
    with pytest.raises(MissingInputError, match=rf"does not answer \(HTTP status {status}\); start"):
        Judge(server.address, "j", retries=1)([answer("a")])
    assert len(server.asked) == tries


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (urllib.error.URLError("no such host\nat all"), "no such host"),
        (urllib.error.URLError(OSError("refused\nby it")), "refused"),
        (http.client.RemoteDisconnected("closed\nhere"), "closed"),
        (TimeoutError("timed out"), "timed out"),
    ],
)
def test_an_address_that_fails_is_told_in_one_line(
    server: Server,
    slept: list[float],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    why: str,
) -> None:
    def urlopen(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr("ilr_bench.method.judge.urllib.request.urlopen", urlopen)
    with pytest.raises(MissingInputError, match=rf"does not answer \({why}") as raised:
        Judge(server.address, "j", retries=1)([answer("a")])
    assert str(raised.value).endswith("the trial continues")
    assert "\n" not in str(raised.value)
    assert len(slept) == 1


def test_a_refusal_is_told_by_its_first_200_bytes_and_their_first_line(server: Server) -> None:
    for told, shown in (
        (b"  first\nsecond", "400: first"),
        (b"x" * 300, f"400: {'x' * 200}"),
        (b"\xff!", "400: \ufffd!"),
    ):
        server.replies = [(400, told)]
        with pytest.raises(MissingInputError, match=rf"\(HTTP status {shown}\); start"):
            Judge(server.address, "j")([answer("a")])


def test_a_reply_without_text_or_number_earns_0_and_is_logged(
    server: Server,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server.replies = [(200, b'{"choices": [{"message": {"content": null}}]}'), (200, said("y" * 100))]
    with caplog.at_level(logging.WARNING):
        assert Judge(server.address, "j", at_once=1)([answer("a"), answer("b")]) == [0.0, 0.0]
    assert [record.getMessage() for record in caplog.records] == [
        f"the judge j gave no number and the answer earns 0: {shown!r}" for shown in ("", "y" * 80)
    ]


def test_a_reply_of_another_form_is_shown_by_its_first_80_bytes(server: Server) -> None:
    for data in (b"<" * 100, b'{"choices": []}', b'{"choices": [{"message": 3}]}', b'{"x": 1}'):
        server.replies = [(200, data)]
        with pytest.raises(MissingInputError) as raised:
            Judge(server.address, "j")([answer("a")])
        assert f"it replied {data[:80]!r}; it ends in /v1" in str(raised.value)


def test_a_reply_takes_its_first_choice_and_a_whole_decimal_number(server: Server) -> None:
    two = b'{"choices": [{"message": {"content": "0.25"}}, {"message": {"content": "1"}}]}'
    server.replies = [(200, two), (200, said("3 of 4: 0.125."))]
    assert Judge(server.address, "j", at_once=1)([answer("a"), answer("b")]) == [0.25, 0.125]


def test_requests_are_in_flight_together_up_to_the_limit(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    limits, pool = [], module.ThreadPoolExecutor

    def recorded(workers: int) -> Any:
        limits.append(workers)
        return pool(workers)

    monkeypatch.setattr(module, "ThreadPoolExecutor", recorded)
    Judge(server.address, "j", at_once=3)([answer(text) for text in "abc"])
    assert limits == [3]


def test_after_a_failure_no_further_request_begins(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []

    def ask(judge: Judge, prompt: str) -> str:
        begun.append(prompt)
        if len(begun) == 1:
            raise MissingInputError("no")
        threading.Event().wait(0.5)
        return "1"

    monkeypatch.setattr(Judge, "_ask", ask)
    with pytest.raises(MissingInputError):
        Judge(server.address, "j", at_once=1)([answer(text) for text in "abcde"])
    assert len(begun) <= 2
