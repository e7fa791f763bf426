"""Agents that do not fit on a device together: who is there when, and that nothing else changes by it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from shared_trials import odd_lengths_win
from tiny_models import tiny_model
from tiny_trials import contents, run_plan, tiny_checkpoints, tiny_plan
from torch import Tensor, nn

from ilr_bench.core.config import UpdateSettings
from ilr_bench.core.profiles import SMALL
from ilr_bench.generation.swapper import DeviceSwapper
from ilr_bench.learner.distributed import DistContext
from ilr_bench.method import rewards
from ilr_bench.models.lora import AdapterModel, attach_lora
from ilr_bench.storage.store import Artifacts
from ilr_bench.study import jobs, trial
from ilr_bench.study.cost import fits
from ilr_bench.study.cost.fits import Resources, placement, placement_on, refusals, take_turns
from ilr_bench.study.cost.forecast import StudyCost, study_cost
from ilr_bench.study.cost.memory import GIB, Memory, shared_groups, trial_memory
from ilr_bench.study.cost.show import lines
from ilr_bench.study.plan import plan_study


class Watched(DeviceSwapper):
    """Sees to it that nothing computes that is not on the device, though both devices are the same here."""

    forwards = 0

    def register(self, model: nn.Module) -> None:
        super().register(model)
        self._watch(model, model)

    def attach(self, model: nn.Module, modules: Sequence[nn.Module], optimizer: Any) -> None:
        super().attach(model, modules, optimizer)
        for module in modules:
            self._watch(module, model)
        optimizer.optimizer.register_step_pre_hook(lambda *_: self._look(model))

    def _watch(self, module: nn.Module, model: nn.Module) -> None:
        if isinstance(module, AdapterModel):
            module = module.base.get_base_model()  # which twins that sample together call by itself
        module.register_forward_pre_hook(lambda *_: self._look(model))

    def _look(self, model: nn.Module) -> None:
        assert self.resident is not None
        assert any(model is one for one in self.resident.modules)
        self.forwards += 1


@pytest.fixture
def lively(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewards, "score", odd_lengths_win)


@pytest.mark.usefixtures("lively")
@pytest.mark.parametrize(
    ("variant", "changes", "comings"),
    [
        # Until the first step is done: two agents for their measurements, each of the stages, and the update.
        ("ilr", {"update__beta": "0.1"}, 2 * (1 + 3 + 1)),
        ("ppo", {"update__iterations": "2"}, 2 * (1 + 1 + 1)),
        # Both twins sit on the only base, which comes once and stays.
        ("twins", {"update__adapter": "lora"}, 1),
    ],
)
def test_a_trial_whose_agents_take_turns_ends_in_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variant: str, changes: dict[str, str], comings: int
) -> None:
    plan = tiny_plan(tiny_checkpoints(tmp_path), variant, **changes)
    run_plan(plan, tmp_path / "together")
    made: list[Watched] = []

    def turns(config: object, ranks: object, asked: object) -> DeviceSwapper:
        made.append(Watched("cpu", "cpu"))
        return made[-1]

    monkeypatch.setattr(trial, "make_swapper", turns)
    (planned,) = plan.trials
    artifacts = Artifacts(tmp_path / "turns" / "artifacts")
    trial.run_trial(planned.config, planned.hash, tmp_path / "turns" / planned.folder, artifacts, until=1)
    run_plan(plan, tmp_path / "turns")  # goes on from there
    folders = [tmp_path / name / planned.folder for name in ("together", "turns")]
    assert contents(folders[0]) == contents(folders[1])
    steps = [json.loads(line) for line in (folders[0] / "train.jsonl").read_text().splitlines()]
    assert any(step["gradient_norm"] > 0 for step in steps)
    assert len(made) == 2
    assert made[0].swaps == 2 * comings - 1  # whoever comes sends another one home, but for the first
    assert sum(one.forwards for one in made) > 100


def tensors(module: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, Tensor]]:
    for name, weight in module.named_parameters():
        yield name, weight
        if weight.grad is not None:
            yield f"{name}.grad", weight.grad
    yield from module.named_buffers()
    for state in optimizer.state.values():
        yield from state.items()


def trained_optimizer(model: Any) -> torch.optim.AdamW:
    """An optimizer with moments; the gradients are still there."""
    optimizer = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad])
    model(input_ids=torch.tensor([[1, 2, 3]])).logits.sum().backward()
    optimizer.step()
    return optimizer


def places(model: nn.Module, optimizer: torch.optim.Optimizer) -> set[str]:
    found = list(tensors(model, optimizer))
    assert {"exp_avg", "exp_avg_sq", "step"} <= {name for name, _ in found}
    assert {value.device.type for name, value in found if name == "step"} == {"cpu"}
    return {value.device.type for name, value in found if name != "step"}


# The device "meta" holds no numbers, so that nothing comes back from it; but what is there can be told from the rest.


def test_who_enters_comes_with_everything_and_alone() -> None:
    models = [tiny_model("llama"), tiny_model("qwen2")]
    beside = nn.Linear(2, 2)
    swapper = DeviceSwapper(offload_device="cpu", compute_device="meta")
    optimizers = [trained_optimizer(model) for model in models]
    for model, optimizer, modules in zip(models, optimizers, ([beside], []), strict=True):
        swapper.register(model)
        swapper.attach(model, modules, optimizer)
    assert [places(*pair) for pair in zip(models, optimizers, strict=True)] == [{"cpu"}, {"cpu"}]
    swapper.onload(models[0])
    swapper.onload(models[0])
    assert [places(*pair) for pair in zip(models, optimizers, strict=True)] == [{"meta"}, {"cpu"}]
    assert beside.weight.device.type == "meta"
    assert swapper.swaps == 1


def test_who_was_there_goes_home_with_everything_when_another_one_comes() -> None:
    models = [tiny_model("llama"), tiny_model("qwen2")]
    swapper = DeviceSwapper(offload_device="meta", compute_device="cpu")
    optimizers = [trained_optimizer(model) for model in models]
    for model in models:
        swapper.register(model)
    swapper.onload(models[0])
    swapper.attach(models[0], [], optimizers[0])
    assert places(models[0], optimizers[0]) == {"cpu"}
    swapper.onload(models[1])
    assert [places(*pair) for pair in zip(models, optimizers, strict=True)] == [{"meta"}, {"cpu"}]
    assert swapper.swaps == 3


def test_twins_on_one_base_come_together() -> None:
    settings = UpdateSettings(adapter="lora", lora_rank=2)
    first, second = attach_lora(tiny_model("llama"), settings, ["one", "two"])
    other = tiny_model("qwen2")
    swapper = DeviceSwapper(offload_device="cpu", compute_device="meta")
    for model in (first, second, other):
        swapper.register(model)
        swapper.attach(model, [], trained_optimizer(model))
    swapper.onload(first)
    assert {weight.device.type for view in (first, second) for weight in view.parameters()} == {"meta"}
    swapper.onload(second)
    assert swapper.swaps == 1
    assert {weight.device.type for weight in other.parameters()} == {"cpu"}


def memory(resident: int, phase: int) -> Memory:
    return Memory(7, {"weights": resident}, {"sharing": {"keys": phase}, "update": {"gradients": phase}})


PARTS = st.lists(st.tuples(st.integers(1, 100), st.integers(0, 100)), min_size=1, max_size=4)


@given(PARTS, st.integers(0, 700), st.booleans())
def test_agents_take_turns_only_where_all_do_not_fit_and_each_does(
    parts: list[tuple[int, int]], card: int, timed: bool
) -> None:
    whole = memory(sum(resident for resident, _ in parts), max(phase for _, phase in parts))
    alone = [memory(*part) for part in parts]
    found = placement(whole, alone, card, timed, "transformers")
    if found == "turns":
        assert whole.on_card(seen=True) > card
        assert len(alone) > 1
        assert all(one.on_card(timed) <= card for one in alone)
    elif found == "refused":
        assert whole.on_card(timed) > card
        assert len(alone) == 1 or any(one.on_card(timed) > card for one in alone)
    else:
        assert whole.on_card(timed) <= card
    assert placement(whole, alone, card, timed, "vllm") != "turns"
    assert (placement(whole, alone, card, timed, "vllm") == "refused") == (whole.on_card(timed) > card)


def test_twins_on_one_base_count_as_one() -> None:
    assert shared_groups(replace(SMALL, models=("A", "B", "A"))) == [[0, 2], [1]]
    full = replace(SMALL, models=("A", "B", "A"), update=replace(SMALL.update, adapter="full"))
    assert shared_groups(full) == [[0], [1], [2]]
    pair = trial_memory(full, indices=[0, 2])
    single = trial_memory(replace(full, models=("A",)))
    assert pair is not None
    assert single is not None
    assert pair.resident["weights"] == 2 * single.resident["weights"]
    assert pair.phases == single.phases
    roomy = replace(SMALL, sampling=replace(SMALL.sampling, rows_per_call=4096))
    twins = trial_memory(replace(roomy, models=("A", "A")))
    alone = trial_memory(replace(roomy, models=("A",)))
    assert twins is not None
    assert alone is not None
    assert twins.resident["weights"] == alone.resident["weights"]
    assert twins.phases["update"] == alone.phases["update"]
    drawn = "keys and values of turns"  # of both, in the same batches
    assert twins.phases["sharing"][drawn] == 2 * alone.phases["sharing"][drawn]


def study(**changes: str) -> StudyCost:
    grid = {key.replace("__", "."): (value,) for key, value in changes.items()}
    return study_cost(plan_study("micro", ["ilr"], overrides=grid), {}, 2)


def between(cost: StudyCost) -> int:
    """Bytes of a card that holds each agent, but not both."""
    (one,) = cost.trials
    assert one.memory is not None
    largest = max(memory.on_card(seen=True) for memory in one.alone)
    assert largest < one.memory.on_card(seen=True)
    return (largest + one.memory.on_card(seen=True)) // 2


def test_the_plan_says_that_agents_take_turns() -> None:
    cost = study()
    small, large = (Resources(64 * GIB, (card,), 1000 * GIB) for card in (between(cost), 80 * GIB))
    assert refusals(cost, small) == []
    assert "agents take turns on the card" in lines(cost, small)[-1]
    assert not any("take turns" in line for line in lines(cost, large))
    assert placement_on(cost.trials[0], Resources(64 * GIB, (), GIB)) == "together"


def test_vllm_takes_no_turns_and_the_refusal_says_what_would() -> None:
    cost = study(sampling__engine="vllm")
    (one,) = cost.trials
    assert one.memory is not None
    card = one.memory.on_card(seen=False) - 1
    (output,) = refusals(cost, Resources(64 * GIB, (card,), 1000 * GIB))
    assert "set sampling.engine=transformers, with which agents take turns on the card" in output


def test_those_who_wait_have_to_fit_into_the_machines_memory() -> None:
    cost = study()
    (output,) = refusals(cost, Resources(GIB // 4, (between(cost),), 1000 * GIB))
    assert output.startswith("memory: agents take turns on the card")


def test_a_trial_takes_turns_on_a_card_where_its_plan_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ILR_BENCH_CACHE", str(tmp_path))  # nothing timed
    (planned,) = (cost := study()).trials
    config, card = planned.trial.config, between(cost)
    for cards, turns in (((80 * GIB, card), True), ((80 * GIB,), False), ((), False)):
        monkeypatch.setattr(fits, "gpu_memory", lambda cards=cards: cards)
        assert take_turns(config) == turns


def test_a_trial_does_as_it_is_told_where_a_card_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    def turns(config: object) -> bool:
        return True

    assert trial.make_swapper(SMALL, DistContext(), turns) is None  # no card computes here
    monkeypatch.setattr(trial, "computing_device", lambda: "cuda")
    taken = trial.make_swapper(SMALL, DistContext(), turns)
    assert taken is not None
    assert (taken.offload_device, taken.compute_device) == ("cpu", "cuda")
    assert trial.make_swapper(SMALL, DistContext(size=2, shards=True), turns) is None
    assert trial.make_swapper(SMALL, DistContext(), lambda config: False) is None


def test_a_worker_tells_its_trial_of_turns(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (planned,) = plan_study("micro", ["ilr"]).trials
    told: list[Any] = []
    monkeypatch.setattr(trial, "run_trial", lambda *given, **named: told.append(named["take_turns"]))
    jobs.run_planned(planned, tmp_path, Artifacts(tmp_path / "artifacts"), None)
    assert told == [take_turns]
