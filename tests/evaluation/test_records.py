"""What an evaluation is decided by: batches and their seeds, journals, limits, and records of an earlier call."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from scripted import ScriptedEngine, scripted_agent

from ilr_bench.core.config import EvaluationSettings, content_hash
from ilr_bench.core.seeds import derive_seed
from ilr_bench.evaluation.batching import GenerationRequest, complete, plan_batches
from ilr_bench.evaluation.runner import (
    UNKNOWN_CONTEXT,
    RegisteredBenchmarkRun,
    context_of,
    log_file,
    record_file,
    run_benchmarks,
)
from ilr_bench.evaluation.scorer import GradedAnswer, Scorer
from ilr_bench.generation.agent import Agent
from ilr_bench.generation.engine import Completion, SamplingOptions, SamplingRequest
from ilr_bench.grading.math import Grader
from ilr_bench.prompts import STYLES
from ilr_bench.storage.records import SampleRecord, Verdict, read
from ilr_bench.storage.timing import Stopwatch
from ilr_bench.tasks.benchmarks import Benchmark, BenchmarkQuestion

SUMS = Benchmark(
    name="sums_here",
    column="Sums",
    summary="three sums",
    kind="answer",
    domain="in-domain",
    subject="maths",
    load=lambda: (
        BenchmarkQuestion("q0", "1+1", "2"),
        BenchmarkQuestion("q1", "10+1", "11"),
        BenchmarkQuestion("q2", "2+2", "4"),
    ),
)


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    with Grader() as grader:
        yield grader


class Noting(ScriptedEngine):
    """Notes how it is asked."""

    def __init__(self, engine: Any) -> None:
        super().__init__(engine.reply, engine.tokenizer)
        self.asked: list[tuple[list[Sequence[int]], list[int], SamplingOptions, int]] = []

    def sample(self, request: SamplingRequest) -> list[list[Completion]]:
        self.asked.append((list(request.prompts), list(request.samples), request.options, request.seed))
        return super().sample(request)


def noting_agent(answer: Callable[[str, int], str] = lambda prompt, sample: r"\boxed{2}") -> Agent:
    agent = scripted_agent("A", answer)
    return replace(agent, engine=Noting(agent.engine))


OPTIONS = SamplingOptions(max_new_tokens=9, temperature=0.0, rows_per_call=3)


def prompts_of(lengths: Sequence[int], samples: int, options: SamplingOptions = OPTIONS) -> list[GenerationRequest]:
    return [GenerationRequest(tuple(range(65, 65 + length)), samples, options) for length in lengths]


# --- batches ----------------------------------------------------------------------------------------------------------


def test_batches_are_as_full_as_their_rows_and_tokens_allow() -> None:
    prompt_batch = prompts_of([5, 3, 3, 7], 2)
    assert plan_batches(prompt_batch, None) == [(1, 1, 2), (0, 0, 2), (3, 3)]
    # A row is a prompt and the nine tokens of its answer: two rows of twelve, of fourteen, of sixteen.
    assert plan_batches(prompt_batch, 32) == [(1, 1), (2, 2), (0, 0), (3, 3)]
    assert plan_batches(prompt_batch, 31) == [(1, 1), (2, 2), (0, 0), (3,), (3,)]
    assert plan_batches(prompt_batch, 36) == [(1, 1, 2), (0, 2), (0, 3), (3,)]
    assert plan_batches(prompt_batch, 1) == [(1,), (1,), (2,), (2,), (0,), (0,), (3,), (3,)]
    assert plan_batches([], None) == []


def test_a_batch_is_sampled_with_its_own_prompts_counts_options_and_seed() -> None:
    agent = noting_agent(lambda prompt, sample: f"{len(prompt)}.{sample}")
    prompt_batch = [*prompts_of([2, 4], 2), *prompts_of([3], 1, replace(OPTIONS, max_new_tokens=2))]
    told = []
    output = complete(agent.engine, prompt_batch, None, 8, None, lambda count, tokens: told.append((count, tokens)))
    # The longest go first; batch 0 and 1 are of the first options, 2 of the others.
    assert agent.engine.asked == [
        ([prompt_batch[2].ids], [1], prompt_batch[2].options, derive_seed(8, "batch", 2)),
        ([prompt_batch[1].ids], [1], OPTIONS, derive_seed(8, "batch", 1)),
        ([prompt_batch[0].ids, prompt_batch[1].ids], [2, 1], OPTIONS, derive_seed(8, "batch", 0)),
    ]
    assert told == [(1, 2), (1, 3), (3, 9)]
    texts = [[agent.tokenizer.decode(one.token_ids) for one in ones] for ones in output]
    assert texts == [["2.0", "2.1"], ["4.0", "4.0"], ["3."]]
    assert [[one.finished for one in ones] for ones in output] == [[True] * 2, [True] * 2, [False]]


def test_a_journal_holds_for_the_same_prompts_samples_options_and_seed_alone(tmp_path: Path) -> None:
    prompt_batch = prompts_of([2, 3], 2)
    agent, journal = noting_agent(), tmp_path / "j"
    told: list[tuple[int, int]] = []

    def answer(prompt_batch: Sequence[GenerationRequest], batch_tokens: int | None, seed: int) -> int:
        """Batches that were sampled."""
        agent.engine.asked.clear()
        told.clear()
        complete(
            agent.engine, prompt_batch, batch_tokens, seed, journal, lambda count, tokens: told.append((count, tokens))
        )
        return len(agent.engine.asked)

    assert (answer(prompt_batch, None, 0), told) == (2, [(1, 9), (3, 27)])
    assert (answer(prompt_batch, None, 0), told) == (0, [(1, 0), (3, 0)])
    assert answer(prompt_batch, None, 1) == 2
    assert answer(prompt_batch, None, 0) == 2
    assert answer(prompt_batch, 24, 0) == 2  # two rows in each batch
    assert answer(prompts_of([2, 3], 2, replace(OPTIONS, temperature=1.0)), None, 0) == 2
    assert answer([prompt_batch[1], prompt_batch[0]], None, 0) == 2
    assert answer(prompts_of([2, 3], 3), None, 0) == 2


# --- limits and records -----------------------------------------------------------------------------------------------


def test_a_models_context_is_its_own_its_text_partss_or_a_guess() -> None:
    plain, parts = SimpleNamespace(max_position_embeddings=700), SimpleNamespace(max_position_embeddings=800)
    assert context_of(SimpleNamespace(config=plain)) == 700
    assert context_of(SimpleNamespace(config=SimpleNamespace(text_config=parts, max_position_embeddings=5))) == 800
    assert context_of(SimpleNamespace(config=SimpleNamespace())) == UNKNOWN_CONTEXT == 2048
    assert context_of(SimpleNamespace(config=SimpleNamespace(max_position_embeddings=None))) == 2048
    assert context_of(None) == 2048


def with_context(size: int) -> Agent:
    config = SimpleNamespace(max_position_embeddings=size)
    return replace(noting_agent(), model=SimpleNamespace(config=config))


def test_a_prompt_may_take_what_the_answer_leaves(grader: Grader) -> None:
    def prompt_tokens(context: int, allowed: int) -> int:
        agent = replace(with_context(context), max_prompt_tokens=allowed)
        made = RegisteredBenchmarkRun(SUMS, agent, EvaluationSettings(max_new_tokens=30), 0, grader)
        return int(made.decided_by()["prompt_tokens"])

    found = [prompt_tokens(context, 100) for context in (31, 130, 129, 900, 30)]
    assert found == [15, 100, 99, 100, 15]  # half of a context that the answers would fill


def test_what_decides_the_records_is_told(grader: Grader) -> None:
    settings = EvaluationSettings(limit=2, samples=3, max_new_tokens=30, benchmarks=("x",))
    made = RegisteredBenchmarkRun(SUMS, noting_agent(), settings, 4, grader)
    assert made.sample_ids() == [("q0", 0), ("q0", 1), ("q0", 2), ("q1", 0), ("q1", 1), ("q1", 2)]
    told = made.decided_by()
    assert {key: value for key, value in told.items() if key not in ("rows", "settings", "wording")} == {
        "benchmark": "sums_here", "kind": "answer", "seed": 4, "style": "micro", "prompt_tokens": 2018, "jail": None,
    }  # fmt: skip
    assert (told["settings"]["samples"], told["settings"]["benchmarks"]) == (3, None)
    assert {"sharing", "analysis", "fusion"} & set(told["wording"])
    one_more = RegisteredBenchmarkRun(SUMS, noting_agent(), replace(settings, limit=3), 4, grader).decided_by()
    other_gold = replace(
        SUMS, load=lambda: (BenchmarkQuestion("q0", "1+1", "2"), BenchmarkQuestion("q1", "10+1", "12"))
    )
    assert told["rows"] != one_more["rows"]
    assert told["rows"] != RegisteredBenchmarkRun(other_gold, noting_agent(), settings, 4, grader).decided_by()["rows"]
    same = replace(SUMS, load=lambda: SUMS.load()[:2])
    assert RegisteredBenchmarkRun(same, noting_agent(), settings, 4, grader).decided_by() == told


def say(prompt: str, sample: int) -> str:
    """Right on the first sample of every question, and on the second of the first one."""
    return rf"\boxed{{{eval(prompt) + (sample > (prompt == '1+1'))}}}"


def test_records_stand_by_question_and_sample_with_their_own_texts_and_seeds(grader: Grader, tmp_path: Path) -> None:
    agent = noting_agent(say)
    settings = EvaluationSettings(samples=2, max_new_tokens=30, rows_per_call=4, temperature=0.3)
    made = RegisteredBenchmarkRun(SUMS, agent, settings, 6, grader)
    stopwatch = Stopwatch(tmp_path / "times.jsonl")
    found = run_benchmarks([made], agent, tmp_path, 6, stopwatch=stopwatch)
    assert found == {"sums_here": pytest.approx((1 + 0.5 + 0.5) / 3)}
    records = list(read(tmp_path / "sums_here.jsonl", SampleRecord))
    right = [(True, True), (True, False), (True, False)]
    golds = [2, 11, 4]
    for index, record in enumerate(records):
        question, sample = divmod(index, 2)
        output = golds[question] + (not right[question][sample])
        assert record == SampleRecord(
            "sums_here", "A", f"q{question}", sample, content_hash(SUMS.load()[question].question),
            rf"\boxed{{{output}}}", str(output), str(golds[question]),
            Verdict.CORRECT if right[question][sample] else Verdict.WRONG, len(rf"\boxed{{{output}}}"), 6,
        )  # fmt: skip
    seed = derive_seed(6, "sums_here")
    assert [call[3] for call in agent.engine.asked] == [derive_seed(seed, "batch", number) for number in (1, 0)]
    assert {(call[2].temperature, call[2].rows_per_call) for call in agent.engine.asked} == {(0.3, 4)}
    lines = [json.loads(line) for line in (tmp_path / "times.jsonl").read_text().splitlines()]
    stages = {line["stage"]: (line["step"], line["tokens"]) for line in lines if line["stage"] != "total"}
    assert stages["sums_here"] == (0, sum(record.tokens for record in records))


def test_records_of_another_agent_seed_or_length_and_altered_ones_are_made_anew(grader: Grader, tmp_path: Path) -> None:
    def calls(seed: int = 0, name: str = "A", limit: int | None = None, samples: int = 1) -> int:
        agent = replace(noting_agent(say), name=name)
        settings = EvaluationSettings(limit=limit, samples=samples, max_new_tokens=30)
        run_benchmarks([RegisteredBenchmarkRun(SUMS, agent, settings, seed, grader)], agent, tmp_path, seed)
        return len(agent.engine.asked)

    assert (calls(), calls()) == (1, 0)
    assert (calls(seed=1), calls(seed=1)) == (1, 0)
    assert (calls(seed=1, name="B"), calls(seed=1, name="B")) == (1, 0)
    assert (calls(seed=1, name="B", limit=2), calls(seed=1, name="B", limit=2)) == (1, 0)
    assert (calls(seed=1, name="B", limit=2, samples=2), calls(seed=1, name="B", limit=2, samples=2)) == (1, 0)
    path = tmp_path / "sums_here.jsonl"
    path.write_text(path.read_text().replace('"wrong"', '"correct"'))
    assert calls(seed=1, name="B", limit=2, samples=2) == 1


@pytest.mark.parametrize("harm", ["cut", "flipped", "gone"])
def test_a_damaged_log_of_lm_eval_is_made_anew_with_the_same_bytes(harm: str, grader: Grader, tmp_path: Path) -> None:
    def calls() -> int:
        agent = noting_agent(say)
        run_benchmarks([RegisteredBenchmarkRun(SUMS, agent, EvaluationSettings(), 0, grader)], agent, tmp_path, 0)
        return len(agent.engine.asked)

    log = log_file(tmp_path, SUMS.name, SUMS.name)
    assert (calls(), calls()) == (1, 0)
    written = log.read_bytes()
    if harm == "gone":
        log.unlink()
    else:
        log.write_bytes(written[:40] if harm == "cut" else written.replace(b"1", b"3", 1))
    assert (calls(), calls()) == (1, 0)
    assert log.read_bytes() == written


def test_a_benchmarks_records_lie_under_its_name() -> None:
    assert record_file(Path("x"), "lm_eval:gsm8k") == Path("x/lm_eval.gsm8k.jsonl")
    assert record_file(Path("x"), "gsm8k") == Path("x/gsm8k.jsonl")


# --- scoring ----------------------------------------------------------------------------------------------------------


def judged(
    benchmark: Benchmark, style: str, grader: Grader, output: Sequence[Sequence[str]]
) -> list[list[GradedAnswer]]:
    agent = replace(scripted_agent("A", lambda prompt, sample: ""), style=STYLES.get(style))
    with Scorer(benchmark, agent, grader, jail=False) as scorer:
        return scorer.score_all(benchmark.load(), output)


def test_judgements_stand_where_their_completions_stood(grader: Grader) -> None:
    found = judged(SUMS, "micro", grader, [[r"\boxed{2}", "no"], [r"\boxed{2}"], [r"\boxed{4}", r"\boxed{2+2}", ""]])
    right, wrong, missing = Verdict.CORRECT, Verdict.WRONG, Verdict.MISSING
    assert [[(one.answer, one.verdict) for one in row] for row in found] == [
        [("2", right), (None, missing)], [("2", wrong)], [("4", right), (None, missing), (None, missing)],
    ]  # fmt: skip


def test_choices_are_right_by_their_letter_alone(grader: Grader) -> None:
    letters = replace(SUMS, kind="choice", load=lambda: (BenchmarkQuestion("q", "Which?\nA. 1\nB. 2", "B"),))
    found = judged(letters, "chat", grader, [[r"\boxed{B}", r"\boxed{A}", r"\boxed{2}", r"\boxed{(B) 2}"]])
    assert [(one.answer, one.verdict) for one in found[0]] == [
        ("B", Verdict.CORRECT), ("A", Verdict.WRONG), (None, Verdict.MISSING), ("B", Verdict.CORRECT),
    ]  # fmt: skip
