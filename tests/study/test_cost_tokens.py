"""Planned against happened: turns exactly, tokens within a tenth, in what records state."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tiny_trials import SETTINGS, run_plan, tiny_checkpoints, tiny_plan
from typer.testing import CliRunner

from ilr_bench.cli import app
from ilr_bench.core.errors import DoesNotFitError
from ilr_bench.generation.hf_engine import TransformersEngine
from ilr_bench.storage.records import read_result
from ilr_bench.study import sweep
from ilr_bench.study.cost import fits, forecast, show, timings
from ilr_bench.study.cost.fits import Resources
from ilr_bench.study.cost.forecast import StudyCost, states, study_cost
from ilr_bench.study.cost.memory import GIB
from ilr_bench.study.jobs import timing_jobs
from ilr_bench.study.launch.local import Local
from ilr_bench.study.launch.pool import Execution, WorkerPool
from ilr_bench.study.launch.scheduler import Failure, Job
from ilr_bench.study.plan import Plan, plan_study
from ilr_bench.study.sweep import run_sweep
from reports import Settings, get
from reports.frames import load
from reports.tables.costs import PLANNED_ONLY

TOLERANCE = 0.10


@dataclass
class Sampled:
    """What engines gave."""

    turns: int = 0
    tokens: int = 0


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, StudyCost, Path, Sampled]:
    """Six variants of tiny random models, priced and then run; what was sampled is counted at the engine."""
    folder = tmp_path_factory.mktemp("tiny")
    variants = ("base", "grpo", "grpo_matched", "ilr", "pure_competitive", "train_fusion")
    # An epoch of the training questions, so that all of them are asked.
    plan = tiny_plan(tiny_checkpoints(folder), *variants, training__checkpoint_every="1")
    cost = study_cost(plan, measured(plan), 2)
    counted = Sampled()
    original = TransformersEngine.sample

    def counting(self: Any, *arguments: Any, **named: Any) -> Any:
        turns = original(self, *arguments, **named)
        counted.turns += sum(map(len, turns))
        counted.tokens += sum(len(turn.token_ids) for group in turns for turn in group)
        return turns

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransformersEngine, "sample", counting)
        run_plan(plan, folder / "out")
    return plan, cost, folder / "out", counted


def measured(plan: Plan) -> dict[str, timings.Timing]:
    """What short trials say of a plan, run in this process unless they have been."""
    for config in timings.unknown(plan.trials):
        timings.run_timing_here(config)
    return timings.known(plan.trials)


def test_turns_are_counted_exactly(tiny: tuple[Plan, StudyCost, Path, Sampled]) -> None:
    _, cost, _, counted = tiny
    matched = {one.trial.config.variant: one.samples for one in cost.trials}["grpo_matched"]
    resolved = resolved_samples(tiny)
    assert matched == resolved
    shared = sum(item.cost.turns for item in cost.shared)
    assert shared + sum(item.turns for one in cost.trials for item in one.left.values()) == counted.turns


def resolved_samples(tiny: tuple[Plan, StudyCost, Path, Sampled]) -> tuple[int, ...]:
    plan, _, out, _ = tiny
    (folder,) = [trial.folder for trial in plan.trials if trial.config.variant == "grpo_matched"]
    config = json.loads((out / folder / "config.json").read_text())["config"]
    return tuple(config["sampling"]["samples_per_agent"])


def test_tokens_are_planned_within_a_tenth(tiny: tuple[Plan, StudyCost, Path, Sampled]) -> None:
    _, cost, out, counted = tiny
    assert cost.timed
    assert sum(item.tokens for item in cost.sampled_left.values()) == pytest.approx(counted.tokens, rel=TOLERANCE)
    assert_recorded(cost, out)


def assert_recorded(cost: StudyCost, out: Path) -> None:
    """Every trial's records state about as many tokens as were planned, in training and altogether."""
    for one in cost.trials:
        folder = out / one.trial.folder
        trained = sum(read_result(folder).sampled_tokens.values())
        planned = sum(one.whole[stage].tokens for stage in ("sharing", "analysis", "fusion") if stage in one.whole)
        assert planned == pytest.approx(trained, rel=TOLERANCE)
        answers = [json.loads(line) for path in folder.glob("eval/*/*.jsonl") for line in path.read_text().splitlines()]
        total = trained + sum(answer["tokens"] for answer in answers)
        recorded = sum(item.tokens for stage, item in one.whole.items() if stage not in PLANNED_ONLY)
        assert recorded == pytest.approx(total, rel=TOLERANCE)


def test_without_a_timing_run_tokens_are_bounds(tiny: tuple[Plan, StudyCost, Path, Sampled]) -> None:
    plan, timed, _, counted = tiny
    bounds = study_cost(plan, {}, 2)
    assert not bounds.timed
    bound, expected = (sum(item.tokens for item in cost.sampled_left.values()) for cost in (bounds, timed))
    assert bound >= max(counted.tokens, expected)


def test_seconds_are_planned_for_every_stage_that_takes_some(tiny: tuple[Plan, StudyCost, Path, Sampled]) -> None:
    _, cost, _, _ = tiny
    ilr = next(one for one in cost.trials if one.trial.config.variant == "ilr")
    assert {stage for stage, item in ilr.whole.items() if item.seconds > 0} == {
        "loading", "sharing", "analysis", "fusion", "grading", "update", "validation", "checkpoint", "evaluation",
    }  # fmt: skip
    low, high = cost.clock
    assert 0 < low < high


def test_what_a_folder_holds_is_not_priced_again(tiny: tuple[Plan, StudyCost, Path, Sampled]) -> None:
    plan, _, out, _ = tiny
    found = states(plan, out)
    assert {state.kind for state in found.values()} == {"finished"}
    assert study_cost(plan, {}, 2, found).sampled_left == {}
    assert {state.kind for state in states(plan, out.parent / "elsewhere").values()} == {"taken over"}
    assert {state.kind for state in states(plan, out.parent / "elsewhere", fresh=True).values()} == {"new"}


def test_the_report_puts_the_plan_beside_what_happened(
    tiny: tuple[Plan, StudyCost, Path, Sampled], tmp_path: Path
) -> None:
    plan, _, out, _ = tiny
    assert get("costs").applies(load(out)) is not None
    with pytest.MonkeyPatch.context() as patch:
        timed = measured(plan)
        patch.setattr(fits, "known", lambda trials, studies: timed)
        fits.check_and_keep(plan, [], 2, out, force=True)
    frames = load(out)
    assert get("costs").applies(frames) is None
    get("costs").write(frames, tmp_path, Settings())
    rows = json.loads((tmp_path / "costs.json").read_text())["rows"]
    assert len(rows) == len(plan.trials) + 1
    assert not any(row["cells"]["planned_tokens"]["text"].startswith("<=") for row in rows)
    total = rows[-1]["cells"]
    assert total["token_error"]["value"] == pytest.approx(1, abs=TOLERANCE)
    assert total["spent_cpu"]["value"] > 0
    assert total["planned_cpu"]["value"] > 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fits, "known", lambda trials, studies: {})
        fits.check_and_keep(plan, [], 2, out, force=True)
    get("costs").write(load(out), tmp_path, Settings())
    assert "upper bounds" in (tmp_path / "costs.md").read_text()
    rows = json.loads((tmp_path / "costs.json").read_text())["rows"]
    assert all(row["cells"]["planned_tokens"]["text"].startswith("<=") for row in rows)
    assert all(row["cells"]["token_error"]["value"] >= 1 for row in rows)
    (out / "plan.json").unlink()


def test_timings_are_kept_and_a_torn_one_is_measured_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ILR_BENCH_CACHE", str(tmp_path))
    (trial,) = plan_study("micro", ["ilr"]).trials
    timing = timings.Timing({"ability": 3.5, "sharing": 4.0}, {"loading": 1.0}, {"sharing": 20})
    timings.keep(trial.config, timing)
    assert timings.known([trial]) == {trial.hash: timing}
    assert timings.unknown([trial]) == []
    (path,) = (tmp_path / "timings").glob("*.json")
    path.write_text(path.read_text()[:-20])
    assert timings.known([trial]) == {}
    assert timings.unknown([trial]) == [trial.config]


def test_another_command_adds_to_the_plan_and_a_torn_one_is_written_anew(tmp_path: Path) -> None:
    first, second = (plan_study("micro", [variant]) for variant in ("grpo", "base"))
    for plan in (first, second):
        fits.check_and_keep(plan, [], 2, tmp_path)
    path = tmp_path / "plan.json"
    folders = [trial.folder for plan in (first, second) for trial in plan.trials]
    assert list(json.loads(path.read_text())["trials"]) == folders
    path.write_text(path.read_text()[:-30])
    fits.check_and_keep(second, [], 2, tmp_path)
    assert list(json.loads(path.read_text())["trials"]) == folders[1:]


def test_earlier_trials_of_the_same_kind_come_before_a_timing_run_and_none_counts_for_itself(
    tiny: tuple[Plan, StudyCost, Path, Sampled],
) -> None:
    plan, _, out, _ = tiny
    short_ones = timings.known(plan.trials)
    assert timings.known(plan.trials, [out]) == short_ones
    models = plan.trials[0].config.models
    later = plan_study("micro", ["ilr", "di_only"], [models], [5], {k: (v,) for k, v in SETTINGS.items()})
    earlier = timings.known(later.trials, [out])
    # Two trials are of this kind, each with two questions, three answers and two agents in its second step.
    kind = [trial for trial in plan.trials if trial.config.variant in ("ilr", "pure_competitive")]
    lines = [json.loads(line) for one in kind for line in (out / one.folder / "timing.jsonl").read_text().splitlines()]
    seen = [line for line in lines if (line["step"], line["stage"]) == (2, "sharing")]
    for trial in later.trials:
        assert earlier[trial.hash] != timings.known(later.trials)[trial.hash]
        found = {what: getattr(earlier[trial.hash], what)["sharing"] for what in ("tokens", "seconds", "prompts")}
        assert found in [
            {
                "tokens": line["tokens"] / 12,
                "seconds": line["cpu"] / line["tokens"],
                "prompts": line["longest_prompt"],
            }
            for line in seen
        ]


def as_a_sweep_would(
    monkeypatch: pytest.MonkeyPatch, out: Path, plan: Plan, failing: bool = False, **options: Any
) -> list[Job]:
    """The jobs of a sweep whose timing runs find that everything takes three tokens; nothing else is run."""
    jobs: list[Job] = []

    def run(self: WorkerPool, given: Sequence[Job], watch: object) -> dict[str, Failure]:
        jobs.extend(given)
        timed = [job for job in given if job.function is timings.run_timing_here]
        if failing:
            return {job.name: Failure("killed", None) for job in timed}
        for job in timed:
            (config,) = job.arguments
            stats = dict.fromkeys(("sharing", "analysis", "fusion", "ability", "ranking"), 3.0)
            timings.keep(config, timings.Timing(stats))
        return {}

    monkeypatch.setattr(WorkerPool, "run", run)
    assert run_sweep(plan, "micro", out, 1, "test", fresh=True, **options).failed == {}
    return jobs


def planned(out: Path) -> list[tuple[str, float]]:
    trials = json.loads((out / "plan.json").read_text())["trials"].values()
    return [(one["lengths"], one["tokens"]["sharing"]) for one in trials]


def test_a_sweep_of_micro_models_makes_the_timing_runs_that_are_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ILR_BENCH_CACHE", str(tmp_path))
    plan = plan_study("micro", ["ilr", "di_only"], overrides={"update.learning_rate": ("1e-4", "3e-4")})
    jobs = as_a_sweep_would(monkeypatch, tmp_path / "failing", plan, failing=True)
    assert {lengths for lengths, _ in planned(tmp_path / "failing")} == {"upper bounds"}
    timed = [job for job in jobs if job.function is timings.run_timing_here]
    assert [job.needs for job in timed] == [("A", "B")]
    as_a_sweep_would(monkeypatch, tmp_path / "out", plan)
    # Steps x questions x samples x agents x 3 tokens.
    assert planned(tmp_path / "out") == [("timed", 30 * 16 * 8 * 2 * 3)] * 4
    again = as_a_sweep_would(monkeypatch, tmp_path / "again", plan)
    assert timings.run_timing_here not in {job.function for job in again}
    assert planned(tmp_path / "again") == planned(tmp_path / "out")


def test_larger_models_and_clusters_are_not_timed_by_a_sweep(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ILR_BENCH_CACHE", str(tmp_path))
    trials = plan_study("micro", ["ilr"]).trials + tiny_plan(("./folder", "./other"), "ilr").trials
    assert len(timing_jobs(trials)) == len(timing_jobs(trials[:1])) == 1
    assert timing_jobs(trials[1:]) == []
    plan = plan_study("micro", ["ilr"])
    monkeypatch.setattr("ilr_bench.study.launch.pool.open_executor", lambda execution, out: Local(1, out / "logs"))
    jobs = as_a_sweep_would(monkeypatch, tmp_path / "out", plan, execution=Execution("ray"))
    assert timings.run_timing_here not in {job.function for job in jobs}
    assert planned(tmp_path / "out")[0][0] == "upper bounds"


def test_variants_of_one_kind_share_a_timing_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ILR_BENCH_CACHE", str(tmp_path))
    plan = plan_study("micro", ["ilr", "di_only", "pure_cooperative", "grpo", "pc_only", "grpo_matched"], seeds=[0, 1])
    stages = [config.discussion.stages for config in timings.unknown(plan.trials)]
    assert Counter(map(len, stages)) == {3: 1, 1: 1}


def test_the_command_prints_the_paper_in_gpu_hours_and_what_does_not_fit() -> None:
    ended = CliRunner().invoke(app, ["plan", "--profile", "paper", "--variants", "ilr", "--models", "group1"])
    assert ended.exit_code == DoesNotFitError.exit_status == 7
    assert "GPU-hours" in ended.stdout
    assert "does not fit here: " in ended.stdout
    assert "would be refused here" in ended.stderr


@pytest.mark.parametrize("force", [False, True])
def test_a_dry_run_of_what_does_not_fit_prints_all_of_it_and_ends_with_a_status_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, force: bool
) -> None:
    monkeypatch.setenv("ILR_BENCH_CACHE", str(tmp_path))  # nothing timed, and no models
    monkeypatch.setattr(forecast, "run_timings", lambda wanted: {})
    monkeypatch.setattr(show, "available_resources", lambda out: Resources(GIB // 2, (), 0))
    given = ["--variants", "grpo", "--out", str(tmp_path / "out"), "--dry-run", *(["--force"] if force else [])]
    for program, arguments in ((sweep.app, given), (app, ["train", *given[2:]])):
        ended = CliRunner().invoke(program, arguments)
        assert ended.exit_code == (0 if force else 7)
        assert "to be sampled" in ended.stdout
        assert "does not fit here: memory" in ended.stdout
        assert "does not fit here: disk" in ended.stdout
    assert not (tmp_path / "out").exists()


def test_the_command_speaks_json() -> None:
    ended = CliRunner().invoke(app, ["plan", "--variants", "ilr,grpo", "--seeds", "0,1", "--quick", "--json"])
    assert ended.exit_code == 0
    data = json.loads(ended.stdout)
    assert len(data["trials"]) == 4
    assert data["lengths"] == "upper bounds"


@pytest.mark.slow
def test_a_micro_study_samples_what_its_sweep_planned(tmp_path: Path) -> None:
    """The micro models on all their training questions; the steps are an epoch of 64 of them."""
    settings = {
        "questions.train": "64", "questions.validation": "20", "training.steps": "4", "training.validate_every": "2",
        "evaluation.limit": "20", "difficulty.shuffles": "1",
    }  # fmt: skip
    variants = ["grpo", "grpo_matched", "ilr", "agents_3", "twins"]
    plan = plan_study("micro", variants, overrides={key: (value,) for key, value in settings.items()})
    assert run_sweep(plan, "micro", tmp_path / "out", 2, "test").failed == {}
    assert_recorded(study_cost(plan, timings.known(plan.trials), 2), tmp_path / "out")
    get("costs").write(load(tmp_path / "out"), tmp_path, Settings())
    for row in json.loads((tmp_path / "costs.json").read_text())["rows"]:
        assert row["cells"]["token_error"]["value"] == pytest.approx(1, abs=TOLERANCE)
        assert row["cells"]["planned_cpu"]["value"] > 0
