"""`ilr-bench config`: a whole configuration that people read, that reads back as it was, and that editors can check."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import ablations
from ilr_bench.cli import app
from ilr_bench.cli.config import as_toml, study_schema
from ilr_bench.core.config import RunConfig
from ilr_bench.core.errors import ConfigurationError
from ilr_bench.core.profiles import MICRO, PROFILES
from ilr_bench.core.settings import keys
from ilr_bench.study.plan import Plan, PlannedTrial, plan_study
from ilr_bench.study.spec import StudySpec, ask, read_spec

SCHEMA = study_schema()


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == 0, done.output
    return done.stdout


def planned(profile: str, variant: str, **overrides: Any) -> Plan | None:
    """The plan of one variant; None where it does not apply to the profile."""
    try:
        return plan_study(profile, [variant], overrides=overrides)
    except ConfigurationError:
        return None


def printed(plan: Plan) -> str:
    trial = plan.by_hash(plan.entries[-1].hash)
    return as_toml(trial, None if trial.dependency is None else plan.by_hash(trial.dependency))


def fits(value: Any, schema: Mapping[str, Any]) -> bool:
    """Whether a value is what a JSON schema wants, for those words of it that are used here."""
    if "$ref" in schema:
        return fits(value, SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]])
    if "anyOf" in schema:
        return any(fits(value, part) for part in schema["anyOf"])
    if "const" in schema:
        return bool(value == schema["const"])
    if schema["type"] == "object":
        inner, more = schema.get("properties", {}), schema.get("additionalProperties", True)
        return isinstance(value, Mapping) and set(schema.get("required", ())) <= value.keys() and all(
            fits(part, inner[name]) if name in inner else more is True or (more and fits(part, more))
            for name, part in value.items()
        )  # fmt: skip
    if schema["type"] == "array":
        return isinstance(value, list) and len(value) >= schema.get("minItems", 0) and all(
            fits(part, schema["items"]) for part in value
        )  # fmt: skip
    types: Any = {"integer": int, "number": (int, float), "boolean": bool, "string": str}[schema["type"]]
    return (
        isinstance(value, types)
        and (schema["type"] == "boolean") == isinstance(value, bool)
        and value in schema.get("enum", [value])
        and ("minimum" not in schema or value >= schema["minimum"])
        and ("exclusiveMinimum" not in schema or value > schema["exclusiveMinimum"])
        and ("maximum" not in schema or value <= schema["maximum"])
    )


@pytest.mark.parametrize("profile", PROFILES)
def test_every_variant_of_every_profile_reads_back_as_it_was(profile: str, tmp_path: Path) -> None:
    path = tmp_path / "whole.toml"
    found = {name: planned(profile, name) for name in ablations.names()}
    assert sum(plan is not None for plan in found.values()) > 20
    for name, plan in found.items():
        if plan is not None:
            path.write_text(printed(plan), encoding="utf-8")
            assert ask(path).plan().trials == plan.trials, name
            assert read_spec(path)[0].profile == profile
            assert fits(tomllib.loads(path.read_text()), SCHEMA), name


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@settings(max_examples=40)
@given(
    st.fixed_dictionaries({}, optional={
        "thought_marks": text, "sampling.match_tokens_of": st.none(), "evaluation.limit": st.none() | st.integers(1),
        "update.learning_rate": st.floats(1e-300, 1e300), "update.beta": st.floats(0, 1e9),
        "update.gradient_checkpointing": st.booleans(), "seed": st.integers(),
        "models": st.lists(text, min_size=2, max_size=2), "sampling.samples_per_agent": st.just([3, 5]),
    })
)  # fmt: skip
def test_any_setting_reads_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, changes: dict[str, Any]) -> None:
    from ilr_bench.core.config import change

    trial = PlannedTrial(change(MICRO, changes), "", None)
    path = tmp_path_factory.mktemp("config") / "whole.toml"
    path.write_text(as_toml(trial), encoding="utf-8", newline="\n")
    assert read_spec(path)[0].config == trial.config


@pytest.mark.parametrize(
    ("definition", "field", "offered"),
    [
        ("CalibrationSettings", "kind", "perception"),
        ("RewardSettings", "kind", "judge"),
        ("InteractionSettings", "rule", "coin"),
        ("AdvantageSettings", "kind", "standardised"),
        ("DiscussionSettings", "stages", "analysis"),
        ("QuestionSettings", "source", "gsm8k"),
        ("EvaluationSettings", "benchmarks", "paper"),
        ("RunConfig", "prompt_style", "chat"),
        ("", "variants", "grpo_matched"),
        ("", "profile", "small"),
    ],
)
def test_the_schema_offers_the_names_that_are_known_and_takes_others(definition: str, field: str, offered: str) -> None:
    schema = (SCHEMA["$defs"][definition] if definition else SCHEMA)["properties"][field]
    leaf = schema.get("items", schema)
    known, anything = leaf["anyOf"]
    assert offered in known["enum"]
    assert anything == {"type": "string"}
    assert fits("mine.py:Own", leaf)
    assert not fits(3, leaf)


def test_what_is_printed_names_every_setting_with_its_meaning_and_bounds() -> None:
    shown = run("config", "--variant", "coin", "--set", "interaction.cooperation_ratio=0.2", "--seed", "4")
    data = tomllib.loads(shown)["config"]
    flat = {f"{group}.{key}" for group, part in data.items() if isinstance(part, dict) for key in part}
    assert flat | data.keys() >= set(keys(RunConfig))
    assert (data["seed"], data["variant"], data["interaction"]["cooperation_ratio"]) == (4, "coin", 0.2)
    assert "# Joint steps; every agent takes one batch of updates in each. 0 leaves" in shown
    assert 'limit = "none"  # at least 1, or none\n' in shown
    assert "cooperation_ratio = 0.2  # at least 0, at most 1, or none\n" in shown
    assert "learning_rate = 0.0001  # more than 0\n" in shown
    assert max(map(len, shown.splitlines())) <= 120


def test_a_trials_folder_is_printed_and_a_studys_file_where_it_is_of_one_trial(tmp_path: Path) -> None:
    study = tmp_path / "study.toml"
    study.write_text('variants = ["grpo"]\nseeds = [0, 1]\n[set]\ntraining.steps = 3\n', encoding="utf-8")
    done = CliRunner().invoke(app, ["config", str(study)])
    assert done.exit_code == 2
    assert "several trials, by seeds (2)" in done.stderr
    one = tomllib.loads(run("config", str(study), "--seed", "1"))["config"]
    assert (one["variant"], one["seed"], one["training"]["steps"]) == ("grpo", 1, 3)
    folder = tmp_path / "trials" / "grpo"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"hash": "", "config": one}), encoding="utf-8")
    assert tomllib.loads(run("config", str(folder)))["config"] == one


@pytest.mark.parametrize(
    ("study", "good"),
    [
        ('profile = "micro"\nvariants = ["ilr"]\nmodels = ["A", "B"]\nworkers = 2', True),
        ('models = [["A"], ["A", "C"]]\n[set]\ntraining.steps = 0\n[grid.update]\nlearning_rate = [1e-4, 1e-5]', True),
        ('[set.evaluation]\nlimit = "none"\nbenchmarks = ["a"]\n[grid.evaluation]\ntoken_limit = [3, "none"]', True),
        ("models = [1]", False),
        ("workers = 0", False),
        ("variant = 'ilr'", False),
        ("[set.training]\nsteps = -1", False),
        ("[set.training]\nstep = 1", False),
        ("[set]\nseed = 1", False),
        ("[grid.training]\nsteps = 3", False),
        ("[grid.training]\nsteps = [-3]", False),
        ("[set.update]\nprecision = 'fp8'", False),
    ],
)  # fmt: skip
def test_the_schema_takes_what_is_read_and_refuses_what_is_not(study: str, good: bool, tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text(study, encoding="utf-8")
    assert fits(tomllib.loads(study), SCHEMA) is good
    try:
        read_spec(path)
    except ConfigurationError:
        assert not good
    else:
        assert good


def test_the_schema_is_printed_with_what_fields_mean() -> None:
    shown = json.loads(run("config", "--schema"))
    assert shown == SCHEMA
    assert shown["properties"].keys() == StudySpec.__dataclass_fields__.keys()
    steps = shown["properties"]["set"]["properties"]["training"]
    assert "Joint steps" in shown["$defs"][steps["$ref"].rpartition("/")[2]]["properties"]["steps"]["description"]
    assert shown["properties"]["seeds"]["description"] == "Training seeds."
    assert '"null"' not in json.dumps(shown)
