"""One registry behaviour for variants, benchmarks, models and the rest."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from ilr_bench.core.errors import ConfigurationError
from ilr_bench.core.registry import Registry


def test_entries_come_back_by_name_in_the_order_of_registration() -> None:
    numbers: Registry[int] = Registry("number")
    numbers.add("two", 2)
    numbers.add_lazy("one", lambda: 1)
    assert numbers.names() == ("two", "one")
    assert (numbers.get("two"), numbers.get("one")) == (2, 1)
    assert "two" in numbers
    assert "three" not in numbers


def test_a_lazy_entry_is_made_once_and_only_when_asked_for() -> None:
    made: list[str] = []
    entries: Registry[list[str]] = Registry("entry")
    entries.add_lazy("late", lambda: made.append("now") or made)
    assert entries.names() == ("late",)
    assert made == []
    assert entries.get("late") is entries.get("late") is made
    assert made == ["now"]


def test_a_miss_names_the_closest_entry_or_all_of_them() -> None:
    entries: Registry[int] = Registry("benchmark")
    entries.add("gsm8k", 1)
    entries.add("micro", 2)
    with pytest.raises(ConfigurationError, match=r"unknown benchmark 'gsm8'; did you mean gsm8k\?"):
        entries.get("gsm8")
    with pytest.raises(ConfigurationError, match="known: gsm8k, micro"):
        entries.get("zzz")


def test_a_name_belongs_to_one_entry() -> None:
    entries: Registry[object] = Registry("model")
    entry = object()
    assert entries.add("A", entry) is entries.add("A", entry)
    with pytest.raises(ConfigurationError, match="model 'A' is registered twice"):
        entries.add("A", object())
    with pytest.raises(ConfigurationError, match="model 'A' is registered twice"):
        entries.add_lazy("A", object)
    assert entries.names() == ("A",)


def test_modules_are_imported_when_the_first_entry_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = "entries_for_the_registry_test"
    (tmp_path / f"{module}.py").write_text("from tests_registry_target import ENTRIES\nENTRIES.add('x', 1)\n")
    entries: Registry[int] = Registry("entry", modules=(module,))
    target = type(sys)("tests_registry_target")
    target.__dict__["ENTRIES"] = entries
    monkeypatch.setitem(sys.modules, "tests_registry_target", target)
    monkeypatch.syspath_prepend(tmp_path)
    assert module not in sys.modules
    assert entries.get("x") == 1
    assert module in sys.modules


def test_the_module_of_an_entry_of_another_package_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("theirs", "json.decoder:JSONDecoder", "tests.group")
    monkeypatch.setattr("ilr_bench.core.registry.entry_points", lambda group: [point] if group == "tests.group" else [])
    entries: Registry[object] = Registry("entry", group="tests.group")
    entries.add("ours", object())
    assert (entries.plugin("theirs"), entries.plugin("ours"), entries.plugin("neither")) == ("json.decoder", None, None)
