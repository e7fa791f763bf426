"""What trials take by arithmetic: turns, memory, operations, time on workers, and whether it fits."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ablations
from ilr_bench.core import hardware
from ilr_bench.core.profiles import MICRO, PAPER, SMALL
from ilr_bench.generation.engine import LOGITS_CHUNK, VLLM_CACHE
from ilr_bench.method.difficulty import ranking_batches
from ilr_bench.storage.store import Artifacts
from ilr_bench.study.cost import forecast, gpu_hours
from ilr_bench.study.cost.counts import (
    due,
    evaluated_benchmarks,
    ranking_turns,
    step_turns,
)
from ilr_bench.study.cost.fits import Resources, available_memory, refusals
from ilr_bench.study.cost.forecast import SLOWER, START, State, StudyCost, study_cost
from ilr_bench.study.cost.memory import (
    BASE,
    FACTS,
    GIB,
    MIB,
    SLACK,
    VLLM,
    Architecture,
    LengthStats,
    architecture,
    disk_bytes,
    from_config,
    sampling,
    trial_memory,
    update,
)
from ilr_bench.study.cost.timings import Timing
from ilr_bench.study.jobs import trial_job
from ilr_bench.study.plan import plan_study

LLAMA, QWEN, LARGE_QWEN = (
    FACTS[name]
    for name in ("meta-llama/Llama-3.1-8B-Instruct", "Qwen/Qwen2.5-7B-Instruct", "Qwen/Qwen2.5-14B-Instruct")
)


@pytest.mark.parametrize(
    ("shape", "parameters"),
    [(LLAMA, 8_030_261_248), (QWEN, 7_615_616_512), (LARGE_QWEN, 14_770_033_664), (FACTS["smollm2"], 134_515_008)],
)
def test_parameters_are_those_that_the_publishers_state(shape: Architecture, parameters: int) -> None:
    assert shape.parameters == parameters


def test_an_architecture_is_read_from_a_models_folder(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        '{"model_type": "qwen2", "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2, '
        '"num_key_value_heads": 1, "intermediate_size": 176, "vocab_size": 400, "tie_word_embeddings": true}'
    )
    assert architecture(str(tmp_path)) == Architecture(64, 3, 2, 1, 32, 176, 400, tied=True, biased=True)
    assert from_config({"model_type": "mamba"}) is None
    assert architecture(str(tmp_path / "missing")) is None


def test_micro_models_have_as_many_weights_as_are_counted() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = architecture("A")
    assert shape is not None
    config = LlamaConfig(
        vocab_size=shape.vocabulary, hidden_size=shape.hidden, intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers, num_attention_heads=shape.heads, num_key_value_heads=shape.key_heads,
        tie_word_embeddings=True,
    )  # fmt: skip
    assert sum(weights.numel() for weights in LlamaForCausalLM(config).parameters()) == shape.parameters


def test_an_adapter_has_two_thin_matrices_on_each_linear_layer() -> None:
    assert FACTS["smollm2"].lora_parameters(16) == 4_884_480


@given(st.integers(2, 300), st.integers(2, 9), st.integers(1, 4))
def test_rankings_are_counted_as_they_are_dealt(questions: int, size: int, shuffles: int) -> None:
    config = replace(
        MICRO,
        questions=replace(MICRO.questions, train=questions),
        difficulty=replace(MICRO.difficulty, batch_size=size, shuffles=shuffles),
    )
    assert ranking_turns(config).count == len(ranking_batches(questions, config.difficulty, 0))


@pytest.mark.parametrize(
    ("variant", "counts"),
    [
        ("ilr", {"sharing": 128, "analysis": 16, "fusion": 128}),
        ("grpo", {"sharing": 128}),
        ("train_fusion", {"sharing": 16, "analysis": 16, "fusion": 128}),
        ("train_sharing", {"sharing": 128, "analysis": 16, "fusion": 16}),
    ],
)
def test_turns_of_a_step(variant: str, counts: dict[str, int]) -> None:
    config = ablations.get(variant)(MICRO)
    assert {stage: turns.count for stage, turns in step_turns(config, 8).items()} == counts


@given(st.integers(0, 40), st.integers(0, 12), st.integers(1, 12), st.integers(1, 40))
def test_validations_and_checkpoints_come_every_few_steps_and_after_the_last(
    steps: int, every: int, saved: int, first: int
) -> None:
    expected = {step for step in range(first, steps + 1) if step == steps or (every and step % every == 0)}
    assert due(every, steps, first) == (len(expected) if every else 0)
    kept = {step for step in range(first, steps + 1) if step == steps or step % saved == 0}
    assert due(saved, steps, first) == len(kept)


def test_exams_are_as_long_as_their_benchmarks_or_the_limit() -> None:
    assert sum(rows for _, rows in evaluated_benchmarks(MICRO)) == 5 * 220 + 60
    limited = replace(MICRO, evaluation=replace(MICRO.evaluation, limit=20))
    assert [rows for _, rows in evaluated_benchmarks(limited)] == [20] * 6
    together = ablations.get("infer_debate")(MICRO)
    assert "micro_code" not in [benchmark.name for benchmark, _ in evaluated_benchmarks(together)]


def test_keys_and_values_of_a_batch() -> None:
    terms = sampling(LLAMA, rows=16, prompts=2, longest=100, limit=50)
    # Two tensors of 8 heads of 128 numbers, 32 layers, 4 bytes.
    assert terms["keys and values of prompts"] == 2 * 100 * (2 * 8 * 128 * 32 * 4)
    assert terms["keys and values of turns"] == 16 * 50 * (2 * 8 * 128 * 32 * 4)
    assert terms["logits of one token each"] == 16 * 128_256 * (4 + 4 + 8 + 8)


def test_terms_of_an_update() -> None:
    terms = update(MICRO, LLAMA, prompt_tokens=100, turn_tokens=50, longest=80)
    assert terms["gradients"] == 4 * LLAMA.parameters
    assert terms["weights in half precision"] == 0
    assert terms["attention scores"] == 50 * 32 * 32 * 80 * 2 * 4
    assert terms["logits"] == 50 * 128_256 * 3 * 4
    layer = 6 * 4096 + 2 * (4096 + 2 * 1024) + 4096 + 4 * 14_336
    assert terms["activations"] == 150 * 32 * layer * 4


def test_checkpointing_keeps_the_input_of_each_layer_and_one_layer() -> None:
    kept = update(PAPER, LLAMA, 100, 50, 80)["activations"]
    plain = update(replace(PAPER, update=replace(PAPER.update, gradient_checkpointing=False)), LLAMA, 100, 50, 80)
    assert kept == 150 * 32 * 4096 * 4 + plain["activations"] // 32


def test_weights_and_adams_moments_stay_and_twins_share_their_base() -> None:
    full = trial_memory(replace(MICRO, models=("smollm2", "smollm2")))
    lora = trial_memory(SMALL)
    weights, adapter = FACTS["smollm2"].parameters, FACTS["smollm2"].lora_parameters(16)
    assert full is not None
    assert lora is not None
    assert full.resident["weights"] == 2 * 4 * weights
    assert full.resident["Adam's two moments"] == 2 * 8 * weights
    assert lora.resident["weights"] == 4 * weights
    assert lora.resident["Adam's two moments"] == 2 * 8 * adapter
    assert lora.phases["update"]["gradients"] == 4 * adapter
    largest = sum(lora.phases[lora.largest].values())
    assert lora.peak == BASE + sum(lora.resident.values()) + largest + int(SLACK * largest)


def test_many_logits_are_counted_in_pieces_where_the_head_is_plain() -> None:
    few, many = (update(MICRO, LLAMA, 100, tokens, 80)["logits"] for tokens in (500, 600))
    assert few == 500 * 128_256 * 3 * 4
    assert many == LOGITS_CHUNK * 3 * 4 < few
    gemma = FACTS["gemma3-270m"]
    assert update(MICRO, gemma, 100, 600, 80)["logits"] == 600 * gemma.vocabulary * 3 * 4


def test_vllm_holds_its_own_weights_and_caches_and_sleeps_on_a_card_while_agents_train() -> None:
    config = replace(SMALL, models=("smollm2", "smollm2"))
    ours = trial_memory(config)
    served = trial_memory(replace(config, sampling=replace(config.sampling, engine="vllm")))
    assert ours is not None
    assert served is not None
    assert config.update.precision == "bf16"
    assert served.vllm("cpu") == 2 * (2 * FACTS["smollm2"].parameters + VLLM_CACHE["cpu"])
    assert served.least == ours.least + VLLM + served.vllm("cpu")
    assert ours.on_card(seen=False) == ours.least - ours.base
    assert ours.on_card(seen=True) == ours.peak - ours.base
    resident = sum(ours.resident.values())
    drawn = max(sum(terms.values()) for phase, terms in served.phases.items() if phase != "update")
    update_peak = resident + int(1.25 * sum(ours.phases["update"].values()))
    talk_peak = resident + drawn + int(0.25 * drawn) + served.vllm("cuda")
    assert served.on_card(seen=True) == max(update_peak, talk_peak)


def test_memory_grows_with_whatever_it_is_made_of() -> None:
    start = trial_memory(SMALL)
    assert start is not None
    for change in (
        {"sampling": replace(SMALL.sampling, max_prompt_tokens=1000)},
        {"update": replace(SMALL.update, rows_per_micro_batch=64)},
        {"update": replace(SMALL.update, adapter="full")},
    ):
        more = trial_memory(replace(SMALL, **change))
        assert more is not None
        assert more.peak > start.peak


def test_memory_of_the_runs_that_were_measured() -> None:
    """Peaks of worker processes after whole runs on one machine; lengths as the timing runs saw them."""
    micro = {
        "sharing": LengthStats(30, 21),
        "analysis": LengthStats(105, 19),
        "fusion": LengthStats(140, 21),
        "ranking": LengthStats(106, 14),
        "ability": LengthStats(32, 20),
        **{f"evaluation/{benchmark.name}": LengthStats(32, 22) for benchmark, _ in evaluated_benchmarks(MICRO)},
    }
    found = trial_memory(MICRO, micro)
    assert found is not None
    for measured in (1009, 1024, 1055):
        assert found.peak == pytest.approx(measured * MIB, rel=0.20)
    small = {
        "ranking": LengthStats(300, 5),
        "ability": LengthStats(45, 3.5),
        "sharing": LengthStats(45, 4),
        "analysis": LengthStats(196, 15),
        "fusion": LengthStats(376, 5),
        "evaluation/sums": LengthStats(45, 3.5),
    }
    found = trial_memory(SMALL, small)
    assert found is not None
    # The first step of one run, four of another, and thirty of the first.
    for measured in (4191, 4700, 5164):
        assert found.peak == pytest.approx(measured * MIB, rel=0.20)


def test_a_trials_peak_is_known_by_its_settings_alone() -> None:
    (trial,) = plan_study("micro", ["ilr"]).trials
    found = trial_memory(trial.config)
    assert found is not None
    memory = math.ceil(found.peak / GIB) * 2.0**30
    assert trial_job(trial, Path(), Artifacts(Path()), None, ()).resources == {"memory": memory}
    assert found.peak > BASE


def test_disk_holds_the_kept_checkpoints_the_best_and_the_next() -> None:
    config = replace(MICRO, models=("smollm2", "smollm2"))
    one, two = disk_bytes(config, keep=1), disk_bytes(config, keep=2)
    assert one is not None
    assert two is not None
    assert two - one == 2 * 12 * FACTS["smollm2"].parameters


def test_sampling_and_updates_are_counted_in_operations() -> None:
    weights = LLAMA.parameters - LLAMA.embeddings
    done = gpu_hours.operations(LLAMA, turns=8, tokens=100, prompts=1, prompt=200)
    seen = 4 * 32 * 4096
    assert done == 200 * (2 * weights + seen * 100) + 800 * (2 * weights + seen * 250)


def test_the_range_of_gpu_hours_holds_a_published_step() -> None:
    """NVIDIA NeMo RL 0.4, performance summary: 97.7 s, 16 H100s, 2,048 answers of 1,060 tokens by Llama-3.1-8B."""
    sampling = gpu_hours.operations(LLAMA, 2048, 1060, 128, 200)
    low, high = (end.hours(sampling, 3 * sampling) * 3600 / 16 for end in (gpu_hours.CHEAP, gpu_hours.DEAR))
    assert low < 97.7 < high


def test_gpus_hold_sixteen_bytes_per_weight() -> None:
    assert [gpu_hours.gpus_for(shape) for shape in (LLAMA, QWEN, LARGE_QWEN)] == [2, 2, 4]


def test_the_paper_is_priced_without_its_models() -> None:
    (trial,) = plan_study("paper", ["ilr"], [("group1",)]).trials
    found = gpu_hours.estimate(trial.config)
    assert found is not None
    low, high = found.hours
    assert 0 < low < high
    assert found.gpus == (2, 2)
    steps = replace(trial.config, training=replace(trial.config.training, steps=342))
    longer = gpu_hours.estimate(steps)
    assert longer is not None
    assert 1.5 * low < longer.hours[0] < 2 * low


def timed_study(workers: int) -> StudyCost:
    """ILR, GRPO that matches it, and GRPO, all of whose tokens take a second, on as many cores as there are workers."""
    plan = plan_study("micro", ["ilr", "grpo_matched", "grpo"])
    second = Timing({"sharing": 1.0}, {"sharing": 1.0})
    return study_cost(plan, dict.fromkeys((trial.hash for trial in plan.trials), second), workers)


def test_time_lies_between_work_that_is_shared_out_and_trials_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast, "cores", lambda: 8)
    seconds = {one.trial.config.variant: one.seconds_left for one in timed_study(1).trials}
    assert seconds["ilr"] == 30 * 16 * 8 * 2
    assert seconds["grpo_matched"] > 0
    least, most = timed_study(1).clock
    assert least == START + sum(seconds.values())
    assert most == SLOWER * least
    # With many workers the matched trial still waits for the one that it matches.
    for workers in (4, 8):
        assert timed_study(workers).clock[0] == START + seconds["ilr"] + seconds["grpo_matched"]
    monkeypatch.setattr(forecast, "cores", lambda: 1)
    assert timed_study(8).clock[0] == least


def test_memory_is_what_the_system_has_left_within_the_groups_limit(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:  8000 kB\nMemAvailable:  5000 kB\n")
    assert available_memory(meminfo, tmp_path / "none") == 5000 * 1024
    group = tmp_path / "group"
    group.mkdir()
    (group / "memory.max").write_text("3000000\n")
    (group / "memory.current").write_text("1000000\n")
    assert available_memory(meminfo, group) == 2_000_000
    (group / "memory.max").write_text("max\n")
    assert available_memory(meminfo, group) == 5000 * 1024


def small_study(workers: int) -> StudyCost:
    return study_cost(plan_study("small", ["ilr"], seeds=[0, 1, 2]), {}, workers)


def test_what_fits_is_not_refused() -> None:
    assert refusals(small_study(2), Resources(64 * GIB, (), 1000 * GIB)) == []


def test_a_refusal_names_the_number_the_limit_and_what_to_change() -> None:
    least = small_study(2).trials[0].memory
    assert least is not None
    (stats,) = refusals(small_study(3), Resources(int(2.5 * least.least), (), 1000 * GIB))
    assert "3 at a time need" in stats
    assert "are available" in stats
    assert "--workers 2" in stats
    (stats,) = refusals(small_study(2), Resources(GIB // 2, (), 1000 * GIB))
    assert "smaller models" in stats


def test_a_card_that_is_too_small_and_a_full_disk_are_refused() -> None:
    paper = study_cost(plan_study("paper", ["ilr"]), {}, 1)
    memory, disk = refusals(paper, Resources(2000 * GIB, (80 * GIB,), GIB))
    assert memory.startswith("GPU memory")
    assert "update.adapter=lora" in memory
    assert disk.startswith("disk")


def test_finished_trials_need_nothing() -> None:
    plan = plan_study("small", ["ilr"])
    done = study_cost(plan, {}, 2, {plan.trials[0].hash: State("finished")})
    assert refusals(done, Resources(0, (), 0)) == []
    assert done.sampled_left == {}
    assert done.clock == (0.0, 0.0)


def test_a_started_trial_counts_with_its_remaining_steps() -> None:
    plan = plan_study("micro", ["ilr"])
    whole, rest = (
        study_cost(plan, {}, 2, {plan.trials[0].hash: state}).sampled_left
        for state in (State("new"), State("started", step=20))
    )
    assert rest["sharing"].tokens == whole["sharing"].tokens / 3
    assert rest["evaluation"] == whole["evaluation"]
    assert rest["validation"].tokens == whole["validation"].tokens / 3


def test_what_trials_share_is_counted_once() -> None:
    cost = study_cost(plan_study("micro", ["base", "grpo", "ilr"], [("A", "B"), ("B", "C")], [0, 1]), {}, 2)
    kinds = [(item.kind, item.name.split()[0], item.trials) for item in cost.shared]
    assert sorted(kind for kind in kinds if kind[0] == "model") == [
        ("model", "A", 6),
        ("model", "B", 12),
        ("model", "C", 6),
    ]
    assert ("difficulty", "B", 12) in kinds
    assert ("base answers", "B", 4) in kinds
    assert len(kinds) == 12


def test_no_driver_means_no_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert hardware.gpu_memory() == ()
