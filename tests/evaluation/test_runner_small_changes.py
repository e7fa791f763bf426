"""What an evaluation says while it runs, and how long an answer may be."""

from __future__ import annotations

import io
import logging
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from scripted import scripted_agent

from ilr_bench.core.config import EvaluationSettings
from ilr_bench.evaluation import runner
from ilr_bench.evaluation.runner import (
    BarProgress,
    EvaluationProgress,
    LineProgress,
    RegisteredBenchmarkRun,
    answer_limit,
    evaluate,
)
from ilr_bench.grading.math import Grader
from ilr_bench.storage.records import Verdict
from ilr_bench.tasks.types import Benchmark, BenchmarkQuestion

SUMS = Benchmark("sums", "S", "", "answer", "in-domain", subject="maths", load=tuple)


def test_lines_count_from_the_first_and_foretell_by_what_was_sampled(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [1000.0]
    monkeypatch.setattr(runner, "time", SimpleNamespace(monotonic=lambda: now[0]))
    lines = LineProgress(total=100)
    lines.begin("first")
    lines.answered(20, 0)
    now[0] += runner.SECONDS_BETWEEN_LINES - 1
    lines.answered(10, 290)
    now[0] += 1
    lines.answered(10, 310)
    now[0] += 30
    lines.begin("second")
    assert capsys.readouterr().err.splitlines() == [
        "first: 0 of 100 answers",
        "first: 40 of 100 answers, 20 tokens a second, about 2 min left",
        "second: 40 of 100 answers, 10 tokens a second, about 3 min left",
    ]
    assert (runner.SECONDS_BETWEEN_LINES, runner._minutes(89), runner._minutes(90)) == (30, "89 s", "2 min")


def test_a_bar_advances_by_answers_under_the_benchmarks_name() -> None:
    calls: list[Any] = []
    progress = SimpleNamespace(
        add_task=lambda text, total: calls.append(("add", text, total)) or 7,
        update=lambda task, description: calls.append(("update", task, description)),
        advance=lambda task, count: calls.append(("advance", task, count)),
    )
    bar = BarProgress(progress, 12)  # type: ignore[arg-type]
    bar.begin("sums")
    bar.answered(3, 500)
    assert calls == [("add", "", 12), ("update", 7, "sums"), ("advance", 7, 3)]


def test_answers_that_were_there_count_as_done_without_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []

    class Noting(EvaluationProgress):
        def begin(self, benchmark: str) -> None:
            told.append(benchmark)

        def answered(self, count: int, tokens: int) -> None:
            told.append((count, tokens))

    agent, settings = scripted_agent("A", lambda prompt, sample: r"\boxed{7}"), EvaluationSettings(limit=3, samples=2)
    grader: Any = SimpleNamespace(grade=lambda pairs, measured: [Verdict.WRONG for _ in pairs])
    evaluate(agent, ["micro_short_chain"], settings, tmp_path, 0, grader)
    monkeypatch.setattr(runner, "EvaluationProgress", Noting)
    evaluate(agent, ["micro_short_chain"], settings, tmp_path, 0, grader)
    assert told == ["micro_short_chain", (6, 0)]


def test_what_is_no_json_in_a_benchmarks_rows_decides_its_records_too() -> None:
    def rows(value: object) -> object:
        row = BenchmarkQuestion("q", "1+1", "2", {"value": value})
        agent, grader = scripted_agent("A", lambda prompt, sample: ""), Grader()
        return RegisteredBenchmarkRun(
            replace(SUMS, load=lambda: (row,)), agent, EvaluationSettings(), 0, grader
        ).decided_by()["rows"]

    assert rows(1j) == rows(1j) != rows(2j)


@pytest.mark.parametrize(
    ("asked", "context", "limit"), [(1024, 900, 450), (1024, 5000, 1024), (4000, 5000, 2952), (2952, 5000, 2952)]
)
def test_a_limit_that_the_context_lowers_is_told_and_no_other(
    asked: int, context: int, limit: int, caplog: pytest.LogCaptureFixture
) -> None:
    agents = [
        replace(scripted_agent(name, lambda prompt, sample: ""), model=SimpleNamespace(config=config))
        for name, config in (
            ("B", SimpleNamespace(max_position_embeddings=context + 9)),
            ("A", SimpleNamespace(max_position_embeddings=context)),
        )
    ]
    with caplog.at_level(logging.WARNING):
        assert answer_limit(SUMS, EvaluationSettings(max_new_tokens=asked), agents) == limit
    text = f"sums: answers of at most {limit} tokens instead of {asked}, since the context of A is {context}"
    assert [record.getMessage() for record in caplog.records] == ([text] if limit < asked else [])


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("lines", [True, False])
def test_a_bar_is_for_terminals_and_lines_for_who_asks(
    terminal: bool, lines: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(runner, "Console", lambda stderr: Console(file=screen, force_terminal=terminal, width=70))
    with runner.show_progress(12, lines) as progress:
        assert type(progress) is (BarProgress if terminal else LineProgress if lines else EvaluationProgress)
        if terminal:
            progress.begin("sums")
            progress.answered(5, 9)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    assert ("sums " in plain and "5/12" in plain) is terminal
