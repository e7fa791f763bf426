"""A user's file of questions: every form that is read, and the line and the advice where one cannot be."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from ilr_bench.core.errors import ConfigurationError, IlrError, MissingInputError
from ilr_bench.tasks.data import data_file
from ilr_bench.tasks.files import question_source
from ilr_bench.tasks.types import Benchmark, expand, get

ROWS = [{"question": f"What is {n} plus 1?", "answer": n + 1} for n in range(10)]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def lines(*rows: object) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def write(name: str, content: str | bytes) -> str:
    Path(name).write_bytes(content.encode() if isinstance(content, str) else content)
    return name


def read(reference: str) -> list[tuple[str, str]]:
    return [(row.question, row.gold) for row in get(reference).load()]


WANTED = [(str(row["question"]), str(row["answer"])) for row in ROWS]


def in_parquet(rows: list[dict[str, Any]]) -> None:
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(rows), "mine.parquet")


def test_every_format_gives_the_same_questions() -> None:
    table = "question,answer\r\n" + "".join(f"{q},{a}\r\n" for q, a in WANTED)
    write("mine.jsonl", "\ufeff" + lines(*ROWS).replace("\n", "\r\n\r\n"))
    write("mine.json", json.dumps(ROWS))
    write("mine.csv", "\ufeff" + table)
    write("semi.csv", table.replace(",", ";"))
    write("mine.tsv", table.replace(",", "\t"))
    write("mine.jsonl.gz", gzip.compress(lines(*ROWS).encode()))
    in_parquet(ROWS)
    write("mine.py", f"def questions():\n    return {ROWS!r}\ntable = {ROWS!r}\n")
    files = "jsonl json csv tsv jsonl.gz parquet py py:questions py:table".split()
    for reference in [*(f"mine.{ending}" for ending in files), "semi.csv"]:
        assert read(reference) == WANTED, reference
        assert get(reference).name == reference.partition(".")[0]


def test_a_task_in_the_format_of_lm_eval_is_read_by_its_own_templates(capfd: pytest.CaptureFixture[str]) -> None:
    write("rows.jsonl", lines({"q": "1+1", "a": "so #### 2"}, {"q": "1+2", "a": "so #### 3"}))
    task = "dataset_path: json\ndataset_kwargs: {data_files: {test: rows.jsonl}}\ntest_split: test\n"
    write("mine.yaml", f"task: own\n{task}" + "doc_to_text: 'Sum: {{q}}'\ndoc_to_target: \"{{a.split('#')[-1]}}\"\n")
    assert read("mine.yaml") == [("Sum: 1+1", "2"), ("Sum: 1+2", "3")]
    write(
        "choice.yaml",
        f"task: own_choice\n{task}output_type: multiple_choice\ndoc_to_text: q\n"
        "doc_to_choice: ['no', 'yes']\ndoc_to_target: 1\n",
    )
    assert get("choice.yaml").kind == "choice"
    assert {gold for _, gold in read("choice.yaml")} == {"B"}
    write("broken.yaml", f"task: broken\n{task.replace('rows', 'gone')}")
    with pytest.raises(MissingInputError, match=r"broken\.yaml: lm-eval cannot load it"):
        get("broken.yaml")


@pytest.mark.parametrize(
    ("row", "question", "gold", "kind"),
    [
        ({"Problem": "p", "Solution": r"$\boxed{1}$, no: \boxed{\frac{1}{2}}."}, "p", r"\frac{1}{2}", "maths"),
        ({"problem": "p", "solution": r"\boxed{3}", "answer": "2"}, "p", "2", "maths"),
        ({"question": "q", "answer": "48/2 = <<48/2=24>>24\n#### 1,024"}, "q", "1024", "maths"),
        (
            {"Body": "Tom has 3 pens.", "Question": "How many?", "Answer": 3.0},
            "Tom has 3 pens. How many?",
            "3",
            "maths",
        ),
        ({"prompt": "q", "target": 1000}, "q", "1000", "maths"),
        ({"prompt": "q", "target": "$1,000.50"}, "q", "1000.50", "maths"),
        ({"prompt": "q", "target": "1,00"}, "q", "1,00", "maths"),
        ({"question": "q", "answer": 0.5}, "q", "0.5", "maths"),
        ({"question": "q", "answer": "-3"}, "q", "-3", "maths"),
        ({"question": "q", "final_answer": ["x^2"]}, "q", "x^2", "maths"),
        ({"question": "Capital of France?", "answer": "Paris"}, "Capital of France?", "Paris", "other"),
        ({"instruction": "Add.", "input": "1+1", "output": "2"}, "Add. 1+1", "2", "maths"),
    ],
)
def test_columns_and_answers_of_public_data_sets_are_known(
    row: dict[str, Any], question: str, gold: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write("mine.jsonl", lines(row))
    assert read("mine.jsonl") == [(question, gold)]
    assert get("mine.jsonl").subject == {"maths": "maths", "other": "general"}[kind]
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"kind {kind}" in said
    assert " + ".join(name for name in row if name.lower() in ("body", "question", "problem", "prompt")) in said


def test_gold_steps_of_gsm8k_are_trained_on() -> None:
    solved = {"question": "q", "answer": "He has 3*4 = <<3*4=12>>12, then <<12 - 2=10>>10.\n#### 10"}
    write("mine.jsonl", lines(solved, {"question": "other", "answer": "#### 3"}))
    questions = {one.text: one.steps for part in question_source("mine.jsonl").load(1, 1) for one in part}
    assert questions == {"q": ("3*4=12", "12-2=10"), "other": ()}


def test_a_cell_in_quotes_may_hold_line_breaks_and_lines_are_counted_past_it() -> None:
    write("mine.csv", 'question,answer\r\n"Two\nlines, really?",2\r\nq,\r\n')
    with pytest.raises(ConfigurationError, match=r"mine\.csv, line 4: no answer in answer; fill it"):
        get("mine.csv")
    write("mine.csv", 'question,answer\r\n"Two\nlines, really?",2\r\n,\r\nq,1\r\n')
    assert read("mine.csv") == [("Two\nlines, really?", "2"), ("q", "1")]


CHOICES = [
    ({"A": "x", "B": "y", "answer": "B"}, "B"),
    ({"option_a": "x", "option_b": "y", "answer": "(b)"}, "B"),
    ({"choices": ["x", "y"], "answer": "y"}, "B"),
    ({"choices": {"text": ["x", "y"], "label": ["1", "2"]}, "answer": 0}, "A"),
    ({"options": ["x", "y"], "answer": 2}, "B"),
]


@pytest.mark.parametrize(("row", "letter"), CHOICES)
def test_options_stand_in_one_column_or_several(row: dict[str, Any], letter: str) -> None:
    write("mine.jsonl", lines({"question": "Which?"} | row))
    assert (get("mine.jsonl").kind, get("mine.jsonl").subject) == ("choice", "general")
    assert read("mine.jsonl") == [("Which?\n\nOptions:\nA. x\nB. y", letter)]


def test_answers_that_are_options_themselves_are_no_numbers_of_options() -> None:
    write("mine.jsonl", lines(*({"question": f"q{n}", "choices": ["3", "1", "2"], "answer": n} for n in (1, 2, 3))))
    assert [gold for _, gold in read("mine.jsonl")] == ["B", "C", "A"]


def test_the_right_option_of_gpqa_stands_anywhere() -> None:
    wrong = {f"Incorrect Answer {n}": f"wrong {n}" for n in (1, 2, 3)}
    write("mine.jsonl", lines(*({"Question": f"q{n}", "Correct Answer": "right", **wrong} for n in range(8))))
    for question, gold in read("mine.jsonl"):
        assert f"{gold}. right" in question
    assert len({gold for _, gold in read("mine.jsonl")}) > 1


def test_columns_can_be_named_for_sources_and_benchmarks_alike() -> None:
    write("mine.csv", "a story,task,question,x,y\n" + "".join(f"s{n},t{n},no,{n},{n + 1}\n" for n in range(5)))
    reference = "mine.csv:question=a story:question=task:answer=y:id=x:kind=other:name=other:tokens=7"
    benchmark = get(reference)
    assert (benchmark.name, benchmark.subject, benchmark.max_new_tokens) == ("other", "general", 7)
    assert [(row.id, row.question, row.gold) for row in benchmark.load()][1] == ("1", "s1 t1", "2")
    training, validation = question_source(reference).load(3, 2)
    assert {one.text for one in (*training, *validation)} == {f"s{n} t{n}" for n in range(5)}


def test_code_in_the_format_of_evalplus_is_a_benchmark_and_no_source() -> None:
    problem = {
        "task_id": "own/1", "prompt": "def f(x):\n", "entry_point": "f", "canonical_solution": "    return x\n",
        "base_input": [[1]],
    }  # fmt: skip
    write("mine.jsonl", lines(problem))
    benchmark = get("mine.jsonl")
    (row,) = benchmark.load()
    assert (benchmark.kind, benchmark.subject, row.id, row.gold) == ("code", "code", "own/1", "    return x\n")
    assert row.problem is not None
    assert {"base_input", "plus_input", "atol", "entry_point"} <= row.problem.keys()
    with pytest.raises(ConfigurationError, match="cannot be learnt from here"):
        question_source("mine.jsonl").load(1, 0)


WRONG = [
    ("mine.jsonl", lines(ROWS[0]) + '{"question": "x" "answer": 1}\n', r"line 2: no JSON .*character 18.*; mend"),
    ("mine.jsonl", lines(ROWS[0], ["x"]), r"mine\.jsonl, line 2: no object"),
    ("mine.jsonl", lines(ROWS[0]).encode() + b'{"question": "\xe9"}\n', r"line 2: .*0xe9 is not UTF-8"),
    ("mine.csv", "question,answer\nHow many, really?,3\n", r"mine\.csv, line 2: more cells.*quotes"),
    ("mine.csv", 'question,answer\n"open,3\n', r"mine\.csv, line 2: cannot be read"),
    ("mine.csv", "question,answer\n", r"mine\.csv: no rows"),
    ("mine.jsonl", "", r"mine\.jsonl: no rows"),
    ("mine.csv", "frage,antwort\nx,1\n", r"holds the questions\? It has frage, antwort; .*mine\.csv:question=COLUMN"),
    ("mine.csv", "question,antwort\nx,1\n", r"holds the answers\?"),
    ("mine.csv:answer=gould", "question,gold\nx,1\n", r"no column 'gould'; did you mean gold\?"),
    ("mine.jsonl", lines({"question": " ", "answer": 1}), r"line 1: no question in question"),
    ("mine.jsonl", lines({"question": "x", "answer": float("nan")}), r"line 1: no answer"),
    ("mine.jsonl", lines({"question": "x", "answer": ["1", "2"]}), r"line 1: answer holds .*one answer"),
    ("mine.jsonl", lines({"problem": "x", "solution": r"\boxed{1"}), r"line 1: the \\boxed"),
    ("mine.jsonl", lines({"problem": "x", "solution": "no box is in here"}), r"line 1: the solution holds no \\boxed"),
    ("mine.jsonl", lines({"question": "x y", "answer": 1}, {"question": "X  y?", "answer": 2}), "line 1 and line 2"),
    ("mine.jsonl", lines({"question": "x", "choices": ["1", "2"], "answer": "3"}), "line 1: .3. is none"),
    ("mine.jsonl", lines({"question": "x", "choices": ["only"], "answer": "only"}), r"line 1: 1 options"),
    ("mine.jsonl", lines({"question": "x", "choices": ["a", "b", "c"], "answer": 1}), "from where options are counted"),
    ("mine.jsonl:kind=math", lines(*ROWS), r"kind=math is none of maths, code"),
    ("mine.jsonl:kind=choices", lines(*ROWS), r"needs options; name their column: .*choices=COLUMN"),
    ("mine.jsonl:qestion=x", lines(*ROWS), r"unknown option qestion; did you mean question\?"),
    ("mine.jsonl:question", lines(*ROWS), r"'question' is no option"),
    ("mine.jsonl:tokens=0", lines(*ROWS), r"tokens=0 is no number"),
    ("gsm8k.jsonl", lines(*ROWS), r"gsm8k is a benchmark .* already; .*name=my_gsm8k"),
    ("micro.jsonl", lines(*ROWS), r"micro is a benchmark .* already"),
    ("mine.py", "def questions():\n    return 3\n", r"questions gives int"),
    ("mine.py:rows", "def questions():\n    return []\n", r"defines no rows"),
]  # fmt: skip


@pytest.mark.parametrize(("reference", "content", "message"), WRONG)
def test_what_is_wrong_with_a_file_is_said_with_its_line_and_what_to_do(
    reference: str, content: str | bytes, message: str
) -> None:
    write(reference.partition(":")[0], content)
    with pytest.raises(IlrError, match=message) as failed:
        get(reference)
    assert "\n" not in str(failed.value)


def test_a_file_that_is_not_there_is_said() -> None:
    with pytest.raises(MissingInputError, match=r"gone\.jsonl: No such file.*working directory"):
        get("gone.jsonl")


def test_rows_that_stand_twice_and_empty_ones_are_left_out_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    write("mine.jsonl", lines(*ROWS, {"question": "what is 3  plus 1", "answer": 4}, {"question": "", "answer": None}))
    assert read("mine.jsonl") == WANTED
    assert "10 questions" in (said := capsys.readouterr().err)
    assert "empty rows left out: 1; repeated rows left out: 1" in said
    get("mine.jsonl")
    assert capsys.readouterr().err == ""


def test_an_edit_is_read_though_the_file_was_read_before() -> None:
    write("mine.jsonl", lines(*ROWS))
    assert len(read("mine.jsonl")) == 10
    write("mine.jsonl", lines(*ROWS[:4]))
    assert len(read("mine.jsonl")) == 4


def test_training_and_validation_are_disjoint_and_the_same_whatever_the_order_of_the_rows() -> None:
    write("mine.jsonl", lines(*ROWS))
    parts = [[one.text for one in part] for part in question_source("mine.jsonl").load(6, 4)]
    assert (len(parts[0]), len(parts[1]), len({*parts[0], *parts[1]})) == (6, 4, 10)
    assert [one.text for one in question_source("mine.jsonl").load(2, 4)[0]] == parts[0][:2]
    write("turned.jsonl", lines(*reversed(ROWS)))
    assert [[one.text for one in part] for part in question_source("turned.jsonl").load(6, 4)] == parts
    write("more.jsonl", lines(*ROWS, {"question": "One more?", "answer": 1}))
    more = [{one.text for one in part} for part in question_source("more.jsonl").load(6, 4)]
    assert len(more[0] & {*parts[0]}) >= 5
    assert len(more[1] & {*parts[1]}) >= 3


def test_too_few_questions_are_an_error_that_says_how_many_fit() -> None:
    write("mine.jsonl", lines(*ROWS))
    with pytest.raises(
        ConfigurationError, match=r"10 questions, 8 for .* 3 for .* questions.train=8 and questions.validation=2"
    ):
        question_source("mine.jsonl").load(8, 3)


def test_a_function_may_make_both_parts_or_a_benchmark_itself() -> None:
    write(
        "mine.py",
        "from ilr_bench.tasks.types import Benchmark, BenchmarkQuestion, Question\n"
        "def both(train, validation):\n"
        "    every = tuple(Question(str(n), str(n), '1') for n in range(train + validation))\n"
        "    return every[:train], every[train:]\n"
        "def rows():\n    return (BenchmarkQuestion('a', 'q', '1'),)\n"
        "made = Benchmark('made', 'Made', '', 'answer', 'in-domain', rows, subject='maths')\n",
    )
    training, validation = question_source("mine.py:both").load(2, 1)
    assert ([one.id for one in training], [one.id for one in validation]) == (["0", "1"], ["2"])
    assert isinstance(get("mine.py:made"), Benchmark)
    assert get("mine.py:made").name == "made"


def test_two_files_of_one_name_are_refused_and_one_file_twice_is_one_benchmark() -> None:
    for folder in ("first", "second"):
        Path(folder).mkdir()
        write(f"{folder}/mine.jsonl", lines(*ROWS))
    with pytest.raises(ConfigurationError, match=r"both called mine; .*second/mine\.jsonl:name=OTHER"):
        expand(["first/mine.jsonl", "second/mine.jsonl"])
    assert len(expand(["first/mine.jsonl", "second/mine.jsonl:name=other", "first/mine.jsonl", "sums"])) == 3


def test_names_of_files_are_plain_and_other_names_are_no_files() -> None:
    file = data_file("a folder/My rows (2).jsonl.gz:kind=other")
    assert file is not None
    assert (file.name, file.options) == ("My_rows__2_", (("kind", "other"),))
    assert [data_file(name) for name in ("gsm8k", "lm_eval:gsm8k", "my_package:rows", "micro")] == [None] * 4
