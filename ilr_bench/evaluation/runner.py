"""Standalone evaluation: an agent answers benchmarks alone; one record per sample, and progress on the terminal."""

from __future__ import annotations

import hashlib
import json
import logging
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from multiprocessing import parent_process
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ilr_bench.core.config import EvaluationSettings, content_hash
from ilr_bench.core.seeds import derive_seed
from ilr_bench.evaluation.metrics import mean_at_k, sample_table
from ilr_bench.evaluation.scorer import Scorer
from ilr_bench.generation.agent import Agent
from ilr_bench.grading.math import Grader
from ilr_bench.prompts import STYLES
from ilr_bench.prompts.style import wording
from ilr_bench.storage.files import as_noted, write_noted
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
from ilr_bench.storage.records import SampleRecord, read, to_line
from ilr_bench.storage.timing import Stopwatch
from ilr_bench.tasks.types import Benchmark, expand, get

_log = logging.getLogger(__name__)
SECONDS_BETWEEN_LINES = 30.0
LOGS = "lm_eval"
"""Folder of lm-eval's logs, beside the records."""
NO_DATE = "1970-01-01T00-00-00.000000"
UNKNOWN_CONTEXT = 2048
"""Tokens; for a model whose configuration states no context."""


class EvaluationProgress:
    """Receives what has been answered; this one shows nothing."""

    def begin(self, benchmark: str) -> None:
        """The next answers belong to this benchmark."""

    def answered(self, count: int, tokens: int) -> None:
        """So many more answers, with so many new tokens in all (0: they were there before)."""


class LineProgress(EvaluationProgress):
    """A line on stderr when a benchmark begins, and at most one every half minute."""

    def __init__(self, total: int) -> None:
        """`total`: answers of all benchmarks."""
        self._total = total
        self._done = self._new = self._tokens = 0
        self._start = self._last = time.monotonic()
        self._benchmark = ""

    def begin(self, benchmark: str) -> None:
        """See `EvaluationProgress.begin`."""
        self._benchmark = benchmark
        self._say()

    def answered(self, count: int, tokens: int) -> None:
        """See `EvaluationProgress.answered`."""
        self._done += count
        self._tokens += tokens
        self._new += count if tokens else 0
        if time.monotonic() - self._last >= SECONDS_BETWEEN_LINES:
            self._say()

    def _say(self) -> None:
        self._last = time.monotonic()
        seconds = self._last - self._start
        text = f"{self._benchmark}: {self._done} of {self._total} answers"
        if self._new:
            left = seconds / self._new * (self._total - self._done)
            text += f", {self._tokens / seconds:.0f} tokens a second, about {_minutes(left)} left"
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


class BarProgress(EvaluationProgress):
    """A bar over all answers of all benchmarks."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=total)

    def begin(self, benchmark: str) -> None:
        """See `EvaluationProgress.begin`."""
        self._progress.update(self._task, description=benchmark)

    def answered(self, count: int, tokens: int) -> None:
        """See `EvaluationProgress.answered`."""
        self._progress.advance(self._task, count)


@contextmanager
def show_progress(total: int, lines: bool) -> Iterator[EvaluationProgress]:
    """A bar where stderr is a terminal of this process's own; else lines, where they are wanted.

    A worker process has the terminal of the process that started it, which shows bars of its own.
    """
    console = Console(stderr=True)
    if parent_process() is None and console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as progress:
            yield BarProgress(progress, total)
    else:
        yield LineProgress(total) if lines else EvaluationProgress()


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


@dataclass(frozen=True)
class Answers:
    """What one agent answered to one benchmark."""

    records: list[SampleRecord]
    logs: Mapping[str, str]
    """lm-eval's name of a task -> its log of samples, in lm-eval's own format."""


class BenchmarkRun(Protocol):
    """One benchmark, made ready for one agent."""

    name: str

    def sample_ids(self) -> list[tuple[str, int]]:
        """Question id and number of every sample, in the order of the records."""
        ...

    def run(self, journal: Path, progress: EvaluationProgress) -> Answers:
        """All answers; batches noted in `journal` are not sampled again."""
        ...


def evaluate(
    agent: Agent,
    benchmark_names: Sequence[str],
    settings: EvaluationSettings,
    folder: Path,
    seed: int,
    grader: Grader,
) -> dict[str, float]:
    """Benchmark -> mean accuracy in [0, 1], groups resolved.

    Raises MissingInputError where data are missing, and JailError where this machine allows no jail that is needed,
    before anything is sampled. See `run_benchmarks` for the rest.
    """
    runs = [RegisteredBenchmarkRun(get(name), agent, settings, seed, grader) for name in expand(benchmark_names)]
    return run_benchmarks(runs, agent, folder, seed)


def run_benchmarks(
    runs: Sequence[BenchmarkRun],
    agent: Agent,
    folder: Path,
    seed: int,
    lines: bool = False,
    stopwatch: Stopwatch | None = None,
) -> dict[str, float]:
    """Benchmark -> mean accuracy in [0, 1].

    Writes `folder/<benchmark>.jsonl`, whole or not at all, after lm-eval's own log of the samples (`log_file`). An
    interrupted call continues where it was: a benchmark whose file holds all samples of this agent and seed, beside a
    log as it was written, is not run again, and of the one that was interrupted no finished batch is sampled again
    (`<benchmark>.part.jsonl`, gone when it is done). Shows a bar where stderr is a terminal of its own, else lines
    where `lines` asks for them. `stopwatch` gets the seconds of each benchmark.
    """
    accuracy = {}
    with show_progress(sum(len(run.sample_ids()) for run in runs), lines) as progress:
        for index, run in enumerate(runs):
            progress.begin(run.name)
            path = record_file(folder, run.name)
            wanted = run.sample_ids()
            journal = path.with_suffix(".part.jsonl")
            records = _earlier(path, agent, run.name, wanted, seed)
            if records is None:
                with nullcontext() if stopwatch is None else stopwatch.watch(run.name):
                    answers = run.run(journal, progress)
                    records = answers.records
                    for task, log in answers.logs.items():
                        write_noted(log_file(folder, run.name, task), log)
                    write_noted(path, "".join(f"{to_line(record)}\n" for record in records))
                if stopwatch is not None:
                    stopwatch.count(run.name, sum(record.tokens for record in records))
                    stopwatch.write(index)
            else:
                progress.answered(len(wanted), 0)
            # Also where the records were there: an earlier call may have been killed between the two.
            journal.unlink(missing_ok=True)
            accuracy[run.name] = float(mean_at_k(sample_table(records)[0]).mean())
    return accuracy


def context_of(model: Any) -> int:
    """Most tokens that a transformers model can see at once."""
    config = getattr(model, "config", None)
    config = getattr(config, "text_config", config)
    return getattr(config, "max_position_embeddings", None) or UNKNOWN_CONTEXT


PROMPT_ROOM = 2048
"""Tokens of a context, or half of it where that is less, that answers leave to prompts."""


def answer_limit(benchmark: Benchmark, settings: EvaluationSettings, agents: Sequence[Agent]) -> int:
    """Most tokens of an answer: the settings' own limit, else the benchmark's, else the settings' general one.

    Never more than the smallest context of the agents has room for beside a prompt.
    """
    asked = settings.token_limit or benchmark.max_new_tokens or settings.max_new_tokens
    contexts = {agent.name: context_of(agent.model) for agent in agents}
    smallest = min(contexts, key=lambda name: contexts[name])
    context = contexts[smallest]
    # Who names a limit that fits may leave less to prompts.
    limit = asked if settings.token_limit and asked < context else min(asked, context - min(PROMPT_ROOM, context // 2))
    if limit < asked:
        _log.warning(
            "%s: answers of at most %d tokens instead of %d, since the context of %s is %d",
            benchmark.name, limit, asked, smallest, context,
        )  # fmt: skip
    return limit


def record_file(folder: Path, name: str) -> Path:
    """Where the records of a benchmark lie; `lm_eval:gsm8k` is `lm_eval.gsm8k.jsonl`."""
    return folder / f"{name.replace(':', '.')}.jsonl"


def log_file(folder: Path, benchmark: str, task: str) -> Path:
    """Where lm-eval's own log of a benchmark's samples lies, under a name that its tools know.

    They look for a date in it; equal runs leave equal files, so it is always the same one.
    """
    return folder / LOGS / record_file(folder, benchmark).stem / f"samples_{task}_{NO_DATE}.jsonl"


class RegisteredBenchmarkRun:
    """A registered benchmark; its rows are loaded when it is made."""

    def __init__(
        self, benchmark: Benchmark, agent: Agent, settings: EvaluationSettings, seed: int, grader: Grader
    ) -> None:
        """A prompt may take what the limit of `answer_limit` leaves of the model's context."""
        self.name = benchmark.name
        limit = answer_limit(benchmark, settings, [agent])
        available = context_of(agent.model) - limit
        self._settings = replace(settings, max_new_tokens=limit)
        self._agent = replace(agent, max_prompt_tokens=min(agent.max_prompt_tokens, available))
        self._benchmark, self._seed = benchmark, seed
        self._rows = benchmark.load()[: settings.limit]
        self._scorer = Scorer(benchmark, agent, grader, settings.jail)
        with self._scorer:
            # Where the kernel refuses a jail, the error comes now rather than after hours of sampling.
            self._protection = self._scorer.protection

    def sample_ids(self) -> list[tuple[str, int]]:
        """See `BenchmarkRun.sample_ids`."""
        return [(row.id, sample) for row in self._rows for sample in range(self._settings.samples)]

    def decided_by(self) -> dict[str, Any]:
        """All that decides the records but model, device and code, as JSON data; the agent's name labels them only."""
        rows = [[row.id, row.question, row.gold, row.problem] for row in self._rows]
        return {
            "benchmark": self.name,
            "rows": hashlib.sha256(json.dumps(rows, sort_keys=True, default=repr).encode()).hexdigest(),
            "settings": asdict(self._settings) | {"benchmarks": None},
            "seed": self._seed,
            "style": self._agent.style.name,
            "wording": wording(self._agent.style, STYLES.plugin(self._agent.style.name)),
            "kind": self._benchmark.kind,
            "prompt_tokens": self._agent.max_prompt_tokens,
            "jail": self._protection,
        }

    def inputs(self) -> Inputs:
        """What the records depend on beside model and settings, part by part."""
        limit = self._settings.limit
        name = f"benchmark {self.name}" + (f" (first {limit})" if limit is not None else "")
        rows = [(row.id, [row.question, row.gold, row.problem]) for row in self._rows]
        style = self._agent.style
        return {
            name: row_parts(rows, self._benchmark.stated),
            f"wording {style.name}": wording(style, STYLES.plugin(style.name)),
            **code_inputs(EVALUATING),
            **package_inputs((*ALWAYS, *ENGINES, *HARNESS)),
        }

    def run(self, journal: Path, progress: EvaluationProgress) -> Answers:
        """See `BenchmarkRun.run`."""
        # lm-eval and what it needs take seconds to import: no concern of those who only ask which benchmarks there are.
        from ilr_bench.evaluation.lm_eval_model import AgentLM, BenchmarkTask, run_tasks, sample_log

        settings, seed = self._settings, derive_seed(self._seed, self._benchmark.seed_name)
        model = AgentLM(self._agent, settings.rows_per_call, seed, settings.batch_tokens, journal, progress.answered)
        with self._scorer:
            task = BenchmarkTask(self._benchmark, self._rows, self._agent, settings, self._scorer)
            samples = run_tasks(model, {self.name: task})["samples"][self.name]
        sampled = iter(model.sampled)
        records = []
        for sample in samples:
            graded = zip(sample["resps"][0], sample["filtered_resps"][0], strict=True)
            for index, (text, graded_answer) in enumerate(graded):
                prompt, completion = next(sampled)
                records.append(
                    SampleRecord(
                        benchmark=self.name,
                        agent=self._agent.name,
                        question_id=sample["doc"]["id"],
                        sample=index,
                        prompt_hash=content_hash(sample["arguments"][0][0]),
                        completion=text,
                        answer=graded_answer.answer,
                        gold=sample["target"],
                        verdict=graded_answer.verdict,
                        tokens=len(completion.token_ids),
                        seed=self._seed,
                        finished=completion.finished,
                        cut_prompt=prompt.cut_tokens,
                        jail=self._protection,
                    )
                )
        return Answers(records, {self.name: sample_log(samples)})


def _earlier(
    path: Path, agent: Agent, name: str, wanted: Sequence[tuple[str, int]], seed: int
) -> list[SampleRecord] | None:
    """The records of a run that asked for the same samples, if there was one that left its logs as well."""
    if not path.exists():
        return None
    logs = list((path.parent / LOGS / path.stem).glob("samples_*.jsonl"))
    for written in (path, *logs):
        if not as_noted(written):
            _log.warning("%s changed since it was written; its benchmark is run again", written)
            return None
    if not logs:
        return None
    records = list(read(path, SampleRecord))
    found = [(record.question_id, record.sample) for record in records]
    same = all((record.benchmark, record.agent, record.seed) == (name, agent.name, seed) for record in records)
    return records if same and found == list(wanted) else None
