"""Two logs side by side: how questions are joined, what is refused, and what is said about the rest."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
from compared_logs import LOGS, harness_row, no_texts, write_evalplus, write_harness, write_records
from scipy import stats
from toy_harness import ROWS, run_harness, write_task

from ilr_bench.core.errors import ConfigurationError
from ilr_bench.storage.records import SampleRecord, Verdict, to_line
from reports.compare import formats
from reports.compare.paired import NotComparableError, Options, compare
from reports.compare.sources import read_logs


def test_one_answer_each_is_mcnemars_test_with_the_questions_that_decide(tmp_path: Path) -> None:
    a = write_records(tmp_path / "a", [[1]] * 14 + [[0]] * 6)
    b = write_records(tmp_path / "b", [[1]] * 4 + [[0]] * 14 + [[1]] * 2)
    (line,) = compare(a, b, Options(examples=2), no_texts).lines
    assert (line.won, line.lost, line.questions, line.samples) == (10, 2, 20, 1)
    assert (line.a, line.b) == (0.7, 0.3)
    assert line.result.test == "exact McNemar"
    assert line.result.pvalue == line.adjusted == pytest.approx(stats.binomtest(2, 12).pvalue)
    assert [item.name for item in line.won_examples] == ["sums-4", "sums-5"]
    assert [(item.name, item.a, item.b) for item in line.lost_examples] == [
        ("sums-18", "0", "1"),
        ("sums-19", "0", "1"),
    ]


def test_several_samples_are_compared_by_their_means(tmp_path: Path) -> None:
    a = write_records(tmp_path / "a", [[1, 1], [1, 0], [0, 0], [1, 1]])
    b = write_records(tmp_path / "b", [[0, 1], [0, 0], [0, 0], [1, 1]])
    (line,) = compare(a, b, Options(), no_texts).lines
    assert (line.samples, line.won, line.lost) == (2, 2, 0)
    assert line.result.difference == pytest.approx(0.25)
    assert line.result.test == "sign-flip permutation"


def test_the_family_is_all_lines(tmp_path: Path) -> None:
    for name, other in (("sums", 9), ("more", 3)):
        write_records(tmp_path / "a", [[1]] * 20, benchmark=name)
        write_records(tmp_path / "b", [[0]] * other + [[1]] * (20 - other), benchmark=name)
    plain = compare(tmp_path / "a", tmp_path / "b", Options(), no_texts)
    by_name = {line.benchmark: line for line in plain.lines}
    assert by_name["sums"].adjusted == pytest.approx(2 * by_name["sums"].result.pvalue)
    assert by_name["more"].adjusted == pytest.approx(by_name["more"].result.pvalue)
    found = compare(tmp_path / "a", tmp_path / "b", Options(correction="bh"), no_texts)
    assert {line.benchmark: line.adjusted for line in found.lines}["sums"] == by_name["sums"].adjusted


def test_different_questions_are_refused_unless_the_common_ones_are_asked_for(tmp_path: Path) -> None:
    a, b = write_records(tmp_path / "a", [[1]] * 8), write_records(tmp_path / "b", [[0]] * 5)
    with pytest.raises(NotComparableError, match=r"sums: different questions, 8 in A and 5 in B, 5 of them common"):
        compare(a, b, Options(), no_texts)
    (line,) = compare(a, b, Options(common=True), no_texts).lines
    assert line.questions == 5


def test_different_prompts_are_refused_unless_allowed(tmp_path: Path) -> None:
    a, b = write_records(tmp_path / "a", [[1]] * 4), write_records(tmp_path / "b", [[0]] * 4, prompt="other")
    with pytest.raises(NotComparableError, match=r"sums: 4 of 4 prompts differ; --any-prompt"):
        compare(a, b, Options(common=True), no_texts)
    (line,) = compare(a, b, Options(any_prompt=True), no_texts).lines
    assert line.prompts == "4 of 4 differ"


def test_the_common_prompts_are_kept(tmp_path: Path) -> None:
    a = write_records(tmp_path / "a", [[1]] * 4)
    b = write_records(tmp_path / "b", [[0]] * 4)
    file = b / "sums.jsonl"
    file.write_text(file.read_text().replace('"p0"', '"x0"'))
    with pytest.raises(NotComparableError, match=r"1 of 4 prompts differ; --common"):
        compare(a, b, Options(), no_texts)
    (line,) = compare(a, b, Options(common=True), no_texts).lines
    assert line.questions == 3


def test_different_numbers_of_samples_are_refused_unless_the_first_ones_are_asked_for(tmp_path: Path) -> None:
    a, b = write_records(tmp_path / "a", [[1, 0, 0]] * 4), write_records(tmp_path / "b", [[0]] * 4)
    with pytest.raises(NotComparableError, match=r"sums: 3 and 1 samples per question; --common"):
        compare(a, b, Options(), no_texts)
    (line,) = compare(a, b, Options(common=True), no_texts).lines
    assert (line.samples, line.a) == (1, 1.0)


def test_what_cannot_be_compared_is_said_beside_what_can(tmp_path: Path) -> None:
    for name in ("sums", "more", "alone"):
        write_records(tmp_path / "a", [[1]] * 4, benchmark=name)
    write_records(tmp_path / "b", [[1]] * 4, benchmark="sums")
    write_records(tmp_path / "b", [[1]] * 3, benchmark="more")
    compared = compare(tmp_path / "a", tmp_path / "b", Options(), no_texts)
    assert [line.benchmark for line in compared.lines] == ["sums"]
    assert compared.lines[0].result.test == "identical"
    # Four questions cannot show anything; and no difference seen is no interval of length zero.
    assert compared.lines[0].detectable == 1.0
    assert formats.rows(compared)[1][6] == "-"
    assert json.loads(formats.json_text(compared))["comparisons"][0]["low"] is None
    assert [reason.split(":")[0] for reason in compared.refused] == ["more", "alone"]


def test_logs_of_lm_evals_command_line_are_joined_by_document(tmp_path: Path) -> None:
    compared = compare(LOGS / "one", LOGS / "other", Options(), no_texts)
    assert [line.measure for line in compared.lines] == ["exact_match,first-letter", "exact_match,raw"]
    line = compared.lines[0]
    scores = []
    for side in ("one", "other"):
        (file,) = (LOGS / side).glob("*.jsonl")
        rows = [json.loads(text) for text in file.read_text().splitlines()]
        scores.append({row["doc_id"]: row["exact_match"] for row in rows if row["filter"] == "first-letter"})
    won = sum(scores[0][key] > scores[1][key] for key in scores[0])
    lost = sum(scores[0][key] < scores[1][key] for key in scores[0])
    assert (line.joined_by, line.prompts, line.questions) == ("document", "equal", ROWS)
    assert (line.won, line.lost) == (won, lost)
    assert won > 0 < lost
    assert line.result.pvalue == pytest.approx(stats.binomtest(won, won + lost).pvalue)
    assert line.won_examples[0].question is not None
    (chosen,) = compare(LOGS / "one", LOGS / "other", Options(metric="exact_match,raw"), no_texts).lines
    assert chosen.measure == "exact_match,raw"


def test_our_records_are_joined_with_lm_evals_by_the_wording(tmp_path: Path) -> None:
    (log,) = read_logs(LOGS / "one").values()
    names = [f"q{index}" for index in range(ROWS)]
    wordings = {name: f"  {answer.question} " for name, answer in zip(names, log.answers, strict=True)}
    ours = write_records(tmp_path / "ours", [[k % 2] for k in range(ROWS)], benchmark="toy_letters", names=names)
    with pytest.raises(NotComparableError, match="--any-prompt"):
        compare(ours, LOGS / "one", Options(), lambda _: wordings)
    with pytest.raises(NotComparableError, match=r"exact_match,first-letter exact_match,raw.*--metric"):
        compare(ours, LOGS / "one", Options(any_prompt=True), lambda _: wordings)
    options = Options(any_prompt=True, metric="exact_match,first-letter")
    (line,) = compare(ours, LOGS / "one", options, lambda _: wordings).lines
    assert (line.joined_by, line.questions, line.measure) == ("text", ROWS, "accuracy / exact_match,first-letter")
    with pytest.raises(NotComparableError, match="toy_letters is not here"):
        compare(ours, LOGS / "one", options, no_texts)


def test_our_records_of_lm_evals_tasks_are_joined_by_its_hashes(tmp_path: Path) -> None:
    (log,) = read_logs(LOGS / "one").values()
    lines = [
        to_line(
            SampleRecord(
                benchmark="lm_eval:toy_letters", agent="A", question_id=f"toy_letters/{index}", sample=0,
                prompt_hash=answer.prompt or "", completion=answer.completion,
                answer=answer.completion, gold=answer.gold or "",
                verdict=Verdict.WRONG, tokens=1, seed=0, doc_hash=answer.keys["document"],
                metrics={name: values[0] for name, values in answer.scores.items()},
            )
        )
        for index, answer in enumerate(log.answers)
    ]  # fmt: skip
    (tmp_path / "lm_eval.toy_letters.jsonl").write_text("\n".join(lines) + "\n")
    compared = compare(tmp_path, LOGS / "one", Options(), no_texts)
    assert {line.joined_by for line in compared.lines} == {"document"}
    assert {line.result.test for line in compared.lines} == {"identical"}


def test_rows_that_a_data_set_holds_twice_are_told_apart_by_their_order(tmp_path: Path) -> None:
    twice = {"doc_hash": "same", "doc": {"question": "Same?"}}
    a = write_harness(tmp_path / "a", [harness_row(0), harness_row(1, 1, **twice), harness_row(2, 0, **twice)])
    b = write_harness(tmp_path / "b", [harness_row(0), harness_row(1, 0, **twice), harness_row(2, 0, **twice)])
    (line,) = compare(a, b, Options(), no_texts).lines
    assert (line.questions, line.joined_by, line.won, line.lost) == (3, "document", 1, 0)


def test_questions_that_their_wording_does_not_tell_apart_are_left_out_if_asked_for(tmp_path: Path) -> None:
    rows = [harness_row(index, doc={"question": "Same?" if index < 2 else f"Question {index}?"}) for index in range(4)]
    theirs = write_harness(tmp_path / "theirs", rows)
    ours = write_records(tmp_path / "ours", [[0]] * 4, benchmark="task")
    words = {f"task-{index}": "Same?" if index < 2 else f"Question {index}?" for index in range(4)}
    with pytest.raises(NotComparableError, match=r"not unique in, .*; --common takes the others"):
        compare(ours, theirs, Options(any_prompt=True), lambda _: words)
    (line,) = compare(ours, theirs, Options(any_prompt=True, common=True), lambda _: words).lines
    assert (line.questions, line.joined_by) == (2, "text")


def test_a_name_that_two_questions_share_does_not_join_them(tmp_path: Path) -> None:
    def rows(word: str) -> list[object]:
        return [
            harness_row(q, doc={"id": q, "question": f"{word if q else 'Both'} {q}?"}, doc_hash=f"{word}{q}")
            for q in range(3)
        ]

    a, b = write_harness(tmp_path / "a", rows("How")), write_harness(tmp_path / "b", rows("Why"))
    with pytest.raises(NotComparableError, match="2 of 3 questions of the same name have another wording"):
        compare(a, b, Options(any_prompt=True), no_texts)
    (line,) = compare(a, b, Options(common=True), no_texts).lines
    assert (line.questions, line.joined_by) == (1, "id")
    gold = write_records(tmp_path / "gold", [[1]] * 3)
    file = gold / "sums.jsonl"
    other = write_records(tmp_path / "other", [[1]] * 3)
    file.write_text(file.read_text().replace('"gold":"1"', '"gold":"2"'))
    with pytest.raises(NotComparableError, match=r"3 of 3 .* gold answer"):
        compare(gold, other, Options(common=True), no_texts)


@pytest.mark.parametrize(
    ("scores", "reason"),
    [((float("nan"), 1.0), "no numbers"), ((-3.5, -2.0), "no share of right answers"), ((80.0, 3.0), "from 1 to 80")],
)
def test_scores_that_are_no_shares_are_not_compared(tmp_path: Path, scores: tuple[float, ...], reason: str) -> None:
    plain, other = ({"metrics": ["exact_match", "odd"], "odd": score} for score in (scores[0], 1.0))
    a = write_harness(tmp_path / "a", [harness_row(q, **plain) for q in range(2)])
    b = write_harness(tmp_path / "b", [harness_row(q, **other) for q in range(2)])
    compared = compare(a, b, Options(), no_texts)
    assert [line.measure for line in compared.lines] == ["exact_match,none"]
    assert reason in compared.refused[0]
    with pytest.raises(NotComparableError, match=r"task \(odd,none\)"):
        compare(a, b, Options(metric="odd"), no_texts)


def test_scores_of_samples_are_not_set_against_one_score_for_all_of_them(tmp_path: Path) -> None:
    theirs = write_harness(tmp_path / "theirs", [harness_row(q, resps=[["1", "2"]]) for q in range(3)])
    ours = write_records(tmp_path / "ours", [[1, 0]] * 3, benchmark="task")
    words = {f"task-{index}": f"Question {index}?" for index in range(3)}
    with pytest.raises(NotComparableError, match="score per sample against a single one"):
        compare(ours, theirs, Options(any_prompt=True), lambda _: words)


def test_answers_sampled_in_another_way_are_compared_and_it_is_said(tmp_path: Path) -> None:
    a, b = (
        write_harness(
            tmp_path / str(limit),
            [harness_row(0, arguments={"gen_args_0": {"arg_0": "x", "arg_1": {"max_gen_toks": limit}}})],
        )
        for limit in (64, 512)
    )
    (line,) = compare(a, b, Options(), no_texts).lines
    assert line.prompts.startswith("equal, 1 of 1 answered with other settings")
    assert "512" in line.prompts
    assert compare(a, a, Options(), no_texts).lines[0].prompts == "equal"


def test_a_measure_that_neither_log_has_is_named(tmp_path: Path) -> None:
    a = write_harness(tmp_path / "a", [harness_row(0)])
    with pytest.raises(NotComparableError, match="no measure acc to compare by: exact_match,none against exact_match"):
        compare(a, a, Options(metric="acc"), no_texts)


def test_evalplus_results_are_joined_by_task(tmp_path: Path) -> None:
    a = write_evalplus(tmp_path / "a_eval_results.json", [True] * 6, [True, True, False, False, True, True])
    b = write_evalplus(tmp_path / "b_eval_results.json", [True] * 4 + [False] * 2, [True] * 4 + [False] * 2)
    base, plus = compare(a, b, Options(), no_texts).lines
    assert (base.benchmark, base.won, base.lost) == ("humaneval", 2, 0)
    assert (plus.benchmark, plus.won, plus.lost) == ("humaneval_plus", 2, 2)
    other = write_evalplus(tmp_path / "c_eval_results.json", [True] * 6, [None] * 6, data="newer")
    assert list(read_logs(other)) == ["humaneval"]
    with pytest.raises(NotComparableError, match="different editions of the data"):
        compare(a, other, Options(), no_texts)


def test_our_code_benchmarks_are_joined_with_evalplus_by_task(tmp_path: Path) -> None:
    theirs = write_evalplus(tmp_path / "eval_results.json", [True, False], [True, False])
    ours = write_records(
        tmp_path / "ours", [[1], [1]], benchmark="humaneval_plus", names=["HumanEval/0", "HumanEval/1"], jail="user"
    )
    compared = compare(ours, theirs, Options(any_prompt=True), no_texts)
    (line,) = compared.lines
    assert (line.benchmark, line.joined_by, line.won, line.lost) == ("humaneval_plus", "id", 1, 0)
    assert "humaneval: only in" in compared.refused[0]


def test_benchmarks_with_two_names_are_paired_by_hand(tmp_path: Path) -> None:
    names = ["x", "y"]
    for benchmark in ("one", "two"):
        write_records(tmp_path / "a", [[1], [0]], benchmark=benchmark, names=names)
        write_records(tmp_path / "b", [[1], [1]], benchmark=f"other_{benchmark}", names=names)
    with pytest.raises(ConfigurationError, match="--pair"):
        compare(tmp_path / "a", tmp_path / "b", Options(), no_texts)
    (line,) = compare(tmp_path / "a", tmp_path / "b", Options(pairs=(("one", "other_one"),)), no_texts).lines
    assert line.benchmark == "one / other_one"
    with pytest.raises(ConfigurationError, match="no missing there"):
        compare(tmp_path / "a", tmp_path / "b", Options(pairs=(("missing", "other_one"),)), no_texts)


def test_formats_hold_the_same_numbers(tmp_path: Path) -> None:
    compared = compare(LOGS / "one", LOGS / "other", Options(), no_texts)
    text, data = formats.markdown(compared), json.loads(formats.json_text(compared))
    rows = list(csv.DictReader(formats.csv_text(compared).splitlines()))
    for line, item, row in zip(compared.lines, data["comparisons"], rows, strict=True):
        assert item["difference"] == float(row["difference"]) == line.result.difference
        assert item["corrected_pvalue"] == float(row["corrected_pvalue"]) == line.adjusted
        assert f"{100 * line.result.difference:+.1f}" in text
        assert len(item["won_examples"]) == min(3, line.won)
    assert "Holm" in text
    assert text == formats.markdown(compare(LOGS / "one", LOGS / "other", Options(), no_texts))


def test_the_command_needs_no_torch_and_writes_the_file_that_is_asked_for(tmp_path: Path) -> None:
    code = (
        "import sys; from ilr_bench.cli import app; sys.argv[0] = 'ilr-bench'\n"
        "try: app()\n"
        "except SystemExit as end: print('status', end.code, {'torch', 'transformers', 'lm_eval'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code, "compare", str(LOGS / "one"), str(LOGS / "other")]
    ran = subprocess.run([*command, "--out", str(tmp_path / "c.md")], capture_output=True, text=True)
    assert "status 0 set()" in ran.stdout, ran.stderr
    assert "toy_letters" in ran.stdout
    assert (tmp_path / "c.md").read_text().startswith("# A against B")
    ran = subprocess.run([*command, "--out", str(tmp_path / "c.txt")], capture_output=True, text=True)
    assert "status 2" in ran.stdout
    assert ".md, .csv or .json" in ran.stderr


@pytest.mark.slow
def test_logs_that_lm_eval_has_just_written_are_compared(tmp_path: Path) -> None:
    write_task(tmp_path)
    one, other = run_harness(tmp_path, 0), run_harness(tmp_path, 1)
    lines = compare(one, other, Options(), no_texts).lines
    assert [(line.questions, line.joined_by) for line in lines] == [(ROWS, "document")] * 2
    assert lines[0].won > 0 < lines[0].lost
    results = [json.loads(next(path.rglob("results_*.json")).read_text())["results"] for path in (one, other)]
    for line in lines:
        assert (line.a, line.b) == tuple(
            pytest.approx(result["toy_letters"][line.measure], abs=1e-12) for result in results
        )
    fewer = run_harness(tmp_path, 1, "--limit", "10")
    with pytest.raises(NotComparableError, match=f"{ROWS} in A and 10 in B"):
        compare(one, fewer, Options(), no_texts)
    assert compare(one, fewer, Options(common=True), no_texts).lines[0].questions == 10
