"""Whole trials through servers: two different models, stopped and continued, lost states, and the notes they leave."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_tinker import FakeServer, FakeService
from tiny_models import tiny_model
from tiny_trials import SETTINGS, tiny_checkpoints

from ilr_bench.core.errors import ConfigurationError, ServiceError, StoreError
from ilr_bench.evaluation.standalone import StandaloneRun, evaluate_model
from ilr_bench.learner import served
from ilr_bench.models import tinker_adapter
from ilr_bench.models.tinker import Address
from ilr_bench.storage.records import SampleRecord, StepRecord, read
from ilr_bench.storage.store import Artifacts
from ilr_bench.study.plan import Plan, plan_study
from ilr_bench.study.trained import find_trained, load_agent
from ilr_bench.study.trial import run_trial

TRAINED = SETTINGS | {"sampling.engine": "tinker", "update.lora_rank": "4", "training.checkpoint_every": "1"}


@pytest.fixture
def servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, FakeServer]]:
    """One for each agent, which sum differently; every connection is closed in the end."""
    monkeypatch.setenv("ILR_BENCH_TINKER_URL", "first=http://127.0.0.1:1,second=http://127.0.0.1:2")
    names = tiny_checkpoints(tmp_path)
    found = {
        "http://127.0.0.1:1": FakeServer(tiny_model(seed=1), names[0], "sum"),
        "http://127.0.0.1:2": FakeServer(tiny_model("qwen2", seed=2), names[1], "sequence_mean"),
    }
    services: list[FakeService] = []

    def connect(address: Address) -> FakeService:
        services.append(FakeService(found[address.url]))
        return services[-1]

    def fetched(request: Any, what: str) -> bytes:
        return next(found[url].archives[place] for url, _, place in [request.full_url.partition("/api/v1/")])

    monkeypatch.setattr(served, "connect", connect)
    monkeypatch.setattr(tinker_adapter, "_fetched", fetched)
    yield found
    assert all(service.closed for service in services)


def plan_of(tmp_path: Path, **changes: str) -> Plan:
    models = tuple(str(tmp_path / name) for name in ("first", "second"))
    settings = TRAINED | {key.replace("__", "."): value for key, value in changes.items()}
    return plan_study("micro", ("ilr",), [models], [0], {key: (value,) for key, value in settings.items()})


def run(plan: Plan, out: Path, until: int | None = None) -> Path:
    (trial,) = plan.trials
    folder = out / trial.folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    run_trial(trial.config, trial.hash, folder, Artifacts(out / "artifacts"), until=until)
    return folder


def test_two_models_on_two_servers_learn_and_answer_alone(
    tmp_path: Path, servers: dict[str, FakeServer], capsys: pytest.CaptureFixture[str]
) -> None:
    plan = plan_of(tmp_path)
    assert "servers train LoRA adapters, so update.adapter=lora" in capsys.readouterr().err
    whole = run(plan, tmp_path / "whole")
    steps = list(read(whole / "train.jsonl", StepRecord))
    assert [(one.step, one.agent) for one in steps] == [(1, "first"), (1, "second"), (2, "first"), (2, "second")]
    assert all(one.gradient_norm is not None for one in steps)
    for agent in ("first", "second"):
        answers = [list(read(path, SampleRecord)) for path in (whole / "eval" / agent).glob("*.jsonl")]
        assert answers
        assert all(len(one) == 2 for one in answers)
    noted = json.loads((whole / "servers.json").read_text())
    assert {agent: (one["server"], one["rank"]) for agent, one in noted.items()} == {
        "first": ("local", 4), "second": ("local", 4),
    }  # fmt: skip
    stopped = run(plan, tmp_path / "parts", until=1)
    run(plan, tmp_path / "parts")
    found = [
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.jsonl")} for folder in (whole, stopped)
    ]
    for one in found:
        del one[Path("timing.jsonl")]
    assert found[0] == found[1]
    assert all("create" in server.requests and "load_state" in server.requests for server in servers.values())


def test_a_trained_adapter_comes_home_and_computes_what_the_server_computed(
    tmp_path: Path, servers: dict[str, FakeServer]
) -> None:
    folder = run(plan_of(tmp_path), tmp_path / "out")
    trial = find_trained(folder)
    assert trial.checkpoint is not None
    noted = json.loads((trial.checkpoint / "second/tinker.json").read_text())
    kept, _ = servers["http://127.0.0.1:2"].states[noted["path"]]
    trained = [weight for weight in load_agent(trial, "second").model.parameters() if weight.requires_grad]
    for mine, theirs in zip(trained, kept, strict=True):
        assert torch.allclose(mine, theirs, atol=1e-7)
    servers["http://127.0.0.1:2"].archives.clear()
    with pytest.raises(StoreError, match="kept by a server"):
        load_agent(find_trained(run(plan_of(tmp_path), tmp_path / "early", until=1)), "second")


def test_a_state_that_the_server_lost_is_said_in_one_line(tmp_path: Path, servers: dict[str, FakeServer]) -> None:
    plan = plan_of(tmp_path)
    folder = run(plan, tmp_path / "out", until=1)
    kept = (folder / "train.jsonl").read_bytes()
    for server in servers.values():
        server.states.clear()
    with pytest.raises(ServiceError, match=r"agent first at http://127.0.0.1:1: checkpoint .*delete the trial"):
        run(plan, tmp_path / "out")
    assert (folder / "train.jsonl").read_bytes() == kept


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("update.adapter", "full", "update.adapter: servers train LoRA adapters only"),
        ("sampling.temperature", "0.7", "sampling.temperature: servers give log-probabilities at temperature 1"),
        ("warm_start.steps", "3", "warm_start.steps: changes all weights"),
    ],
)
def test_what_a_server_cannot_do_is_refused_before_it_is_asked(
    tmp_path: Path, setting: str, value: str, said: str
) -> None:
    tiny_checkpoints(tmp_path)
    with pytest.raises(ConfigurationError, match=said):
        plan_of(tmp_path, **{setting.replace(".", "__"): value})


def test_a_critic_is_refused(tmp_path: Path) -> None:
    models = tiny_checkpoints(tmp_path)
    with pytest.raises(ConfigurationError, match=r"critic\.kind: a server gives no hidden states"):
        plan_study("micro", ("ppo",), [models], [0], {"sampling.engine": ("tinker",)})


def test_sequences_beyond_a_servers_context_are_refused_before_the_first_step(
    tmp_path: Path, servers: dict[str, FakeServer]
) -> None:
    servers["http://127.0.0.1:2"].context = 300
    with pytest.raises(ConfigurationError, match=r"agent second at http://127.0.0.1:2: prompts of up to 448 tokens"):
        run(plan_of(tmp_path), tmp_path / "out")
    assert all("create" not in server.requests for server in servers.values())


def test_a_base_model_is_evaluated_by_its_server(tmp_path: Path, servers: dict[str, FakeServer]) -> None:
    accuracy = evaluate_model(
        StandaloneRun(
            model=str(tmp_path / "first"), benchmarks=("sums",), out=tmp_path / "alone", limit=3, profile="small",
            engine="tinker", max_new_tokens=8,
        )
    )  # fmt: skip
    assert accuracy == {"sums": 0.0}
    assert len(list(read(tmp_path / "alone/sums.jsonl", SampleRecord))) == 3
    assert set(servers["http://127.0.0.1:1"].requests) == {"base", "sample"}


def test_a_server_with_another_model_is_refused_by_name(tmp_path: Path, servers: dict[str, FakeServer]) -> None:
    plan = plan_of(tmp_path)
    servers["http://127.0.0.1:2"].name = "somebody/else"
    with pytest.raises(ConfigurationError, match=r"http://127.0.0.1:2 does not serve .*second .*, but somebody/else"):
        run(plan, tmp_path / "out")
