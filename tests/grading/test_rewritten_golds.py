"""Rewritten golds of the four maths sets: right forms are accepted and wrong twins refused, but for a promised few."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import pytest

SIMULATIONS = Path(__file__).parents[1] / "simulations"
MOST_REFUSED, MOST_ACCEPTED = 0.003, 0.001


@pytest.mark.data
@pytest.mark.parametrize("first", range(4))
def test_rewritten_golds_are_judged_as_promised(
    first: int, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    """A quarter of every tenth gold each; `python tests/simulations/verdicts.py` takes them all."""
    monkeypatch.syspath_prepend(SIMULATIONS)
    verdicts = importlib.import_module("verdicts")
    asked = verdicts.cases(10)[first::4]
    record_property("rows", len(asked))
    found = verdicts.by_us(asked)
    for right, most in ((True, MOST_REFUSED), (False, MOST_ACCEPTED)):
        judged = [(case, verdict) for case, verdict in zip(asked, found, strict=True) if case.right is right]
        failed = [case for case, verdict in judged if verdict is not right]
        assert len(judged) > 300
        assert len(failed) <= most * len(judged), failed


@pytest.mark.parametrize(
    ("gold", "kind", "right", "answer"),
    [
        (r"\frac{7}{3}", "mixed number", True, "2 1/3"),
        (r"-\frac{1}{6}", "repeating decimal", True, r"-0.1\overline{6}"),
        ("1,-2", "list as [a, b]", False, "[1, -2]"), ("(1,2)", "tuple swapped", False, "(2, 1)"),
        ("52_8", "another base", False, "52_9"), ("45600", "scientific notation", True, r"4.56 \times 10^{4}"),
        ("8 \\%", "p percent", True, "8 percent"), ("12", "p% too small", False, r"1.2\%"),
        ("x=5", "name left out", True, "5"), ("9", "last digit changed", False, "1"),
    ],
)  # fmt: skip
def test_rewritings_are_what_they_are_called(
    gold: str, kind: str, right: bool, answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(SIMULATIONS)
    made = {(one.kind, one.right): one.answer for one in importlib.import_module("rewritings").rewritings(gold)}
    assert made[kind, right] == answer
