"""Solo evaluation: a trained agent answers benchmarks alone; one record per sample."""

from __future__ import annotations

from collections.abc import Sequence
from multiprocessing import parent_process
from pathlib import Path
from statistics import fmean

from rich.console import Console
from rich.progress import track

from ilr_bench.agent import Agent
from ilr_bench.benchmarks.base import Benchmark, Row, expand, get
from ilr_bench.benchmarks.scoring import Scorer
from ilr_bench.config import EvaluationSettings, content_hash
from ilr_bench.files import write_atomic
from ilr_bench.grading import Grader
from ilr_bench.records import SampleRecord, Verdict, read, to_line
from ilr_bench.seeds import derive_seed


def evaluate(
    agent: Agent,
    benchmark_names: Sequence[str],
    settings: EvaluationSettings,
    folder: Path,
    seed: int,
    grader: Grader,
) -> dict[str, float]:
    """Benchmark -> mean accuracy in [0, 1], groups resolved.

    Writes `folder/<benchmark>.jsonl`, whole or not at all; a benchmark whose file holds all samples of this
    agent and seed already is not run again. Shows a progress bar where stderr is a terminal of its own.
    """
    accuracy = {}
    console = Console(stderr=True)
    # A worker process shares the terminal with the process that started it, which draws bars of its own.
    hidden = parent_process() is not None or not console.is_terminal
    benchmarks = [get(name) for name in expand(benchmark_names)]
    for benchmark in track(benchmarks, f"{agent.name} alone", console=console, transient=True, disable=hidden):
        path = folder / f"{benchmark.name}.jsonl"
        rows = benchmark.load()[: settings.limit]
        records = _earlier(path, agent, benchmark, rows, settings, seed)
        if records is None:
            records = _run(agent, benchmark, rows, settings, seed, grader)
            write_atomic(path, "".join(f"{to_line(record)}\n" for record in records))
        accuracy[benchmark.name] = fmean(record.verdict is Verdict.CORRECT for record in records)
    return accuracy


def _earlier(
    path: Path, agent: Agent, benchmark: Benchmark, rows: Sequence[Row], settings: EvaluationSettings, seed: int
) -> list[SampleRecord] | None:
    """The records of a run that asked for the same samples, if there was one."""
    if not path.exists():
        return None
    records = list(read(path, SampleRecord))
    found = [(record.benchmark, record.agent, record.seed, record.question_id, record.sample) for record in records]
    wanted = [(benchmark.name, agent.name, seed, row.id, k) for row in rows for k in range(settings.samples)]
    return records if found == wanted else None


def _run(
    agent: Agent, benchmark: Benchmark, rows: Sequence[Row], settings: EvaluationSettings, seed: int, grader: Grader
) -> list[SampleRecord]:
    # lm-eval and what it needs take seconds to import: no concern of those who only ask which benchmarks there are.
    from ilr_bench.benchmarks.harness import AgentLM, make_task, run_task

    with Scorer(benchmark, agent, grader) as scorer:

        def score(row: Row, completions: list[str]) -> float:
            return fmean(judgement.verdict is Verdict.CORRECT for judgement in scorer.score(row, completions))

        model = AgentLM(agent, settings.rows_per_call, derive_seed(seed, benchmark.name))
        results = run_task(model, make_task(benchmark.name, rows, agent, settings, score))
    spent = iter(model.completions)
    records = []
    for row, sample in zip(rows, results["samples"][benchmark.name], strict=True):
        (prompt, _), (completions,) = sample["arguments"][0], sample["resps"]
        for place, (completion, judged) in enumerate(zip(completions, scorer.judged[row.id], strict=True)):
            records.append(
                SampleRecord(
                    benchmark=benchmark.name,
                    agent=agent.name,
                    question_id=row.id,
                    sample=place,
                    prompt_hash=content_hash(prompt),
                    completion=completion,
                    answer=judged.answer,
                    gold=row.gold,
                    verdict=judged.verdict,
                    tokens=len(next(spent).token_ids),
                    seed=seed,
                )
            )
    return records
