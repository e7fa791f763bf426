"""A user's own questions, benchmark, models and prompt style, for tests that edit them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tiny_trials import SETTINGS, tiny_checkpoints

from ilr_bench.prompts import STYLES
from ilr_bench.prompts.micro import MicroStyle
from ilr_bench.tasks.sources import SOURCES
from ilr_bench.tasks.types import BENCHMARKS, Benchmark, BenchmarkQuestion, Question, QuestionSource

NAME = "mine_for_inputs"
"""Of the benchmark, source and style that these tests edit."""


class Laboratory:
    """A user's own files: rows of questions and of a benchmark, a model's folder, a package with a prompt style."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.models = tiny_checkpoints(folder)
        self.write_all()

    def write_all(self) -> None:
        self.write("questions", [[f"{n}+1=?", str(n + 1)] for n in range(6)])
        self.write("benchmark", [[f"{n}+2=?", str(n + 2)] for n in range(50)])

    def write(self, name: str, rows: list[list[str]], end: str = "\n") -> None:
        text = "".join(json.dumps({"q": question, "a": answer}) + end for question, answer in rows)
        (self.folder / f"{name}.jsonl").write_bytes(text.encode())

    def read(self, name: str) -> list[list[str]]:
        lines = (self.folder / f"{name}.jsonl").read_text().splitlines()
        return [[row["q"], row["a"]] for row in map(json.loads, lines)]

    def load_questions(self, train: int, validation: int) -> tuple[tuple[Question, ...], tuple[Question, ...]]:
        rows = [Question(f"q{n}", text, answer, (f"{text[0]}+1={answer}",)) for n, (text, answer) in self.numbered()]
        return tuple(rows[:train]), tuple(rows[train : train + validation])

    def numbered(self) -> Iterator[tuple[int, list[str]]]:
        return enumerate(self.read("questions"))

    def load_benchmark(self) -> tuple[BenchmarkQuestion, ...]:
        return tuple(BenchmarkQuestion(f"b{n}", *row) for n, row in enumerate(self.read("benchmark")))


def install(laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Registers the laboratory's benchmark, source and style under `NAME`."""
    benchmark = Benchmark(NAME, "Mine", "sums", "answer", "in-domain", laboratory.load_benchmark, subject="maths")
    for registry, entry in (
        (BENCHMARKS, benchmark), (SOURCES, QuestionSource(NAME, laboratory.load_questions)), (STYLES, MicroStyle()),
    ):  # fmt: skip
        registry.names()
        monkeypatch.setitem(registry._entries, NAME, entry)
        monkeypatch.setattr(registry, "_names", [*registry._names, NAME])


def asked(**more: str) -> dict[str, str]:
    """Settings of a tiny trial on these files."""
    own = {"questions.source": NAME, "evaluation.benchmarks": NAME, "prompt_style": NAME}
    tiny = {key: value for key, value in SETTINGS.items() if key != "evaluation.limit"}  # all rows
    return tiny | own | {key.replace("__", "."): value for key, value in more.items()}


def edit_rows(laboratory: Laboratory, name: str, edit: Callable[[list[list[str]]], object]) -> Callable[[], None]:
    def run() -> None:
        rows = laboratory.read(name)
        edit(rows)
        laboratory.write(name, rows)

    return run
