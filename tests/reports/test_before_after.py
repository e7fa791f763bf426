"""The table that a training ends with, and the page of a study of one run."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from synthetic_study import write_synthetic_study
from synthetic_training import add_training
from typer.testing import CliRunner

from ilr_bench.cli import app
from ilr_bench.storage.records import read_study, write_study
from ilr_bench.study import sweep
from reports import Settings, get
from reports.frames import load, narrowed
from reports.page import page
from reports.tables import before_after
from reports.tables.report import TableReport
from reports.tables.writer import Table


def made(folder: Path, variants: tuple[str, ...], name: str = "accuracy", seeds: tuple[int, ...] = (0,)) -> Table:
    report = get(name)
    assert isinstance(report, TableReport)
    return report.table(load(write_synthetic_study(folder, variants, seeds=seeds, questions=12)), Settings())


def rows(table: Table) -> dict[tuple[str, str], tuple[str, ...]]:
    return {texts[:2]: texts[2:] for texts in map(table.main.texts, table.main.lines)}


def test_every_agent_and_benchmark_has_the_numbers_of_table_1(tmp_path: Path) -> None:
    found, wide = rows(made(tmp_path, ("base", "ilr"))), made(tmp_path, ("base", "ilr"), "table1")
    assert list(found)[:7] == [
        ("A", name) for name in ("Avg", "short chain", "word problem", "two step", "long chain", "ood", "code")
    ]
    assert len(found) == 14
    titles = [column.title for column in wide.main.columns]
    cells = {texts[:2]: dict(zip(titles, texts[2:], strict=True)) for texts in map(wide.main.texts, wide.main.lines)}
    for (agent, benchmark), (before, after, gain) in found.items():
        assert before == cells[agent, "base"][benchmark]
        assert after == cells[agent, "ilr"][benchmark]
        assert before != after or gain.startswith("+0.0")
    for agent in ("A", "B"):
        assert found[agent, "Avg"][2] == cells[agent, "ilr"]["vs base"]


def test_only_the_headline_is_tested_and_the_others_have_intervals(tmp_path: Path) -> None:
    table = made(tmp_path, ("base", "ilr"))
    found = rows(table)
    assert " p" in found["A", "Avg"][2]
    assert re.fullmatch(r"[+-]\d+\.\d ±\d+\.\d", found["A", "ood"][2])
    assert table.facts["family"]["comparisons"] == 2
    assert any(note.startswith("Gain: difference of Avg") and "family of 2 comparisons" in note for note in table.notes)
    assert not any("Tokens" in note for note in table.notes)


def test_a_variant_without_its_untrained_models_has_accuracies_alone(tmp_path: Path) -> None:
    table = made(tmp_path, ("ilr",))
    assert table.main.head == ("Agent", "Benchmark", "Accuracy")
    assert table.main.texts(table.main.lines[0])[:2] == ("A", "Avg")
    assert any("No comparison" in note for note in table.notes)


def test_untrained_models_alone_have_the_table_too(tmp_path: Path) -> None:
    table = made(tmp_path, ("base",))
    assert table.main.head == ("Agent", "Benchmark", "Accuracy")
    assert len(table.main.lines) == 14


def test_copies_of_one_model_stand_under_their_own_names(tmp_path: Path) -> None:
    folder = write_synthetic_study(tmp_path, ("base", "ilr"), groups=[("A", "A")], seeds=(0,), questions=8)
    table = before_after.table(load(folder), Settings())
    assert {line.section for line in table.main.lines} == {"A.1", "A.2"}
    assert table.main.head[2:] == ("Before", "After", "Gain")


def test_several_variants_are_what_other_tables_are_for(tmp_path: Path) -> None:
    frames = load(write_synthetic_study(tmp_path, ("base", "grpo", "ilr"), seeds=(0,), questions=4))
    assert get("accuracy").applies(frames) == "2 variants, which other tables compare"
    only = [entry for entry in frames.study.trials if entry.variant in ("base", "grpo")]
    mine = narrowed(frames, only)
    assert set(mine.samples["variant"]) == set(mine.trials["variant"]) == {"base", "grpo"}
    assert get("accuracy").applies(mine) is None


def headings_without_content(text: str) -> list[str]:
    """Headings that another one of their own or a higher level follows at once, or the end of their section."""
    body = re.sub(r"<(script|style).*?</\1>", "", text, flags=re.DOTALL)
    body = re.sub(r"\s+|</?(article|div|summary|details|section)[^>]*>", " ", body)
    parts = re.split(r"<h([1-6])[^>]*>(.*?)</h\1>", body)[1:]
    found = [(int(parts[at]), parts[at + 1], parts[at + 2].strip()) for at in range(0, len(parts), 3)]
    following = [level for level, _, _ in found[1:]] + [0]
    return [
        title for (level, title, between), after in zip(found, following, strict=True) if not between and after <= level
    ]


@pytest.mark.parametrize("variants", [("ilr",), ("base",), ("base", "ilr"), ("infer_debate",)])
def test_the_page_of_one_run_has_a_table_and_no_empty_heading(tmp_path: Path, variants: tuple[str, ...]) -> None:
    folder = write_synthetic_study(tmp_path, variants, seeds=(0,), questions=4, steps=3)
    text = page.render(load(add_training(folder) if "ilr" in variants else folder), Settings())
    assert headings_without_content(text) == []
    assert ('id="accuracy"' in text) == (variants != ("infer_debate",))
    assert ('href="#dialogues"' in text) == ('<section id="dialogues">' in text) == ("ilr" in variants)
    assert ('href="#tables"' in text) == ('<section id="tables">' in text)


def test_an_empty_heading_is_found() -> None:
    assert headings_without_content("<h2>a</h2>\n<section><h3>b</h3></section><h2>c</h2><p>text</p>") == ["b"]


def test_training_ends_with_the_table_and_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = []

    def train(plan: sweep.Plan, profile: str, out: Path, *rest: object, **more: object) -> sweep.Outcome:
        planned.extend(entry.variant for entry in plan.entries)
        write_synthetic_study(out, ("base", "grpo", "ilr"), seeds=(0,), questions=6)
        study, keys = read_study(out), {entry.variant: entry.hash for entry in plan.entries}
        trials = tuple(replace(entry, hash=keys.get(entry.variant, entry.hash)) for entry in study.trials)
        write_study(out, replace(study, trials=trials))
        return sweep.Outcome({}, 1.0)

    monkeypatch.setattr(sweep, "run_sweep", train)
    ended = CliRunner().invoke(app, ["train", "--out", str(tmp_path / "one")])
    assert ended.exit_code == 0, ended.output
    assert planned == ["base", "ilr"]
    lines = ended.stdout.splitlines()
    assert lines[0].split() == ["Agent", "Benchmark", "Before", "After", "Gain"]
    assert len(lines) == 1 + 14 + 1  # the study's other variant is in the report, not in this table
    assert lines[-1] == f"report: {tmp_path / 'one' / 'reports' / 'report.html'}"
    assert (tmp_path / "one" / "reports" / "report.html").exists()
    table1 = json.loads((tmp_path / "one" / "reports" / "table1.json").read_text())
    assert {row["label"] for row in table1["rows"]} == {"base", "grpo", "ilr"}
