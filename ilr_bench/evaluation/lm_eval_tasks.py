"""lm-eval's own tasks, named `lm_eval:TASK`: its prompts, few-shot examples, filters and scorer, our model class.

Nothing of the agent's prompt style is used. The rows come from the folder `ILR_BENCH_DATA` where it holds them
(`LOCAL`), else from where the task has them. Completions are those of lm-eval's `hf` model (at its batch size of 1) up
to rounding: prompts are tokenized, cut and ended as there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

import datasets
from datasets.exceptions import DatasetsError
from lm_eval.api.task import ConfigurableTask, Task
from lm_eval.models.utils import handle_stop_sequences, has_bos_prefix, normalize_gen_kwargs, resolve_max_length
from lm_eval.tasks import TaskManager

from ilr_bench.core.config import EvaluationSettings
from ilr_bench.core.errors import ConfigurationError, MissingInputError
from ilr_bench.core.seeds import derive_seed
from ilr_bench.evaluation.lm_eval_model import AgentLM, quiet, run_tasks, sample_log, until_stop
from ilr_bench.evaluation.runner import Answers, EvaluationProgress
from ilr_bench.generation.agent import Agent, Prompt
from ilr_bench.generation.engine import Completion, SamplingOptions
from ilr_bench.prompts.thoughts import without_thought
from ilr_bench.storage.provenance import (
    ALWAYS,
    ENGINES,
    EVALUATING,
    HARNESS,
    Inputs,
    code_inputs,
    package_inputs,
    row_parts,
)
from ilr_bench.storage.records import SampleRecord, Verdict
from ilr_bench.tasks.data import Dataset, data_path, read_rows

PREFIX = "lm_eval:"
LIMIT = 256
"""Longest answer where a task states none, as in lm-eval's `hf` model."""
UNANSWERED = "[invalid]"
"""What lm-eval's filters give where they find nothing."""

LOCAL = {
    hub: tuple(Dataset(file.format(split), hub, configuration, split) for split in splits)
    for hub, configuration, file, splits in (
        ("openai/gsm8k", "main", "gsm8k/{}.jsonl", ("train", "test")),
        ("HuggingFaceH4/MATH-500", "default", "math500/{}.jsonl", ("test",)),
        ("TIGER-Lab/MMLU-Pro", "default", "mmlu_pro/{}-00000-of-00001.parquet", ("validation", "test")),
    )
}
"""Data set on the hub, as tasks name it -> its splits in the data folder."""

_SAMPLING_ONLY = ("top_p", "top_k", "min_p", "typical_p")


class LmEvalRun:
    """One task, or one group of tasks, of lm-eval's, made ready for one agent."""

    def __init__(
        self,
        name: str,
        agent: Agent,
        settings: EvaluationSettings,
        seed: int,
        chat_template: bool,
        include_path: Path | None = None,
    ) -> None:
        """`name` without its prefix; `include_path`: a folder of tasks beside lm-eval's own.

        Of `settings` only the limits count: the task decides how answers are sampled. Raises ConfigurationError for a
        task that is unknown, wants likelihoods or runs programs, MissingInputError where its data cannot be had.
        """
        if settings.samples > 1 or settings.temperature > 0:
            raise ConfigurationError(
                f"{PREFIX}{name} says itself how its answers are drawn; leave --samples and --temperature"
            )
        self.name = PREFIX + name
        self._agent, self._settings, self._seed, self._chat_template = agent, settings, seed, chat_template
        self._tasks = load_tasks(name, include_path)
        with quiet():
            rows = {name: len(task.eval_docs) for name, task in self._tasks.items()}
        self._wanted = [
            (f"{name}/{row}", sample)
            for name, count in rows.items()
            for row in range(count if settings.limit is None else min(count, settings.limit))
            for sample in range(self._tasks[name].config.repeats)
        ]

    def sample_ids(self) -> list[tuple[str, int]]:
        """See `BenchmarkRun.sample_ids`; a question is `task/number of its row`."""
        return self._wanted

    def inputs(self) -> Inputs:
        """See `RegisteredBenchmarkRun.inputs`; rows are those of all of the task's tasks, by task and number."""
        rows = [(f"{name}/{n}", row) for name, task in self._tasks.items() for n, row in enumerate(task.eval_docs)]
        code = code_inputs((*EVALUATING, "evaluation/lm_eval_tasks.py"))
        return {f"benchmark {self.name}": row_parts(rows, [])} | code | package_inputs((*ALWAYS, *ENGINES, *HARNESS))

    def run(self, journal: Path, progress: EvaluationProgress) -> Answers:
        """See `BenchmarkRun.run`."""
        settings = self._settings
        model = LmEvalStyleLM(
            self._agent,
            settings.rows_per_call,
            derive_seed(self._seed, self.name),
            settings.batch_tokens,
            journal,
            progress.answered,
        )
        if settings.token_limit is not None:
            for task in self._tasks.values():
                task.set_config("generation_kwargs", {"max_gen_toks": settings.token_limit}, update=True)
        results = run_tasks(
            model,
            self._tasks,
            limit=settings.limit,
            apply_chat_template=self._chat_template,
            fewshot_as_multiturn=self._chat_template,
        )
        samples = {name: results["samples"][name] for name in self._tasks}
        sampled = iter(model.sampled)
        records = [
            record
            for name, filtered in samples.items()
            for rows in _by_row(filtered).values()
            for record in self._records(name, rows, sampled)
        ]
        return Answers(records, {name: sample_log(filtered) for name, filtered in samples.items()})

    def _records(
        self, task: str, filtered: Sequence[dict[str, Any]], sampled: Iterator[tuple[Prompt, Completion]]
    ) -> Iterator[SampleRecord]:
        """The samples of one row; `filtered` holds what each of the task's filters made of them."""
        metrics = _metrics(filtered)
        first = filtered[0]
        answer = first["filtered_resps"][0]
        for index, text in enumerate(first["resps"][0]):
            prompt, completion = next(sampled)
            yield SampleRecord(
                benchmark=self.name,
                agent=self._agent.name,
                question_id=f"{task}/{first['doc_id']}",
                sample=index,
                prompt_hash=first["prompt_hash"],
                completion=text,
                answer=answer if isinstance(answer, str) else str(answer),
                gold=str(first["target"]),
                verdict=_verdict(answer, next(iter(metrics.values()))),
                tokens=len(completion.token_ids),
                seed=self._seed,
                finished=completion.finished,
                cut_prompt=prompt.cut_tokens,
                doc_hash=first["doc_hash"],
                metrics=metrics,
            )


class LmEvalStyleLM(AgentLM):
    """The agent's weights and tokenizer as lm-eval's `hf` model would use them: text as it is, nothing added."""

    def _options(self, arguments: dict[str, Any]) -> SamplingOptions:
        tokenizer = self._agent.tokenizer
        given: dict[str, Any] = dict(normalize_gen_kwargs(arguments, LIMIT))
        until = handle_stop_sequences(given.pop("until", None), eos=tokenizer.decode([tokenizer.eos_token_id]))
        limit, temperature = given.pop("max_gen_toks"), given.pop("temperature", 0.0)
        sampled = given.pop("do_sample")
        unknown = [key for key in given if sampled or key not in _SAMPLING_ONLY]
        if unknown:
            raise ConfigurationError(
                f"the task draws its answers with {', '.join(unknown)}, which this model class does not know; "
                "use lm-eval's own `hf` model"
            )
        return SamplingOptions(limit, temperature if sampled else 0.0, self._rows_per_call, tuple(filter(None, until)))

    def _encode(self, text: str, options: SamplingOptions) -> Prompt:
        tokenizer = self._agent.tokenizer
        begun = has_bos_prefix(text, tokenizer.bos_token)
        ids = tokenizer(text, **({"add_special_tokens": False} if begun else {}))["input_ids"]
        context = resolve_max_length(self._agent.model.config, tokenizer)
        available = context - options.max_new_tokens
        if available <= 0:
            raise ConfigurationError(
                f"answers of {options.max_new_tokens} tokens leave no room for a prompt in a context of {context}; "
                "lower --max-new-tokens"
            )
        return Prompt(tuple(ids[-available:]), max(0, len(ids) - available))

    def _decode(self, token_ids: Sequence[int], options: SamplingOptions) -> str:
        text = self._agent.text_of(token_ids)
        answer = without_thought(text, self._agent.thoughts)
        # As in `hf` with think_end_token: stop strings are looked for in what follows the thought.
        return until_stop(text if answer == text else answer.lstrip(), options.stop_strings)

    @property
    def tokenizer_name(self) -> str:
        """lm-eval names caches of requests by it, which are not used here."""
        return self._agent.name

    def chat_template(self, chat_template: bool | str = False) -> str:
        """The model's own template, for lm-eval's log; raises ConfigurationError where another one is asked for."""
        if isinstance(chat_template, str):
            raise ConfigurationError(f"chat template {chat_template!r}: only the model's own one can be applied")
        return str(self._agent.tokenizer.chat_template or "") if chat_template else ""

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """A conversation as text, by the model's own template."""
        return str(
            self._agent.tokenizer.apply_chat_template(
                chat_history,
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                continue_final_message=not add_generation_prompt,
            )
        )


@cache
def manager(include_path: Path | None = None) -> TaskManager:
    """lm-eval's index of its tasks and of those in a folder, which takes seconds to read."""
    return TaskManager(include_path=None if include_path is None else str(include_path))


def load_tasks(name: str, include_path: Path | None = None) -> dict[str, Task]:
    """lm-eval's tasks behind a name, with rows from the data folder where it has them; errors as in `LmEvalRun`."""
    with quiet():
        known = manager(include_path).all_tasks
    if name not in known:
        close = get_close_matches(name, known, n=1)
        hint = f"did you mean {PREFIX}{close[0]}?" if close else "`lm-eval ls tasks` lists them"
        raise ConfigurationError(f"lm-eval has no task {name!r}; {hint}")
    with quiet(), _rows_from_the_data_folder(), _explained(name):
        tasks: dict[str, Task] = manager(include_path).load([name])["tasks"]
    for task in tasks.values():
        if task.OUTPUT_TYPE != "generate_until":
            raise ConfigurationError(
                f"{PREFIX}{name} asks for likelihoods, agents answer in text; use lm-eval's `hf` model"
            )
        if getattr(task, "UNSAFE_CODE", False) or getattr(task.config, "unsafe_code", False):
            raise ConfigurationError(f"{PREFIX}{name} runs programs without a jail; use humaneval_plus or mbpp_plus")
    return tasks


@contextmanager
def _rows_from_the_data_folder() -> Iterator[None]:
    """lm-eval loads a task's rows while it builds the task; for that time they are looked for here first."""
    fetch = ConfigurableTask.download

    def download(task: ConfigurableTask, dataset_kwargs: dict[str, Any] | None = None, **others: Any) -> None:
        local = _local_rows(str(task.DATASET_PATH), task.DATASET_NAME)
        if local is None:
            fetch(task, dataset_kwargs, **others)
        else:
            task.dataset = local

    ConfigurableTask.download = download
    try:
        yield
    finally:
        ConfigurableTask.download = fetch


def _local_rows(hub: str, configuration: str | None) -> dict[str, datasets.Dataset] | None:
    splits = LOCAL.get(hub, ())
    if not splits or any(data_path(split.file) is None for split in splits):
        return None
    if configuration not in (None, splits[0].configuration):
        return None
    return {split.split: _table(split, str(data_path(split.file))) for split in splits}


@cache
def _table(split: Dataset, path: str) -> datasets.Dataset:
    """In memory, so that nothing is copied into the library's cache; read once for all tasks of a group."""
    return datasets.Dataset.from_list(read_rows(split))


@contextmanager
def _explained(name: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, ImportError, DatasetsError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise MissingInputError(
            f"lm-eval cannot load its task {name} ({reason}); connect to the hub, or, if it takes its rows from "
            f"{', '.join(LOCAL)}, set ILR_BENCH_DATA to a folder that holds them (docs/evaluation.md)"
        ) from error


def _by_row(samples: Sequence[dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
    """lm-eval lists every row once for each of its filters."""
    rows: dict[int, list[dict[str, Any]]] = {}
    for sample in samples:
        rows.setdefault(sample["doc_id"], []).append(sample)
    return rows


def _metrics(filtered: Sequence[dict[str, Any]]) -> dict[str, float]:
    """`metric,filter` -> value of one row; math-verify's verdict comes first where a task asks for it."""
    values = {
        f"{metric},{sample['filter']}": float(sample[metric]) for sample in filtered for metric in sample["metrics"]
    }
    return dict(sorted(values.items(), key=lambda item: not item[0].startswith("math_verify,")))


def _verdict(answer: object, value: float) -> Verdict:
    if value == 1:
        return Verdict.CORRECT
    return Verdict.MISSING if answer == UNANSWERED else Verdict.WRONG
