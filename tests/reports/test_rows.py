"""Rows, columns, cells and gains from answers that are written out: who is counted, and against whom."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from told_answers import row_of, runs, told, trained

from ilr_bench.storage.records import JOINT
from reports.frames import StudyFrames
from reports.rows import PAPER_MATHS, Columns, TableRow, column_title, find_columns, find_rows, stem
from reports.statistics import estimates
from reports.statistics.estimates import SeedVariance
from reports.tables.accuracy import Accuracies
from reports.tables.averages import averages, model_of

# --- rows and columns -------------------------------------------------------------------------------------------------


def test_columns_stand_in_the_papers_order_by_kind_then_by_name() -> None:
    names = ["zebra", "mbpp_plus", "micro_code", "aime", "gsm8k", "gpqa_diamond", "mmlu_pro", "micro_ood", "humaneval"]
    names.append("a_stranger")
    found = find_columns(told({("base", "A", "A", 0): {name: [1] for name in names}}))
    assert found.maths == ("gsm8k", "aime", "micro_ood", "a_stranger", "zebra")
    assert found.code == ("humaneval", "mbpp_plus", "micro_code")
    assert found.other == ("gpqa_diamond", "mmlu_pro")
    assert found.all == (*found.maths, "Avg", *found.code, *found.other)
    assert found.headline == "Avg"
    assert (found.benchmarks("Avg"), found.benchmarks("aime")) == (found.maths, ("aime",))


def test_the_papers_columns_and_rows_stand_in_its_order() -> None:
    columns = ("gsm8k", "math500", "minerva", "olympiadbench", "aime")
    micro = ("micro_short_chain", "micro_word_problem", "micro_two_step", "micro_long_chain", "micro_ood")
    for names in (columns, micro):
        found = find_columns(told({("base", "A", "A", 0): {name: [1] for name in sorted(names)}}))
        assert found.maths == names
    variants = ("base", "grpo", "ppo", "grpo_matched", "di_only", "pc_only", "ilr", "a_variant_of_ours")
    rows = find_rows(told({(variant, "A", "A", 0): {"x": [1]} for variant in sorted(variants)}))
    assert tuple(row.variant for row in rows) == variants
    assert columns == PAPER_MATHS


def test_with_all_of_the_papers_columns_its_average_is_of_those_alone() -> None:
    four = told({("base", "A", "A", 0): {name: [1] for name in (*PAPER_MATHS[:4], "zebra")}})
    assert find_columns(four).maths == (*PAPER_MATHS[:4], "zebra")
    all_five = told({("base", "A", "A", 0): {name: [1] for name in (*PAPER_MATHS, "zebra")}})
    assert find_columns(all_five).maths == PAPER_MATHS
    assert find_columns(all_five).other == ("zebra",)
    stated = find_columns(replace(all_five, subjects={"zebra": "code", "aime": "general"}))
    assert (stated.code, stated.other) == (("zebra",), ("aime",))


def test_without_maths_the_first_column_is_what_comparisons_are_about() -> None:
    columns = Columns((), ("mbpp",), ("mmlu_pro",))
    assert (columns.all, columns.headline) == (("mbpp", "mmlu_pro"), "mbpp")
    assert Columns((), (), ("mmlu_pro",)).headline == "mmlu_pro"


def test_titles_and_stems() -> None:
    assert (column_title("micro_two_step"), column_title("gsm8k")) == ("two step", "gsm8k")
    assert (stem("coin interaction.cooperation_ratio=0.4"), stem("ilr")) == ("coin", "ilr")


def test_rows_stand_by_model_and_variant_with_their_seeds_in_order() -> None:
    answers = {}
    for variant in ("zebra", "ilr", "grpo", "base"):
        for seed in (1, 0):
            for agent in ("A", "B"):
                answers[variant, "A+B", agent, seed] = {"x": [seed, 1, 0]}
    rows = find_rows(told(answers))
    assert [(row.section, row.label) for row in rows] == [
        (section, variant) for section in "AB" for variant in ("base", "grpo", "ilr", "zebra")
    ]
    assert rows[1] == TableRow(
        "A", "grpo", "grpo", "A+B", "A", (0, 1), ("trials/grpo-A+B-0", "trials/grpo-A+B-1"), None, ()
    )
    chosen = find_rows(told(answers), ("ilr", "base"))
    assert [row.label for row in chosen] == ["ilr", "base"] * 2


def test_a_trial_without_answers_has_no_row_and_one_under_two_names_says_so() -> None:
    frames = told({("base", "A", "A", 0): {"x": [1]}, ("ilr", "A", "A", 0): {"x": [1]}, ("p", "A", "A", 0): {"x": [1]}})
    same = frames.trials.assign(folder=[name.replace("p-", "ilr-") for name in frames.trials["folder"]])
    silent = frames.samples[frames.samples["variant"] != "base"]
    rows = find_rows(replace(frames, trials=same), answers=silent)
    assert [(row.label, row.same_as) for row in rows] == [("ilr", None), ("p", "ilr")]


def test_equal_answers_in_two_groups_are_one_row_and_others_carry_their_group() -> None:
    base = {("base", group, "A", 0): {"x": [1, 0]} for group in ("A+B", "A+C")}
    ilr = {("ilr", group, "A", 0): {"x": [1, 0]} for group in ("A+B", "A+C")}
    rows = find_rows(told(base | ilr))
    assert [(row.label, row.models, row.also) for row in rows] == [
        ("base", "A+B", ("A+C",)), ("ilr (A+B)", "A+B", ()), ("ilr (A+C)", "A+C", ()),
    ]  # fmt: skip
    longer = told(base | {("base", "A+C", "A", 0): {"x": [1, 0, 1]}})
    assert len(find_rows(longer)) == 2


def test_equal_answers_of_other_variants_or_agents_are_rows_of_their_own() -> None:
    frames = told({("ilr", "A+B", "A", 0): {"x": [1, 0]}, ("grpo", "A+C", "A", 0): {"x": [1, 0]}})
    alike = replace(frames, samples=frames.samples.assign(completion="7"))
    assert [(row.label, row.also) for row in find_rows(alike)] == [("grpo", ()), ("ilr (A+B)", ())]
    twins = told({("ilr", "A+A", name, 0): {"x": [1, 0]} for name in ("A.1", "A.2")}, {"A.1": "A", "A.2": "A"})
    alike = replace(twins, samples=twins.samples.assign(completion="7"))
    assert [(row.agent, row.also) for row in find_rows(alike)] == [("A.1", ()), ("A.2", ())]


def test_a_group_without_an_untrained_row_joins_behind_those_that_have_one() -> None:
    rows = find_rows(told({("ilr", "A+C", "A", 0): {"x": [1]}, ("base", "A+B", "A", 0): {"x": [1]}}))
    assert [(row.label, row.models) for row in rows] == [("base", "A+B"), ("ilr (A+C)", "A+C")]
    later = {("ilr", "C+A", agent, 0): {"x": [1]} for agent in "CA"}
    rows = find_rows(told(later | {("base", "A+B", agent, 0): {"x": [1]} for agent in "AB"}))
    assert [row.section for row in rows] == ["A", "A", "B", "C"]


def test_twins_are_named_by_their_agent() -> None:
    answers = {("base", "A", "A", 0): {"x": [1]}, ("twins", "A+A", "A.1", 0): {"x": [1]}}
    frames = told(answers | {("twins", "A+A", "A.2", 0): {"x": [0]}}, {"A.1": "A", "A.2": "A"})
    rows = find_rows(frames)
    assert [row.label for row in rows] == ["base", "twins (A.1 in A+A)", "twins (A.2 in A+A)"]
    assert [model_of(frames, row) for row in rows] == ["A"] * 3
    pair = told({("base", "A+B", agent, 0): {"x": [1]} for agent in "AB"}, {"A": "x/a", "B": "y/b"})
    assert [model_of(pair, row) for row in find_rows(pair)] == ["x/a", "y/b"]


def test_what_all_agents_answer_together_is_a_section_of_its_own() -> None:
    answers = {("infer_single", "A+B", agent, 0): {"x": [1]} for agent in ("A", "B", JOINT)}
    rows = find_rows(told(answers))
    assert [(row.section, row.agent, row.label) for row in rows] == [
        ("A", "A", "infer_single"), ("B", "B", "infer_single"), (f"A+B, {JOINT}", JOINT, "infer_single"),
    ]  # fmt: skip


# --- cells ------------------------------------------------------------------------------------------------------------


def accuracies(frames: StudyFrames) -> Accuracies:
    return Accuracies(frames, find_columns(frames))


def test_a_cell_takes_the_runs_that_have_every_benchmark_of_its_column() -> None:
    frames = told(
        {
            ("ilr", "A", "A", 0): {"x": [1, 0], "y": [1, 1, 1, 0]},
            ("ilr", "A", "A", 1): {"x": [1, 1], "y": [0, 1, 1, 0]},
            ("ilr", "A", "A", 2): {"x": [0, 0]},
        }
    )
    (row,) = find_rows(frames)
    cell = accuracies(frames).cell(row, "Avg", None)
    assert cell is not None
    assert cell.seeds == (0, 1)
    assert cell.per_run == pytest.approx(((0.5 + 0.75) / 2, (1 + 0.5) / 2))
    assert cell.interval.mean == pytest.approx(np.mean(cell.per_run))
    assert (cell.interval.n, cell.interval.questions, cell.interval.seeds) == (12, 6, 2)
    assert cell.files == tuple(f"trials/ilr-A-{seed}/{name}.jsonl" for seed in (0, 1) for name in "xy")
    single = accuracies(frames).cell(row, "x", None)
    assert single is not None
    assert (single.seeds, single.interval.mean) == ((0, 1, 2), 0.5)


def test_questions_that_a_run_lacks_are_left_out_of_all() -> None:
    frames = told(
        {("ilr", "A", "A", 0): {"x": [1, 0, 1], "y": [1, 1]}, ("ilr", "A", "A", 1): {"x": [1, 1], "y": [0, 1]}}
    )
    (row,) = find_rows(frames)
    table = accuracies(frames).by_run(row, "Avg")
    assert table is not None
    assert table.columns.tolist() == [("x", "q0"), ("x", "q1"), ("y", "q0"), ("y", "q1")]
    assert table.to_numpy().tolist() == [[1, 0, 1, 1], [1, 1, 0, 1]]


def test_a_cell_without_answers_is_none() -> None:
    frames = told({("base", "A", "A", 0): {"x": [1], "y": [1]}, ("ilr", "A", "A", 0): {"x": [1]}})
    rows, found = find_rows(frames), accuracies(frames)
    ilr = row_of(rows, "ilr")
    assert found.cell(ilr, "y", None) is found.cell(ilr, "Avg", None) is found.by_run(ilr, "y") is None
    assert found.compare(ilr, row_of(rows, "base"), "y", None) is None
    assert found.compare(row_of(rows, "base"), ilr, "y", None) is None
    assert found.compare(ilr, row_of(rows, "base"), "x", None) is not None


def test_rows_without_a_common_run_or_question_are_not_compared() -> None:
    frames = told(
        {
            ("base", "A", "A", 0): {"x": [1], "y": [1]},
            ("ilr", "A", "A", 1): {"x": [1]},
            ("p", "A", "A", 0): {"y": [1]},
        }
    )
    rows, found = find_rows(frames), accuracies(frames)
    base, ilr, other = (row_of(rows, name) for name in ("base", "ilr", "p"))
    assert found.common(base, ilr, "x") is found.compare(base, ilr, "x", None) is None
    assert found.compare(ilr, other, "x", None) is None
    assert found.compare(base, other, "y", None) is not None


def test_the_variance_between_runs_is_pooled_over_trained_rows_that_differ() -> None:
    twin = {("q", "A+B", "A", key[3]): value for key, value in trained("p", (0.4, 0.7, 0.5), 2).items()}
    frames = told(
        trained("base", (0.5,), 9) | trained("ilr", (0.3, 0.5, 0.9), 1) | trained("p", (0.4, 0.7, 0.5), 2) | twin
    )
    rows, found = find_rows(frames), accuracies(frames)
    variances = [np.var([np.mean(run) for run in runs(rates, seed)], ddof=1) for rates, seed in
                 (((0.3, 0.5, 0.9), 1), ((0.4, 0.7, 0.5), 2))]  # fmt: skip
    pool = found.run_variance(rows, "Avg")
    assert pool is not None
    assert (pool.value, pool.df) == (pytest.approx(np.mean(variances)), 4)
    assert found.run_variance([row_of(rows, "base")], "Avg") is None


def test_two_runs_have_a_variance_and_rows_without_the_column_none() -> None:
    frames = told(trained("ilr", (0.3, 0.6), 1) | {("base", "A+B", "A", 0): {"y": [1]}})
    pool = accuracies(frames).run_variance(find_rows(frames), "x")
    assert pool is not None
    assert (pool.value, pool.df) == (pytest.approx(np.var([np.mean(run) for run in runs((0.3, 0.6), 1)], ddof=1)), 1)


def test_a_comparison_pairs_common_questions_and_runs() -> None:
    frames = told(
        {
            ("base", "A", "A", 0): {"x": [1, 0, 0, 1]}, ("base", "A", "A", 1): {"x": [1, 0, 0, 1]},
            ("ilr", "A", "A", 0): {"x": [1, 1, 0]}, ("ilr", "A", "A", 1): {"x": [0, 1, 1]},
            ("ilr", "A", "A", 2): {"x": [1, 1, 1]},
        }
    )  # fmt: skip
    rows, pool = find_rows(frames), SeedVariance(0.1, 7)
    ilr, base = row_of(rows, "ilr"), row_of(rows, "base")
    found = accuracies(frames).compare(ilr, base, "x", pool, with_own_runs=True)
    assert found is not None
    names = {"clusters": [0, 1, 2] * 2, "seeds": [0] * 3 + [1] * 3}
    sides = [1, 1, 0, 0, 1, 1], [1, 0, 0, 1, 0, 0]
    assert found.result == estimates.paired_difference(*sides, **names, runs=pool)
    assert found.own_runs_pvalue == estimates.paired_difference(*sides, **names).pvalue
    assert (found.row, found.against, found.column, found.runs) == (ilr, base, "x", pool)
    assert found.result.difference == pytest.approx(1 / 3)
    without = accuracies(frames).compare(ilr, base, "x", pool)
    assert without is not None
    assert without.own_runs_pvalue is None


# --- averages ---------------------------------------------------------------------------------------------------------


def test_gains_are_over_the_untrained_model_with_the_same_settings() -> None:
    gains = {"base": 0, "ilr": 1, "base temperature=2": 2, "ilr temperature=2": 4, "ilr steps=3": 5}
    answers = {(variant, "A", "A", 0): {"x": [1.0] * count + [0.0] * (5 - count)} for variant, count in gains.items()}
    alone = {("ilr", "A", "B", 0): {"x": [1, 1, 1, 0, 0]}, ("base", "A", "C", 0): {"x": [0, 0, 0, 0, 1]}}
    found = averages(told(answers | alone))
    assert {row.section for row in found.gains} == {"A"}
    assert found.headline == "Avg"
    assert {row.label: cell.interval.mean for row, cell in found.cells.items() if row.section == "A"} == {
        label: count / 5 for label, count in gains.items()
    }
    against = {row.label: (gain.against.label, gain.result.difference) for row, gain in found.gains.items()}
    assert against == {
        "ilr": ("base", pytest.approx(0.2)), "ilr temperature=2": ("base temperature=2", pytest.approx(0.4)),
        "ilr steps=3": ("base", 1.0),
    }  # fmt: skip


def test_averages_leave_out_what_repeats_another_rows_trials_and_pool_the_others() -> None:
    answers = {**trained("base", (0.5,), 1), **trained("ilr", (0.3, 0.5, 0.9), 2), **trained("p", (0.3, 0.5, 0.9), 2)}
    frames = told({**answers, **trained("grpo", (0.2, 0.4, 0.6), 3)})
    same = frames.trials.assign(folder=[name.replace("p-", "ilr-") if "/p-" in name else name for name in
                                        frames.trials["folder"]])  # fmt: skip
    found = averages(replace(frames, trials=same))
    assert [row.label for row in found.cells] == ["base", "grpo", "ilr"]
    assert [row.label for row in found.gains] == ["grpo", "ilr"]
    assert found.columns == find_columns(frames)
    pool = found.accuracies.run_variance(tuple(found.cells), "Avg")
    assert pool is not None
    assert {cell.runs for cell in found.cells.values()} == {gain.runs for gain in found.gains.values()} == {pool}
