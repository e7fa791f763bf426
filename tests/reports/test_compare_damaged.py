"""Logs that are torn, malformed, hostile or ambiguous: one line that says what to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from compared_logs import LOGS, harness_row, no_texts, write_harness, write_records
from synthetic_study import write_synthetic_study

from ilr_bench.core.errors import StoreError
from ilr_bench.storage.records import read_result
from ilr_bench.storage.store import finalize
from reports.compare import formats
from reports.compare.paired import Options, compare
from reports.compare.sources import read_logs


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (json.dumps(harness_row(0))[:-9] + "\n", "line 1"),
        (f"{json.dumps(harness_row(0))}\n" * 2, "line 2.*twice with the same filter"),
        (json.dumps(harness_row(0)) + "\n" + json.dumps(harness_row(0, doc_hash="x", filter="y")), "another one"),
        (json.dumps(harness_row(0, filtered_resps=[])), "IndexError"),
        (json.dumps(harness_row(0, metrics=None)), "TypeError"),
        (json.dumps(harness_row(0, score=10**400)), "OverflowError"),
        ("[" * 100_000, "line 1"),
        ("\udcff", "line 1"),
        ("", "holds no samples"),
    ],
)
def test_damaged_samples_are_refused_in_one_line(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "samples_task.jsonl"
    path.write_text(text, errors="surrogateescape")
    with pytest.raises(StoreError, match=reason) as found:
        read_logs(path)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"hash": "x", "eval": []}', '{"hash": "x", "eval": {"HumanEval/0": []}}', "[" * 100_000]
)
def test_damaged_results_of_evalplus_are_refused_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x_eval_results.json"
    path.write_text(text)
    with pytest.raises(StoreError, match="not a result of EvalPlus"):
        read_logs(path)


def test_a_mark_of_the_byte_order_and_a_link_are_no_damage(tmp_path: Path) -> None:
    file = write_harness(tmp_path / "a", [harness_row(0)])
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    link = tmp_path / "link" / file.name
    link.parent.mkdir()
    link.symlink_to(file)
    assert list(read_logs(link.parent)) == ["task"]
    link.unlink()
    link.mkdir()
    with pytest.raises(StoreError, match="cannot be read: Is a directory"):
        read_logs(link.parent)


def test_what_models_write_neither_steers_a_terminal_nor_becomes_markup(tmp_path: Path) -> None:
    lines = "\x1b[2J![x](http://example.org/y) \ud800 \u202e `<b>`"
    a = write_harness(tmp_path / "a", [harness_row(0, filtered_resps=[lines], doc={"question": lines})])
    b = write_harness(tmp_path / "b", [harness_row(0, score=0.0, doc={"question": lines})])
    compared = compare(a, b, Options(), no_texts)
    (example,) = compared.lines[0].won_examples
    for text in (*formats.example_lines([example]), *formats.markdown(compared).splitlines()):
        assert text.isprintable()
    assert "[x]\\(http" in formats.markdown(compared)
    for render in formats.RENDERERS.values():
        assert render(compared).encode()


def test_unusable_paths_say_what_to_name(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="does not exist"):
        read_logs(tmp_path / "nothing")
    with pytest.raises(StoreError, match="holds no answers"):
        read_logs(tmp_path)
    (tmp_path / "study.json").write_text("{}")
    with pytest.raises(StoreError, match="whole study"):
        read_logs(tmp_path)
    trial = tmp_path / "trials" / "t"
    for agent in ("A", "B"):
        write_records(trial / "eval" / agent, [[1]])
    with pytest.raises(StoreError, match="several agents"):
        read_logs(trial)
    assert list(read_logs(trial / "eval" / "B")) == ["sums"]
    (tmp_path / "together").mkdir()
    (tmp_path / "together" / "config.json").write_text("{}")
    (tmp_path / "together" / "inference.jsonl").write_text("{}\n")
    with pytest.raises(StoreError, match="no agent has answered alone"):
        read_logs(tmp_path / "together")
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange" / "rows.jsonl").write_text('{"x": 1}\n')
    with pytest.raises(StoreError, match="no file of our records"):
        read_logs(tmp_path / "strange")
    (tmp_path / "results.json").write_text('{"results": {}}')
    with pytest.raises(StoreError, match="not a result of EvalPlus"):
        read_logs(tmp_path / "results.json")


def test_answers_of_a_trial_that_changed_after_it_finished_are_refused(tmp_path: Path) -> None:
    study = write_synthetic_study(tmp_path, ("base",), seeds=(0,), questions=4, benchmarks=("micro_ood",))
    (trial,) = study.glob("trials/*")
    finalize(trial, read_result(trial).hash, (trial / "result.json").read_text())
    assert list(read_logs(trial / "eval" / "A")) == ["micro_ood"]
    file = trial / "eval" / "A" / "micro_ood.jsonl"
    file.write_text(file.read_text().replace('"correct"', '"wrong"'))
    with pytest.raises(StoreError, match=r"eval/A/micro_ood.jsonl changed since the trial finished"):
        read_logs(trial / "eval" / "A")


def test_two_runs_of_a_task_in_one_folder_are_refused(tmp_path: Path) -> None:
    (file,) = (LOGS / "one").glob("*.jsonl")
    for day in ("01", "02"):
        (tmp_path / f"samples_toy_letters_2026-01-{day}T00-00-00.000000.jsonl").write_text(file.read_text())
    with pytest.raises(StoreError, match="more than once"):
        read_logs(tmp_path)
    (tmp_path / "samples_x.jsonl").write_text('{"doc_id": 0}\n')
    with pytest.raises(StoreError, match="not what lm-eval writes"):
        read_logs(tmp_path / "samples_x.jsonl")
