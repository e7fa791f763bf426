"""Settings are read from data or text alike, a plug-in's own as ours, and stay what they are once read."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from dataclasses import dataclass, field
from typing import Annotated, Literal

import pytest
from annotated_types import Lt
from hypothesis import given
from hypothesis import strategies as st

from ilr_bench.core import config as configuration
from ilr_bench.core.config import RunConfig, change, content_hash, from_dict, to_dict
from ilr_bench.core.errors import ConfigurationError
from ilr_bench.core.profiles import MICRO
from ilr_bench.core.settings import Count, Options, Share, hints, json_schema, keys, read
from ilr_bench.core.validation import validate


@dataclass(frozen=True)
class Inner:
    """A group within a plug-in's settings."""

    names: tuple[str, ...] = ()
    far: Annotated[float, Lt(10)] | None = None


@dataclass(frozen=True)
class Outer:
    """Settings of a plug-in."""

    width: Count
    kind: Literal["flat", "steep"] = "flat"
    on: bool = False
    share: Share = 0.5
    label: str = ""
    inner: Inner = field(default_factory=Inner)
    other: Inner | None = None

    def __post_init__(self) -> None:
        if self.kind == "steep" and not self.on:
            raise ValueError("a steep one must be on")


def test_text_and_data_give_the_same_settings() -> None:
    text = {
        "width": "3", "kind": "steep", "on": "true", "share": "1", "label": "7",
        "inner": {"names": "a+b", "far": "none"}, "other": {"names": "c", "far": "none"},
    }  # fmt: skip
    data = {
        "width": 3.0, "kind": "steep", "on": True, "share": 1, "label": 7, "inner": {"names": ["a", "b"], "far": None},
        "other": {"names": ["c"]},
    }  # fmt: skip
    wanted = Outer(3, "steep", True, 1.0, "7", Inner(("a", "b"), None), Inner(("c",)))
    assert read(Outer, {"width": 3, "other": "none"}) == Outer(3)
    assert read(Outer, text) == read(Outer, data) == wanted
    assert type(read(Outer, data).share) is float
    assert type(read(Outer, data).width) is int


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, r"^reward\.options\.width: missing$"),
        ({"width": 0}, r"^reward\.options\.width: at least 1, not 0$"),
        ({"width": 1, "share": "1.5"}, r"^reward\.options\.share: at most 1, not 1\.5$"),
        ({"width": 1, "inner": {"far": 10}}, r"^reward\.options\.inner\.far: less than 10, not 10$"),
        ({"width": 1, "inner": {"far": "nan"}}, r"^reward\.options\.inner\.far: 'nan' is not a finite number$"),
        ({"width": 1, "inner": {"name": "a"}}, r"^unknown setting reward\.options\.inner\.name; did you mean"),
        ({"width": 1, "inner": 3}, r"^reward\.options\.inner: 3 is not a group of settings$"),
        ({"width": 1, "kind": "steep"}, r"^reward\.options: a steep one must be on$"),
        ({"width": "a", "on": 2}, r"^reward\.options\.width: 'a' is not an integer; reward\.options\.on: 2 is nei"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_plug_ins_settings_is_named_in_one_line(data: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        read(Outer, data, "reward.options.")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", keys(RunConfig))
def test_no_number_of_a_configuration_takes_what_is_not_finite(key: str) -> None:
    group, _, leaf = key.rpartition(".")
    if "float" not in str(hints(hints(RunConfig)[group])[leaf] if group else hints(RunConfig)[leaf]):
        return
    for text in ("nan", "inf", "-inf", float("nan")):
        with pytest.raises(ConfigurationError, match=rf"^{key}: "):
            change(MICRO, {key: text})


def test_bounds_hold_for_configurations_that_nobody_has_read() -> None:
    by_hand = dataclasses.replace(MICRO, training=dataclasses.replace(MICRO.training, checkpoint_every=0))
    with pytest.raises(ConfigurationError, match=r"training\.checkpoint_every: at least 1, not 0"):
        validate(by_hand)


def test_a_configuration_is_frozen_hashable_picklable_and_replaceable() -> None:
    read_again = from_dict(to_dict(MICRO))
    assert len({read_again, MICRO}) == 1
    assert pickle.loads(pickle.dumps(read_again)) == MICRO
    assert dataclasses.replace(read_again, seed=5).seed == 5
    with pytest.raises(dataclasses.FrozenInstanceError):
        read_again.seed = 5  # type: ignore[misc]


scalars = st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()


@given(st.dictionaries(st.text(), scalars | st.lists(scalars)))
def test_options_are_values(data: dict[str, object]) -> None:
    options = Options(data)
    again = Options(json.loads(json.dumps(options)))
    assert pickle.loads(pickle.dumps(options)) == copy.deepcopy(options) == again == options
    assert hash(again) == hash(options)
    for refused in (lambda: options.update(a=1), lambda: options.pop("a", 0), lambda: options.__setitem__("a", 1)):
        with pytest.raises(TypeError, match="frozen"):
            refused()


def test_text_in_options_counts_as_the_number_that_it_is() -> None:
    assert Options({"a": "3", "b": "1e-5", "c": "true", "d": "a+b"}) == {"a": 3, "b": 1e-5, "c": True, "d": "a+b"}
    for wrong in (float("nan"), "Infinity", object()):
        with pytest.raises(ValueError, match="no plain JSON data"):
            Options({"a": wrong})


@dataclass(frozen=True)
class Plugged:
    """A group of settings with a plug-in."""

    kind: str = "plain"
    options: Options = field(default_factory=Options)


@dataclass(frozen=True)
class Run:
    """A configuration with such a group."""

    reward: Plugged = field(default_factory=Plugged)
    seed: int = 0


def test_options_nobody_sets_leave_hashes_alone_and_others_are_set_by_their_keys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(configuration, "RunConfig", Run)
    plain = to_dict(Run())  # type: ignore[arg-type]
    assert plain == {"reward": {"kind": "plain"}, "seed": 0}
    changed = change(Run(), {"reward.options.width": "3"})  # type: ignore[arg-type]
    assert changed == Run(Plugged(options=Options({"width": 3})))  # type: ignore[comparison-overlap]
    assert to_dict(changed)["reward"]["options"] == {"width": 3}
    assert from_dict(to_dict(changed)) == changed
    assert content_hash(to_dict(changed)) != content_hash(plain)
    for key in ("reward.option.width", "seed.width", "width"):
        with pytest.raises(ConfigurationError, match=f"unknown setting {key}"):
            change(Run(), {key: 3})  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"reward\.options: 3 is not a group of settings"):
        change(Run(), {"reward.options": 3})  # type: ignore[arg-type]


def test_the_schema_has_every_setting_with_its_text_bounds_and_choices() -> None:
    schema = json_schema(RunConfig)
    groups = schema["$defs"]
    described = groups["TrainingSettings"]["properties"]["steps"]
    assert described["minimum"] == 0
    assert described["description"].startswith("Joint steps; every agent")
    assert groups["UpdateSettings"]["properties"]["precision"]["enum"] == ["fp32", "bf16"]
    assert schema["additionalProperties"] is groups["TrainingSettings"]["additionalProperties"] is False
    for key in keys(RunConfig):
        group, _, leaf = key.rpartition(".")
        inside = groups[schema["properties"][group]["$ref"].split("/")[-1]] if group else schema
        assert leaf in inside["properties"]
    assert from_dict(to_dict(MICRO)) == MICRO  # the schema's reading of the class changes nothing for others
    with pytest.raises(ConfigurationError, match="unknown setting extra"):
        from_dict({**to_dict(MICRO), "extra": 1})
