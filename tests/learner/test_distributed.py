"""One trial on several processes: whole questions each, one process's weights and records, and no silent end."""

from __future__ import annotations

import inspect
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import DistributedType
from accelerate.utils.launch import prepare_multi_gpu_env
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from shared_trials import SCENES, launch, play
from tiny_models import PAD, tiny_model
from tiny_trials import tiny_checkpoints

from ilr_bench.cli.train import train
from ilr_bench.core import signals
from ilr_bench.core.config import SamplingSettings
from ilr_bench.core.errors import ConfigurationError
from ilr_bench.core.signals import send_heartbeat
from ilr_bench.generation.engine import SamplingOptions, SamplingRequest
from ilr_bench.generation.hf_engine import TransformersEngine
from ilr_bench.learner.distributed import SINGLE, TIMEOUT, DistContext, _Call, dist_from_environment, owners
from ilr_bench.method.idea3 import StepBatch
from ilr_bench.tasks.types import Question

CONFIGURATIONS = Path(__file__).parents[2] / "configs" / "accelerate"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    return tiny_checkpoints(tmp_path_factory.mktemp("models"))


def together(
    models: tuple[str, ...], out: Path, *scenes: str, environment: Mapping[str, str] | None = None
) -> list[str]:
    """What two processes said that played scenes to their ends."""
    ends = [process.end() for process in launch(models, out, scenes, environment=environment or {})]
    assert [status for status, _ in ends] == [0, 0], "\n".join(output for _, output in ends)
    return [output for _, output in ends]


def shards() -> dict[str, str]:
    """What accelerate sets for processes that it launches by fsdp.yaml."""
    arguments = launch_command_parser().parse_args(["--config_file", str(CONFIGURATIONS / "fsdp.yaml"), "train.py"])
    validated, _, _ = _validate_launch_command(arguments)
    found = prepare_multi_gpu_env(validated)
    return {name: value for name, value in found.items() if name.startswith(("FSDP_", "ACCELERATE_USE_"))}


def kept(output: str) -> list[tuple[str, int, int]]:
    """After each update: the agent, the moments that the process keeps, the agent's weights."""
    found = re.findall(r"^(\S+) keeps (\d+) for (\d+)$", output, re.MULTILINE)
    return [(agent, int(moments), int(weights)) for agent, moments, weights in found]


def optimizers(trial: Path) -> list[dict[str, Any]]:
    """By agent, what the last checkpoint of a trial holds beside weights."""
    last = max((trial / "checkpoints").iterdir())
    return [torch.load(path, weights_only=True) for path in sorted(last.rglob("optimizer.pt"))]


def compare(one: Path, two: Path) -> None:
    """Same samples, records equal up to rounding, weights to 1e-5; something was learned."""
    assert (one / "dialogues.jsonl").read_bytes() == (two / "dialogues.jsonl").read_bytes()
    alone, shared = (
        [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()] for folder in (one, two)
    )
    assert sum(record["gradient_norm"] for record in alone) > 0.1
    for first, second in zip(alone, shared, strict=True):
        for name, value in first.items():
            expected = pytest.approx(value, rel=1e-4, abs=1e-6) if isinstance(value, float) else value
            assert second[name] == expected, name
    weights = sorted(path.relative_to(one) for path in (one / "checkpoints").rglob("*.safetensors"))
    assert len({path.parent.name for path in weights}) == 2
    for path in weights:
        before, after = load_file(one / path), load_file(two / path)
        for name, tensor in before.items():
            torch.testing.assert_close(after[name], tensor, rtol=0, atol=1e-5)
    kept = [{str(path.relative_to(folder)) for path in folder.rglob("*")} for folder in (one, two)]
    assert kept[0] == kept[1]


# Shares ---------------------------------------------------------------------------------------------------------------


@given(st.integers(0, 200), st.integers(1, 40))
def test_every_question_has_one_process_and_nobody_takes_two_more_than_another(count: int, size: int) -> None:
    shares = [DistContext(rank, size).own_range(count) for rank in range(size)]
    assert [index for share in shares for index in share] == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@given(st.integers(1, 12), st.integers(1, 5), st.integers(1, 4))
def test_what_was_said_of_a_question_is_put_back_where_it_stood(count: int, size: int, agents: int) -> None:
    whole = {stage: [[(stage, agent, q) for q in range(count)] for agent in range(agents)] for stage in "ab"}
    parts = [
        {stage: [DistContext(rank, size).own_part(row) for row in rows] for stage, rows in whole.items()}
        for rank in range(size)
    ]

    class Gathered(DistContext):
        def gather(self, own: Any) -> list[Any]:
            return parts

    assert Gathered(0, size).all_gather(parts[0]) == whole


def test_a_table_in_parts_keeps_modes_and_places() -> None:
    questions = [Question(str(index), "", "") for index in range(5)]
    modes = np.array([[True, False, True, True, False]])
    batch = StepBatch([], questions, modes, SamplingSettings(), 0)
    first, second = (batch.slice(DistContext(rank, 2).own_range(5)) for rank in range(2))
    assert [question.id for question in (*first.questions, *second.questions)] == ["0", "1", "2", "3", "4"]
    assert np.array_equal(np.concatenate([first.cooperation, second.cooperation], axis=1), modes)
    assert (first.question_offset, second.question_offset) == (0, 2)


def test_a_list_of_prompts_cut_in_parts_is_sampled_as_the_whole_one() -> None:
    engine = TransformersEngine(tiny_model(scale=0.1), [], PAD, lambda ids: "")
    prompts, options = [[5, 6, 7], [8, 9], [10, 11, 12, 13]], SamplingOptions(6, 1.0)
    whole = engine.sample(SamplingRequest(prompts, [2] * 3, options, seed=4))
    parts = engine.sample(SamplingRequest(prompts[:1], [2], options, 4)) + engine.sample(
        SamplingRequest(prompts[1:], [2, 2], options, 4, first=1)
    )
    assert [[turn.token_ids for turn in group] for group in parts] == [
        [turn.token_ids for turn in group] for group in whole
    ]


def test_a_process_that_was_not_launched_with_others_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert dist_from_environment() is SINGLE
    assert SINGLE.is_main
    assert SINGLE.gather("own") == ["own"]


def test_the_first_works_and_the_others_hear_its_signs_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, met = iter(range(0, 1000, 4)), []
    monkeypatch.setattr("ilr_bench.learner.distributed.time.monotonic", lambda: next(clock))
    monkeypatch.setattr(DistContext, "gather", lambda self, own: met.append(own) or [own])

    def work() -> str:
        for _ in range(10):
            send_heartbeat()  # four seconds each, and a meeting after ten
        return "made"

    assert DistContext(0, 2, timeout=100).rank0_first(work) == "made"
    assert met == ["busy"] * 3 + ["done"]
    send_heartbeat()
    assert len(met) == 4
    output = iter(["busy", "busy", "done"])
    monkeypatch.setattr(DistContext, "gather", lambda self, own: [next(output), own])
    assert DistContext(1, 2).rank0_first(work) == "made"
    assert list(output) == []


def test_work_that_fails_is_not_said_to_be_done(monkeypatch: pytest.MonkeyPatch) -> None:
    met: list[str] = []
    monkeypatch.setattr(DistContext, "gather", lambda self, own: met.append(own) or [own])
    with pytest.raises(KeyError), DistContext(0, 2).rank0_busy():
        raise KeyError
    assert met == []


def test_one_process_hears_its_own_listener(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[int] = []
    monkeypatch.setattr(signals, "_subscriber", lambda: heard.append(1))
    assert SINGLE.rank0_first(send_heartbeat) is None
    assert heard == [1]


def test_the_command_waits_as_long_as_processes_do() -> None:
    assert inspect.signature(train).parameters["patience"].default == TIMEOUT


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ACCELERATE_USE_FSDP": "false", "ACCELERATE_USE_DEEPSPEED": "true"}, "DEEPSPEED was asked for.*gpus.yaml"),
        ({"FSDP_RESHARD_AFTER_FORWARD": "true"}, "shard the weights.*fsdp_reshard_after_forward: false"),
        ({"FSDP_VERSION": "1", "FSDP_SHARDING_STRATEGY": "FULL_SHARD"}, "fsdp_sharding_strategy: SHARD_GRAD_OP"),
        ({"FSDP_VERSION": "1", "FSDP_SHARDING_STRATEGY": "HYBRID_SHARD"}, "fsdp_sharding_strategy: SHARD_GRAD_OP"),
        ({"FSDP_OFFLOAD_PARAMS": "true"}, "fsdp_offload_params.*write false"),
        ({"FSDP_ACTIVATION_CHECKPOINTING": "true"}, "fsdp_activation_checkpointing.*update.gradient_checkpointing"),
        ({"FSDP_CPU_RAM_EFFICIENT_LOADING": "true"}, "fsdp_cpu_ram_efficient_loading.*write false"),
    ],
)
def test_weights_in_shards_and_what_goes_with_them_are_refused(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], said: str
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name, value in (shards() | changes).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=said):
        dist_from_environment()


@pytest.mark.parametrize("changes", [{}, {"FSDP_VERSION": "1", "FSDP_SHARDING_STRATEGY": "SHARD_GRAD_OP"}])
def test_optimizer_states_are_shared_out_and_accelerate_wraps_nothing(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name, value in (shards() | changes).items():
        monkeypatch.setenv(name, value)
    index = SimpleNamespace(process_index=1, num_processes=2, device="cpu")
    monkeypatch.setattr("accelerate.PartialState", lambda **given: index)
    dist = dist_from_environment()
    assert (dist.rank, dist.size, dist.shards) == (1, 2, True)
    assert os.environ["ACCELERATE_USE_FSDP"] == "false"


@given(st.lists(st.integers(1, 100), min_size=1, max_size=40), st.integers(1, 8))
def test_no_process_keeps_more_than_the_largest_weight_above_its_share(sizes: list[int], processes: int) -> None:
    taken = owners(sizes, processes)
    loads = [sum(size for size, owner in zip(sizes, taken, strict=True) if owner == rank) for rank in range(processes)]
    assert sum(loads) == sum(sizes)
    assert max(loads) <= sum(sizes) / processes + max(sizes)


def test_the_others_answer_a_call_where_they_meet_next(monkeypatch: pytest.MonkeyPatch) -> None:
    owner = Mock()
    heard = iter([[_Call("A"), "own"], ["first", "own"]])
    monkeypatch.setattr("ilr_bench.learner.distributed._exchange", lambda own, size: next(heard))
    dist = DistContext(1, 2, shards=True)
    dist.responders["A"] = owner
    assert dist.gather("own") == ["first", "own"]
    owner.respond.assert_called_once_with()
    assert list(heard) == []


@pytest.mark.parametrize(
    ("name", "kind"),
    [("cpu2", DistributedType.MULTI_GPU), ("gpus", DistributedType.MULTI_GPU), ("fsdp", DistributedType.FSDP)],
)
def test_accelerate_reads_the_configuration_files(name: str, kind: DistributedType) -> None:
    found = load_config_from_file(str(CONFIGURATIONS / f"{name}.yaml"))
    assert found.distributed_type == kind
    assert found.use_cpu == (name == "cpu2")
    assert found.num_processes > 1
    arguments = launch_command_parser().parse_args(["--config_file", str(CONFIGURATIONS / f"{name}.yaml"), "train.py"])
    validated, _, _ = _validate_launch_command(arguments)
    assert validated.mixed_precision == "no"
    assert validated.multi_gpu == (kind == DistributedType.MULTI_GPU)
    assert validated.use_fsdp == (kind == DistributedType.FSDP)


# Two processes --------------------------------------------------------------------------------------------------------


def test_two_processes_give_the_weights_and_records_of_one(models: tuple[str, ...], tmp_path: Path) -> None:
    together(models, tmp_path / "two", "full")
    play("full", models, tmp_path / "one")
    compare(tmp_path / "one" / "full", tmp_path / "two" / "full")


@pytest.mark.parametrize(
    "scene", ["full", *(pytest.param(name, marks=pytest.mark.slow) for name in ("lora", "critic"))]
)
def test_shares_of_the_optimizer_states_give_the_bits_of_whole_ones(
    models: tuple[str, ...], tmp_path: Path, scene: str
) -> None:
    whole = [kept(output) for output in together(models, tmp_path / "whole", scene)]
    shared = [kept(output) for output in together(models, tmp_path / "shared", scene, environment=shards())]
    for seen in zip(*shared, strict=True):
        agents, moments, (weights, _) = zip(*seen, strict=True)
        assert len(set(agents)) == 1
        assert sum(moments) == 2 * weights
        assert max(moments) < 1.2 * weights
    assert whole[0] == whole[1] == [(agent, 2 * weights, weights) for agent, _, weights in shared[0]]
    one, two = tmp_path / "whole" / scene, tmp_path / "shared" / scene
    compare(one, two)
    for path in (one / "checkpoints").rglob("*.safetensors"):
        assert path.read_bytes() == (two / path.relative_to(one)).read_bytes()
    for before, after in zip(optimizers(one), optimizers(two), strict=True):
        assert before.keys() == after.keys()
        assert before["optimizer"]["param_groups"] == after["optimizer"]["param_groups"]
        torch.testing.assert_close(after["optimizer"]["state"], before["optimizer"]["state"], rtol=0, atol=0)


@pytest.mark.slow
def test_a_trial_goes_from_shared_states_to_one_process_and_back(models: tuple[str, ...], tmp_path: Path) -> None:
    # Asked to stop in the first step: all stop after it, and the first one saves before anybody leaves.
    asked = launch(models, tmp_path / "two", ["full"], (1, 2), "is asked to stop", environment=shards())
    assert ["stopped by SIGTERM after step 1 of full" in process.end()[1] for process in asked] == [True, True]
    play("full", models, tmp_path / "two", until=2)
    assert max((tmp_path / "two" / "full" / "checkpoints").iterdir()).name == "step-00000002"
    together(models, tmp_path / "two", "full", environment=shards())
    play("full", models, tmp_path / "one")
    compare(tmp_path / "one" / "full", tmp_path / "two" / "full")


@pytest.mark.slow
def test_so_they_do_with_adapters_critics_pooled_ideas_and_a_process_without_questions(
    models: tuple[str, ...], tmp_path: Path
) -> None:
    scenes = [scene for scene in SCENES if scene != "full"]
    together(models, tmp_path / "two", *scenes)
    for scene in scenes:
        play(scene, models, tmp_path / "one")
        compare(tmp_path / "one" / scene, tmp_path / "two" / scene)


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_the_death_of_a_process_ends_the_other_with_a_clear_error_and_the_trial_goes_on(
    models: tuple[str, ...], tmp_path: Path, victim: int
) -> None:
    # Two agents: the third update is that of the second step.
    ends = [process.end() for process in launch(models, tmp_path / "two", ["full"], (victim, 3))]
    assert ends[victim][0] == -9
    status, output = ends[1 - victim]
    assert status == 1
    assert "another process of this trial has ended or does not answer" in output
    assert [path.name for path in (tmp_path / "two" / "full" / "checkpoints").iterdir()] == ["step-00000001"]
    together(models, tmp_path / "two", "full")
    play("full", models, tmp_path / "one")
    compare(tmp_path / "one" / "full", tmp_path / "two" / "full")


@pytest.mark.slow
def test_a_process_that_hangs_is_given_up_and_the_trial_goes_on(models: tuple[str, ...], tmp_path: Path) -> None:
    waiting, hanging = launch(models, tmp_path / "two", ["full"], (1, 3), "hangs", patience=120)
    status, output = waiting.end()
    assert status == 1
    assert "another process of this trial has ended or does not answer" in output
    assert "--patience" in output
    hanging.kill()
    together(models, tmp_path / "two", "full")
    play("full", models, tmp_path / "one")
    compare(tmp_path / "one" / "full", tmp_path / "two" / "full")


@pytest.mark.slow
def test_work_that_takes_longer_than_the_patience_is_waited_for(models: tuple[str, ...], tmp_path: Path) -> None:
    ends = [process.end() for process in launch(models, tmp_path, ["work of 100 seconds"], patience=40)]
    assert [status for status, _ in ends] == [0, 0], "\n".join(output for _, output in ends)
