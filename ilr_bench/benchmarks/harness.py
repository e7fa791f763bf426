"""The one room that knows lm-eval: an agent as its model, a benchmark as its task.

Tasks hold their rows in memory: nothing is fetched, and no data-set cache is written. The question reaches
lm-eval in the agent's own wording (so its samples show the true prompt); chat template and tokenizer are the
agent's, behind `AgentLM`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import datasets
import lm_eval.api.task
import lm_eval.evaluator
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.task import ConfigurableTask
from lm_eval.tasks import TaskManager

from ilr_bench.agent import Agent, Prompt
from ilr_bench.benchmarks.base import Row
from ilr_bench.benchmarks.batches import Asked, complete
from ilr_bench.config import EvaluationSettings
from ilr_bench.generation.base import SamplingOptions
from ilr_bench.prompts import Kind, solo_forms

METRIC = "accuracy"
FILTER = "all"


@dataclass(frozen=True)
class Said:
    """One completion as the records keep it."""

    text: str
    tokens: int
    finished: bool
    """False where the token limit cut it."""
    cut_prompt: int
    """Tokens of its prompt that were left out."""


class AgentLM(LM):  # type: ignore[misc]
    """An agent as lm-eval sees a model: text in, text out, generation only."""

    def __init__(
        self,
        agent: Agent,
        rows_per_call: int,
        seed: int,
        batch_tokens: int | None = None,
        journal: Path | None = None,
        answered: Callable[[int, int], None] = lambda count, tokens: None,
    ) -> None:
        """`seed` decides all samples of one call of `generate_until`; see `batches.complete` for the rest."""
        super().__init__()
        self._agent = agent
        self._rows_per_call = rows_per_call
        self._seed = seed
        self._batch_tokens = batch_tokens
        self._journal = journal
        self._answered = answered
        self.said: list[Said] = []
        """What the last call sampled, in the order of its requests."""

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """One completion per request; repeats of one request are samples of one prompt."""
        groups = [list(same) for _, same in groupby(requests, key=id)]
        options = [self._options(same[0].args[1]) for same in groups]
        prompts = [self._encode(same[0].args[0], how) for same, how in zip(groups, options, strict=True)]
        asked = [Asked(prompt.ids, len(same), how) for prompt, same, how in zip(prompts, groups, options, strict=True)]
        spoken = complete(self._agent.engine, asked, self._batch_tokens, self._seed, self._journal, self._answered)
        self.said = [
            Said(self._decode(one.token_ids, how), len(one.token_ids), one.finished, prompt.cut_tokens)
            for prompt, how, group in zip(prompts, options, spoken, strict=True)
            for one in group
        ]
        return [said.text for said in self.said]

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Agents answer in text: raises NotImplementedError."""
        raise NotImplementedError("AgentLM generates only; use lm-eval's own `hf` model for loglikelihood tasks")

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        """Agents answer in text: raises NotImplementedError."""
        raise NotImplementedError("AgentLM generates only; use lm-eval's own `hf` model for loglikelihood tasks")

    def _options(self, arguments: dict[str, Any]) -> SamplingOptions:
        return SamplingOptions(
            max_new_tokens=arguments["max_gen_toks"],
            temperature=arguments["temperature"],
            rows_per_call=self._rows_per_call,
            stop_strings=tuple(arguments["until"]),
        )

    def _encode(self, text: str, options: SamplingOptions) -> Prompt:
        """The text as a user's turn in the agent's own wording."""
        return self._agent.render(text)

    def _decode(self, token_ids: Sequence[int], options: SamplingOptions) -> str:
        text = str(self._agent.tokenizer.decode(list(token_ids), skip_special_tokens=True))
        return until_stop(text, options.stop_strings).strip()


def until_stop(text: str, stops: Sequence[str]) -> str:
    """A text up to the first of some stop strings."""
    for stop in stops:
        text = text.split(stop, 1)[0]
    return text


def make_task(
    name: str,
    rows: Sequence[Row],
    agent: Agent,
    settings: EvaluationSettings,
    score: Callable[[Row, list[str]], float],
    kind: Kind = "answer",
) -> ConfigurableTask:
    """A generation task whose only metric is the mean of `score(row, completions)` over the rows."""
    by_id = {row.id: row for row in rows}
    forms = solo_forms(agent.style)
    documents = datasets.Dataset.from_list([{"id": row.id, "question": row.question, "gold": row.gold} for row in rows])
    config = {
        "task": name,
        "custom_dataset": lambda **_: {"test": documents},
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_text": lambda document: forms.solve_as(document["question"], kind),
        "doc_to_target": lambda document: document["gold"],
        "process_results": lambda document, results: {METRIC: score(by_id[document["id"]], list(results[0]))},
        "metric_list": [{"metric": METRIC, "aggregation": "mean", "higher_is_better": True}],
        "filter_list": [{"name": FILTER, "filter": [{"function": "take_first_k", "k": settings.samples}]}],
        "repeats": settings.samples,
        "generation_kwargs": {
            "until": list(forms.stops_as(kind)),
            "max_gen_toks": settings.max_new_tokens,
            "temperature": settings.temperature,
            "do_sample": settings.temperature > 0,
        },
    }
    with quiet():
        return ConfigurableTask(config=config)


def run_task(model: LM, task: ConfigurableTask, **options: Any) -> dict[str, Any]:
    """lm-eval's results of one task of ours, samples included."""
    return simple_evaluate(model, [task], TaskManager(include_defaults=False), **options)


def simple_evaluate(model: LM, tasks: Sequence[Any], manager: TaskManager, **options: Any) -> dict[str, Any]:
    """lm-eval's results, samples included; seeds none of the global random states."""
    with quiet():
        results: dict[str, Any] = lm_eval.evaluator.simple_evaluate(
            model=model,
            tasks=list(tasks),
            task_manager=manager,
            bootstrap_iters=0,
            random_seed=None,
            numpy_random_seed=None,
            torch_random_seed=None,
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
    datasets.disable_progress_bars()
    try:
        with (
            replaced(lm_eval.api.task, "tqdm", bar),
            replaced(lm_eval.evaluator, "add_env_info", lambda results: None),
            replaced(lm_eval.evaluator, "get_git_commit_hash", lambda: None),
        ):
            yield
    finally:
        log.setLevel(level)
        datasets.enable_progress_bars()


@contextmanager
def replaced(module: Any, name: str, value: object) -> Iterator[None]:
    """Sets an attribute of a module or a class for a while."""
    earlier = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, earlier)
