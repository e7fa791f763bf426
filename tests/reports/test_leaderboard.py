"""Studies side by side: comparable ones together, with what they cost and where they ran."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from synthetic_study import MATHS, write_synthetic_study
from typer.testing import CliRunner

from ilr_bench.cli import app
from ilr_bench.storage.store import Artifacts
from reports.compare.leaderboard import Entry, as_json, collect, comma_separated, markdown
from reports.frames import load

BENCHMARKS = MATHS[:2]
MACHINE = "Fast 9000, 2 cores, 8 GiB"


def timed(study: Path) -> Path:
    """Leaves timings as a trial does: 90 seconds each, the second half on another machine."""
    for trial in study.glob("trials/*"):
        lines = [
            {"step": 0, "stage": "total", "seconds": 60.0, "memory": 1, "machine": MACHINE},
            {"step": 1, "stage": "sharing", "seconds": 20.0, "tokens": 5},
            {"step": 1, "stage": "total", "seconds": 30.0, "memory": 1, "machine": "Slow 1, 1 cores, 2 GiB"},
        ]
        (trial / "timing.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return study


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Two studies that share a trial, and one with other questions."""
    root = tmp_path_factory.mktemp("studies")
    options = {"seeds": (0, 1), "steps": 1, "benchmarks": BENCHMARKS}
    first = timed(write_synthetic_study(root / "first", ("base", "grpo"), questions=12, **options))
    second = write_synthetic_study(root / "second", ("base", "ilr"), questions=12, **options)
    other = write_synthetic_study(root / "other", ("base", "ilr"), questions=8, **options)
    return first, second, other


@pytest.fixture(scope="module")
def entries(studies: tuple[Path, Path, Path]) -> tuple[Entry, ...]:
    return collect([load(folder) for folder in studies])


def test_shared_trials_are_listed_once_and_questions_kept_apart(entries: tuple[Entry, ...]) -> None:
    assert [len([item for item in entries if item.exam.questions == count]) for count in (24, 16)] == [6, 4]
    base = next(item for item in entries if (item.variant, item.model, item.exam.questions) == ("base", "A", 24))
    assert base.studies == ("first", "second")
    first = [item.mean for item in entries if item.exam == entries[0].exam]
    assert first == sorted(first, reverse=True)
    assert len({item.exam for item in entries}) == 2


def test_two_versions_of_one_benchmark_are_never_in_one_table(
    studies: tuple[Path, Path, Path], entries: tuple[Entry, ...], tmp_path: Path
) -> None:
    copies = [shutil.copytree(studies[0], tmp_path / "one"), shutil.copytree(studies[1], tmp_path / "two")]
    for gold, study in zip(("3", "4"), copies, strict=True):
        artifacts = Artifacts(study / "artifacts")
        rows = {f"benchmark {BENCHMARKS[0]}": {"q0": gold}, f"benchmark {BENCHMARKS[1]}": {"q0": "1"}}
        name = artifacts.get({"kind": "inputs", "training": {}, "evaluation": rows}, lambda folder: None).name
        for path in study.glob("trials/*/result.json"):
            path.write_text(json.dumps(json.loads(path.read_text()) | {"inputs": name}))
    apart = collect([load(folder) for folder in copies])
    assert len({entry.exam for entry in apart}) == 2
    assert all(len(entry.studies) == 1 for entry in apart)
    same = collect([load(folder) for folder in (copies[0], shutil.copytree(copies[0], tmp_path / "three"))])
    assert {entry.exam for entry in same} == {entries[0].exam}  # one version: the key of a study that notes none


def test_entries_hold_tokens_time_machines_and_commits(entries: tuple[Entry, ...]) -> None:
    grpo = next(item for item in entries if (item.variant, item.model) == ("grpo", "A"))
    assert grpo.sampled_tokens == pytest.approx(210_450)
    assert grpo.seconds == pytest.approx(90)
    assert grpo.machines == (MACHINE, "Slow 1, 1 cores, 2 GiB")
    assert grpo.commits == ("0" * 12,)
    assert grpo.low < grpo.mean < grpo.high
    ilr = next(item for item in entries if item.variant == "ilr")
    assert (ilr.seconds, ilr.machines) == (None, ())


def test_formats_hold_the_same_entries(entries: tuple[Entry, ...]) -> None:
    text = markdown(entries)
    assert text.count("\n| base ") + text.count("\n| grpo ") + text.count("\n| ilr ") == len(entries)
    assert "averages of two cannot be compared" in text
    rows = list(csv.DictReader(comma_separated(entries).splitlines()))
    data = json.loads(as_json(entries))
    assert [float(row["mean"]) for row in rows] == pytest.approx([item["mean"] for item in data], rel=1e-5)
    assert {row["questions"] for row in rows} == {"24", "16"}


def test_command_leaves_out_what_is_no_study_and_writes_the_file(
    studies: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "board.csv"
    found = CliRunner().invoke(app, ["leaderboard", *map(str, studies), str(tmp_path), "--out", str(out)])
    assert found.exit_code == 0
    assert "left out: " in found.output
    assert len(out.read_text().splitlines()) == 11
    assert CliRunner().invoke(app, ["leaderboard", str(tmp_path)]).exit_code == 4
    refused = CliRunner().invoke(app, ["leaderboard", str(studies[0]), "--out", str(tmp_path / "board.txt")])
    assert refused.exit_code == 2
    assert "ends in .md, .csv, .json" in refused.output


def test_copies_of_one_model_have_an_entry_each(tmp_path: Path) -> None:
    study = write_synthetic_study(tmp_path, ("twins",), seeds=(0,), questions=4, benchmarks=BENCHMARKS, steps=1)
    assert sorted(item.agent for item in collect([load(study)])) == ["A.1", "A.2"]


def test_studies_of_one_name_are_told_apart_by_their_paths(tmp_path: Path) -> None:
    options = {"seeds": (0,), "questions": 4, "benchmarks": BENCHMARKS, "steps": 1}
    one = write_synthetic_study(tmp_path / "one" / "table2", ("base",), **options)
    other = write_synthetic_study(tmp_path / "other" / "table2", ("base", "ilr"), **options)
    found = collect([load(one), load(other)])
    assert {item.variant: item.studies for item in found} == {
        "base": ("one/table2", "other/table2"),
        "ilr": ("other/table2",),
    }
    assert {item.studies for item in collect([load(one), load(one)])} == {("table2",)}


def test_other_limits_of_answers_are_another_exam(tmp_path: Path) -> None:
    options = {"seeds": (0,), "questions": 4, "benchmarks": BENCHMARKS, "steps": 1}
    plain = load(write_synthetic_study(tmp_path, ("base",), **options))
    short = dataclasses.replace(
        plain,
        configs={
            index: dataclasses.replace(config, evaluation=dataclasses.replace(config.evaluation, token_limit=5))
            for index, config in plain.configs.items()
        },
        trials=plain.trials.assign(hash="other"),
    )
    text = markdown(collect([plain, short]))
    assert "averages of two cannot be compared" in text
    assert text.count(", at most 5") == 1


def test_unfinished_and_unreadable_studies_are_named(studies: tuple[Path, Path, Path], tmp_path: Path) -> None:
    options = {"seeds": (0, 1), "questions": 4, "benchmarks": BENCHMARKS, "steps": 1}
    part = write_synthetic_study(tmp_path / "part", ("base", "ilr"), unfinished=[("ilr", 1)], **options)
    old = write_synthetic_study(tmp_path / "old", ("base",), **options)
    config = next(old.glob("trials/*/config.json"))
    config.write_text(config.read_text().replace('"profile"', '"forgotten"'))
    found = CliRunner().invoke(app, ["leaderboard", str(part), str(old)])
    assert found.exit_code == 0
    assert "part: 1 trials have not finished and are left out (ilr, A+B, seed 1" in found.output
    assert "left out: " in found.output
    assert "forgotten" in found.output
    damaged = tmp_path / "damaged"
    shutil.copytree(part, damaged)
    (next(damaged.glob("trials/base-*")) / "timing.jsonl").write_text("[]\n")
    refused = CliRunner().invoke(app, ["leaderboard", str(damaged)])
    assert refused.exit_code == 4
    assert "not a file of timings" in refused.output


def test_same_records_give_the_same_board(studies: tuple[Path, Path, Path], tmp_path: Path) -> None:
    copy = tmp_path / "first"
    shutil.copytree(studies[0], copy)
    assert markdown(collect([load(copy)])) == markdown(collect([load(studies[0])]))


def test_a_study_in_which_nobody_answers_alone_is_left_out(studies: tuple[Path, Path, Path], tmp_path: Path) -> None:
    together = write_synthetic_study(tmp_path / "together", ("infer_debate",), seeds=(0,), questions=8)
    found = CliRunner().invoke(app, ["leaderboard", str(studies[0]), str(together)])
    assert found.exit_code == 0
    assert "left out: " in found.output
    assert "no agent was scored alone" in found.output
    assert "grpo" in found.output
