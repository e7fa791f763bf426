"""Our records say what lm-eval says: its aggregated accuracy, its prompts, and its own `hf` model's completions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import datasets
import pytest
from lm_eval.loggers import EvaluationTracker
from lm_eval.models.huggingface import HFLM
from lm_eval.utils import get_file_task_name, get_sample_results_filenames
from scripted import scripted_agent
from tiny_models import END, PAD, tiny_model, tiny_tokenizer

from ilr_bench.core.config import EvaluationSettings
from ilr_bench.evaluation.lm_eval_model import FILTER, METRIC, AgentLM, BenchmarkTask, run_tasks
from ilr_bench.evaluation.runner import NO_DATE, evaluate, log_file
from ilr_bench.evaluation.scorer import Scorer
from ilr_bench.generation.agent import Agent
from ilr_bench.generation.hf_engine import TransformersEngine
from ilr_bench.grading.math import Grader
from ilr_bench.prompts import STYLES
from ilr_bench.storage.records import SampleRecord, read
from ilr_bench.tasks.benchmarks import get


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    with Grader() as grader:
        yield grader


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("name", ["micro_short_chain", "micro_code"])
def test_accuracy_is_lm_evals_own(name: str, samples: int, tmp_path: Path, grader: Grader) -> None:
    benchmark, settings = get(name), EvaluationSettings(limit=20, samples=samples)
    golds = {row.question: row.gold for row in benchmark.load()}

    def answer(prompt: str, sample: int) -> str:
        right = (sum(map(ord, prompt)) + sample) % 3 == 0
        if benchmark.kind == "function":
            return golds[prompt] if right else "def f(x): return x*0-12345"
        return rf"\boxed{{{golds[prompt]}}}" if right else r"\boxed{-1}"

    agent = scripted_agent("A", answer)
    scores = evaluate(agent, [name], settings, tmp_path, 0, grader)
    with Scorer(benchmark, agent, grader) as scorer:
        task = BenchmarkTask(benchmark, benchmark.load()[:20], agent, settings, scorer)
        results = run_tasks(AgentLM(agent, 512, 0), {name: task})
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

    benchmark = get("micro_word_problem")
    theirs = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=1, max_length=512, device="cpu")
    with Scorer(benchmark, agent, grader) as scorer:
        task = BenchmarkTask(benchmark, benchmark.load()[:12], agent, settings, scorer)
        results = run_tasks(theirs, {"micro_word_problem": task}, apply_chat_template=True)
    completions = [sample["resps"][0][0].strip() for sample in results["samples"]["micro_word_problem"]]
    assert ours == completions
    assert len(set(ours)) > 6


def test_the_log_beside_the_records_is_what_lm_eval_writes_and_its_tools_find_it(
    tmp_path: Path, grader: Grader
) -> None:
    name, settings = "micro_short_chain", EvaluationSettings(limit=8, samples=3)
    agent = scripted_agent("A", lambda prompt, sample: rf"\boxed{{{len(prompt) + sample}}} é\u2028")
    scores = evaluate(agent, [name], settings, tmp_path, 0, grader)
    with Scorer(get(name), agent, grader) as scorer:
        task = BenchmarkTask(get(name), get(name).load()[:8], agent, settings, scorer)
        results = run_tasks(AgentLM(agent, 512, 0), {name: task})
    tracker = EvaluationTracker(output_path=str(tmp_path / "theirs"))
    tracker.date_id, tracker.general_config_tracker.model_name_sanitized = NO_DATE, "A"
    tracker.save_results_samples(name, results["samples"][name])
    (theirs,) = (tmp_path / "theirs" / "A").iterdir()
    ours = log_file(tmp_path, name, name)
    assert (ours.name, ours.read_bytes()) == (theirs.name, theirs.read_bytes())
    assert get_sample_results_filenames([str(ours)]) == [str(ours)]
    assert get_file_task_name(ours.name) == name
    rows = datasets.Dataset.from_json(str(ours), cache_dir=str(tmp_path / "cache"))
    assert fmean(rows["accuracy"]) == pytest.approx(scores[name])
    records = list(read(tmp_path / f"{name}.jsonl", SampleRecord))
    assert [text for row in rows for text in row["resps"][0]] == [record.completion for record in records]
    assert [row["doc"]["id"] for row in rows] == [record.question_id for record in records[::3]]
