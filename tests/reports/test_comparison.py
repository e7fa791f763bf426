"""Tables from answers that are written out: which rows are compared with which, and what they could have shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median

import pytest
from told_answers import row_of, runs, told

from reports.frames import StudyFrames
from reports.rows import TableRow, find_columns, find_rows
from reports.statistics import estimates
from reports.tables import comparison
from reports.tables.accuracy import Accuracies
from reports.tables.comparison import Numbers, Spec, build, missing

SPEC = Spec("t", "T", ("base", "grpo_matched"))


@pytest.fixture(scope="module")
def study() -> StudyFrames:
    """Two models, two groups; the second model's trained rows are worse than the first one's."""
    answers: dict[tuple[str, str, str, int], Mapping[str, Sequence[float]]] = {}
    for agent in ("A", "B"):
        for index, (variant, rate) in enumerate({"grpo_matched": 0.65, "ilr": 0.85, "grpo": 0.15}.items()):
            for seed, right in enumerate(runs((rate, rate + 0.1, rate - 0.1), 10 * index + (agent == "B"))):
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
    assert (numbers.family.method, numbers.family.critical is None) == ("max_t", False)
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
    upside_down = {
        (row, name): cell if name == "Avg" else replace(cell, interval=replace(cell.interval, mean=-cell.interval.mean))
        for (row, name), cell in ranked.cells.items()
    }
    assert comparison._best_first(ranked.rows, upside_down, "Avg") == ranked.rows


def test_a_detectable_difference_is_the_median_over_comparisons_of_its_column(study: StudyFrames) -> None:
    numbers = build(study, SPEC, "holm")
    assert numbers.family.critical is None
    found = {(item.column, item.reference): item for item in numbers.detectable}
    assert list(found) == [(column, name) for column in ("x", "Avg", "mbpp") for name in ("base", "grpo_matched")]
    for reference in ("base", "grpo_matched"):
        results = [item.result for item in numbers.family.comparisons if item.against.stem == reference]
        single = median(estimates.detectable_difference(result, 0.05, 0.8) for result in results)
        family = median(estimates.detectable_difference(result, 0.05 / 10, 0.8) for result in results)
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
    assert found.detectable[0].single == estimates.detectable_difference(result)


def test_a_table_is_about_the_answers_that_it_asks_for() -> None:
    answers = {("base", "A", "A", 0): {"x": [1, 0, 1]}, ("ilr", "A", "A", 0): {"x": [1, 1, 0]}}
    both = told(answers)
    for other in (replace(both, inference=both.samples.iloc[:0]), replace(both, inference=both.samples.iloc[:3])):
        assert {row.label for row, _ in build(other, SPEC).cells} == {"base", "ilr"}


def row(
    variant: str, models: str = "A+B", agent: str = "A", section: str = "A", also: tuple[str, ...] = ()
) -> TableRow:
    return TableRow(section, variant, variant, models, agent, (0,), (f"{variant} {models} {agent}",), None, also)


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
def test_the_reference_has_the_settings_the_group_and_the_place_of_its_row(
    asked: TableRow, expected: TableRow | None
) -> None:
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
