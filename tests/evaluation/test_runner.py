"""Evaluations: which completions are sampled together, what a record says, and what an interruption costs."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted import scripted_agent
from tiny_models import END, PAD, tiny_model, tiny_tokenizer

from ilr_bench.core.config import EvaluationSettings
from ilr_bench.core.errors import StoreError
from ilr_bench.evaluation.batching import NO_LOGPROBS, GenerationRequest, Journal, complete, plan_batches
from ilr_bench.evaluation.runner import LineProgress, RegisteredBenchmarkRun, evaluate, run_benchmarks
from ilr_bench.generation.agent import Agent
from ilr_bench.generation.engine import Completion, SamplingOptions, SamplingRequest
from ilr_bench.generation.hf_engine import TransformersEngine
from ilr_bench.grading.math import Grader
from ilr_bench.prompts import STYLES
from ilr_bench.storage import files
from ilr_bench.storage.records import SampleRecord, Verdict, read, to_line
from ilr_bench.tasks.benchmarks import Benchmark, BenchmarkQuestion, get

NAME = "micro_short_chain"
SETTINGS = EvaluationSettings(limit=20, samples=3, temperature=1.0, max_new_tokens=6, rows_per_call=8)
"""Sixty answers in eight batches."""


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    with Grader() as grader:
        yield grader


class Counted:
    """An engine that notes its calls in a file, and can be interrupted before one of them."""

    def __init__(self, engine: Any, notes: Path, stop_before: int | None = None) -> None:
        self.engine, self.notes, self.left = engine, notes, stop_before

    def sample(self, request: SamplingRequest) -> list[list[Completion]]:
        if self.left == 0:
            raise KeyboardInterrupt
        self.left = None if self.left is None else self.left - 1
        with self.notes.open("a") as file:
            file.write(f"{request.seed}\n")
        return self.engine.sample(request)  # type: ignore[no-any-return]


def tiny_agent(notes: Path, stop_before: int | None = None) -> Agent:
    model, tokenizer = tiny_model(), tiny_tokenizer()
    engine = Counted(TransformersEngine(model, [END], PAD, tokenizer.decode), notes, stop_before)
    return Agent("A", model, tokenizer, STYLES.get("micro"), engine, 256)


def sampled(notes: Path) -> list[str]:
    """Seeds of the batches that were begun."""
    return notes.read_text().split() if notes.exists() else []


@pytest.fixture(scope="module")
def undisturbed(grader: Grader, tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[str]]:
    folder = tmp_path_factory.mktemp("undisturbed")
    evaluate(tiny_agent(folder / "notes"), [NAME], SETTINGS, folder, 0, grader)
    return (folder / f"{NAME}.jsonl").read_bytes(), sampled(folder / "notes")


def asked(lengths: Sequence[int], samples: int, rows: int) -> list[GenerationRequest]:
    options = SamplingOptions(max_new_tokens=10, temperature=0.0, rows_per_call=rows)
    return [GenerationRequest((1,) * length, samples, options) for length in lengths]


lists = st.lists(st.integers(1, 30), min_size=1, max_size=25)


@given(lengths=lists, samples=st.integers(1, 4), rows=st.integers(1, 9), tokens=st.none() | st.integers(1, 200))
def test_every_sample_is_in_one_batch_within_its_bounds(
    lengths: list[int], samples: int, rows: int, tokens: int | None
) -> None:
    batches = plan_batches(asked(lengths, samples, rows), tokens)
    rows_of = sorted(index for batch in batches for index in batch)
    assert rows_of == [index for index in range(len(lengths)) for _ in range(samples)]
    for batch in batches:
        widest = max(lengths[index] for index in batch) + 10
        assert len(batch) <= rows
        assert tokens is None or len(batch) == 1 or len(batch) * widest <= tokens
    longest = [max(lengths[index] for index in batch) for batch in batches]
    assert longest == sorted(longest)


def test_prompts_with_other_options_are_not_sampled_together() -> None:
    mixed = asked([3, 4, 5], 1, 8)
    mixed[1] = replace(mixed[1], options=replace(mixed[1].options, stop_strings=("x",)))
    assert plan_batches(mixed, None) == [(0, 2), (1,)]


def test_the_longest_prompts_go_first_and_answers_keep_their_places(tmp_path: Path) -> None:
    agent = scripted_agent("A", lambda prompt, sample: prompt.upper())
    options = SamplingOptions(max_new_tokens=9, temperature=0.0, rows_per_call=2)
    prompts = ["ccc", "a", "bb", "dddd"]
    questions = [GenerationRequest(tuple(agent.tokenizer(prompt)["input_ids"]), 1, options) for prompt in prompts]
    output = complete(agent.engine, questions, None, 0, tmp_path / "x.part.jsonl", lambda count, tokens: None)
    assert agent.engine.heard == ["ccc", "dddd", "a", "bb"]  # type: ignore[attr-defined]
    assert [agent.tokenizer.decode(one.token_ids) for (one,) in output] == ["CCC", "A", "BB", "DDDD"]


@given(cut=st.integers(0, 400), batches=st.lists(st.lists(st.integers(0, 9), max_size=5), max_size=5))
def test_whatever_a_kill_leaves_of_a_journal_its_whole_lines_count(
    cut: int, batches: list[list[int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("journal") / "b.part.jsonl"
    journal = Journal(path, "key")
    for number, ids in enumerate(batches):
        journal.add(number, [Completion(tuple(ids), NO_LOGPROBS, True), Completion((), NO_LOGPROBS, False)])
    content = path.read_bytes()
    path.write_bytes(content[:cut])
    again = Journal(path, "key")
    whole = max(0, content[:cut].count(b"\n") - 1)
    assert again.done == {number: journal.done[number] for number in range(min(whole, len(batches)))}
    again.add(99, [])
    assert Journal(path, "key").done == again.done


def test_a_damaged_line_and_all_after_it_are_sampled_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", "key")
    for number in range(3):
        journal.add(number, [Completion((number,), NO_LOGPROBS, True)])
    lines = (tmp_path / "j").read_bytes().splitlines(keepends=True)
    (tmp_path / "j").write_bytes(b"".join([*lines[:2], b"\0" * 20 + b"\n", *lines[3:]]))
    assert set(Journal(tmp_path / "j", "key").done) == {0}


def test_a_journal_of_other_questions_is_begun_anew(tmp_path: Path) -> None:
    Journal(tmp_path / "j", "key").add(0, [Completion((1,), NO_LOGPROBS, True)])
    assert Journal(tmp_path / "j", "other").done == {}


@pytest.mark.parametrize("batches", [0, 1, 4, 7])
def test_an_interrupted_evaluation_samples_no_finished_batch_again(
    batches: int, undisturbed: tuple[bytes, list[str]], grader: Grader, tmp_path: Path
) -> None:
    expected, seeds = undisturbed
    notes = tmp_path / "notes"
    with pytest.raises(KeyboardInterrupt):
        evaluate(tiny_agent(notes, stop_before=batches), [NAME], SETTINGS, tmp_path, 0, grader)
    assert not (tmp_path / f"{NAME}.jsonl").exists()
    evaluate(tiny_agent(notes), [NAME], SETTINGS, tmp_path, 0, grader)
    assert (tmp_path / f"{NAME}.jsonl").read_bytes() == expected
    assert sampled(notes) == seeds
    assert len(seeds) == len(set(seeds)) == 8
    assert sorted(path.name for path in tmp_path.glob("[!.]*")) == ["lm_eval", f"{NAME}.jsonl", "notes"]


def evaluate_and_die(folder: Path, die: Callable[[Agent], None]) -> int:
    """Evaluates in a process that `die` may have killed; returns the process's number."""
    child = os.fork()
    if child == 0:
        try:
            agent = tiny_agent(folder / "notes")
            die(agent)
            with Grader() as own:
                evaluate(agent, [NAME], SETTINGS, folder, 0, own)
        finally:
            os._exit(0)
    return child


def in_batch(number: int, after_sampling: bool) -> Callable[[Agent], None]:
    """Kills its own process in the batch of that number, counted from 0."""

    def arm(agent: Agent) -> None:
        sample, calls = agent.engine.sample, count()

        def killing(*arguments: Any) -> list[list[Completion]]:
            mine = next(calls) == number
            if mine and not after_sampling:
                os.kill(os.getpid(), signal.SIGKILL)
            output = sample(*arguments)
            if mine:
                os.kill(os.getpid(), signal.SIGKILL)
            return output

        agent.engine.sample = killing  # type: ignore[method-assign]

    return arm


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_kill_9_costs_one_batch_at_most(undisturbed: tuple[bytes, list[str]], tmp_path: Path) -> None:
    expected, seeds = undisturbed
    for batch, after_sampling in ((2, True), (0, True), (1, False), (3, True)):
        child = evaluate_and_die(tmp_path, in_batch(batch, after_sampling))
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
        assert (tmp_path / f"{NAME}.part.jsonl").exists()
        assert not (tmp_path / f"{NAME}.jsonl").exists()
    os.waitpid(evaluate_and_die(tmp_path, lambda agent: None), 0)
    assert (tmp_path / f"{NAME}.jsonl").read_bytes() == expected
    # The kill before sampling notes no batch: three batches were begun twice.
    assert sorted(sampled(tmp_path / "notes")) == sorted([*seeds, seeds[2], seeds[2], seeds[6]])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_kill_9_after_the_records_leaves_no_batches_behind(
    undisturbed: tuple[bytes, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, seeds = undisturbed
    unlink = Path.unlink

    def killing(path: Path, missing_ok: bool = False) -> None:
        if path.name == f"{NAME}.part.jsonl":
            os.kill(os.getpid(), signal.SIGKILL)
        unlink(path, missing_ok)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", killing)
        child = evaluate_and_die(tmp_path, lambda agent: None)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert (tmp_path / f"{NAME}.part.jsonl").exists()
    assert (tmp_path / f"{NAME}.jsonl").read_bytes() == expected
    os.waitpid(evaluate_and_die(tmp_path, lambda agent: None), 0)
    assert not (tmp_path / f"{NAME}.part.jsonl").exists()
    assert (tmp_path / f"{NAME}.jsonl").read_bytes() == expected
    assert sampled(tmp_path / "notes") == seeds


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_kill_9_at_any_moment_leaves_the_same_bytes(undisturbed: tuple[bytes, list[str]], tmp_path: Path) -> None:
    expected, seeds = undisturbed
    rng = random.Random(0)
    for _ in range(3):
        child = evaluate_and_die(tmp_path, lambda agent: None)
        time.sleep(rng.random() * 0.4)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    os.waitpid(evaluate_and_die(tmp_path, lambda agent: None), 0)
    assert (tmp_path / f"{NAME}.jsonl").read_bytes() == expected
    assert set(sampled(tmp_path / "notes")) == set(seeds)
    assert len(sampled(tmp_path / "notes")) <= len(seeds) + 3


def test_a_full_disk_is_one_clear_error(grader: Grader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(StoreError, match="the disk is full"):
        evaluate(tiny_agent(tmp_path / "notes"), [NAME], SETTINGS, tmp_path, 0, grader)


def test_records_say_what_was_cut(grader: Grader, tmp_path: Path) -> None:
    agent = scripted_agent("A", lambda prompt, sample: "7" * 30, limit=5)
    evaluate(agent, [NAME], EvaluationSettings(limit=2, max_new_tokens=10), tmp_path, 0, grader)
    for record, row in zip(read(tmp_path / f"{NAME}.jsonl", SampleRecord), get(NAME).load(), strict=False):
        assert record.cut_prompt == len(row.question) - 5
        assert (record.finished, record.tokens, record.jail) == (False, 10, None)


def test_records_written_before_there_were_more_fields_can_be_read(tmp_path: Path) -> None:
    record = SampleRecord("b", "a", "q", 0, "hash", "said", None, "1", Verdict.MISSING, 3, 0)
    old = json.loads(to_line(record))
    for later in ("finished", "cut_prompt", "jail", "doc_hash", "metrics"):
        del old[later]
    (tmp_path / "old.jsonl").write_text(json.dumps(old) + "\n")
    assert list(read(tmp_path / "old.jsonl", SampleRecord)) == [record]


def exam(benchmark: Benchmark, settings: EvaluationSettings, grader: Grader, say: Callable[[str, int], str]) -> Any:
    agent = scripted_agent("A", say, style="chat")
    return agent, RegisteredBenchmarkRun(benchmark, agent, replace(settings, jail=False), 0, grader)


CHOICES = Benchmark(
    name="letters",
    column="Letters",
    summary="two questions with options",
    kind="choice",
    domain="out-of-domain",
    subject="general",
    load=lambda: (
        BenchmarkQuestion("q1", "Which?\nA. one\nB. two", "B"),
        BenchmarkQuestion("q2", "Which?\nA. three\nB. four", "A"),
    ),
    max_new_tokens=30,
)


def test_choices_are_asked_for_and_compared_by_their_letter(grader: Grader, tmp_path: Path) -> None:
    agent, one = exam(CHOICES, EvaluationSettings(), grader, lambda prompt, sample: r"It is \boxed{B. two}")
    assert run_benchmarks([one], agent, tmp_path, 0) == {"letters": 0.5}
    assert all("the letter of the right option" in prompt for prompt in agent.engine.heard)
    records = list(read(tmp_path / "letters.jsonl", SampleRecord))
    assert [(record.answer, record.verdict) for record in records] == [("B", Verdict.CORRECT), ("B", Verdict.WRONG)]


PROGRAM = Benchmark(
    name="adding",
    column="Adding",
    summary="one program",
    kind="code",
    domain="out-of-domain",
    subject="code",
    load=lambda: (
        BenchmarkQuestion(
            "Add/0", "Write a function that adds.\nassert add(1, 2) == 3", "",
            {
                "task_id": "Add/0", "entry_point": "add", "prompt": "", "atol": 0,
                "canonical_solution": "def add(a, b):\n    return a + b\n",
                "base_input": [[1, 2]], "plus_input": [[4, 5]],
            },
        ),
    ),
)  # fmt: skip


def test_programs_are_asked_for_run_and_recorded_with_what_held_them(grader: Grader, tmp_path: Path) -> None:
    output = [
        "Here:\n```python\ndef add(a, b):\n    return b + a\n```",
        "```python\ndef add(a, b):\n    return 3\n```",
        "no",
    ]
    settings = EvaluationSettings(samples=3, max_new_tokens=200)
    agent, one = exam(PROGRAM, settings, grader, lambda prompt, sample: output[sample])
    run_benchmarks([one], agent, tmp_path, 0)
    records = list(read(tmp_path / "adding.jsonl", SampleRecord))
    assert [record.verdict for record in records] == [Verdict.CORRECT, Verdict.WRONG, Verdict.MISSING]
    assert {record.jail for record in records} == {"none"}
    assert "```python" in agent.engine.heard[0]


def test_the_limit_that_is_asked_for_wins_then_the_benchmarks_own(grader: Grader, tmp_path: Path) -> None:
    limits = []
    for index, (override, own) in enumerate([(None, 30), (None, None), (12, 30)]):
        settings = EvaluationSettings(max_new_tokens=20, token_limit=override)
        benchmark = replace(CHOICES, max_new_tokens=own)
        agent, one = exam(benchmark, settings, grader, lambda prompt, sample: "x" * 99)
        run_benchmarks([one], agent, tmp_path / str(index), 0)
        limits.append(next(read(tmp_path / str(index) / "letters.jsonl", SampleRecord)).tokens)
    assert limits == [30, 20, 12]


def test_answers_as_long_as_the_context_leave_half_of_it_to_prompts(
    grader: Grader, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    agent = replace(tiny_agent(tmp_path / "notes"), max_prompt_tokens=10_000)
    made = RegisteredBenchmarkRun(get(NAME), agent, replace(SETTINGS, token_limit=1024), 0, grader)
    assert "at most 512 tokens instead of 1024, since the context of A is 1024" in caplog.text
    assert made.decided_by()["prompt_tokens"] == 512


def test_long_prompts_leave_room_for_the_answer(grader: Grader, tmp_path: Path) -> None:
    agent = replace(tiny_agent(tmp_path / "notes"), max_prompt_tokens=10_000)
    long = replace(CHOICES, load=lambda: (BenchmarkQuestion("q", "why " * 400, "A"),))
    one = RegisteredBenchmarkRun(long, agent, EvaluationSettings(token_limit=24), 0, grader)
    run_benchmarks([one], agent, tmp_path, 0)
    (record,) = read(tmp_path / "letters.jsonl", SampleRecord)
    assert 600 < record.cut_prompt < 640  # 1,602 tokens, of which 1,000 fit


def test_lines_say_how_far_it_is_and_what_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    lines = LineProgress(total=40)
    lines.begin("first")
    lines.answered(10, 0)
    lines.answered(10, 500)
    time.sleep(0.01)
    lines.begin("second")
    first, second = capsys.readouterr().err.splitlines()
    assert first == "first: 0 of 40 answers"
    assert second.startswith("second: 20 of 40 answers, ")
    assert "tokens a second, about" in second


def test_nothing_is_drawn_where_stderr_is_no_terminal(
    grader: Grader, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    agent = scripted_agent("A", lambda prompt, sample: r"\boxed{7}")
    evaluate(agent, [NAME], EvaluationSettings(limit=2), tmp_path, 0, grader)
    assert capsys.readouterr().err == ""
    assert not sys.stderr.isatty()
