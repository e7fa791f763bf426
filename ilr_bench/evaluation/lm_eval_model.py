"""Our side of lm-eval: an agent as its model, a benchmark as its task, its log of samples.

A benchmark's rows are held in memory: nothing is fetched, and no data-set cache is written. The question reaches
lm-eval in the agent's own wording (so its samples show the true prompt); chat template and tokenizer are the
agent's, behind `AgentLM`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from statistics import fmean
from typing import Any

import datasets
import lm_eval.evaluator
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.task import ConfigurableTask, Task
from lm_eval.defaults import DEFAULT_OTHER_SEED
from lm_eval.utils import handle_non_serializable, sanitize_list

from ilr_bench.core.config import EvaluationSettings
from ilr_bench.core.errors import ConfigurationError
from ilr_bench.evaluation.batching import GenerationRequest, complete
from ilr_bench.evaluation.scorer import Scorer
from ilr_bench.generation.agent import Agent, Prompt
from ilr_bench.generation.engine import Completion, SamplingOptions
from ilr_bench.prompts import task_formats
from ilr_bench.storage.records import Verdict
from ilr_bench.tasks.types import Benchmark, BenchmarkQuestion

METRIC = "accuracy"
FILTER = "all"
NO_LIKELIHOODS = "the task asks for likelihoods, agents answer in text; use lm-eval's own `hf` model"


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
        """`seed` decides all samples of one call of `generate_until`; for the others see `batching.complete`."""
        super().__init__()
        self._agent = agent
        self._rows_per_call = rows_per_call
        self._seed = seed
        self._batch_tokens = batch_tokens
        self._journal = journal
        self._answered = answered
        self.sampled: list[tuple[Prompt, Completion]] = []
        """What the last call sampled and after which prompt, in the order of its requests."""

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """One completion per request; repeats of one request are samples of one prompt."""
        groups = [list(same) for _, same in groupby(requests, key=id)]
        options = [self._options(same[0].args[1]) for same in groups]
        prompts = [self._encode(same[0].args[0], how) for same, how in zip(groups, options, strict=True)]
        prompt_batch = [
            GenerationRequest(prompt.ids, len(same), how)
            for prompt, same, how in zip(prompts, groups, options, strict=True)
        ]
        sampled = complete(
            self._agent.engine, prompt_batch, self._batch_tokens, self._seed, self._journal, self._answered
        )
        self.sampled = [(prompt, one) for prompt, group in zip(prompts, sampled, strict=True) for one in group]
        return [self._decode(one.token_ids, how) for how, group in zip(options, sampled, strict=True) for one in group]

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Agents answer in text: raises ConfigurationError."""
        raise ConfigurationError(NO_LIKELIHOODS)

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        """Agents answer in text: raises ConfigurationError."""
        raise ConfigurationError(NO_LIKELIHOODS)

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
        text = self._agent.text_of(token_ids)
        return until_stop(text, options.stop_strings).strip()


def until_stop(text: str, stops: Sequence[str]) -> str:
    """A text up to the first of some stop strings."""
    for stop in stops:
        text = text.split(stop, 1)[0]
    return text


class BenchmarkTask(ConfigurableTask):  # type: ignore[misc]
    """A benchmark as lm-eval's task, whose only metric is a row's fraction of right samples.

    Its filter grades all completions: the filtered response to a row is a list of graded answers, one per sample.
    """

    def __init__(
        self,
        benchmark: Benchmark,
        rows: Sequence[BenchmarkQuestion],
        agent: Agent,
        settings: EvaluationSettings,
        scorer: Scorer,
    ) -> None:
        """`scorer` is opened by the caller, who evaluates the task."""
        self._rows, self._scorer = rows, scorer
        formats, kind = task_formats(agent.style), benchmark.kind
        documents = [{"id": row.id, "question": row.question, "gold": row.gold} for row in rows]
        config = {
            "task": benchmark.name,
            "custom_dataset": lambda **_: {"test": datasets.Dataset.from_list(documents)},
            "test_split": "test",
            "output_type": "generate_until",
            "doc_to_text": lambda document: formats.solve_as(document["question"], kind),
            "doc_to_target": lambda document: document["gold"],
            "process_results": lambda _, results: {
                METRIC: fmean(graded.verdict is Verdict.CORRECT for graded in results[0])
            },
            "metric_list": [{"metric": METRIC, "aggregation": "mean", "higher_is_better": True}],
            "repeats": settings.samples,
            "generation_kwargs": {
                "until": list(formats.stops_as(kind)),
                "max_gen_toks": settings.max_new_tokens,
                "temperature": settings.temperature,
                "do_sample": settings.temperature > 0,
            },
        }
        with quiet():
            super().__init__(config=config)

    def build_all_requests(
        self, *, apply_chat_template: bool = False, chat_template: Callable[..., str] | None = None, **_: Any
    ) -> None:
        """A request per row, as lm-eval builds them, without its progress bar for what takes no time."""
        asked = {"apply_chat_template": apply_chat_template, "chat_template": chat_template}
        self._instances = [
            self.construct_requests(
                document,
                self.fewshot_context(document, num_fewshot=0, **asked),
                metadata=(self.config.task, index, self.config.repeats),
                **asked,
            )
            for index, document in enumerate(self.eval_docs)
        ]

    def apply_filters(self) -> None:
        """Grades the completions of all rows together, which is faster than one by one."""
        graded = self._scorer.score_all(self._rows, [instance.resps for instance in self.instances])
        for instance, graded_answers in zip(self.instances, graded, strict=True):
            instance.filtered_resps[FILTER] = graded_answers


def run_tasks(model: LM, tasks: Mapping[str, Task], **options: Any) -> dict[str, Any]:
    """lm-eval's results of tasks by name, samples included; examples are drawn with its usual seed.

    Calls lm-eval's `evaluate` rather than its `simple_evaluate`, which seeds the global random states and asks a dozen
    processes (git, pip, lscpu ...) about the machine, for two seconds: versions stand in a trial's own result.
    """
    for task in tasks.values():
        task.set_fewshot_seed(DEFAULT_OTHER_SEED)
    with quiet():
        results: dict[str, Any] = lm_eval.evaluator.evaluate(
            lm=model, task_dict={"tasks": dict(tasks)}, bootstrap_iters=0, **options
        )
    return results


def sample_log(samples: Sequence[Mapping[str, Any]]) -> str:
    """Samples of one task as lm-eval writes them with `--log_samples`: a line of JSON for each row and filter."""
    return "".join(_logged(sample) + "\n" for sample in samples)


def _logged(sample: Mapping[str, Any]) -> str:
    arguments = {
        f"gen_args_{number}": {f"arg_{index}": argument for index, argument in enumerate(request)}
        for number, request in enumerate(sample["arguments"])
    }
    plain = {
        "arguments": arguments,
        "resps": sanitize_list(sample["resps"]),
        "filtered_resps": sanitize_list(sample["filtered_resps"]),
        "target": str(sample["target"]),
    }
    return json.dumps({**sample, **plain}, default=handle_non_serializable, ensure_ascii=False)


@contextmanager
def quiet() -> Iterator[None]:
    """Without warnings about what is meant, and without the bars of reading data."""
    log = logging.getLogger("lm_eval")
    level = log.level
    log.setLevel(logging.ERROR)
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        log.setLevel(level)
        datasets.enable_progress_bars()
