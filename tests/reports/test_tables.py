"""Tables 1 and 4, the ranking, the paper's numbers, formats, and what `report` writes and leaves out."""

from __future__ import annotations

import csv
import errno
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from synthetic_study import MATHS, write_synthetic_study
from typer.testing import CliRunner

from ilr_bench.cli import app
from ilr_bench.core.errors import StoreError
from ilr_bench.storage.records import InferenceRecord, Verdict, read, read_study, write_study
from reports import Report, Settings, get
from reports.frames import StudyFrames, load
from reports.registry import REPORTS
from reports.rows import PAPER_MATHS, Columns, find_columns, find_rows
from reports.tables.comparison import Numbers, missing
from reports.tables.paper_numbers import published
from reports.tables.printing import printed
from reports.tables.report import RANKING
from reports.tables.writer import RENDERERS, Column, Grid, Line, Table, Value, latex, markdown, write_table

BENCHMARKS = (*MATHS[:2], "micro_code")


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> StudyFrames:
    """Two groups of models that share B; trained and untrained variants, and inference."""
    variants = ("base", "grpo", "grpo_matched", "ilr", "ppo", "infer_single", "infer_debate", "infer_idea3")
    folder = tmp_path_factory.mktemp("study")
    return load(
        write_synthetic_study(
            folder, variants, groups=(("A", "B"), ("B", "C")), seeds=(0, 1), questions=8, benchmarks=BENCHMARKS, steps=2
        )
    )


@pytest.fixture(scope="module")
def table1(frames: StudyFrames) -> Numbers:
    return get("table1").numbers(frames, Settings())


@pytest.fixture(scope="module")
def table4(frames: StudyFrames) -> Numbers:
    return get("table4").numbers(frames, Settings())


def test_table1_has_a_section_per_model_and_a_row_of_ilr_per_group(table1: Numbers) -> None:
    labels = [(row.section, row.label) for row in table1.rows]
    alone = ["base", "grpo", "ppo", "grpo_matched"]
    assert labels == [
        *(("A", name) for name in (*alone, "ilr")),
        *(("B", name) for name in (*alone, "ilr (A+B)", "ilr (B+C)")),
        *(("C", name) for name in (*alone, "ilr")),
    ]
    assert {row.also for row in table1.rows if row.section == "B" and row.stem == "base"} == {("B+C",)}


def test_rows_that_stand_for_several_groups_are_named_in_the_foot(table1: Numbers) -> None:
    notes = "\n".join(printed(table1).notes)
    assert "all answers are the same texts in A+B and B+C: B base, B grpo, B ppo, B grpo_matched." in notes


def test_rows_are_compared_with_the_reference_of_their_model(table1: Numbers) -> None:
    pairs = {(item.row.section, item.row.label, item.against.label) for item in table1.family.comparisons}
    assert ("B", "ilr (B+C)", "base") in pairs
    assert ("B", "ilr (B+C)", "grpo_matched") in pairs
    assert all(item.row.section == item.against.section for item in table1.family.comparisons)
    assert len(pairs) == 2 * 7 + 9


def test_table4_counts_rounds_and_tokens_of_every_agent_and_of_all_together(
    frames: StudyFrames, table4: Numbers
) -> None:
    table = printed(table4)
    assert [column.name for column in table.main.columns] == [
        *MATHS[:2], "Avg", "rounds", "tokens_per_answer", "vs infer_single",
    ]  # fmt: skip
    assert ("A+B, joint", "infer_idea3") in {(line.section, line.label) for line in table.main.lines}
    line = next(item for item in table.main.lines if (item.section, item.label) == ("A", "infer_debate"))
    values = dict(zip((column.name for column in table.main.columns), line.values, strict=True))
    records = [
        record
        for folder in line.facts["trials"]
        for record in read(frames.folder / folder / "inference.jsonl", InferenceRecord)
        if record.agent == "A"
    ]
    assert values["rounds"].value == sum(record.rounds for record in records) / len(records)
    assert values["tokens_per_answer"].value == pytest.approx(sum(record.tokens for record in records) / len(records))
    right = [record.verdict is Verdict.CORRECT for record in records]
    assert values["Avg"].value == pytest.approx(sum(right) / len(right))


def test_inference_and_solo_rows_keep_apart(table1: Numbers, table4: Numbers) -> None:
    assert {row.stem for row in table4.rows} == {"infer_single", "infer_debate", "infer_idea3"}
    assert not {row.stem for row in table1.rows} & {row.stem for row in table4.rows}


def test_ranking_stands_in_order_of_accuracy_within_a_model(frames: StudyFrames) -> None:
    numbers = get("variants").numbers(frames, Settings())
    for section in ("A", "B", "C"):
        means = [numbers.cells[row, "Avg"].interval.mean for row in numbers.rows if row.section == section]
        assert means == sorted(means, reverse=True)
    assert numbers.references == ("base", "ilr")


def test_a_row_has_the_same_interval_in_every_table(frames: StudyFrames, table1: Numbers) -> None:
    ranked = get("variants").numbers(frames, Settings())
    for row in table1.rows:
        assert ranked.cells[row, "Avg"].interval == table1.cells[row, "Avg"].interval


def test_tables_are_the_same_bytes_for_the_same_records(frames: StudyFrames, tmp_path: Path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    for folder in (first, second):
        get("table4").write(load(frames.folder), folder, Settings())
    for suffix in RENDERERS:
        assert (first / f"table4.{suffix}").read_bytes() == (second / f"table4.{suffix}").read_bytes()


def test_formats_hold_the_same_numbers(table4: Numbers, tmp_path: Path) -> None:
    table = printed(table4)
    write_table(table, tmp_path)
    data = json.loads((tmp_path / "table4.json").read_text())
    cells = {(row["model"], row["label"], name): cell for row in data["rows"] for name, cell in row["cells"].items()}
    with (tmp_path / "table4.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == len(cells)
    for line in lines:
        cell = cells[line["model"], line["variant"], line["column"]]
        assert float(line["value"]) == pytest.approx(cell["value"], rel=1e-5)
        assert line["kind"] == cell["kind"]
        assert cell["text"].replace("*", "\\*") in (tmp_path / "table4.md").read_text()
    assert (tmp_path / "table4.tex").read_text().count("\\midrule") == len({line["model"] for line in lines})


def test_hostile_names_break_neither_markdown_nor_latex() -> None:
    line = Line("a|b", "x_1 {50%} \\input & #~^$", (Value("1 ±2 *", "difference", marked=True), None))
    columns = (Column("c", "c|d"), Column("e", "e"))
    table = Table("t", "T. Title", "about", Grid("g", columns, (line,)), ("note * | 5 % <b>",))
    rows = [text for text in markdown(table).splitlines() if text.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", text)) for text in rows} == {5}
    assert "x\\_1 \\{50\\%\\} \\textbackslash{}input \\& \\#\\textasciitilde{}\\textasciicircum{}\\$" in latex(table)


def _columns(*others: str) -> Columns:
    return Columns(PAPER_MATHS, ("mbpp",), others)


@pytest.mark.parametrize(
    ("section", "group", "variant", "expected"),
    [
        ("Llama-3.1-8B-Instruct", "m/Llama-3.1-8B-Instruct+q/Qwen2.5-7B-Instruct", "ilr", 41.51),
        ("Qwen2.5-7B-Instruct", "m/Llama-3.1-8B-Instruct+q/Qwen2.5-7B-Instruct", "ilr", 54.44),
        ("Qwen2.5-7B-Instruct", "q/Qwen2.5-7B-Instruct+q/Qwen2.5-14B-Instruct", "ilr", 54.59),
        ("Qwen2.5-14B-Instruct", "q/Qwen2.5-7B-Instruct+q/Qwen2.5-14B-Instruct", "pc_only", 58.07),
        ("Qwen2.5-14B-Instruct", "q/Qwen2.5-14B-Instruct", "ppo", 58.27),
        ("Llama-3.1-8B-Instruct", "m/Llama-3.1-8B-Instruct+q/Qwen2.5-14B-Instruct", "ilr", None),
        ("A", "A+B", "ilr", None),
    ],
)
def test_papers_numbers_belong_to_model_variant_and_group(
    table1: Numbers, section: str, group: str, variant: str, expected: float | None
) -> None:
    row = replace(table1.rows[0], section=section, models=group, variant=variant)
    assert published(row, _columns("mmlu_pro")).get("Avg") == expected
    # Another mean under the same name would not be comparable.
    assert "Avg" not in published(row, Columns(PAPER_MATHS[:4], ()))


def test_papers_rows_stand_beside_ours_and_in_no_test(tmp_path: Path) -> None:
    models = ("x/Llama-3.1-8B-Instruct", "x/Qwen2.5-7B-Instruct")
    study = write_synthetic_study(
        tmp_path, ("base", "ilr"), models=models, seeds=(0,), questions=5, benchmarks=(*PAPER_MATHS, "mbpp"), steps=1
    )
    numbers = get("table1").numbers(load(study), Settings())
    table = printed(numbers)
    labels = [line.label for line in table.main.lines if line.section == "Llama-3.1-8B-Instruct"]
    assert labels == ["base", "base, the paper †", "ilr", "ilr, the paper †"]
    texts = {line.label: table.main.texts(line) for line in table.main.lines[:4]}
    assert texts["ilr, the paper †"][2:] == (
        "89.39 †", "55.80 †", "30.15 †", "22.22 †", "10.00 †", "41.51 †", "–", "–", "–",
    )  # fmt: skip
    assert table.notes[-1].startswith("† The paper's own numbers")
    assert len(numbers.family.comparisons) == 2


def test_average_of_the_paper_leaves_other_columns_beside_it(frames: StudyFrames) -> None:
    names = [*PAPER_MATHS, "mmlu_pro", "gpqa_diamond", "gsm_symbolic", "humaneval_plus"]
    found = find_columns(frames, answers=frames.samples.head(len(names)).assign(benchmark=names))
    assert found.maths == PAPER_MATHS
    assert found.code == ("humaneval_plus",)
    assert found.other == ("gpqa_diamond", "gsm_symbolic", "mmlu_pro")


def test_settings_of_a_sweep_find_their_own_reference(tmp_path: Path) -> None:
    study = write_synthetic_study(tmp_path, ("base", "grpo_matched"), seeds=(0,), questions=4, benchmarks=BENCHMARKS)
    asked = read_study(study)
    named = [
        replace(entry, variant=entry.variant.replace("grpo_matched", "grpo_matched training.steps=2"))
        for entry in asked.trials
    ]
    write_study(study, replace(asked, trials=tuple(named)))
    numbers = get("variants").numbers(load(study), Settings())
    assert {(item.row.variant, item.against.variant) for item in numbers.family.comparisons} == {
        ("grpo_matched training.steps=2", "base")
    }


def test_rows_of_agents_that_share_a_short_name_keep_their_folders(tmp_path: Path) -> None:
    models = ("x/tiny", "y/tiny")
    study = write_synthetic_study(tmp_path, ("base",), models=models, seeds=(0,), questions=3, benchmarks=BENCHMARKS)
    assert [row.section for row in find_rows(load(study))] == ["x/tiny", "y/tiny"]


def test_report_writes_what_applies_and_says_what_it_leaves_out(frames: StudyFrames, tmp_path: Path) -> None:
    out = tmp_path / "reports"
    found = CliRunner().invoke(app, ["report", str(frames.folder), "table1", "figure3", "--out", str(out)])
    assert found.exit_code == 0
    assert {path.name for path in out.iterdir()} == {f"table1.{suffix}" for suffix in RENDERERS}
    assert re.search(r"^figure3 left out: .+$", found.output, re.MULTILINE)


def test_values_of_one_setting_are_rows_that_can_be_compared(frames: StudyFrames) -> None:
    names = {"ilr": "coin interaction.cooperation_ratio=0.0", "grpo": "coin interaction.cooperation_ratio=0.4"}
    renamed = frames.samples.assign(variant=frames.samples["variant"].map(names)).dropna(subset="variant")
    assert missing(replace(frames, samples=renamed), RANKING, None) is None
    one = renamed[renamed["variant"] == names["ilr"]]
    assert "one variant only" in str(missing(replace(frames, samples=one), RANKING, None))


def test_report_of_nothing_trained_ends_well(tmp_path: Path) -> None:
    study = write_synthetic_study(
        tmp_path, ("infer_single", "infer_idea3"), seeds=(0, 1), questions=5, benchmarks=BENCHMARKS
    )
    found = CliRunner().invoke(app, ["report", str(study)])
    assert found.exit_code == 0, found.output
    assert (study / "reports" / "table4.md").exists()
    for name in ("table1", "table2", "variants", "training_curves", "figure3", "ranking"):
        assert f"{name} left out: " in found.output


def test_correction_is_what_was_asked_for(frames: StudyFrames, tmp_path: Path) -> None:
    arguments = ["report", str(frames.folder), "table4", "--out", str(tmp_path), "--correction", "bh"]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert "false discovery rate" in (tmp_path / "table4.md").read_text()


def test_unknown_report_and_full_disk_are_one_line(
    frames: StudyFrames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = CliRunner().invoke(app, ["report", str(frames.folder), "tabel1"])
    assert found.exit_code == 2
    assert "did you mean table1?" in found.output

    def full(path: Path, *arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("ilr_bench.storage.files.Path.replace", full)
    with pytest.raises(StoreError, match="the disk is full"):
        get("table1").write(frames, tmp_path, Settings())
    assert not list(tmp_path.iterdir())


def test_every_report_of_the_package_loads() -> None:
    for name in REPORTS.names():
        assert isinstance(get(name), Report)


def test_twins_are_compared_with_the_reference_in_their_own_place(tmp_path: Path) -> None:
    study = write_synthetic_study(
        tmp_path, ("base", "grpo_matched", "ilr"), models=("A", "A"), seeds=(0, 1), questions=8, benchmarks=BENCHMARKS
    )
    numbers = get("table2").numbers(load(study), Settings())
    trained = [row for row in numbers.rows if row.variant == "ilr"]
    assert [row.agent for row in trained] == ["A.1", "A.2"]
    for row in trained:
        comparison = numbers.comparison(row, "grpo_matched")
        assert comparison is not None
        assert comparison.against.agent == row.agent
