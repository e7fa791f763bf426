"""What a study consists of, before anything runs."""

from dataclasses import replace

import pytest

from ilr_bench.core.config import RunConfig
from ilr_bench.core.errors import ConfigurationError
from ilr_bench.core.profiles import profile
from ilr_bench.models.catalogue import MODELS
from ilr_bench.study.plan import parse_overrides, plan_again, plan_study


def test_the_table_2_study_has_one_trial_per_variant_and_seed():
    plan = plan_study("micro", ["base", "grpo", "grpo_matched", "di_only", "pc_only", "ilr"], [("A", "B")], [0, 1, 2])
    assert len(plan.trials) == len(plan.entries) == 18
    assert len({trial.folder for trial in plan.trials}) == 18


def test_a_matched_trial_brings_the_one_it_matches_and_runs_after_it():
    plan = plan_study("micro", ["grpo_matched"])
    first, second = plan.trials
    assert (first.config.variant, second.config.variant) == ("ilr", "grpo_matched")
    assert second.dependency == first.hash


def test_the_hash_of_a_matched_trial_depends_on_the_trial_it_matches():
    plain = plan_study("micro", ["grpo_matched"]).trials[1]
    other = plan_study("micro", ["grpo_matched"], overrides={"sampling.max_analysis_tokens": ("32",)}).trials[1]
    assert plain.hash != other.hash


def test_variants_that_compute_the_same_run_once_under_both_names():
    plan = plan_study("micro", ["pure_cooperative", "cooperation_1.0", "pure_competitive", "cooperation_0.0"])
    assert len(plan.trials) == 2
    assert [entry.variant for entry in plan.entries] == [
        "pure_cooperative",
        "cooperation_1.0",
        "pure_competitive",
        "cooperation_0.0",
    ]
    assert plan.entries[0].folder == plan.entries[1].folder


def test_a_variant_that_trains_brings_its_models_as_they_were_asked_the_same():
    plan = plan_study("micro", ["agents_3"], overrides={"evaluation.limit": (7,)}, with_untrained=True)
    assert [entry.variant for entry in plan.entries] == ["base", "agents_3"]
    base, trained = (plan.by_hash(entry.hash).config for entry in plan.entries)
    assert base.models == trained.models == ("A", "B", "C")
    assert (base.training.steps, base.evaluation) == (0, trained.evaluation)
    assert base.evaluation.limit == 7


def test_the_untrained_models_of_a_training_are_the_trial_of_a_sweep():
    alone = plan_study("micro", ["ilr"], with_untrained=True)
    compared = plan_study("micro", ["base", "grpo", "ilr"])
    assert {trial.hash for trial in alone.trials} < {trial.hash for trial in compared.trials}


def test_a_whole_configuration_brings_its_models_too():
    config = plan_study("micro", ["coin"]).trials[0].config
    plan = plan_again(config, None, (), (0,), {}, with_untrained=True)
    assert [entry.variant for entry in plan.entries] == ["base", "coin"]
    assert plan.entries[1] == plan_study("micro", ["coin"]).entries[0]
    base = plan.by_hash(plan.entries[0].hash).config
    assert (base.training.steps, base.evaluation) == (0, config.evaluation)


def test_matched_tokens_are_no_concern_of_untrained_models():
    plan = plan_study("micro", ["grpo_matched"], with_untrained=True)
    assert [entry.variant for entry in plan.entries] == ["base", "ilr", "grpo_matched"]
    assert plan.by_hash(plan.entries[0].hash).dependency is None


@pytest.mark.parametrize("variant", ["base", "infer_debate"])
def test_what_trains_nothing_is_compared_with_nothing(variant):
    plan = plan_study("micro", [variant], with_untrained=True)
    assert [entry.variant for entry in plan.entries] == [variant]


def test_without_questions_afterwards_nothing_is_asked_before():
    plan = plan_study("micro", ["ilr"], overrides={"evaluation.benchmarks": ((),)}, with_untrained=True)
    assert [entry.variant for entry in plan.entries] == ["ilr"]


def test_a_setting_that_the_variant_fixes_is_refused_though_its_untrained_models_would_take_it():
    with pytest.raises(ConfigurationError, match="fixed by ilr"):
        plan_study("micro", ["ilr"], overrides={"interaction.rule": ("coin",)}, with_untrained=True)


def test_overrides_span_a_grid_whose_points_have_names_of_their_own():
    overrides = parse_overrides(["training.steps=10,20", "sampling.samples=4"])
    plan = plan_study("micro", ["ilr"], overrides=overrides)
    assert [trial.config.training.steps for trial in sorted(plan.trials, key=steps)] == [10, 20]
    assert {entry.variant for entry in plan.entries} == {"ilr training.steps=10", "ilr training.steps=20"}


def steps(trial):
    config: RunConfig = trial.config
    return config.training.steps


def test_an_override_that_every_variant_fixes_is_refused():
    with pytest.raises(ConfigurationError, match="fixed by base"):
        plan_study("micro", ["base"], overrides={"training.steps": ("5",)})


@pytest.mark.parametrize("text", ["training.steps", "=3", "training.steps="])
def test_an_override_without_key_or_value_is_refused(text):
    with pytest.raises(ConfigurationError, match="KEY=VALUE"):
        parse_overrides([text])


def test_an_unknown_variant_or_setting_says_what_was_meant():
    with pytest.raises(ConfigurationError, match="did you mean pure_cooperative"):
        plan_study("micro", ["pure_coperative"])
    with pytest.raises(ConfigurationError, match=r"did you mean training\.steps"):
        plan_study("micro", ["ilr"], overrides={"training.step": ("5",)})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"evaluation.benchmarks": ("micro_cod",)}, "unknown benchmark 'micro_cod'; did you mean micro_code"),
        ({"questions.source": ("gms8k",)}, "unknown question source 'gms8k'; did you mean gsm8k"),
        ({"prompt_style": ("chatt",)}, "unknown prompt style 'chatt'; did you mean chat"),
        ({"models": ("A+smolm2",)}, "unknown model 'smolm2'; did you mean smollm2"),
    ],
)
def test_a_name_that_a_trial_would_look_up_late_is_refused_before_anything_runs(settings, message):
    with pytest.raises(ConfigurationError, match=message):
        plan_study("micro", ["ilr"], overrides=settings)


@pytest.mark.parametrize(("variants", "seeds"), [([], [0]), (["ilr"], [])])
def test_a_study_of_nothing_is_refused(variants, seeds):
    with pytest.raises(ConfigurationError, match="nothing to run"):
        plan_study("micro", variants, seeds=seeds)


def test_longer_trials_start_first_so_that_workers_end_together():
    plan = plan_study("micro", ["base", "grpo", "ilr"])
    assert [trial.config.variant for trial in plan.trials] == ["ilr", "grpo", "base"]


def test_the_profile_default_needs_no_models():
    assert plan_study("micro", ["ilr"]).trials[0].config.models == profile("micro").models


def test_another_recipe_of_a_model_makes_another_trial(monkeypatch):
    before = plan_study("micro", ["ilr"]).trials[0].hash
    other = replace(MODELS.get("A"), fingerprint=lambda: "another recipe")
    monkeypatch.setitem(MODELS._entries, "A", other)
    assert plan_study("micro", ["ilr"]).trials[0].hash != before
