"""What a sweep writes down of itself, and what it leaves of an earlier one."""

import pytest

from ilr_bench.core.errors import ConfigurationError, IlrError, MissingInputError
from ilr_bench.evaluation.standalone import claim
from ilr_bench.storage.records import Study, write_study
from ilr_bench.storage.store import Artifacts
from ilr_bench.study import sweep
from ilr_bench.study.launch.scheduler import Failure
from ilr_bench.study.plan import plan_study
from ilr_bench.study.spec import ask
from ilr_bench.study.sweep import Outcome, expected, extended_study, finish, run_sweep, study_jobs


def study(*variants):
    return Study("micro", ask(None, variants=",".join(variants)).command(), plan_study("micro", variants).entries)


def test_another_command_adds_to_a_study_and_removes_nothing(tmp_path):
    write_study(tmp_path, study("ilr", "grpo"))
    both = extended_study(tmp_path, study("grpo", "base"))
    assert [entry.variant for entry in both.trials] == ["ilr", "grpo", "base"]
    assert both.command.count(" && ") == 1


def test_the_same_command_again_leaves_the_study_as_it_is(tmp_path):
    write_study(tmp_path, extended_study(tmp_path, study("ilr")))
    write_study(tmp_path, extended_study(tmp_path, study("ilr")))
    assert extended_study(tmp_path, study("ilr")) == study("ilr")


def test_the_recorded_command_names_what_changes_numbers_and_nothing_else():
    asked = ask(
        None, ["training.steps=5"], variants="ilr, grpo", models=["A,B", "A,C"], seeds="0,1", workers=4, log="wandb"
    )  # fmt: skip
    assert asked.command() == (
        "python -m ilr_bench.sweep --profile micro --variants ilr,grpo --models A,B --models A,C --seeds 0,1 "
        "--set training.steps=5 --out DIR"
    )


def test_a_folder_of_answers_is_not_taken_for_another_models(tmp_path):
    claim(tmp_path, {"model": "first", "temperature": 0.0})
    claim(tmp_path, {"model": "first", "temperature": 0.0})
    with pytest.raises(ConfigurationError, match="choose another --out"):
        claim(tmp_path, {"model": "second", "temperature": 0.0})


def test_missing_benchmark_data_are_found_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.delenv("ILR_BENCH_DATA", raising=False)
    plan = plan_study("micro", ["ilr"], overrides={"evaluation.benchmarks": ("gsm8k",)})
    with pytest.raises(MissingInputError, match="ILR_BENCH_DATA"):
        run_sweep(plan, "micro", tmp_path / "out", workers=1, command="test")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("statuses", "status"), [((5, 5), 5), ((3, None), 3), ((3, 5), 1), ((1,), 1)]
)  # fmt: skip
def test_a_sweep_ends_with_the_status_on_which_all_failures_agree(statuses, status, tmp_path, capsys):
    failed = {f"job {index}": Failure("it failed", value) for index, value in enumerate(statuses)}
    with pytest.raises(IlrError) as caught:
        finish(plan_study("micro", ["base"]), tmp_path, Outcome(failed, 0.0))
    assert caught.value.exit_status == status
    assert capsys.readouterr().err.count("it failed") == len(statuses)


def test_without_timings_units_of_trials_and_measurements_count_alike_and_models_do_not(tmp_path, monkeypatch):
    monkeypatch.setenv("ILR_BENCH_CACHE", str(tmp_path / "cache"))
    plan = plan_study("micro", ["base", "ilr"])
    jobs = study_jobs(plan, plan.trials, tmp_path, Artifacts(tmp_path / "artifacts"))
    found = expected(plan, plan.trials, jobs, 2, tmp_path)
    assert (found.is_timed, found.workers >= 1) == (False, True)
    assert {name: weight for name, weight in found.seconds.items() if weight != 1.0} == {"A": 0.0, "B": 0.0}
    assert len(found.seconds) == len(jobs)


def test_with_timings_trials_weigh_their_planned_seconds_and_other_work_their_mean(tmp_path, monkeypatch):
    plan = plan_study("micro", ["base", "ilr"])
    by_variant = {trial.config.variant: trial for trial in plan.trials}
    seconds = {by_variant["base"].folder: 20.0, by_variant["ilr"].folder: 300.0}
    monkeypatch.setattr(sweep, "seconds_left", lambda *given: seconds)
    jobs = study_jobs(plan, plan.trials, tmp_path, Artifacts(tmp_path / "artifacts"))
    found = expected(plan, plan.trials, jobs, 2, tmp_path)
    steps = by_variant["ilr"].config.training.steps
    assert found.is_timed
    assert found.seconds[by_variant["base"].folder] == 20 / 10
    assert found.seconds[by_variant["ilr"].folder] == 300 / (steps + 10)
    assert found.seconds[jobs[2].name] == pytest.approx(320 / (steps + 20))
