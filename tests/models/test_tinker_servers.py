"""Where models are served: addresses, keys, what a server says that it serves, and errors in one line."""

from __future__ import annotations

import socket
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from fake_tinker import FakeServer, FakeService, Now
from tiny_models import tiny_model

from ilr_bench.core.config import RunConfig
from ilr_bench.core.errors import ConfigurationError, LostServiceError, MissingInputError, ServiceError
from ilr_bench.core.plugins import model_source
from ilr_bench.learner.served import find_reduction
from ilr_bench.models import tinker as served
from ilr_bench.models.tinker import Address, TinkerPolicy, address_of, check_rank, check_served, connect, settled

URL = "ILR_BENCH_TINKER_URL"


def test_one_address_for_all_or_one_for_each() -> None:
    given = {URL: "http://127.0.0.1:8000,qwen=http://localhost:8102"}
    assert address_of("llama", given) == Address("http://127.0.0.1:8000")
    assert address_of("qwen", given) == Address("http://localhost:8102")
    assert address_of("llama", {}) == Address()
    assert str(Address()) == "the hosted service"


@pytest.mark.parametrize(
    "url", ["http://10.0.0.7:8000", "http://gpu.example.org", "http://0.0.0.0:1", "http://127.0.0.1.evil.org"]
)
def test_clear_text_leaves_this_machine_only_where_insisted(url: str) -> None:
    with pytest.raises(ConfigurationError, match="clear text"):
        address_of("A", {URL: url})
    assert address_of("A", {URL: url, "ILR_BENCH_TINKER_INSECURE": "1"}).url == url
    assert not Address(url).is_local


@pytest.mark.parametrize(
    "url", ["http://127.9.9.9:1", "http://[::1]:8000", "http://localhost", "https://gpu.example.org"]
)
def test_loopback_and_https_need_no_insisting(url: str) -> None:
    assert address_of("A", {URL: url}).url == url


@pytest.mark.parametrize(
    ("url", "said"), [("localhost:8000", "no address"), ("ftp://a", "no address"), ("http://", "no address")]
)
def test_what_is_no_address_is_refused(url: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        address_of("A", {URL: url})


def test_a_key_in_an_address_is_refused_without_being_shown() -> None:
    with pytest.raises(ConfigurationError, match="does not belong into an address") as caught:
        address_of("A", {URL: "https://me:tml-secret@gpu.example.org"})
    assert "secret" not in str(caught.value)


def test_servers_elsewhere_need_a_key() -> None:
    with pytest.raises(MissingInputError, match="set TINKER_API_KEY in the environment"):
        connect(Address("https://gpu.example.org"), {})


def test_a_port_where_nothing_listens_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(served, "sleep", waited.append)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(
        LostServiceError, match=f"no server answers at http://127.0.0.1:{port} .*refused.*the same command"
    ):
        connect(Address(f"http://127.0.0.1:{port}"), {})
    assert waited == [2.0, 2.0]


def test_a_server_that_closes_half_way_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "sleep", lambda seconds: None)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def close_each() -> None:
            for _ in range(3):
                client, _ = listener.accept()
                client.recv(65536)
                client.sendall(b"HTTP/1.1 2")
                client.close()

        thread = threading.Thread(target=close_each)
        thread.start()
        with pytest.raises(LostServiceError, match="no server answers at"):
            served.check_reached(Address(f"http://127.0.0.1:{listener.getsockname()[1]}"))
        thread.join()


class UnprocessableError(Exception):
    """As the SDK's errors, by name."""


AuthenticationError = type("AuthenticationError", (Exception,), {})
NotFoundError = type("NotFoundError", (Exception,), {})
APIConnectionError = type("APIConnectionError", (Exception,), {})
BillingError = type("BillingError", (Exception,), {})


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (
            AuthenticationError("bad tml-secret"),
            ServiceError,
            r"x: the server refuses the key in TINKER_API_KEY \(bad \*\*\*\)",
        ),
        (NotFoundError("model gone"), LostServiceError, "x: the server or what it held is gone"),
        (APIConnectionError("no route"), LostServiceError, "the same command goes on from the last checkpoint"),
        (BillingError("no money"), ServiceError, "x: the service asks for payment"),
        (UnprocessableError("422\nlong\ntext"), ServiceError, r"x: refused \(UnprocessableError: 422\)$"),
    ],
)
def test_errors_are_one_line_without_the_key(
    error: Exception, kind: type[Exception], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINKER_API_KEY", "tml-secret")
    with pytest.raises(ServiceError, match=said) as caught:
        settled(Now(error), "x")
    assert type(caught.value) is kind
    assert "tml-secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_silent_server_counts_as_gone_and_heartbeats_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    beats: list[int] = []
    monkeypatch.setattr(served, "send_heartbeat", lambda: beats.append(1))
    silent = SimpleNamespace(result=lambda timeout: (_ for _ in ()).throw(TimeoutError()))
    clock = iter(range(0, 100, 7))
    monkeypatch.setattr(served, "monotonic", lambda: next(clock))
    with pytest.raises(LostServiceError, match="x: no answer for 20 s"):
        settled(silent, "x", patience=20.0)
    assert len(beats) == 3


def test_a_server_that_serves_something_else_is_refused_by_name() -> None:
    address = Address("http://localhost:1")
    assert check_served("owner/model", {"owner/model": 100}, "llama", address, lambda name: False) == "owner/model"
    assert (
        check_served("folder", {"/models/one": 100}, "llama", address, lambda name: name == "/models/one")
        == "/models/one"
    )
    many = {f"other/{number}": None for number in range(7)}
    with pytest.raises(ConfigurationError, match=r"serve owner/model, but other/0, .*other/4 and 2 more; give"):
        check_served("owner/model", many, "llama", address, lambda name: False)
    with pytest.raises(
        ConfigurationError, match=r"\(qwen2 models were never tried through this interface\), but no model"
    ):
        check_served("owner/model", {}, "qwen2", address, lambda name: False)


def test_ranks_that_servers_refuse_are_refused_before_they_are_asked() -> None:
    check_rank(32)
    with pytest.raises(ConfigurationError, match=r"update\.lora_rank: servers take at most 32, not 64"):
        check_rank(64)


@pytest.mark.parametrize("reduction", ["sum", "sequence_mean"])
def test_how_a_server_sums_is_found_out_without_changing_the_agent(reduction: str) -> None:
    server = FakeServer(tiny_model(scale=0.1), reduction=reduction)
    policy = TinkerPolicy("A", "base", FakeService(server), Address("http://localhost:1"), 512, 4, 0)
    assert find_reduction(policy, {}) == reduction
    assert policy.trainer is None


def test_where_no_norm_is_stated_the_user_says_how_it_sums() -> None:
    def silent(kind: str, answer: Any) -> Any:
        return SimpleNamespace(metrics={}) if kind == "optim_step" else answer

    server = FakeServer(tiny_model(scale=0.1), distort=silent)
    policy = TinkerPolicy("A", "base", FakeService(server), Address("http://localhost:1"), 512, 4, 0)
    with pytest.raises(ServiceError, match="say it: --tinker-reduction"):
        find_reduction(policy, {})
    assert find_reduction(policy, {"ILR_BENCH_TINKER_REDUCTION": "sum"}) == "sum"
    with pytest.raises(ConfigurationError, match="--tinker-reduction mean: sum or sequence_mean"):
        find_reduction(policy, {"ILR_BENCH_TINKER_REDUCTION": "mean"})


def test_agents_may_be_named_beside_their_models() -> None:
    config = RunConfig("p", "v", ("llama=meta-llama/Llama-3.1-8B", "Qwen/Qwen3-8B", "x=/a/b"), ())
    assert config.agents == ("llama", "Qwen3-8B", "x")
    assert list(map(model_source, config.models)) == ["meta-llama/Llama-3.1-8B", "Qwen/Qwen3-8B", "/a/b"]
