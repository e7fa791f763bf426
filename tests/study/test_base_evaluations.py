"""Untrained agents answer a benchmark once; every trial that asks the same gets the bytes of its own cold run."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from tiny_trials import SETTINGS, contents, run_plan, tiny_checkpoints

from ilr_bench.evaluation import batching
from ilr_bench.evaluation.runner import Answers, RegisteredBenchmarkRun
from ilr_bench.generation.engine import Completion
from ilr_bench.storage import provenance
from ilr_bench.storage.records import SampleRecord, read
from ilr_bench.storage.store import Artifacts
from ilr_bench.study.jobs import evaluate_base_job, measurement_jobs
from ilr_bench.study.plan import Plan, plan_study


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return tiny_checkpoints(tmp_path_factory.mktemp("models"))


@pytest.fixture(autouse=True)
def one_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials note the commit; here it stays the same whatever happens to the checkout meanwhile."""
    monkeypatch.setattr(provenance, "_commit", lambda: "test")


@pytest.fixture
def sat(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each benchmark was really answered."""
    count: Counter[str] = Counter()
    run_benchmark = RegisteredBenchmarkRun.run

    def counting(run: RegisteredBenchmarkRun, *arguments: object) -> Answers:
        count[run.name] += 1
        return run_benchmark(run, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(RegisteredBenchmarkRun, "run", counting)
    return count


def base(groups: list[tuple[str, ...]], seeds: tuple[int, ...] = (0,), **changes: str) -> Plan:
    chosen = {"evaluation.benchmarks": "micro_short_chain"} | changes
    settings = {key: (value,) for key, value in (SETTINGS | chosen).items() if key != "training.steps"}
    return plan_study("micro", ["base"], groups, seeds, settings)


def trials(plan: Plan, out: Path) -> dict[str, bytes]:
    run_plan(plan, out)
    return contents(out / "trials")


def test_greedy_answers_are_shared_by_seeds_and_groups_and_leave_the_bytes_of_a_cold_run(
    models: tuple[str, str], sat: Counter[str], tmp_path: Path
) -> None:
    groups = [models, models[:1]]
    shared = trials(base(groups, (0, 1)), tmp_path / "one")
    assert sat["micro_short_chain"] == 2  # once per model
    cold = {}
    for number, (group, seed) in enumerate((group, seed) for group in groups for seed in (0, 1)):
        cold |= trials(base([group], (seed,)), tmp_path / f"cold{number}")
    assert shared == cold
    for path in (tmp_path / "one" / "artifacts").glob("*/rankings.json"):
        assert 0 < json.loads(path.read_text())["sampled_tokens"] <= 4 * 6  # shuffles of one batch, tokens of an answer
    for path in (tmp_path / "one").glob("trials/*/eval/*/*.jsonl"):
        assert {record.agent for record in read(path, SampleRecord)} == {path.parent.name}
    logs = list((tmp_path / "one").glob("trials/*/eval/*/lm_eval/micro_short_chain/samples_micro_short_chain_*.jsonl"))
    assert len(logs) == 2 * 3  # two seeds, three agents
    assert not list((tmp_path / "one" / "artifacts").glob(".*.part.jsonl"))


def test_sampled_answers_are_shared_by_those_with_the_same_seed_only(
    models: tuple[str, str], sat: Counter[str], tmp_path: Path
) -> None:
    sampled = {"evaluation.temperature": "1.0"}
    warm = trials(base([models[:1], models], (0, 1), **sampled), tmp_path / "one")
    assert sat["micro_short_chain"] == 4  # two models, two seeds; the first model's answers serve both groups
    cold = {}
    for seed in (0, 1):
        cold |= trials(base([models], (seed,), **sampled), tmp_path / f"cold{seed}")
    assert {name: content for name, content in warm.items() if name in cold} == cold
    records = [text for name, text in cold.items() if name.endswith("eval/first/micro_short_chain.jsonl")]
    assert len(records) == 2
    assert records[0] != records[1]


def test_batches_of_a_trial_that_was_killed_serve_the_next_one(
    models: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {"evaluation.limit": "3", "evaluation.rows_per_call": "1"}
    cold = trials(base([models[:1]], (1,), **small), tmp_path / "cold")
    sampled = 0
    sample = batching._sample

    def dying(*arguments: object) -> list[Completion]:
        nonlocal sampled
        sampled += 1
        if sampled == 3:
            raise KeyboardInterrupt
        return sample(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(batching, "_sample", dying)
    with pytest.raises(KeyboardInterrupt):
        trials(base([models[:1]], (0,), **small), tmp_path / "one")
    assert trials(base([models[:1]], (1,), **small), tmp_path / "one").items() >= cold.items()
    assert sampled == 4  # three batches, and the one that was lost


@pytest.mark.parametrize(("key", "value"), [("evaluation.limit", "1"), ("evaluation.max_new_tokens", "4")])
def test_other_settings_are_other_artifacts(
    models: tuple[str, str], sat: Counter[str], tmp_path: Path, key: str, value: str
) -> None:
    trials(base([models[:1]]), tmp_path / "one")
    trials(base([models[:1]], **{key: value}), tmp_path / "one")
    assert sat["micro_short_chain"] == 2


def test_a_sweep_has_each_model_answer_in_a_job_of_its_own(
    models: tuple[str, str], sat: Counter[str], tmp_path: Path
) -> None:
    plan = base([models, models[:1]], (0, 1))
    jobs, needed = measurement_jobs(plan.trials, Artifacts(tmp_path / "one" / "artifacts"))
    answering = [job for job in jobs if job.function is evaluate_base_job]
    assert [job.arguments[0] for job in answering] == list(models)
    assert all(any(job.name in needed[trial.hash] for job in answering) for trial in plan.trials)
    for job in answering:
        job.function(*job.arguments)
    assert sat["micro_short_chain"] == 2
    trials(plan, tmp_path / "one")
    assert sat["micro_short_chain"] == 2


def test_what_depends_on_the_seed_is_no_job_of_its_own(models: tuple[str, str], tmp_path: Path) -> None:
    plan = base([models], (0, 1), **{"evaluation.temperature": "1.0"})
    jobs, _ = measurement_jobs(plan.trials, Artifacts(tmp_path))
    assert [job for job in jobs if job.function is evaluate_base_job] == []
