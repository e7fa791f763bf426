"""References: `module:name` and `file.py:name`, wherever a registry looks up a name."""

from __future__ import annotations

import os
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from ilr_bench.core.errors import ConfigurationError
from ilr_bench.core.plugins import is_reference, label_of, located, short_label
from ilr_bench.core.registry import Registry, forget_references

NUMBERS: Registry[object] = Registry("number")
NUMBERS.add("one", 1)


def written(folder: Path, text: str, name: str = "mine.py") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_and_a_module_are_named_where_a_name_may_stand(tmp_path: Path) -> None:
    path = written(tmp_path, "from math import pi\nTWO = 2\n")
    assert NUMBERS.get(f"{path}:TWO") == 2
    assert f"{path}:TWO" in NUMBERS
    assert NUMBERS.get("math:pi") == 3.141592653589793
    assert NUMBERS.get("one") == 1
    assert "lm_eval:gsm8k" not in NUMBERS
    assert NUMBERS.names() == ("one",)


def test_a_file_that_changed_is_read_anew_when_asked_even_within_a_second(
    tmp_path: Path,
) -> None:
    path = written(tmp_path, "N = 1\n")
    assert NUMBERS.get(f"{path}:N") == 1
    times = path.stat()
    written(tmp_path, "N = 2\n")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert NUMBERS.get(f"{path}:N") == 1  # what runs is not changed under its feet
    forget_references()
    assert NUMBERS.get(f"{path}:N") == 2
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_file_defines_is_one_object_until_the_file_changes(tmp_path: Path) -> None:
    path = written(tmp_path, "from dataclasses import dataclass\n\n@dataclass(frozen=True)\nclass P:\n    x: int = 1\n")
    assert NUMBERS.get(f"{path}:P") is NUMBERS.get(f"{path}:P")


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        ("import nothing_of_that_name\n", "f", r"ModuleNotFoundError: No module named .* \(mine.py, line 1\)"),
        ("x = 1\nraise ValueError('no data\\nhere')\n", "f", r"ValueError: no data \(mine.py, line 2\)$"),
        ("import sys\nsys.exit(3)\n", "f", r"SystemExit: 3 \(mine.py, line 2\)"),
        ("def f(:\n", "f", "SyntaxError: invalid syntax"),
        ("def shorter():\n    pass\n", "shortr", r"mine.py defines no shortr; did you mean shorter\?"),
    ],
)
def test_whatever_is_wrong_with_a_file_is_one_line(tmp_path: Path, text: str, name: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as raised:
        NUMBERS.get(f"{written(tmp_path, text)}:{name}")
    assert str(raised.value).startswith(f"number {tmp_path}")
    assert "\n" not in str(raised.value)


def test_a_file_or_module_that_is_not_there_is_said() -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere/mine.py cannot be read .No such file"):
        NUMBERS.get("nowhere/mine.py:f")
    with pytest.raises(ConfigurationError, match=r"no module not_there; install it.*not_there/part.py:NAME"):
        NUMBERS.get("not_there.part:f")


def test_the_module_of_a_reference_is_known(tmp_path: Path) -> None:
    path = written(tmp_path, "def f(): ...\n")
    assert NUMBERS.plugin("math:pi") == "math"
    assert NUMBERS.plugin(f"{path}:f") == NUMBERS.get(f"{path}:f").__module__  # type: ignore[attr-defined]


def test_paths_become_absolute_and_stay_out_of_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert located("sub/mine.py:f") == f"{tmp_path}/sub/mine.py:f"
    assert located("chat+mine.py:STYLE") == f"chat+{tmp_path}/mine.py:STYLE"
    assert [located(name) for name in ("perception", "a.b:c", "meta/Llama-3")] == [
        "perception",
        "a.b:c",
        "meta/Llama-3",
    ]
    assert label_of(f"{tmp_path}/mine.py:f") == "mine.py:f"
    assert (short_label(f"{tmp_path}/mine.py:f"), short_label("a.b:c"), short_label("irt")) == ("f", "c", "irt")
    assert [is_reference(name) for name in ("mine.py:f", "a.b:c", "mine.py", "lm_eval:x", "a b:c", "x:")] == [
        True, True, False, False, False, False,
    ]  # fmt: skip


def announce(monkeypatch: pytest.MonkeyPatch, *points: tuple[str, str]) -> Registry[object]:
    found = [EntryPoint(name, value, "tests.group") for name, value in points]
    monkeypatch.setattr("ilr_bench.core.registry.entry_points", lambda group: found)
    entries: Registry[object] = Registry("entry", group="tests.group")
    entries.add("ours", 1)
    return entries


def test_a_broken_package_is_an_error_of_its_own_name_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, "raise RuntimeError('half installed')\n", "broken_entries.py")
    monkeypatch.syspath_prepend(tmp_path)
    entries = announce(monkeypatch, ("bad", "broken_entries:f"), ("good", "math:pi"))
    assert entries.names() == ("ours", "bad", "good")
    assert (entries.get("ours"), entries.get("good")) == (1, 3.141592653589793)
    with pytest.raises(ConfigurationError, match=r"entry 'bad' of .* cannot be loaded \(RuntimeError: half installed"):
        entries.get("bad")


def test_what_cannot_be_loaded_is_tried_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, f"open({str(tmp_path / 'tries')!r}, 'a').write('x')\n1 / 0\n", "slow_to_fail.py")
    monkeypatch.syspath_prepend(tmp_path)
    entries = announce(monkeypatch, ("bad", "slow_to_fail:f"), ("good", "math:pi"))
    assert list(entries.usable()) == ["ours", "good"]
    assert "ZeroDivisionError" in entries.broken()["bad"]
    assert entries.usable() == entries.usable()
    assert (tmp_path / "tries").read_text() == "x"


def test_a_name_that_is_taken_stays_with_its_first_owner_and_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, "raise RuntimeError\n", "broken_namesake.py")
    monkeypatch.syspath_prepend(tmp_path)
    entries = announce(monkeypatch, ("ours", "broken_namesake:f"), ("theirs", "math:pi"), ("theirs", "math:e"))
    assert (entries.get("ours"), entries.get("theirs")) == (1, 3.141592653589793)
    assert [line.split(" of ")[0] for line in entries.conflicts()] == ["entry 'ours'", "entry 'theirs'"]


def test_what_an_outside_name_stands_for_is_adapted(tmp_path: Path) -> None:
    def number(name: str, found: object) -> str:
        if not isinstance(found, int):
            raise ConfigurationError(f"{name} is no number")
        return f"{name}={found}"

    adapted: Registry[str] = Registry("number", adapt=number)
    path = written(tmp_path, "N = 1\nT = 'one'\n")
    assert adapted.get(f"{path}:N") == "N=1"
    with pytest.raises(ConfigurationError, match=r"mine.py:T: T is no number"):
        adapted.get(f"{path}:T")
