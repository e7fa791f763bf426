"""A study on users' own files: what is in its keys and names, what it refuses, and what it says."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from tiny_trials import contents, run_plan, tiny_checkpoints, tiny_plan

from ilr_bench.core.errors import ConfigurationError
from ilr_bench.storage.records import SampleRecord, Study, read, read_result, read_study, write_study
from ilr_bench.storage.store import Artifacts
from ilr_bench.study import own_data
from ilr_bench.study.inputs import inputs_of_trials, settle
from ilr_bench.study.own_data import check_overlap
from ilr_bench.study.plan import Plan, plan_study
from ilr_bench.study.spec import Request, StudySpec
from ilr_bench.study.sweep import extended_study, run_sweep
from ilr_bench.tasks.files import question_source
from ilr_bench.tasks.types import QuestionSource
from reports.frames import load
from reports.registry import Settings
from reports.tables.report import TABLE1


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(name: str, first: int = 0, count: int = 6, what: str = "plus") -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    rows = [{"question": f"{n} {what} 1", "answer": n + 1} for n in range(first, first + count)]
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def plan(source: str = "mine.jsonl", benchmarks: str = "test.jsonl", *variants: str, **more: str) -> Plan:
    models = ("first", "second") if Path("first").exists() else tuple(map(os.path.basename, tiny_checkpoints(Path())))
    settings = {"questions__source": source, "evaluation__benchmarks": benchmarks, "prompt_style": "chat"}
    return tiny_plan(models, *(variants or ("ilr",)), **(settings | more))


def records(study: Path) -> list[tuple[object, ...]]:
    """What a trial answered and dialogued, without the names of its files."""
    found: list[tuple[object, ...]] = []
    for path in sorted(study.glob("trials/*/eval/*/*.jsonl")):
        found += [(one.agent, one.question_id, one.completion, one.seed) for one in read(path, SampleRecord)]
    for path in sorted(study.glob("trials/*/*.jsonl")):
        found += [(path.name, path.read_bytes())] if path.name in ("train.jsonl", "dialogues.jsonl") else []
    return found


def test_moving_or_renaming_files_changes_no_number() -> None:
    write("mine.jsonl")
    write("test.jsonl", 50)
    sampled = {"evaluation__temperature": "1.0", "warm_start__steps": "0"}
    first = plan(**sampled)
    run_plan(first, Path("one"))
    Path("elsewhere").mkdir()
    Path("mine.jsonl").rename("elsewhere/mine.jsonl")
    Path("test.jsonl").rename("elsewhere/test.jsonl")
    moved = plan("elsewhere/mine.jsonl", "elsewhere/test.jsonl", **sampled)
    assert [trial.hash for trial in moved.trials] == [trial.hash for trial in first.trials]
    assert inputs_of_trials(moved.trials) == inputs_of_trials(moved.trials)
    (trial,) = moved.trials
    before = contents(Path("one"))
    run_plan(moved, Path("one"))
    assert contents(Path("one")).keys() == before.keys()
    assert (
        settle(Path("one") / trial.folder, inputs_of_trials([trial])[trial.hash], Artifacts(Path("one/artifacts")))
        == ""
    )
    Path("elsewhere/mine.jsonl").rename("other.jsonl")
    Path("elsewhere/test.jsonl").rename("tested.jsonl")
    renamed = plan("other.jsonl", "tested.jsonl", **sampled)
    run_plan(renamed, Path("two"))
    assert records(Path("two")) == records(Path("one"))
    assert len(records(Path("one"))) > 4


def test_an_edited_row_is_told_and_only_its_benchmark_is_evaluated_again() -> None:
    write("mine.jsonl")
    write("test.jsonl", 50)
    write("kept.jsonl", 70)
    both = "test.jsonl+kept.jsonl"
    run_plan(plan(benchmarks=both, evaluation__limit="none"), Path("study"))
    text = Path("test.jsonl").read_text()
    Path("test.jsonl").write_text(text.replace('"answer": 53', '"answer": 99'))
    (trial,) = plan(benchmarks=both, evaluation__limit="none").trials
    folder, now = Path("study") / trial.folder, inputs_of_trials([trial])[trial.hash]
    assert (
        settle(folder, now, Artifacts(Path("study/artifacts")))
        == "benchmark test: 1 of 6 rows changed; evaluated again"
    )
    assert {path.name for path in folder.glob("eval/*/*.jsonl")} == {"kept.jsonl"}
    run_plan(plan(benchmarks=both, evaluation__limit="none"), Path("study"))
    assert {one.gold for one in read(folder / "eval" / "first" / "test.jsonl", SampleRecord)} >= {"99"}
    write("mine.jsonl", what="and")
    changed = settle(folder, inputs_of_trials([trial])[trial.hash], Artifacts(Path("study/artifacts")))
    assert changed.startswith("questions mine (4 + 2): 6 of 6 rows changed; run again")
    Path("test.jsonl").write_text(text)


def test_what_kind_a_file_has_counts_and_is_in_the_result() -> None:
    write("mine.jsonl")
    write("test.jsonl", 50)
    (trial,) = plan().trials
    maths = inputs_of_trials([trial])[trial.hash]
    (other,) = plan(benchmarks="test.jsonl:kind=other").trials
    assert other.hash == trial.hash
    assert inputs_of_trials([other])[trial.hash] != maths
    run_plan(plan(benchmarks="test.jsonl:kind=other+sums"), Path("study"))
    (result,) = Path("study").glob("trials/*/result.json")
    assert read_result(result.parent).subjects == {"test": "general", "sums": "maths"}


def test_no_path_stands_in_names_of_trials_folders_or_rows() -> None:
    write("a folder/mine.jsonl")
    write("a folder/other.jsonl", 10)
    write("b/test.jsonl", 50)
    settings = {"questions.source": ("a folder/mine.jsonl", "a folder/other.jsonl"), "prompt_style": ("chat",)}
    tiny = {key: (value,) for key, value in {"questions.train": "4", "questions.validation": "2"}.items()}
    steps = {"training.questions_per_step": ("2",), "evaluation.benchmarks": ("b/test.jsonl",)}
    tiny_checkpoints(Path())
    found = plan_study("micro", ["ilr"], [("first", "second")], [0], settings | tiny | steps)
    assert [entry.variant for entry in found.entries] == [f"ilr questions.source={name}" for name in ("mine", "other")]
    assert not any("folder" in entry.folder.removeprefix("trials/") for entry in found.entries)
    assert len({trial.hash for trial in found.trials}) == 2
    assert all(Path(trial.config.questions.source).is_absolute() for trial in found.trials)


def test_two_files_of_one_name_are_refused_wherever_they_meet() -> None:
    for folder, first in (("a", 0), ("b", 20)):
        write(f"{folder}/mine.jsonl", first)
    write("test.jsonl", 50)
    for grid in ({"questions.source": "mine"}, {"evaluation.benchmarks": "mine"}):
        ((key, name),) = grid.items()
        own = {"questions.source": ("test.jsonl",), "prompt_style": ("chat",), "questions.train": ("4",)}
        own |= {"questions.validation": ("2",), "training.questions_per_step": ("2",)}
        tiny = own | {key: (f"a/{name}.jsonl", f"b/{name}.jsonl")}
        models = [("first", "second")] if Path("first").exists() else [tiny_checkpoints(Path())]
        with pytest.raises(ConfigurationError, match=r"both called mine; .*/b/mine\.jsonl:name=OTHER"):
            plan_study("micro", ["ilr"], models, [0], tiny)
        tiny[key] = (f"a/{name}.jsonl", f"b/{name}.jsonl:name=second")
        assert len(plan_study("micro", ["ilr"], models, [0], tiny).trials) == 2


def test_models_that_cannot_read_the_questions_are_refused_before_anything_runs() -> None:
    write("english.jsonl", what="sparrows and")
    write("chains.jsonl", what="+")
    settings = {"questions.train": ("4",), "questions.validation": ("2",), "training.questions_per_step": ("2",)}

    def asked(source: str, models: tuple[str, ...], style: str) -> Plan:
        more = {"questions.source": (source,), "prompt_style": (style,)}
        return plan_study("micro", ["ilr"], [models], [0], settings | more)

    with pytest.raises(ConfigurationError, match=r"A, B know sums .* 4 of 4 questions have other words .*prompt_style"):
        asked("english.jsonl", ("A", "B"), "micro")
    assert asked("chains.jsonl", ("A", "B"), "micro").trials
    models = tiny_checkpoints(Path())
    with pytest.raises(
        ConfigurationError, match=r"prompt_style: `micro` .* first was not taught; set prompt_style=chat"
    ):
        asked("english.jsonl", models, "micro")
    assert asked("english.jsonl", models, "chat").trials


def test_a_plan_reads_a_training_file_once_however_many_trials_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    write("mine.jsonl", what="+", count=8)
    loaded = []

    def counted(name: str) -> QuestionSource:
        loaded.append(name)
        return question_source(name)

    monkeypatch.setattr(own_data, "question_source", counted)
    settings = {"questions.source": ("mine.jsonl",), "questions.train": ("4",), "questions.validation": ("2", "3")}
    settings |= {"training.questions_per_step": ("2",)}
    found = plan_study("micro", ["ilr", "grpo"], [("A", "B")], [0, 1, 2], settings)
    assert len(found.trials) > 10
    assert len(loaded) == 2  # for each number of validation questions


def test_limits_that_cut_every_worded_answer_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    write("mine.jsonl", what="sparrows and")
    write("test.jsonl", 50)
    plan(sampling__max_new_tokens="8")
    assert capsys.readouterr().err.count("answers of at most 8 tokens leave no room") == 1
    plan(sampling__max_new_tokens="8", prompt_style="short")  # which asks for a word
    plan(sampling__max_new_tokens="64")
    assert "leave no room" not in capsys.readouterr().err


def test_training_on_a_benchmark_is_refused_with_examples_and_goes_on_where_it_is_allowed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write("mine.jsonl")
    write("test.jsonl", 3)
    found = plan(evaluation__limit="none")
    configs = [trial.config for trial in found.trials]
    message = (
        r"\d of 4 training questions stand in the benchmark test, letter by letter .*row-000\d is row-000\d: "
        r"'\d plus 1'.*--allow-overlap"
    )
    with pytest.raises(ConfigurationError, match=message):
        check_overlap(configs, allowed=False)
    with pytest.raises(ConfigurationError, match=message):
        run_sweep(found, "micro", Path("study"), 1, "test")
    assert not Path("study").exists()
    (line,) = check_overlap(configs, allowed=True)
    assert f"{line}; allowed by --allow-overlap" in capsys.readouterr().err
    (untrained,) = plan("mine.jsonl", "test.jsonl", "base", evaluation__limit="none").trials
    assert check_overlap([untrained.config], allowed=False) == ()
    beyond = plan(evaluation__limit="none", benchmarks="sums").trials
    assert check_overlap([trial.config for trial in beyond], allowed=False) == ()


def test_a_table_says_at_its_foot_what_was_allowed() -> None:
    write("mine.jsonl")
    write("test.jsonl", 3)
    found = plan("mine.jsonl", "test.jsonl", "base", "ilr", evaluation__limit="none")
    run_plan(found, Path("study"))
    study = read_study(Path("study"))
    lines = check_overlap([trial.config for trial in found.trials], allowed=True)
    before = (Path("study") / "study.json").read_text()
    assert '"overlaps"' not in before
    write_study(Path("study"), extended_study(Path("study"), Study("micro", "again", found.entries, {}, lines)))
    assert read_study(Path("study")).overlaps == lines
    notes = TABLE1.table(load(Path("study")), Settings()).notes
    assert any(re.search(r"Trained on what is asked here.*stand in the benchmark test", note) for note in notes)
    write_study(Path("study"), extended_study(Path("study"), Study("micro", "test", found.entries)))
    assert read_study(Path("study")).overlaps == ()
    assert study.trials == found.entries


def test_the_recorded_command_allows_what_was_allowed() -> None:
    assert Request(StudySpec(variants=("ilr",), allow_overlap=True)).command().endswith("--out DIR --allow-overlap")
    assert "overlap" not in Request(StudySpec(variants=("ilr",))).command()
