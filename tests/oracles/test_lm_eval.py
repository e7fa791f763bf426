"""Our records say what lm-eval says: its aggregated accuracy, its prompts, and its own `hf` model's completions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from lm_eval.models.huggingface import HFLM
from scripted import scripted_agent
from tiny_models import END, PAD, tiny_model, tiny_tokenizer

from ilr_bench.agent import Agent
from ilr_bench.benchmarks import Row, get
from ilr_bench.benchmarks.evaluation import evaluate
from ilr_bench.benchmarks.harness import FILTER, METRIC, AgentLM, make_task, run_task
from ilr_bench.benchmarks.scoring import Scorer
from ilr_bench.config import EvaluationSettings
from ilr_bench.generation.transformers_engine import TransformersEngine
from ilr_bench.grading import Grader
from ilr_bench.prompts import STYLES
from ilr_bench.records import SampleRecord, Verdict, read


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    with Grader() as grader:
        yield grader


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("name", ["micro_short_chain", "micro_code"])
def test_accuracy_is_lm_evals_own(name: str, samples: int, tmp_path: Path, grader: Grader) -> None:
    benchmark, settings = get(name), EvaluationSettings(limit=20, samples=samples)
    golds = {row.question: row.gold for row in benchmark.load()}

    def speak(prompt: str, sample: int) -> str:
        right = (sum(map(ord, prompt)) + sample) % 3 == 0
        if benchmark.kind == "function":
            return golds[prompt] if right else "def f(x): return x*0-12345"
        return rf"\boxed{{{golds[prompt]}}}" if right else r"\boxed{-1}"

    agent = scripted_agent("A", speak)
    scores = evaluate(agent, [name], settings, tmp_path, 0, grader)
    with Scorer(benchmark, agent, grader) as scorer:

        def score(row: Row, completions: list[str]) -> float:
            return fmean(judgement.verdict is Verdict.CORRECT for judgement in scorer.score(row, completions))

        task = make_task(name, benchmark.load()[:20], agent, settings, score)
        results = run_task(AgentLM(agent, 512, 0), task)
    assert 0 < scores[name] < 1
    assert scores[name] == pytest.approx(results["results"][name][f"{METRIC},{FILTER}"], abs=1e-12)
    prompts = [sample["arguments"][0][0] for sample in results["samples"][name]]
    assert prompts == [agent.style.solve(row.question) for row in benchmark.load()[:20]]


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_greedy_completions_are_those_of_lm_evals_hf_model(kind: Any, tmp_path: Path, grader: Grader) -> None:
    model, tokenizer = tiny_model(kind), tiny_tokenizer()
    settings = EvaluationSettings(limit=12, max_new_tokens=24)
    engine = TransformersEngine(model, [END], PAD, tokenizer.decode)
    agent = Agent("A", model, tokenizer, STYLES.get("micro"), engine, 256)
    evaluate(agent, ["micro_word_problem"], settings, tmp_path, 0, grader)
    ours = [record.completion for record in read(tmp_path / "micro_word_problem.jsonl", SampleRecord)]

    rows = get("micro_word_problem").load()[:12]
    task = make_task("micro_word_problem", rows, agent, settings, lambda row, completions: 0.0)
    theirs = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=1, max_length=512, device="cpu")
    results = run_task(theirs, task, apply_chat_template=True)
    completions = [sample["resps"][0][0].strip() for sample in results["samples"]["micro_word_problem"]]
    assert ours == completions
    assert len(set(ours)) > 6
