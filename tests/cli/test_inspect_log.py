"""Answers as an eval log of Inspect: what stands where, and that the package itself reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_models import tiny_model, tiny_tokenizer
from typer.testing import CliRunner

from ilr_bench.cli import app
from ilr_bench.cli.inspect_log import inspect_log, write_inspect_logs
from ilr_bench.core.errors import StoreError
from ilr_bench.models.loading import save_prepared
from ilr_bench.storage.records import SampleRecord, Verdict, to_line


def record(question: str, sample: int, verdict: Verdict, **more: Any) -> SampleRecord:
    return SampleRecord("sums", "A", question, sample, "hash", f"text {question}", "7", "8", verdict, 5, 0, **more)


RECORDS = [
    record("q0", 0, Verdict.CORRECT), record("q0", 1, Verdict.WRONG), record("q1", 0, Verdict.MISSING, finished=False),
    record("q1", 1, Verdict.TIMEOUT),
]  # fmt: skip


def test_a_log_has_what_inspect_asks_for() -> None:
    log = inspect_log("sums", "A", RECORDS, {"q0": "3+5=?"})
    assert (log["version"], log["status"]) == (2, "success")
    assert {"created", "task", "dataset", "model", "config"} <= log["eval"].keys()
    assert log["eval"]["dataset"] == {"name": "sums", "samples": 2, "sample_ids": ["q0", "q1"]}
    assert log["eval"]["config"] == {"epochs": 2}
    [score] = log["results"]["scores"]
    assert score["metrics"]["accuracy"]["value"] == 0.25
    assert score["scored_samples"] == log["results"]["total_samples"] == 4
    first, _, cut, late = log["samples"]
    assert (first["id"], first["epoch"], first["input"], first["target"]) == ("q0", 1, "3+5=?", "8")
    assert first["scores"] == {"verdict": {"value": "C", "answer": "7", "explanation": "correct"}}
    assert [message["role"] for message in first["messages"]] == ["user", "assistant"]
    assert first["output"]["completion"] == first["messages"][1]["content"] == "text q0"
    assert (cut["input"], cut["output"]["choices"][0]["stop_reason"]) == ("q1", "max_tokens")
    assert (late["epoch"], late["scores"]["verdict"]["value"]) == (2, "I")


def test_metrics_of_lm_evals_own_tasks_are_scores_of_their_own() -> None:
    both = [
        record("gsm8k/0", 0, Verdict.CORRECT, doc_hash="x", metrics={"exact_match,strict": 1.0, "bleu,none": 0.5}),
        record("gsm8k/1", 0, Verdict.WRONG, doc_hash="y", metrics={"exact_match,strict": 0.0, "bleu,none": 0.0}),
    ]
    log = inspect_log("lm_eval:gsm8k", "A", both, {"y": "asked"})
    found = {score["name"]: score["metrics"]["accuracy"]["value"] for score in log["results"]["scores"]}
    assert found == {"verdict": 0.5, "exact_match,strict": 0.5, "bleu,none": 0.25}
    assert [sample["input"] for sample in log["samples"]] == ["gsm8k/0", "asked"]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inspect")
    save_prepared(tiny_model(), tiny_tokenizer(), folder / "model")
    given = ["--model", str(folder / "model"), "--benchmarks", "sums", "--limit", "3", "--max-new-tokens", "4"]
    ended = CliRunner().invoke(app, ["evaluate", *given, "--log-format", "inspect", "--out", str(folder / "out")])
    assert ended.exit_code == 0, ended.output
    return folder / "out"


def test_the_command_writes_a_log_per_benchmark_with_prompts_and_the_same_bytes_again(written: Path) -> None:
    [path] = (written / "inspect").iterdir()
    assert path.name.startswith("1970-01-01T00-00-00+00-00_sums_")
    log = json.loads(path.read_text(encoding="utf-8"))
    logged = [json.loads(line) for line in next(written.glob("lm_eval/sums/*.jsonl")).read_text().splitlines()]
    assert [sample["input"] for sample in log["samples"]] == [
        line["arguments"]["gen_args_0"]["arg_0"] for line in logged
    ]
    assert [sample["output"]["completion"] for sample in log["samples"]] == [line["resps"][0][0] for line in logged]
    before = path.read_bytes()
    write_inspect_logs(written, ["sums"], log["eval"]["model"])
    assert path.read_bytes() == before


def test_inspect_itself_reads_the_log(written: Path) -> None:
    inspect = pytest.importorskip("inspect_ai.log", reason="needs the package inspect-ai")
    [found] = inspect.list_eval_logs(str(written / "inspect"))
    log = inspect.read_eval_log(found)
    assert (found.task, log.status, len(log.samples)) == ("sums", "success", 3)
    assert log.results.scores[0].metrics["accuracy"].value == 0.0


def test_another_format_and_a_damaged_log_are_refused(tmp_path: Path) -> None:
    given = ["evaluate", "--model", "A", "--out", str(tmp_path), "--log-format", "wandb"]
    ended = CliRunner().invoke(app, given)
    assert (ended.exit_code, "choose one of lm-eval, inspect" in ended.stderr) == (2, True)
    (tmp_path / "lm_eval" / "sums").mkdir(parents=True)
    (tmp_path / "sums.jsonl").write_text("".join(f"{to_line(one)}\n" for one in RECORDS))
    (tmp_path / "lm_eval" / "sums" / "samples_sums_x.jsonl").write_text("torn\n")
    with pytest.raises(StoreError, match=r"samples_sums_x\.jsonl: no log of lm-eval"):
        write_inspect_logs(tmp_path, ["sums"], "A")
