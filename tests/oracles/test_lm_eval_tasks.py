"""`lm_eval:TASK` under our model class says what lm-eval says of its own `hf` model: sample by sample, hash by hash."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from lm_eval import simple_evaluate
from lm_eval.models.huggingface import HFLM
from scripted import scripted_agent
from tiny_models import END, PAD, tiny_model, tiny_tokenizer

from ilr_bench.core.config import EvaluationSettings
from ilr_bench.core.errors import ConfigurationError, MissingInputError
from ilr_bench.evaluation.lm_eval_tasks import LmEvalRun, load_tasks, manager
from ilr_bench.evaluation.runner import record_file, run_benchmarks
from ilr_bench.generation.agent import Agent
from ilr_bench.generation.hf_engine import TransformersEngine
from ilr_bench.prompts import STYLES
from ilr_bench.storage.records import SampleRecord, Verdict, read

SUMS = [(3, 4), (12, 5), (7, 7), (20, 1), (6, 15), (9, 2)]
GSM8K = [
    {"question": f"Ann has {a} figs and buys {b}. How many has she?", "answer": f"{a}+{b}={a + b}\n#### {a + b}"}
    for a, b in SUMS
]
MATH = [
    {"problem": f"What is ${a} + {b}$?", "solution": f"It is $\\boxed{{{a + b}}}$.", "answer": str(a + b)}
    for a, b in SUMS
]
SETTINGS = EvaluationSettings(limit=5, max_new_tokens=96, rows_per_call=4, token_limit=40)


@pytest.fixture(scope="module", autouse=True)
def data(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A data folder of our own rows, in the layout of the real one."""
    folder = tmp_path_factory.mktemp("data")
    for name, rows in (("gsm8k/train", GSM8K[::-1]), ("gsm8k/test", GSM8K), ("math500/test", MATH)):
        path = folder / f"{name}.jsonl"
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ILR_BENCH_DATA", str(folder))
        yield folder


def agent_of(kind: Any) -> Agent:
    model, tokenizer = tiny_model(kind), tiny_tokenizer()
    engine = TransformersEngine(model, [END], PAD, lambda ids: str(tokenizer.decode(list(ids))))
    return Agent("A", model, tokenizer, STYLES.get("chat"), engine, 256)


def theirs(agent: Agent, task: str, **options: Any) -> list[dict[str, Any]]:
    model = HFLM(pretrained=agent.model, tokenizer=tiny_tokenizer(), batch_size=1, device="cpu")
    tasks = list(load_tasks(task).values())
    gen_kwargs = {"max_gen_toks": SETTINGS.token_limit}
    results = simple_evaluate(
        model=model, tasks=tasks, task_manager=manager(), limit=SETTINGS.limit, gen_kwargs=gen_kwargs,
        bootstrap_iters=0, **options,
    )  # fmt: skip
    assert results is not None
    return [sample for samples in results["samples"].values() for sample in samples]


@pytest.mark.parametrize(
    ("task", "kind", "chat_template"),
    [("gsm8k", "llama", False), ("minerva_math500", "llama", False), ("gsm8k", "qwen2", True)],
)
def test_samples_are_those_of_lm_evals_hf_model(task: str, kind: Any, chat_template: bool, tmp_path: Path) -> None:
    agent = agent_of(kind)
    run = LmEvalRun(task, agent, SETTINGS, 0, chat_template)
    run_benchmarks([run], agent, tmp_path, 0)
    ours = list(read(record_file(tmp_path, f"lm_eval:{task}"), SampleRecord))
    assert [(record.question_id, record.sample) for record in ours] == run.sample_ids()
    expected = theirs(agent, task, apply_chat_template=chat_template, fewshot_as_multiturn=chat_template)
    for record in ours:
        rows = [sample for sample in expected if record.question_id == f"{task}/{sample['doc_id']}"]
        assert record.completion == rows[0]["resps"][0][0]
        assert (record.prompt_hash, record.doc_hash) == (rows[0]["prompt_hash"], rows[0]["doc_hash"])
        assert record.gold == rows[0]["target"]
        assert record.answer in [sample["filtered_resps"][0] for sample in rows]
        assert record.metrics == {
            f"{metric},{sample['filter']}": float(sample[metric]) for sample in rows for metric in sample["metrics"]
        }
    assert len({record.completion for record in ours}) > 1


def test_prompts_longer_than_the_context_lose_their_beginning_as_there(tmp_path: Path) -> None:
    agent = agent_of("llama")
    agent.model.config.max_position_embeddings = 120
    run_benchmarks([LmEvalRun("gsm8k", agent, SETTINGS, 0, False)], agent, tmp_path, 0)
    ours = list(read(record_file(tmp_path, "lm_eval:gsm8k"), SampleRecord))
    expected = {sample["doc_id"]: sample["resps"][0][0] for sample in theirs(agent, "gsm8k")}
    assert [record.completion for record in ours] == [expected[index] for index in range(5)]
    assert all(record.cut_prompt > 100 for record in ours)
    assert all(record.tokens <= 40 for record in ours)


@pytest.mark.parametrize(
    ("task", "right", "wrong", "metrics"),
    [
        ("minerva_math500", "It is $\\boxed{7}$.", "It is $8$.", ["math_verify,none", "exact_match,none"]),
        ("gsm8k", "It is\n#### 7", "It is 8.", ["exact_match,strict-match", "exact_match,flexible-extract"]),
    ],
)
def test_the_tasks_own_scorer_decides(task: str, right: str, wrong: str, metrics: list[str], tmp_path: Path) -> None:
    agent = scripted_agent("A", lambda prompt, sample: right if "12" not in prompt[-80:] else wrong, limit=10**6)
    agent.tokenizer.bos_token, agent.tokenizer.eos_token_id = None, 3
    agent.model = SimpleNamespace(config=SimpleNamespace(max_position_embeddings=10**6))
    run_benchmarks([LmEvalRun(task, agent, replace(SETTINGS, limit=2), 0, False)], agent, tmp_path, 0)
    first, second = read(record_file(tmp_path, f"lm_eval:{task}"), SampleRecord)
    assert (first.verdict, first.completion, next(iter(first.metrics or {}))) == (Verdict.CORRECT, right, metrics[0])
    assert second.verdict is not Verdict.CORRECT
    assert second.metrics == dict.fromkeys(metrics, 0.0)


def test_a_finished_task_is_not_run_again(tmp_path: Path) -> None:
    agent = agent_of("llama")
    first = run_benchmarks([LmEvalRun("gsm8k", agent, SETTINGS, 0, False)], agent, tmp_path, 0)
    agent.engine = None  # type: ignore[assignment]
    assert run_benchmarks([LmEvalRun("gsm8k", agent, SETTINGS, 0, False)], agent, tmp_path, 0) == first


@pytest.mark.parametrize(
    ("task", "settings", "error", "message"),
    [
        ("gsm9k", SETTINGS, ConfigurationError, "did you mean lm_eval:gsm8k"),
        ("gsm8k", EvaluationSettings(samples=2, temperature=1.0), ConfigurationError, "leave --samples"),
        ("mmlu_pro_law", SETTINGS, MissingInputError, "ILR_BENCH_DATA"),
        ("humaneval", SETTINGS, MissingInputError, "cannot load its task humaneval"),
    ],
)
def test_what_cannot_run_says_so_before_anything_is_sampled(
    task: str, settings: EvaluationSettings, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        LmEvalRun(task, agent_of("llama"), settings, 0, False)
