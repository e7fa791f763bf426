"""`python -m ilr_bench.cli.smoke`: the same line on a real pretrained model, for three steps.

Twins of SmolLM2-135M-Instruct, a LoRA adapter each on one base, learn from GSM8K's training questions mixed with
plain sums through the ordinary trial; then each answers real test questions alone. Far too short to learn much:
it shows that nothing in the laboratory depends on the micro models.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Annotated

import torch
import typer

from ilr_bench.core.config import RunConfig
from ilr_bench.core.console import fail_in_one_line, note, say
from ilr_bench.core.errors import StoreError
from ilr_bench.core.hardware import cores
from ilr_bench.evaluation.runner import evaluate
from ilr_bench.grading.math import Grader
from ilr_bench.learner.build import build_agent, build_agents
from ilr_bench.models.loading import load_model, load_weights
from ilr_bench.storage.checkpoints import latest_checkpoint
from ilr_bench.storage.files import write_atomic
from ilr_bench.storage.records import SampleRecord, StepRecord, Study, Verdict, read, write_study
from ilr_bench.storage.store import Artifacts, lock_study
from ilr_bench.study.cost.fits import take_turns
from ilr_bench.study.plan import PlannedTrial, plan_study
from ilr_bench.study.trial import run_trial
from ilr_bench.tasks.data import data_path
from ilr_bench.tasks.sources.gsm8k import TEST, TRAIN

COMMAND = "python -m ilr_bench.cli.smoke"
SETTINGS = {
    "questions.train": "16",
    "questions.validation": "8",
    "training.steps": "3",
    "training.questions_per_step": "4",
    "training.validate_every": "0",
    "training.checkpoint_every": "1",
    "sampling.max_new_tokens": "64",
    "sampling.max_analysis_tokens": "40",
    "update.rows_per_micro_batch": "8",
    "evaluation.limit": "20",
}
UNTRAINED = "untrained"


def main(out: Annotated[Path, typer.Option(help="Folder of the study.")] = Path("runs/real_smoke")) -> None:
    """Three ILR steps of SmolLM2 twins, then both alone on sums and GSM8K; the same command again continues."""
    with fail_in_one_line():
        # One process alone with a real model: all cores are its own (on a busy machine it is slow for it).
        torch.set_num_threads(cores())
        logging.getLogger("lm_eval").setLevel(logging.ERROR)
        start = time.perf_counter()
        settings = SETTINGS | _questions()
        plan = plan_study("small", ["ilr"], overrides={key: (value,) for key, value in settings.items()})
        (trial,) = plan.trials
        with lock_study(out):
            write_study(out, Study("small", COMMAND, plan.entries))
            text = _run(trial, out)
        write_atomic(out / "smoke.md", text)
        say(text)
        note(f"{time.perf_counter() - start:.0f} s; the table is in {out / 'smoke.md'}")


def _questions() -> dict[str, str]:
    """Real questions where the data folder has them; a configuration names what it trains on."""
    if data_path(TRAIN.file) is not None and data_path(TEST.file) is not None:
        return {"questions.source": "gsm8k_sums", "evaluation.benchmarks": "sums+gsm8k"}
    note(f"no {TRAIN.file} and {TEST.file} in a folder ILR_BENCH_DATA: the generated sums alone are used")
    return {"questions.source": "sums", "evaluation.benchmarks": "sums"}


def _run(trial: PlannedTrial, out: Path) -> str:
    config, folder = trial.config, out / trial.folder

    def watch(step: int, evaluated: float) -> None:
        note(f"alone: {evaluated:.0%} of the agents" if evaluated else f"step {step} of {config.training.steps}")

    note(f"training {' and '.join(config.agents)}: {config.training.steps} steps on {config.questions.source}")
    run_trial(config, trial.hash, folder, Artifacts(out / "artifacts"), watch=watch, take_turns=take_turns)
    with Grader() as grader:
        loaded_agents = build_agents(config)
        untrained = build_agent(UNTRAINED, load_model(config.models[0]), config)
        evaluate(untrained, config.evaluation.benchmarks, config.evaluation, folder / "eval" / UNTRAINED, 0, grader)
        newest = latest_checkpoint(folder / "checkpoints")
        if newest is None:
            raise StoreError(f"{folder} holds no checkpoint that can be read; delete the folder and run again")
        step, checkpoint = newest
        # The last one has the longest answers: three steps change hardly any of the short ones.
        benchmark = config.evaluation.benchmarks[-1]
        repeated = []
        for fresh in loaded_agents:
            name = fresh.agent.name
            load_weights(fresh.agent.model, checkpoint / name)
            first = _samples(folder / "eval" / name, benchmark)
            where = folder / "reloaded" / name
            evaluate(fresh.agent, [benchmark], config.evaluation, where, first[0].seed, grader)
            repeated.append(_samples(where, benchmark) == first)
    if not all(repeated):
        raise StoreError(
            f"{checkpoint}, loaded into fresh twins, answers otherwise than its agents did; delete {out} and run again"
        )
    return _table(config, folder, step)


def _table(config: RunConfig, folder: Path, step: int) -> str:
    """Markdown: what each agent gets right alone, and what its steps were like."""
    benchmarks = config.evaluation.benchmarks
    lines = [f"| alone, right of {config.evaluation.limit} | {' | '.join(benchmarks)} | sampled tokens |"]
    lines.append("|---|" + "---:|" * (len(benchmarks) + 1))
    records = list(read(folder / "train.jsonl", StepRecord))
    for agent in (UNTRAINED, *config.agents):
        scores = [_samples(folder / "eval" / agent, name) for name in benchmarks]
        right = [str(sum(record.verdict is Verdict.CORRECT for record in score)) for score in scores]
        spent = sum(record.sampled_tokens for record in records if record.agent == agent)
        lines.append(f"| {agent} | {' | '.join(right)} | {spent} |")
    lines += ["", "| step | agent | right sharing | right fusion | groups with a signal | cooperates | loss |"]
    lines.append("|---:|---|---:|---:|---:|---:|---:|")
    lines += [
        f"| {record.step} | {record.agent} | {_percent(record.sharing_accuracy)} | {_percent(record.fusion_accuracy)} "
        f"| {record.groups - record.flat_groups}/{record.groups} | {_percent(record.cooperation_share)} "
        f"| {record.loss:+.4f} |"
        for record in records
    ]
    lines += ["", f"Joint checkpoint of step {step}, loaded into fresh twins: the same answers on {benchmarks[-1]}."]
    return "\n".join(lines) + "\n"


def _samples(folder: Path, benchmark: str) -> list[SampleRecord]:
    return list(read(folder / f"{benchmark}.jsonl", SampleRecord))


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


if __name__ == "__main__":
    typer.run(main)
