"""Which runs a comparison is about where rows have different seeds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from synthetic_study import write_synthetic_study

from reports.frames import load
from reports.tables.comparison import Numbers, build
from reports.tables.footnotes import footnotes
from reports.tables.table2 import SPEC

VARIANTS = ("base", "grpo", "grpo_matched", "ilr")
UNEVEN = "Differences of rows with unequal seeds are those of the common ones"


def _table(folder: Path, unfinished: list[tuple[str, int]]) -> Numbers:
    return build(load(write_synthetic_study(folder, VARIANTS, questions=30, steps=1, unfinished=unfinished)), SPEC)


def _uneven(table: Numbers) -> list[str]:
    return [line for line in footnotes(table, {}, ()) if line.startswith(UNEVEN)]


def test_an_untrained_model_that_ran_once_is_no_training_run(tmp_path: Path) -> None:
    whole = _table(tmp_path / "whole", [])
    once = _table(tmp_path / "once", [("base", 1), ("base", 2)])
    assert once.family.method == whole.family.method == "max_t"
    pairs = list(zip(once.family.comparisons, whole.family.comparisons, strict=True))
    # The untrained model answers alike in every run, so nothing is lost.
    assert [one.adjusted for one, _ in pairs] == [all_of_it.adjusted for _, all_of_it in pairs]
    against = [item.adjusted for item in once.family.comparisons if item.against.label == "base"]
    assert np.max(against) < 0.05
    assert not _uneven(whole)
    assert f"{UNEVEN}; the permutation test takes all runs of both: A grpo vs base (0);" in _uneven(once)[0]


def test_foot_names_comparisons_of_rows_with_unequal_seeds(tmp_path: Path) -> None:
    table = _table(tmp_path / "uneven", [("grpo", 2)])
    assert _uneven(table) == [
        f"{UNEVEN}: A grpo vs base (0, 1); A grpo vs grpo_matched (0, 1); B grpo vs base (0, 1); "
        "B grpo vs grpo_matched (0, 1)."
    ]
