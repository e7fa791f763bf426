"""How long answers may be, and what is said where the limit cut many of them."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from synthetic_study import write_synthetic_study
from tiny_models import tiny_model, tiny_tokenizer
from typer.testing import CliRunner

import reports
from ilr_bench.cli import app
from ilr_bench.cli.standalone_table import cut_answers, standalone_table
from ilr_bench.core.config import EvaluationSettings
from ilr_bench.core.profiles import profile
from ilr_bench.evaluation.runner import answer_limit
from ilr_bench.evaluation.standalone import StandaloneRun, standalone_config
from ilr_bench.models.loading import LoadedModel, save_prepared
from ilr_bench.storage.records import SampleRecord, Verdict, read, to_line
from ilr_bench.tasks.benchmarks import BENCHMARKS, get
from ilr_bench.tasks.types import ANSWER_TOKENS, GROUPS, THINKING_TOKENS
from reports.frames import load


def agents(*contexts: int) -> Any:
    return [
        SimpleNamespace(
            name=f"m{context}", model=SimpleNamespace(config=SimpleNamespace(max_position_embeddings=context))
        )
        for context in contexts
    ]


def limit(name: str, *contexts: int, **settings: Any) -> int:
    return answer_limit(get(name), EvaluationSettings(**settings), agents(*contexts))


def test_public_benchmarks_give_answers_2048_tokens_and_the_small_profiles_keep_their_own() -> None:
    public = [name for group in ("paper-v4", "generated") for name in GROUPS[group]]
    assert {BENCHMARKS.get(name).max_new_tokens for name in public} == {ANSWER_TOKENS} == {2048}
    assert limit("gsm8k", 8192) == 2048
    assert (limit("micro_ood", 8192), profile("micro").evaluation.max_new_tokens) == (96, 96)
    assert (limit("sums", 8192, max_new_tokens=128), profile("small").evaluation.max_new_tokens) == (128, 128)
    loaded = LoadedModel(tiny_model(), tiny_tokenizer(), (1,), 0, Path(), "fingerprint")
    config = standalone_config(StandaloneRun("some/model", ("sums",), Path("out")), loaded)
    assert config.evaluation.max_new_tokens == ANSWER_TOKENS


@pytest.mark.parametrize(
    ("context", "asked", "expected"),
    [
        (131_072, THINKING_TOKENS, THINKING_TOKENS),
        (32_768, THINKING_TOKENS, 32_768 - 2048),
        (4096, None, 2048),
        (2048, None, 1024),
        (512, None, 256),
        (512, 400, 400),
        (512, 512, 256),
        (3000, 2999, 2999),
        (512, 10**9, 256),
    ],
)
def test_no_limit_is_above_what_the_context_has_room_for(
    context: int, asked: int | None, expected: int, caplog: pytest.LogCaptureFixture
) -> None:
    assert limit("gsm8k", context, token_limit=asked) == expected
    assert limit("gsm8k", 10**6, context, token_limit=asked) == expected
    assert (f"context of m{context} is {context}" in caplog.text) == (expected < (asked or ANSWER_TOKENS))


def test_a_limit_above_the_context_is_lowered_and_the_run_goes_on(tmp_path: Path) -> None:
    save_prepared(tiny_model(), tiny_tokenizer(), tmp_path / "model")
    given = ["evaluate", "--model", str(tmp_path / "model"), "--out", str(tmp_path / "out"), "--benchmarks", "sums"]
    result = CliRunner().invoke(app, [*given, "--limit", "2", "--max-new-tokens", "32768"])
    assert result.exit_code == 0, result.output
    assert max(record.tokens for record in read(tmp_path / "out/sums.jsonl", SampleRecord)) <= 512


def records(cut: int, of: int) -> str:
    made = [
        SampleRecord("sums", "m", f"q{n}", 0, "h", "", "7", "7", Verdict.CORRECT, 5, 0, finished=n >= cut)
        for n in range(of)
    ]
    return "".join(to_line(record) + "\n" for record in made)


def test_more_than_five_percent_of_cut_answers_are_told_beside_the_accuracy(tmp_path: Path) -> None:
    for cut, cell, found in ((1, "100.0 %", {}), (2, "100.0 % (10 % cut)", {"sums": 0.1})):
        (tmp_path / "sums.jsonl").write_text(records(cut, 20))
        assert standalone_table(tmp_path, ["sums"])[1][2] == cell
        assert cut_answers(tmp_path, ["sums"]) == found


def test_evaluate_names_the_option_to_raise(tmp_path: Path) -> None:
    save_prepared(tiny_model(), tiny_tokenizer(), tmp_path / "model")
    given = ["evaluate", "--model", str(tmp_path / "model"), "--out", str(tmp_path / "out"), "--benchmarks", "sums"]
    result = CliRunner().invoke(app, [*given, "--limit", "4", "--max-new-tokens", "2"])
    assert "100 % of the answers to sums were cut by the token limit" in result.output
    assert "raise --max-new-tokens (32,768 is usual for models that think" in result.output


def test_a_report_says_which_numbers_the_limit_cut_and_names_the_setting(tmp_path: Path) -> None:
    write_synthetic_study(tmp_path, variants=("base", "ilr"), seeds=(0,), questions=10, steps=2)
    table = reports.get("table2")
    quiet = table.write(load(tmp_path), tmp_path / "quiet", reports.Settings("holm")).read_text()
    assert "token limit" not in quiet
    assert "cut" not in json.loads((tmp_path / "quiet/table2.json").read_text())
    path = next((tmp_path / "trials").glob("ilr-*")) / "eval/A/micro_ood.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(line | {"finished": n >= 3}) + "\n" for n, line in enumerate(lines)))
    told = table.write(load(tmp_path), tmp_path / "told", reports.Settings("holm")).read_text()
    assert "is right: A ilr ood 30 %. Raise evaluation.token_limit." in told
    assert json.loads((tmp_path / "told/table2.json").read_text())["cut"] == [["A", "ilr", "micro_ood", 0.3]]
