"""One model, alone, on benchmarks: the evaluation of a trial without the training."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from multiprocessing import parent_process
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ilr_bench.core.config import RunConfig, change
from ilr_bench.core.console import note
from ilr_bench.core.errors import ConfigurationError, StoreError
from ilr_bench.core.hardware import cores
from ilr_bench.core.plugins import label_of
from ilr_bench.core.profiles import MICRO, profile
from ilr_bench.evaluation.runner import LOGS, RegisteredBenchmarkRun, context_of, record_file, run_benchmarks
from ilr_bench.generation.agent import Agent
from ilr_bench.grading.math import Grader
from ilr_bench.learner.build import LoadedAgent, build_agent, part_from_servers
from ilr_bench.learner.served import served_model
from ilr_bench.models.loading import LoadedModel, load_model
from ilr_bench.prompts import STYLES
from ilr_bench.storage.files import explained, note_name, read_json, remove, write_atomic
from ilr_bench.storage.provenance import Inputs, differences, is_inputs
from ilr_bench.storage.store import lock_study
from ilr_bench.storage.timing import Stopwatch
from ilr_bench.tasks.benchmarks import expand, get
from ilr_bench.tasks.types import ANSWER_TOKENS

if TYPE_CHECKING:
    from ilr_bench.evaluation.lm_eval_tasks import LmEvalRun

LM_EVAL = "lm_eval:"
BATCH_TOKENS = 32_768
"""Tokens held for one batch without a profile: 1.5 GB of keys and values for SmolLM2 in fp32, 4 GB for an 8B Llama in
bf16. Not the machine's memory, since results may depend on the batches in their last bits."""
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_LARGE = 10_000_000


@dataclass(frozen=True)
class StandaloneRun:
    """What is asked of `ilr-bench evaluate`."""

    model: str
    """A model's name or path."""
    benchmarks: tuple[str, ...]
    """Names, groups, and lm-eval's own tasks as `lm_eval:TASK`."""
    out: Path
    limit: int | None = None
    samples: int = 1
    temperature: float = 0.0
    seed: int = 0
    profile: str | None = None
    """Where prompt style and limits come from; None: `micro` for the micro models, else what the model allows."""
    style: str | None = None
    """None: the profile's; without one `chat` where the model has a chat template, else `fewshot`."""
    max_new_tokens: int | None = None
    """Longest answer, whatever a benchmark states."""
    batch_tokens: int | None = None
    dtype: str = "float32"
    engine: str | None = None
    """What samples, `transformers`, `vllm` or `tinker`; None: the profile's, without one `transformers`."""
    jail: bool = True
    chat_template: bool = False
    """Whether lm-eval's own tasks are asked through the model's chat template."""
    include_path: Path | None = None
    """A folder of tasks in lm-eval's format, beside its own."""
    agent: str = ""
    """The name in the records; the model's, without its folder, where it is empty."""


def evaluate_model(run: StandaloneRun, load: Callable[[str], LoadedModel] = load_model) -> dict[str, float]:
    """Benchmark -> mean accuracy in [0, 1]; records go to `run.out`, and the same call again continues.

    `load` gives the model for `run.model`. Raises ConfigurationError for contradictory options and for a folder that
    holds answers of something else.
    """
    check(run)
    names = _names(run.benchmarks)
    loaded = served_alone(run) if run.engine == "tinker" else load(run.model)
    config = standalone_config(run, loaded)
    agent = solo_agent(run, loaded, config)
    with explained(run.out):
        run.out.mkdir(parents=True, exist_ok=True)
    with ExitStack() as ends, lock_study(run.out), Grader() as grader:
        ends.callback(part_from_servers, [LoadedAgent(agent, loaded)])
        claim(run.out, _answers_for(run, loaded, config))
        runs = [_benchmark_run(name, agent, config, run, grader) for name in names]
        drop_outdated(run.out, {one.name: one.inputs() for one in runs})
        return run_benchmarks(runs, agent, run.out, run.seed, lines=True, stopwatch=Stopwatch(run.out / "timing.jsonl"))


def served_alone(run: StandaloneRun) -> LoadedModel:
    """A base model that a server samples."""
    config = change(replace(profile(run.profile or "small"), models=(run.model,)), {"training.steps": 0})
    return served_model(run.model, run.agent or config.agents[0], config)


def solo_agent(run: StandaloneRun, loaded: LoadedModel, config: RunConfig) -> Agent:
    """The agent that answers, its weights in the precision that is asked for."""
    agent = build_agent(run.agent or config.agents[0], loaded, config)
    if run.engine == "tinker":
        return agent
    if run.dtype != "float32":
        agent.model.to(DTYPES[run.dtype])
    use_all_cores(agent.model)
    return agent


def standalone_config(run: StandaloneRun, loaded: LoadedModel) -> RunConfig:
    """The configuration of the agent: a profile's, or one that follows from the model."""
    named = run.profile or ("micro" if run.model in MICRO.pool else None)
    base = profile(named or "small")
    style = base.prompt_style if named else "chat" if loaded.tokenizer.chat_template is not None else "fewshot"
    evaluation = replace(
        base.evaluation,
        limit=run.limit,
        samples=run.samples,
        temperature=run.temperature,
        token_limit=run.max_new_tokens,
        jail=run.jail,
    )
    sampling = base.sampling
    if named is None:
        evaluation = replace(
            evaluation, max_new_tokens=ANSWER_TOKENS, rows_per_call=512, batch_tokens=run.batch_tokens or BATCH_TOKENS
        )
        # Each benchmark takes off what its own answers need.
        sampling = replace(sampling, max_prompt_tokens=context_of(loaded.model))
    elif run.batch_tokens is not None:
        evaluation = replace(evaluation, batch_tokens=run.batch_tokens)
    style = run.style or style
    STYLES.get(style)  # raises now for an unknown one
    update = replace(base.update, precision="fp32" if run.dtype == "float32" else "bf16")
    config = replace(
        base, models=(run.model,), prompt_style=style, evaluation=evaluation, sampling=sampling, update=update
    )
    return change(config, {"sampling.engine": run.engine or sampling.engine})


def claim(out: Path, what: dict[str, Any]) -> None:
    """Notes what a folder of records answers for; raises ConfigurationError where it answers for something else."""
    noted = out / "evaluation.json"
    if noted.exists():
        earlier = read_json(noted, "choose another --out")
        other = sorted(key for key in what.keys() | earlier.keys() if what.get(key) != earlier.get(key))
        if other:
            raise ConfigurationError(
                f"{out} holds answers of another model or other settings ({', '.join(other)}); choose another --out"
            )
    write_atomic(noted, json.dumps(what, indent=1) + "\n")


def drop_outdated(out: Path, now: Mapping[str, Inputs]) -> None:
    """Removes the records of benchmarks whose inputs are not as they were, says what changed, and notes what is.

    `now`: benchmark -> its inputs. Records without a note are those of an earlier version, and go too. Raises
    StoreError for damaged notes: the records may be good.
    """
    note_file = out / "inputs.json"
    advice = "remove it to have all evaluated again, or choose another --out"
    noted = read_json(note_file, advice) if note_file.exists() else {}
    if not all(is_inputs(inputs) for inputs in noted.values()):
        raise StoreError(f"{note_file} holds no notes of inputs; {advice}")
    for name, inputs in now.items():
        records = record_file(out, name)
        changed = list(differences(noted[name], inputs)) if name in noted else ["an earlier version noted no inputs"]
        if changed and records.exists():
            note(f"{'; '.join(changed)}; {name} is evaluated again")
        if changed:
            for path in (records, note_name(records), records.with_suffix(".part.jsonl"), out / LOGS / records.stem):
                remove(path)
    write_atomic(note_file, json.dumps(noted | dict(now)) + "\n")


def use_all_cores(model: Any) -> None:
    """One process alone with a real model takes all cores; a tiny model, or one process of several, stays with one."""
    size = sum(weights.numel() for weights in model.parameters())
    if parent_process() is None and size > _LARGE:
        torch.set_num_threads(cores())


def check(run: StandaloneRun) -> None:
    """Raises ConfigurationError for contradictory options."""
    if run.include_path is not None and not run.include_path.is_dir():
        raise ConfigurationError(
            f"--include-path {run.include_path}: no folder; name the one that holds the task's file"
        )
    if run.samples > 1 and run.temperature == 0:
        raise ConfigurationError(
            f"{run.samples} samples at temperature 0 would be {run.samples} times the same answer; "
            "set --temperature, such as 0.7"
        )
    if run.dtype not in DTYPES:
        raise ConfigurationError(f"--dtype {run.dtype}: choose one of {', '.join(DTYPES)}")


def _names(asked: Sequence[str]) -> tuple[str, ...]:
    """Every benchmark once, groups resolved."""
    expand([name for name in asked if not name.startswith(LM_EVAL)])  # two files of one name are refused
    members = [[name] if name.startswith(LM_EVAL) else expand([name]) for name in asked]
    return tuple(dict.fromkeys(name for names in members for name in names))


def _benchmark_run(
    name: str, agent: Agent, config: RunConfig, run: StandaloneRun, grader: Grader
) -> RegisteredBenchmarkRun | LmEvalRun:
    if name.startswith(LM_EVAL):
        # lm-eval takes seconds to import.
        from ilr_bench.evaluation.lm_eval_tasks import LmEvalRun

        return LmEvalRun(
            name.removeprefix(LM_EVAL), agent, config.evaluation, run.seed, run.chat_template, run.include_path
        )
    return RegisteredBenchmarkRun(get(name), agent, config.evaluation, run.seed, grader)


def _answers_for(run: StandaloneRun, loaded: LoadedModel, config: RunConfig) -> dict[str, Any]:
    """All that decides the records. Benchmarks may be added to a folder, so they are no part of it."""
    evaluation = asdict(config.evaluation)
    del evaluation["benchmarks"]
    return {
        "model": loaded.fingerprint,
        "style": label_of(config.prompt_style),
        "seed": run.seed,
        "dtype": run.dtype,
        "engine": config.sampling.engine,
        "chat_template": run.chat_template,
        **evaluation,
    }
