"""Every printed number leads back to its samples."""

from __future__ import annotations

import pytest
from synthetic_study import MATHS, write_synthetic_study
from typer.testing import CliRunner

from ilr_bench.cli import app
from ilr_bench.core.errors import ConfigurationError
from ilr_bench.storage.records import SampleRecord, Verdict, read
from reports import Settings, get
from reports.frames import StudyFrames, load
from reports.tables.printing import printed
from reports.tables.writer import NOTHING
from reports.why import explain, why

BENCHMARKS = (*MATHS[:2], "micro_code")


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> StudyFrames:
    """A study in which every table has rows, with two groups of models and an unfinished trial."""
    variants = ("base", "grpo", "ppo", "grpo_matched", "di_only", "pc_only", "ilr", "infer_single", "infer_idea3")
    groups = (("A", "B"), ("B", "C"))
    folder = tmp_path_factory.mktemp("study")
    return load(
        write_synthetic_study(
            folder,
            variants,
            groups=groups,
            seeds=(0, 1),
            questions=6,
            benchmarks=BENCHMARKS,
            steps=2,
            unfinished=[("ppo", 1)],
        )
    )


@pytest.mark.parametrize("name", ["table1", "table2", "table4", "variants"])
def test_every_cell_leads_to_files_that_exist(frames: StudyFrames, name: str) -> None:
    numbers = get(name).numbers(frames, Settings("holm"))
    table = printed(numbers, with_effects=True)
    for grid in (table.main, *table.details):
        for line in grid.lines:
            for column, value in zip(grid.columns, line.values, strict=True):
                lines = explain(numbers, table, f"{line.section}/{line.label}", column.title)
                assert lines[-1] == (NOTHING if value is None else value.text)
                assert lines[0].endswith(f": {lines[-1]}")
                if value is None or value.kind == "published":
                    assert "Records" not in lines
                    continue
                start, end = lines.index("Records"), lines.index("Unrounded, as in the table's JSON")
                files = [text.strip().partition(": ")[0].partition(" (")[0] for text in lines[start + 1 : end - 1]]
                found = [text for text in files if not text.startswith("and of ")]
                assert found
                assert all((frames.folder / text).is_file() for text in found)
                assert set(value.facts.get("files", found)) == set(found)


def test_account_names_samples_settings_versions_and_counts(frames: StudyFrames) -> None:
    text = "\n".join(why(frames, "table2", "A/ilr", "Avg", Settings()))
    row = next(
        row for row in get("table2").numbers(frames, Settings()).rows if (row.section, row.label) == ("A", "ilr")
    )
    for folder in row.folders:
        assert f"{folder}/eval/A/micro_short_chain.jsonl: 6 answers" in text
    samples = frames.samples
    mine = samples[(samples["variant"] == "ilr") & (samples["agent"] == "A") & (samples["benchmark"] == MATHS[0])]
    right = int((mine[mine["seed"] == 1]["verdict"] == Verdict.CORRECT).sum())
    index = row.folders[row.seeds.index(1)]
    counts = next(line for line in text.splitlines() if f"{index}/eval/A/{MATHS[0]}.jsonl: " in line)
    assert f"{right} correct" in counts
    assert "hashes of 6 prompts" in text
    assert "calibration.kind = perception (none)" in text
    assert "commit 000000000000, lock 111111111111, torch 2.13.0" in text


def test_runs_that_are_not_in_a_number_are_named(frames: StudyFrames) -> None:
    text = "\n".join(why(frames, "table1", "A/ppo", "Tokens (k)", Settings("holm")))
    assert "  seed 0: " in text
    assert "  not finished, so not in the number: ppo, A+B, seed 1" in text


def test_two_ways_to_name_a_row_and_a_column_lead_to_the_same_number(frames: StudyFrames) -> None:
    numbers = get("table1").numbers(frames, Settings())
    table = printed(numbers)
    by_name = explain(numbers, table, "A/grpo_matched", "tokens")
    assert by_name == explain(numbers, table, "A/grpo_matched", "Tokens (k)")
    by_label = explain(numbers, table, "B/ilr (B+C)", "avg")
    assert by_label[0].startswith("table1, B/ilr (B+C), Avg: ")


def test_what_a_cell_means_is_said_of_empty_ones_too(frames: StudyFrames) -> None:
    numbers = get("table2").numbers(frames, Settings("holm"))
    table = printed(numbers, with_effects=True)
    for row, column, reason in (
        ("A/base", "vs base", "is the reference itself"),
        ("A/base", "vs matched GRPO", "compared once, in the row grpo_matched under vs base"),
        ("A/grpo", "clipped", "nothing of the kind happened"),
        ("A/ilr", "changed", "Share of groups in which calibration changed an advantage"),
    ):
        assert any(reason in line for line in explain(numbers, table, row, column))


@pytest.mark.parametrize(
    ("table", "row", "column", "message"),
    [
        ("tabel2", "A/ilr", "Avg", "did you mean table2"),
        ("training_curves", "A/ilr", "Avg", "is no table .* known tables: accuracy, table1"),
        ("table2", "A/irl", "Avg", "did you mean 'A/ilr'"),
        ("table2", "B/ilr", "Avg", r"'B/ilr \(A\+B\)' or 'B/ilr \(B\+C\)'"),
        ("table2", "A/ilr", "Averages", "no number 'Averages'"),
    ],
)
def test_what_is_not_there_is_named(frames: StudyFrames, table: str, row: str, column: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        why(frames, table, row, column, Settings())


def test_a_difference_names_both_sides_files_its_test_and_its_correction(frames: StudyFrames) -> None:
    numbers = get("table2").numbers(frames, Settings("holm"))
    lines = explain(numbers, printed(numbers), "A/ilr", "vs base")
    item = next(item for item in numbers.family.counted if (item.row.section, item.row.label) == ("A", "ilr"))
    assert item.against.label == "base"
    assert "and of base" in lines
    for side in (item.row, item.against):
        assert any(line.startswith(f"  {side.folders[0]}/eval/A/{MATHS[0]}.jsonl: 6 answers") for line in lines)
    assert f"  test = {item.result.test}" in lines
    assert f"  pvalue = {item.result.pvalue:.9g}" in lines
    assert f"  pvalue_corrected = {item.adjusted:.9g}" in lines
    assert any("Holm's" in line for line in lines)


def test_prompts_and_sampling_seeds_are_those_of_the_record_files(frames: StudyFrames) -> None:
    lines = why(frames, "table2", "A/ilr", "code", Settings("holm"))
    row = next(
        row for row in get("table2").numbers(frames, Settings("holm")).rows if (row.section, row.label) == ("A", "ilr")
    )
    for index in row.folders:
        records = list(read(frames.folder / index / "eval/A/micro_code.jsonl", SampleRecord))
        prompts = sorted({record.prompt_hash for record in records})
        shown = f"hashes of {len(prompts)} prompts {prompts[0]} to {prompts[-1]}; sampling seed {records[0].seed}"
        assert {record.seed for record in records} == {records[0].seed}
        assert any(f"{index}/eval/A/micro_code.jsonl: " in line and line.endswith(shown) for line in lines)


def test_command_prints_the_account_and_refuses_in_one_line(frames: StudyFrames) -> None:
    found = CliRunner().invoke(app, ["why", str(frames.folder), "table4", "A/infer_idea3", "rounds"])
    assert found.exit_code == 0
    assert found.output.splitlines()[-1] == "3.0"
    refused = CliRunner().invoke(app, ["why", str(frames.folder), "table4", "A/ilr", "rounds"])
    assert refused.exit_code == 2
