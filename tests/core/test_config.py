"""A run as data: it survives JSON, knows its settings, and refuses what makes no sense in one line."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilr_bench.core.config import RunConfig, change, content_hash, from_dict, to_dict
from ilr_bench.core.errors import ConfigurationError
from ilr_bench.core.profiles import MICRO, PROFILES, profile
from ilr_bench.core.validation import validate


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_is_valid_and_survives_json(name: str) -> None:
    config = profile(name)
    assert validate(config) is config
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config


def test_an_unknown_profile_says_what_was_meant() -> None:
    with pytest.raises(ConfigurationError, match="did you mean micro"):
        profile("mikro")


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("seed", "7", 7),
        ("models", "B+A", ("B", "A")),
        ("update.learning_rate", "1e-5", 1e-5),
        ("interaction.rule", "coin", "coin"),
        ("interaction.cooperation_ratio", "0.2", 0.2),
        ("interaction.cooperation_ratio", "none", None),
        ("sampling.samples_per_agent", "8+19", (8, 19)),
        ("evaluation.limit", "20", 20),
        ("evaluation.limit", None, None),
        ("training.steps", 12.0, 12),
        ("discussion.stages", "sharing", ("sharing",)),
    ],
)
def test_a_setting_is_changed_by_its_dotted_key_from_text_or_value(key: str, text: object, value: object) -> None:
    index: object = change(MICRO, {key: text})
    for name in key.split("."):
        index = getattr(index, name)
    assert index == value
    assert type(index) is type(value)


def test_a_change_leaves_everything_else_and_the_original_alone() -> None:
    before = to_dict(MICRO)
    changed = to_dict(change(MICRO, {"training.steps": 3, "seed": 1}))
    assert to_dict(MICRO) == before
    changed["training"]["steps"], changed["seed"] = before["training"]["steps"], before["seed"]
    assert changed == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"interacton.rule": "coin"}, r"unknown setting interacton\.rule; did you mean interaction\.rule\?"),
        ({"zzz": 1}, "known settings: profile, variant"),
        ({"interaction": "coin"}, "unknown setting interaction"),
        ({"interaction.ability": "dice"}, r"interaction\.ability: 'dice' is none of 'static', 'online'"),
        ({"training.steps": "many"}, r"training\.steps: 'many' is not an integer"),
        ({"training.steps": 1.5}, r"training\.steps: 1\.5 is not an integer"),
        ({"update.learning_rate": "fast"}, r"update\.learning_rate: 'fast' is not a finite number"),
        ({"models": 3}, r"models: 3 is not a list; write it as a\+b"),
        ({"sampling.samples_per_agent": "8+x"}, r"sampling\.samples_per_agent: 'x' is not an integer"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        change(MICRO, changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "profile: missing; variant: missing; models: missing; pool: missing"),
        ({**to_dict(MICRO), "sampling": 3}, "sampling: 3 is not a group of settings"),
        ({**to_dict(MICRO), "sampling": {"sample": 3}}, r"did you mean sampling\.samples"),
        ([], "is not a group of settings"),
    ],
)
def test_a_damaged_configuration_file_is_refused(data: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        from_dict(data)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": []}, "models: at least one"),
        ({"models": "A"}, "two agents"),
        ({"discussion.stages": "sharing+fusion"}, r"discussion\.stages"),
        ({"discussion.stages": "sharing"}, r"discussion\.trained_turns"),
        ({"discussion.trained_turns": "all"}, "one dialogue per sample"),
        ({"discussion.dialogues_per_question": 3}, "must divide"),
        ({"discussion.dialogues_per_question": 0}, r"discussion\.dialogues_per_question: at least 1, not 0"),
        ({"sampling.samples_per_agent": "8+8+8"}, "one number per agent"),
        ({"sampling.samples_per_agent": "8"}, "one number per agent"),
        ({"sampling.samples_per_agent": "8+0"}, r"sampling\.samples_per_agent: at least 1, not 0"),
        ({"training.steps": -1}, r"training\.steps: at least 0, not -1"),
        ({"interaction.rule": "coin"}, r"interaction\.cooperation_ratio"),
        ({"interaction.cooperation_ratio": 1.2}, r"interaction\.cooperation_ratio: at most 1, not 1\.2"),
        ({"interaction.rule": "coin", "interaction.cooperation_ratio": "nan"}, "'nan' is not a finite number"),
        ({"interaction.cooperation_ratio": 0.5}, r"set interaction\.rule=coin"),
        ({"training.questions_per_step": 100_000}, r"larger than questions\.train"),
        ({"difficulty.batch_size": 1}, r"difficulty\.batch_size: at least 2, not 1"),
        ({"sampling.samples": 0}, r"sampling\.samples: at least 1, not 0"),
        ({"update.learning_rate": "0"}, r"update\.learning_rate: more than 0, not 0"),
        ({"reward.format_weight": "nan"}, r"reward\.format_weight: 'nan' is not a finite number"),
        ({"update.max_grad_norm": "inf"}, r"update\.max_grad_norm: 'inf' is not a finite number"),
        ({"evaluation.limit": 0}, r"evaluation\.limit: at least 1, not 0"),
        ({"questions.validation": 0}, r"questions\.validation: at least 1, not 0"),
        ({"advantages.baseline": "agents", "sampling.samples_per_agent": "8+4"}, "equally many samples"),
        ({"advantages.baseline": "agents", "sampling.match_tokens_of": "ilr"}, "equally many samples"),
        ({"sampling.samples": 1}, "group of one answer"),
        ({"sampling.samples_per_agent": "8+1"}, "group of one answer"),
    ],
)
def test_a_contradiction_names_the_setting_at_fault(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        validate(change(MICRO, changes))


def test_one_answer_may_be_sampled_where_its_group_is_no_baseline_or_nothing_is_learned() -> None:
    for changes in ({"advantages.baseline": "agents"}, {"training.steps": 0}):
        validate(change(MICRO, {"sampling.samples": 1, **changes}))


def test_agents_are_numbered_where_a_model_occurs_twice() -> None:
    assert change(MICRO, {"models": "A+B+A"}).agents == ("A.1", "B", "A.2")


def test_every_agent_samples_alike_unless_told_otherwise() -> None:
    assert [MICRO.samples_of(agent) for agent in (0, 1)] == [MICRO.sampling.samples] * 2
    assert change(MICRO, {"sampling.samples_per_agent": "3+5"}).samples_of(1) == 5


json_data = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=5), json_data, max_size=4))
def test_a_hash_depends_on_content_and_not_on_order(data: dict[str, object]) -> None:
    backwards = dict(reversed(data.items()))
    assert content_hash(backwards) == content_hash(data)
    assert content_hash({**data, "one more": 1}) != content_hash(data)
    assert len(content_hash(data)) == 12


def test_the_hash_of_known_data_never_moves() -> None:
    """Cached artifacts and finished trials are found by it."""
    assert content_hash({"b": [1, 2.5, None], "a": "ä"}) == "324d0f98e8e7"


@given(st.sampled_from([field.name for field in dataclasses.fields(RunConfig)]), json_data)
def test_any_json_in_any_place_is_taken_or_refused_and_never_crashes(name: str, value: object) -> None:
    try:
        config = validate(from_dict({**to_dict(MICRO), name: value}))
    except ConfigurationError:
        return
    assert from_dict(to_dict(config)) == config


@pytest.mark.parametrize(("text", "value"), [("true", True), ("False", False), (True, True)])
def test_switches_are_true_or_false(text: object, value: bool) -> None:
    changed = change(profile("micro"), {"update.gradient_checkpointing": text})
    assert changed.update.gradient_checkpointing is value
    with pytest.raises(ConfigurationError, match="neither true nor false"):
        change(profile("micro"), {"update.gradient_checkpointing": "maybe"})
