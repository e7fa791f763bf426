"""Rows, columns, cells and comparisons from answers that are written out: who is counted, and against whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
import pytest

from ilr_bench.records import JOINT, Study
from reports import comparison, statistics
from reports.accuracy import Accuracies
from reports.averages import averages, model_of
from reports.comparison import Numbers, Spec, build, missing
from reports.frames import StudyFrames
from reports.rows import PAPER_MATHS, Columns, Row, column_title, find_columns, find_rows, stem
from reports.statistics import SeedVariance

Told = Mapping[tuple[str, str, str, int], Mapping[str, Sequence[float]]]
"""(variant, group, agent, seed) -> benchmark -> whether each question was answered rightly."""


def told(answers: Told, models: Mapping[str, str] | None = None) -> StudyFrames:
    """A study of these answers; `models` are those behind agents of another name."""
    samples, trials = [], []
    for (variant, group, agent, seed), by_benchmark in answers.items():
        keys = {"variant": variant, "models": group, "agent": agent, "seed": seed}
        folder = f"trials/{variant}-{group}-{seed}"
        if agent != JOINT:
            trials.append({**keys, "model": (models or {}).get(agent, agent), "folder": folder})
        for name, right in by_benchmark.items():
            samples += [
                {
                    **keys, "benchmark": name, "question": f"q{place}", "sample": 0, "correct": float(value),
                    "completion": f"{variant} {group} {agent} {seed} {value}" if variant != "base" else f"{value}",
                    "file": f"{folder}/{name}.jsonl",
                }
                for place, value in enumerate(right)
            ]  # fmt: skip
    nothing = pd.DataFrame()
    study = Study("micro", "command", ())
    frame = pd.DataFrame(samples)
    return StudyFrames(Path(), study, pd.DataFrame(trials), nothing, frame, frame, {}, {}, ())


def row_of(rows: Sequence[Row], label: str, section: str = "A") -> Row:
    (found,) = [row for row in rows if (row.section, row.label) == (section, label)]
    return found


def runs(rates: Sequence[float], seed: int, questions: int = 30) -> list[list[float]]:
    rng = np.random.default_rng(seed)
    return [(rng.random(questions) < rate).astype(float).tolist() for rate in rates]


def trained(variant: str, rates: Sequence[float], seed: int, agent: str = "A", group: str = "A+B") -> Told:
    return {(variant, group, agent, place): {"x": right} for place, right in enumerate(runs(rates, seed))}


# --- rows and columns -------------------------------------------------------------------------------------------------


def test_columns_stand_in_the_papers_order_by_kind_then_by_name() -> None:
    names = ["zebra", "mbpp_plus", "micro_code", "aime", "gsm8k", "gpqa_diamond", "mmlu_pro", "micro_ood", "humaneval"]
    found = find_columns(told({("base", "A", "A", 0): {name: [1] for name in names}}))
    assert found.maths == ("gsm8k", "aime", "micro_ood", "zebra")
    assert found.code == ("humaneval", "mbpp_plus", "micro_code")
    assert found.other == ("gpqa_diamond", "mmlu_pro")
    assert found.all == (*found.maths, "Avg", *found.code, *found.other)
    assert found.headline == "Avg"
    assert (found.benchmarks("Avg"), found.benchmarks("aime")) == (found.maths, ("aime",))


def test_with_all_of_the_papers_columns_its_average_is_of_those_alone() -> None:
    four = told({("base", "A", "A", 0): {name: [1] for name in (*PAPER_MATHS[:4], "zebra")}})
    assert find_columns(four).maths == (*PAPER_MATHS[:4], "zebra")
    all_five = told({("base", "A", "A", 0): {name: [1] for name in (*PAPER_MATHS, "zebra")}})
    assert find_columns(all_five).maths == PAPER_MATHS
    assert find_columns(all_five).other == ("zebra",)
    assert find_columns(all_five, {"zebra": "code", "aime": "other"}).code == ("zebra",)


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
    assert rows[1] == Row("A", "grpo", "grpo", "A+B", "A", (0, 1), ("trials/grpo-A+B-0", "trials/grpo-A+B-1"), None, ())
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


def test_a_group_without_an_untrained_row_joins_behind_those_that_have_one() -> None:
    rows = find_rows(told({("ilr", "A+C", "A", 0): {"x": [1]}, ("base", "A+B", "A", 0): {"x": [1]}}))
    assert [(row.label, row.models) for row in rows] == [("base", "A+B"), ("ilr (A+C)", "A+C")]


def test_twins_are_named_by_their_agent_and_folders_only_where_names_meet() -> None:
    answers = {("base", "A", "A", 0): {"x": [1]}, ("twins", "A+A", "A.1", 0): {"x": [1]}}
    frames = told(answers | {("twins", "A+A", "A.2", 0): {"x": [0]}}, {"A.1": "A", "A.2": "A"})
    rows = find_rows(frames)
    assert [row.label for row in rows] == ["base", "twins (A.1 in A+A)", "twins (A.2 in A+A)"]
    assert [model_of(frames, row) for row in rows] == ["A"] * 3
    one = {("base", "A", "A", 0): {"x": [1]}, ("base", "B", "B", 0): {"x": [1]}}
    assert [row.section for row in find_rows(told(one, {"A": "x/a", "B": "y/b/"}))] == ["a", "b"]
    assert [row.section for row in find_rows(told(one, {"A": "x/a", "B": "y/a"}))] == ["x/a", "y/a"]


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
    assert found.result == statistics.paired_difference(*sides, **names, runs=pool)
    assert found.own_runs_pvalue == statistics.paired_difference(*sides, **names).pvalue
    assert (found.row, found.against, found.column, found.runs) == (ilr, base, "x", pool)
    assert found.result.difference == pytest.approx(1 / 3)
    without = accuracies(frames).compare(ilr, base, "x", pool)
    assert without is not None
    assert without.own_runs_pvalue is None


# --- averages ---------------------------------------------------------------------------------------------------------


def test_gains_are_over_the_untrained_model_with_the_same_settings() -> None:
    gains = {"base": 0, "ilr": 1, "base temperature=2": 2, "ilr temperature=2": 4, "ilr steps=3": 5}
    answers = {(variant, "A", "A", 0): {"x": [1.0] * count + [0.0] * (5 - count)} for variant, count in gains.items()}
    found = averages(told(answers | {("ilr", "A", "B", 0): {"x": [1, 1, 1, 0, 0]}}))
    assert found.headline == "Avg"
    assert {row.label: cell.interval.mean for row, cell in found.cells.items() if row.section == "A"} == {
        label: count / 5 for label, count in gains.items()
    }
    against = {row.label: (gain.against.label, gain.result.difference) for row, gain in found.gains.items()}
    assert against == {
        "ilr": ("base", pytest.approx(0.2)), "ilr temperature=2": ("base temperature=2", pytest.approx(0.4)),
        "ilr steps=3": ("base", 1.0),
    }  # fmt: skip


# --- tables -----------------------------------------------------------------------------------------------------------

SPEC = Spec("t", "T", ("base", "grpo_matched"))


@pytest.fixture(scope="module")
def study() -> StudyFrames:
    """Two models, two groups; the second model's trained rows are worse than the first one's."""
    answers: dict[tuple[str, str, str, int], Mapping[str, Sequence[float]]] = {}
    for agent in ("A", "B"):
        for place, (variant, rate) in enumerate({"grpo_matched": 0.65, "ilr": 0.85, "grpo": 0.15}.items()):
            for seed, right in enumerate(runs((rate, rate + 0.1, rate - 0.1), 10 * place + (agent == "B"))):
                answers[variant, "A+B", agent, seed] = {"x": right, "mbpp": right[:10]}
        for seed in range(3):
            right = runs((0.4,), 77)[0]
            answers["base", "A+B", agent, seed] = {"x": right, "mbpp": right[:10]}
    return told(answers)


def pairs(numbers: Numbers) -> list[tuple[str, str]]:
    return [(item.row.label, item.against.label) for item in numbers.family.comparisons if item.row.section == "A"]


def test_a_table_compares_every_row_with_each_reference_once(study: StudyFrames) -> None:
    numbers = build(study, SPEC)
    assert pairs(numbers) == [
        ("grpo", "base"), ("grpo", "grpo_matched"), ("grpo_matched", "base"), ("ilr", "base"), ("ilr", "grpo_matched")
    ]  # fmt: skip
    assert len(numbers.family.comparisons) == 10
    assert numbers.references == ("base", "grpo_matched")
    found = numbers.comparison(row_of(numbers.rows, "ilr", "B"), "base")
    assert found is not None
    assert (found.row.section, found.against.section, found.against.label) == ("B", "B", "base")
    assert numbers.comparison(row_of(numbers.rows, "base"), "base") is None
    other = build(study, Spec("t", "T", ("ilr", "grpo_matched", "nobody")))
    assert pairs(other) == [("base", "ilr"), ("base", "grpo_matched"), ("grpo", "ilr"), ("grpo", "grpo_matched"),
                            ("grpo_matched", "ilr")]  # fmt: skip
    assert other.references == ("ilr", "grpo_matched")


def test_two_references_are_compared_with_each_other_once(study: StudyFrames) -> None:
    swapped = build(study, Spec("t", "T", ("nobody", "ilr", "grpo_matched"), ("grpo_matched", "ilr")))
    assert pairs(swapped) == [("grpo_matched", "ilr")]


def test_cells_and_comparisons_pool_runs_over_all_variants_of_a_model(study: StudyFrames) -> None:
    numbers = build(study, Spec("t", "T", ("base",), ("base", "ilr")))
    everything = find_rows(study)
    columns = find_columns(study)
    known = Accuracies(study, columns)
    for section in "AB":
        for column in ("x", "Avg", "mbpp"):
            pool = known.run_variance([row for row in everything if row.section == section], column)
            row = row_of(numbers.rows, "ilr", section)
            assert numbers.cells[row, column].runs == pool
            if column == "Avg":
                found = numbers.comparison(row, "base")
                assert found is not None
                assert found.runs == pool
                assert found.own_runs_pvalue not in (None, found.result.pvalue)


def test_a_ranking_shows_the_headline_and_what_is_no_maths_best_first(study: StudyFrames) -> None:
    ranked = build(study, replace(SPEC, ranked=True))
    assert [row.label for row in ranked.rows if row.section == "A"] == ["ilr", "grpo_matched", "base", "grpo"]
    assert [row.section for row in ranked.rows] == ["A"] * 4 + ["B"] * 4
    assert ranked.shown == ("Avg", "mbpp")
    assert build(study, SPEC).shown == ("x", "Avg", "mbpp")
    empty = {key: cell for key, cell in ranked.cells.items() if key[0].label != "ilr"}
    last = comparison._best_first(ranked.rows, empty, "Avg")
    assert [row.label for row in last if row.section == "A"][-1] == "ilr"


def test_a_detectable_difference_is_the_median_over_comparisons_of_its_column(study: StudyFrames) -> None:
    numbers = build(study, SPEC, "holm")
    assert numbers.family.critical is None
    found = {(item.column, item.reference): item for item in numbers.detectable}
    assert list(found) == [(column, name) for column in ("x", "Avg", "mbpp") for name in ("base", "grpo_matched")]
    for reference in ("base", "grpo_matched"):
        results = [item.result for item in numbers.family.comparisons if item.against.stem == reference]
        single = median(statistics.detectable_difference(result, 0.05, 0.8) for result in results)
        family = median(statistics.detectable_difference(result, 0.05 / 10, 0.8) for result in results)
        assert found["Avg", reference].single == pytest.approx(single)
        assert found["Avg", reference].family == pytest.approx(family)
        assert found["Avg", reference].questions == 30
    assert (found["mbpp", "base"].questions, found["mbpp", "base"].family) == (10, None)
    assert found["mbpp", "base"].single is not None


def test_rows_that_answer_alike_say_nothing_about_what_could_be_seen() -> None:
    right = [1.0, 0.0, 1.0]
    frames = told({("base", "A", "A", 0): {"x": right}, ("ilr", "A", "A", 0): {"x": right}})
    (item,) = build(frames, Spec("t", "T", ("base",))).detectable[:1]
    assert (item.questions, item.single, item.family) == (3, None, None)
    mixed = told({("base", "A", "A", 0): {"x": right}, ("ilr", "A", "A", 0): {"x": right},
                  ("grpo", "A", "A", 0): {"x": [0.0, 1.0, 1.0]}})  # fmt: skip
    found = build(mixed, Spec("t", "T", ("base",)))
    (result,) = [one.result for one in found.family.comparisons if one.row.label == "grpo"]
    assert found.detectable[0].single == statistics.detectable_difference(result)


def row(variant: str, models: str = "A+B", agent: str = "A", section: str = "A", also: tuple[str, ...] = ()) -> Row:
    return Row(section, variant, variant, models, agent, (0,), (f"{variant} {models} {agent}",), None, also)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (row("ilr"), row("base")),
        (row("ilr", "A+C"), row("base", "A+C", also=("A+E",))),
        (row("ilr", "A+D"), row("base")),
        (row("ilr", "A+E"), row("base", "A+C", also=("A+E",))),
        (row("ilr t=1"), row("base t=1")),
        (row("ilr t=1", "A+C"), row("base t=1")),
        (row("ilr t=3"), row("base")),
        (row("ilr", agent="A.2"), row("base")),
        (row("ilr", "A+A", "A.2"), row("base", "A+A", "A.2")),
        (row("ilr", section="B"), None),
    ],
)
def test_the_reference_has_the_settings_the_group_and_the_place_of_its_row(asked: Row, expected: Row | None) -> None:
    rows = [
        row("base t=2"), row("base"), row("base", "A+C", also=("A+E",)), row("base t=1"), row("grpo", "A+C"),
        row("base", "A+A", "A.1"), row("base", "A+A", "A.2"),
    ]  # fmt: skip
    assert comparison._reference(asked, "base", rows) == expected


def test_settings_without_their_own_reference_take_the_plain_one_or_none() -> None:
    assert comparison._reference(row("ilr t=1"), "base", [row("base t=2")]) is None


def test_a_table_needs_two_rows_and_one_of_its_variants(study: StudyFrames) -> None:
    assert missing(study, SPEC, None) is None
    assert missing(study, SPEC, ("ilr", "nobody")) is None
    assert missing(study, SPEC, ("nobody", "none")) == "none of the variants nobody, none"
    narrow = replace(SPEC, variants=("ilr",))
    assert missing(study, narrow, ("ilr",)) == "one variant only (ilr): nothing to compare"
    assert missing(study, replace(SPEC, variants=("nobody",)), None) == "none of the variants nobody"
    empty = replace(study, samples=study.samples.iloc[:0])
    assert missing(empty, SPEC, None) == "none of the variants that are evaluated alone"
    assert missing(empty, replace(SPEC, inference=True), None) is None
    assert build(empty, replace(SPEC, inference=True)).cells.keys() == build(study, SPEC).cells.keys()
