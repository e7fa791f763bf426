"""The one room that knows lm-eval: an agent as its model, a benchmark as its task.

Tasks hold their rows in memory: nothing is fetched, and no data-set cache is written. The question reaches
lm-eval in the agent's own wording (so its samples show the true prompt); chat template and tokenizer are the
agent's, behind `AgentLM`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import groupby
from types import ModuleType
from typing import Any

import datasets
import lm_eval.api.task
import lm_eval.evaluator
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.task import ConfigurableTask
from lm_eval.tasks import TaskManager

from ilr_bench.agent import Agent
from ilr_bench.benchmarks.base import Row
from ilr_bench.config import EvaluationSettings
from ilr_bench.generation.base import Completion, SamplingOptions

METRIC = "accuracy"
FILTER = "all"


class AgentLM(LM):  # type: ignore[misc]
    """An agent as lm-eval sees a model: text in, text out, generation only."""

    def __init__(self, agent: Agent, rows_per_call: int, seed: int) -> None:
        """`seed` decides all samples of one call of `generate_until`."""
        super().__init__()
        self._agent = agent
        self._rows_per_call = rows_per_call
        self._seed = seed
        self.completions: list[Completion] = []
        """What the last call sampled, in the order of its requests."""

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """One completion per request; repeats of one request are samples of one prompt.

        Reads `until`, `max_gen_toks` and `temperature` of the first request; raises ValueError where others
        differ.
        """
        options = _options(requests[0].args[1], self._rows_per_call)
        if any(request.args[1] != requests[0].args[1] for request in requests):
            raise ValueError("AgentLM samples one task at a time: the requests differ in their generation arguments")
        groups = [list(same) for _, same in groupby(requests, key=id)]
        prompts = [self._agent.render(same[0].args[0]).ids for same in groups]
        sampled = self._agent.engine.sample(prompts, list(map(len, groups)), options, self._seed)
        self.completions = [completion for group in sampled for completion in group]
        return [self._agent.decode(completion.token_ids) for completion in self.completions]

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Agents answer in text: raises NotImplementedError."""
        raise NotImplementedError("AgentLM generates only; use lm-eval's own `hf` model for loglikelihood tasks")

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        """Agents answer in text: raises NotImplementedError."""
        raise NotImplementedError("AgentLM generates only; use lm-eval's own `hf` model for loglikelihood tasks")


def make_task(
    name: str,
    rows: Sequence[Row],
    agent: Agent,
    settings: EvaluationSettings,
    score: Callable[[Row, list[str]], float],
) -> ConfigurableTask:
    """A generation task whose only metric is the mean of `score(row, completions)` over the rows."""
    by_id = {row.id: row for row in rows}
    documents = datasets.Dataset.from_list([{"id": row.id, "question": row.question, "gold": row.gold} for row in rows])
    config = {
        "task": name,
        "custom_dataset": lambda **_: {"test": documents},
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_text": lambda document: agent.style.solve(document["question"]),
        "doc_to_target": lambda document: document["gold"],
        "process_results": lambda document, results: {METRIC: score(by_id[document["id"]], list(results[0]))},
        "metric_list": [{"metric": METRIC, "aggregation": "mean", "higher_is_better": True}],
        "filter_list": [{"name": FILTER, "filter": [{"function": "take_first_k", "k": settings.samples}]}],
        "repeats": settings.samples,
        "generation_kwargs": {
            "until": list(agent.style.stop_strings()),
            "max_gen_toks": settings.max_new_tokens,
            "temperature": settings.temperature,
            "do_sample": settings.temperature > 0,
        },
    }
    with quiet():
        return ConfigurableTask(config=config)


def run_task(model: LM, task: ConfigurableTask, **options: Any) -> dict[str, Any]:
    """lm-eval's results of one task, samples included; seeds none of the global random states."""
    with quiet():
        results: dict[str, Any] = lm_eval.evaluator.simple_evaluate(
            model=model,
            tasks=[task],
            task_manager=TaskManager(include_defaults=False),
            bootstrap_iters=0,
            random_seed=None,
            numpy_random_seed=None,
            torch_random_seed=None,
            fewshot_random_seed=None,
            **options,
        )
    return results


@contextmanager
def quiet() -> Iterator[None]:
    """Without progress bars per task, warnings about what is meant, and a survey of the machine after each.

    The survey (a dozen processes: git, pip, lscpu ...) takes two seconds per call, often more than all
    sampling; versions and commit stand in a trial's own result.
    """
    log = logging.getLogger("lm_eval")
    level = log.level
    log.setLevel(logging.ERROR)
    bar = partial(lm_eval.api.task.tqdm, disable=True)
    try:
        with (
            _replaced(lm_eval.api.task, "tqdm", bar),
            _replaced(lm_eval.evaluator, "add_env_info", lambda results: None),
            _replaced(lm_eval.evaluator, "get_git_commit_hash", lambda: None),
        ):
            yield
    finally:
        log.setLevel(level)


@contextmanager
def _replaced(module: ModuleType, name: str, value: object) -> Iterator[None]:
    earlier = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, earlier)


def _options(arguments: dict[str, Any], rows_per_call: int) -> SamplingOptions:
    return SamplingOptions(
        max_new_tokens=arguments["max_gen_toks"],
        temperature=arguments["temperature"],
        rows_per_call=rows_per_call,
        stop_strings=tuple(arguments["until"]),
    )
