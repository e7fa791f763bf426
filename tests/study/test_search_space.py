"""What a search may choose, and what is refused before its first trial."""

from pathlib import Path

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilr_bench.core.config import change
from ilr_bench.core.errors import ConfigurationError, MissingInputError
from ilr_bench.core.profiles import MICRO
from ilr_bench.study.search import space as space_module
from ilr_bench.study.search.loop import SearchTrial
from ilr_bench.study.search.plan import (
    SearchOptions,
    check_apart,
    describe_search,
    optuna_study,
    parse_objectives,
    plan_search,
)
from ilr_bench.study.search.run import grid_command
from ilr_bench.study.search.space import SAMPLERS, SPACES, declared_space, examples, load_space, make_sampler
from ilr_bench.study.search.trials import TrialPlanner, check_space
from ilr_bench.tasks.benchmarks import BENCHMARKS, Benchmark, BenchmarkQuestion
from ilr_bench.tasks.sources import SOURCES

optuna.logging.set_verbosity(optuna.logging.WARNING)


def drawn(space, seed=0):
    return space.suggest(optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed)).ask())


def searched(space, tmp_path, variants=(), seeds=(0,), overrides=None, groups=(), **options):
    (tmp_path / "space.toml").write_text(space)
    asked = SearchOptions(str(tmp_path / "space.toml"), trials=4, **options)
    return plan_search(asked, "micro", variants, groups, seeds, overrides or {})


@given(st.integers(0, 200))
def test_values_lie_in_their_dimension_and_hold_its_type(seed):
    point = drawn(
        declared_space(
            "test",
            {
                "update.learning_rate": {"low": 1e-5, "high": 1e-3, "log": True},
                "interaction.cooperation_ratio": {"low": 0, "high": 1, "step": 0.2},
                "sampling.samples": {"low": 4, "high": 16, "step": 4},
                "training.questions_per_step": {"low": 2, "high": 9},
                "calibration.kind": {"choices": ["perception", "none"]},
            },
            MICRO,
        ),
        seed,
    )
    assert 1e-5 <= point["update.learning_rate"] <= 1e-3
    assert point["interaction.cooperation_ratio"] in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    assert point["sampling.samples"] in (4, 8, 12, 16)
    assert type(point["training.questions_per_step"]) is int
    assert point["calibration.kind"] in ("perception", "none")


@given(st.integers(0, 50))
def test_a_conditional_dimension_is_asked_for_only_where_it_counts(seed):
    space = declared_space(
        "test",
        {
            "variant": {"choices": ["ilr", "grpo", "di_only"]},
            "interaction.disagreement": {"choices": ["own", "any"], "when": {"variant": ["ilr", "di_only"]}},
        },
        MICRO,
    )
    point = drawn(space, seed)
    assert ("interaction.disagreement" in point) == (point["variant"] != "grpo")


@pytest.mark.parametrize(
    ("key", "entry", "message"),
    [
        ("update.learning_rat", {"low": 1, "high": 2}, "did you mean update.learning_rate"),
        ("update", {"low": 1, "high": 2}, "is a group of settings"),
        ("update", {"learning_rate": {"low": 1, "high": 2}}, 'in quotes: "update.learning_rate"'),
        ("update.learning_rate", {"low": 2, "high": 1}, "low 2 is above high 1"),
        ("update.learning_rate", {"low": 0, "high": 1, "log": True}, "starts above 0"),
        ("update.learning_rate", {"low": 0.1, "high": 1, "step": -1}, "step -1 is not above 0"),
        ("update.learning_rate", {"low": "a", "high": 1}, "low: 'a' is not a number"),
        ("update.learning_rate", {"low": 1}, "needs low and high, or choices"),
        ("update.learning_rate", {"min": 1, "max": 2}, "unknown max, min"),
        ("update.learning_rate", {"low": 1, "high": 2, "choices": [1]}, "choices have no low"),
        ("update.learning_rate", 3, "write {low"),
        ("sampling.samples", {"low": 1.5, "high": 4}, "low: 1.5 is not a whole number"),
        ("sampling.samples", {"choices": ["many"]}, "'many' is not an integer"),
        ("sampling.samples", {"choices": []}, "at least one value"),
        ("interaction.rule", {"low": 1, "high": 2}, "is no number"),
        ("interaction.rule", {"choices": ["irl"]}, "unknown interaction rule 'irl'; did you mean irt"),
        ("sampling.samples", {"choices": [4], "when": {"variant": "ilr"}}, "no dimension above it"),
        ("sampling.samples", {"choices": [4], "when": "ilr"}, "write `when` as"),
    ],
)
def test_a_dimension_that_cannot_be_is_named(key, entry, message):
    with pytest.raises(ConfigurationError, match=message) as caught:
        declared_space("mine.toml", {key: entry}, MICRO)
    assert f"--search mine.toml: {key}: " in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[space", "not a TOML file"),
        ("[spaces]\na = {}", r"write one table \[space\]"),
        ("[space]", r"write one table \[space\]"),
    ],
)
def test_a_file_that_declares_no_space_is_refused(text, message, tmp_path):
    with pytest.raises(ConfigurationError, match=message):
        searched(text, tmp_path)


def test_a_file_of_another_system_declares_the_same_space(tmp_path):
    text = '[space]\n"sampling.samples" = {choices = [4, 8]}\n'
    (tmp_path / "space.toml").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    (tmp_path / "plain.toml").write_text(text)
    marked, plain = (load_space(str(tmp_path / name), MICRO) for name in ("space.toml", "plain.toml"))
    assert marked.declaration == plain.declaration


LEARNING_RATE = '[space]\n"update.learning_rate" = {low = 1e-5, high = 1e-3, log = true}\n'


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (LEARNING_RATE, {}, "no variant: declare the dimension"),
        ('[space]\nvariant = {choices = ["ilr", "gpro"]}', {}, "did you mean grpo"),
        (
            '[space]\nvariant = {choices = ["ilr", "grpo"]}\n"calibration.kind" = {choices = ["none", "perception"]}',
            {},
            "the variant (grpo|ilr) fixes calibration.kind",
        ),
        ('[space]\n"evaluation.limit" = {low = 1, high = 5}', {"variants": ["ilr"]}, "runs no benchmark"),
        ('[space]\n"questions.train" = {low = 16, high = 32}', {"variants": ["ilr"]}, "incomparable"),
        ('[space]\nseed = {low = 0, high = 9}', {"variants": ["ilr"]}, "name the seeds by --seeds"),
        (LEARNING_RATE, {"variants": ["ilr"], "overrides": {"update.learning_rate": ("1",)}}, "leave it out of --set"),
        ('[space]\nvariant = {choices = ["ilr"]}', {"variants": ["ilr"]}, "leave it out of --variants"),
        (LEARNING_RATE, {"variants": ["ilr", "grpo"]}, "--variants: a search takes one"),
        (LEARNING_RATE, {"variants": ["ilr"], "groups": [("A", "B"), ("A", "C")]}, "--models: a search takes one"),
        (LEARNING_RATE, {"variants": ["ilr"], "overrides": {"sampling.samples": ("4", "8")}}, "takes one value"),
        (LEARNING_RATE, {"variants": ["ilr"], "overrides": {"training.validate_every": ("0",)}}, "validate_every"),
        (LEARNING_RATE, {"variants": ["ilr"], "sampler": "grid"}, "a grid needs no search"),
        (LEARNING_RATE, {"variants": ["ilr"], "sampler": "tpee"}, "did you mean tpe"),
        (LEARNING_RATE, {"variants": ["ilr"], "pruner": "median"}, "choose one of none, asha"),
        (LEARNING_RATE, {"variants": ["ilr"], "pruner": "asha", "objectives": ("accuracy", "tokens")}, "one objective"),
        (LEARNING_RATE, {"variants": ["ilr"], "pruner": "wilcoxon", "seeds": (0, 1)}, "more than 2 --seeds"),
        (LEARNING_RATE, {"variants": ["ilr"], "pruner": "asha", "overrides": {"training.steps": ("10",)}}, "lower it"),
        (LEARNING_RATE, {"variants": ["ilr"], "objectives": ("micro",)}, "can no longer be reported"),
        (LEARNING_RATE, {"variants": ["ilr"], "objectives": ("micro_code",)}, "can no longer be reported"),
        (LEARNING_RATE, {"variants": ["ilr"], "objectives": ("tokens",)}, "`accuracy` must be among them"),
        (LEARNING_RATE, {"variants": ["ilr"], "seeds": ()}, "--seeds"),
    ],
)  # fmt: skip
def test_a_search_that_cannot_be_is_refused_before_its_first_trial(text, options, message, tmp_path):
    with pytest.raises(ConfigurationError, match=message):
        searched(text, tmp_path, **options)


def test_the_space_that_comes_along_can_be_searched(tmp_path):
    assert examples() == ("example",)
    check_space(load_space("example", MICRO), TrialPlanner("micro", None, (), (0, 1), {}, MICRO))


def test_the_space_that_the_documentation_shows_can_be_searched(tmp_path):
    text = (Path(__file__).parents[2] / "docs" / "searching.md").read_text()
    shown = text.partition("```toml\n")[2].partition("```")[0]
    assert "interaction.cooperation_ratio" in describe_search(searched(shown, tmp_path))


def test_another_package_adds_a_space_as_a_function(monkeypatch):
    def mine(trial):
        return {"variant": "ilr", "sampling.samples": trial.suggest_int("samples", 2, 6, step=2)}

    monkeypatch.setitem(SPACES._entries, "mine", mine)
    SPACES.names()
    monkeypatch.setattr(SPACES, "_names", [*SPACES._names, "mine"])
    planned = plan_search(SearchOptions("mine", trials=4, round=2), "micro", [], [], [0], {})
    assert describe_search(planned).count("variant=ilr, sampling.samples=") == 2
    with pytest.raises(ConfigurationError, match="name a TOML file that declares a space, or one of: example, mine"):
        load_space("yours", MICRO)


def test_a_space_whose_function_asks_for_the_impossible_says_so(monkeypatch):
    monkeypatch.setitem(SPACES._entries, "wrong", lambda trial: {"sampling.samples": trial.suggest_int("n", 5, 1)})
    SPACES.names()
    monkeypatch.setattr(SPACES, "_names", [*SPACES._names, "wrong"])
    with pytest.raises(ConfigurationError, match="--search wrong: "):
        plan_search(SearchOptions("wrong", trials=4), "micro", ["ilr"], [], [0], {})


def test_the_points_of_a_search_run_no_benchmark_and_the_best_one_is_trained_afresh(tmp_path):
    planned = searched(LEARNING_RATE, tmp_path, ["ilr"], (0, 3), {"training.steps": ("20",)}, [("A", "C")])
    settings = {"update.learning_rate": 0.1 + 0.2}
    trials, needed = planned.planner.plan(settings)
    assert [trial.config.seed for trial in trials] == [0, 3]
    assert all(trial.config.evaluation.benchmarks == () for trial in trials)
    assert not needed
    search_trial = SearchTrial(7, settings, optuna_study(planned).ask())
    command = grid_command(planned, search_trial, tmp_path / "out", several=False)
    assert command == (
        "python -m ilr_bench.sweep --profile micro --variants ilr --models A,C --seeds 4,5,6 --set training.steps=20 "
        f"--set update.learning_rate=0.30000000000000004 --out {tmp_path}/out-best"
    )


def test_a_variant_that_matches_tokens_brings_the_trial_that_it_matches(tmp_path):
    planned = searched(LEARNING_RATE, tmp_path, ["grpo_matched"])
    [trial], [needed] = planned.planner.plan({"update.learning_rate": 1e-3})
    assert trial.dependency == needed.hash
    assert needed.config.variant == "ilr"
    assert needed.config.evaluation.benchmarks == ()


@pytest.fixture
def toy(monkeypatch):
    """A benchmark that holds one of the validation questions, worded with other spaces."""
    _, validation = SOURCES.get("micro").load(MICRO.questions.train, MICRO.questions.validation)
    rows = (
        BenchmarkQuestion("fresh", "What is new?", "1"),
        BenchmarkQuestion("seen", f"  {validation[3].text} ".replace(" ", "  "), "2"),
    )
    benchmark = Benchmark("toy", "Toy", "Toy.", "answer", "in-domain", lambda: rows, subject="maths")
    BENCHMARKS.names()
    monkeypatch.setitem(BENCHMARKS._entries, "toy", benchmark)
    monkeypatch.setattr(BENCHMARKS, "_names", [*BENCHMARKS._names, "toy"])


@pytest.mark.usefixtures("toy")
def test_a_benchmark_that_holds_validation_questions_is_refused(tmp_path):
    check_apart(MICRO)
    with pytest.raises(ConfigurationError, match=r"1 questions of the benchmark toy .*the first is seen"):
        searched(LEARNING_RATE, tmp_path, ["ilr"], overrides={"evaluation.benchmarks": ("micro_code+toy",)})


def test_a_benchmark_whose_data_are_missing_cannot_be_held_apart(monkeypatch):
    monkeypatch.delenv("ILR_BENCH_DATA", raising=False)
    with pytest.raises(MissingInputError, match="ILR_BENCH_DATA"):
        check_apart(change(MICRO, {"evaluation.benchmarks": "gsm8k"}))


def test_objectives_have_one_order():
    assert parse_objectives(["tokens", "accuracy"]) == ("accuracy", "tokens")
    assert parse_objectives(["accuracy"]) == ("accuracy",)


def test_every_sampler_of_optuna_is_known_by_its_name():
    assert {"tpe", "random", "nsgaii", "gp", "qmc", "cmaes"} <= set(SAMPLERS.names())
    for name in ("tpe", "random", "nsgaii"):
        assert type(make_sampler(name, 0, 2)).__name__.lower() == f"{name}sampler"
    with pytest.raises(ConfigurationError, match="one objective only"):
        make_sampler("cmaes", 0, 2)


def test_a_sampler_whose_package_is_missing_says_which(monkeypatch):
    monkeypatch.setattr(space_module, "find_spec", lambda name: None)
    with pytest.raises(MissingInputError, match="pip install cmaes"):
        make_sampler("cmaes", 0, 1)
