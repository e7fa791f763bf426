"""`import ilr_bench as ilr`: training, evaluation and studies from Python, by the functions that the commands call.

Errors are those of `ilr_bench.core.errors`; progress goes to stderr as from the command line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ilr_bench.cli.results import Evaluation, Study
from ilr_bench.core.console import note
from ilr_bench.core.errors import ConfigurationError
from ilr_bench.core.extras import require
from ilr_bench.core.hardware import yield_idle_cores
from ilr_bench.models.catalogue import accept
from ilr_bench.storage.records import read_study
from ilr_bench.study.spec import ask, flat, split
from ilr_bench.study.sweep import run_alone

Names = str | Sequence[str]
"""Names as the command line takes them (`A,B`), or one by one."""


def train(
    variant: str | None = None,
    models: Names = (),
    *,
    out: str | Path,
    config: str | Path | None = None,
    profile: str | None = None,
    seed: int | None = None,
    settings: Mapping[str, Any] | None = None,
    log: Names = (),
    force: bool = False,
    allow_overlap: bool = False,
    accept_licence: Names = (),
    **more: Any,
) -> Study:
    """Trains one variant on one group of models, asks every agent before and after, and returns the study in `out`.

    What is not named comes from the file `config` (as `--config` takes it), else it is `ilr` with the models of the
    profile `micro` and seed 0.
    Settings are named by dotted keys (`settings={"training.steps": 20}`) or by their group (`training={"steps": 20}`,
    `prompt_style="chat"`). The training runs in a process of its own, so memory is free again when this returns.
    What `out` holds already is not run again. Raises ConfigurationError before anything runs, MissingInputError,
    StoreError, Stopped where it was interrupted (everything is saved; the same call continues), and IlrError where a
    job failed.
    """
    require("train", "training")
    folder, group, chosen = Path(out), _names(models), _settings(settings or {}, more)
    accept(_names(accept_licence))
    asked = ask(
        None if config is None else Path(config), None, profile=profile, variants=variant,
        models=[",".join(group)] if group else None, seeds=None if seed is None else str(seed),
        log=",".join(_names(log)) or None, allow_overlap=allow_overlap or None,
    )  # fmt: skip
    asked = replace(asked, spec=replace(asked.spec, set=asked.spec.set | chosen)).one()
    run_alone(asked, asked.plan(), folder, force)
    return load(folder)


def evaluate(
    model: str | Path,
    benchmarks: Names = "micro",
    *,
    out: str | Path,
    agent: str | None = None,
    limit: int | None = None,
    samples: int = 1,
    temperature: float = 0.0,
    seed: int = 0,
    profile: str | None = None,
    style: str | None = None,
    max_new_tokens: int | None = None,
    batch_tokens: int | None = None,
    dtype: str = "float32",
    engine: str | None = None,
    jail: bool = True,
    chat_template: bool = False,
    include_path: str | Path | None = None,
    log_format: str = "lm-eval",
    accept_licence: Names = (),
) -> Evaluation:
    """Scores one model alone, in this process; `StandaloneRun` says what each argument means.

    `model`: as of `ilr-bench evaluate`, so a trial's folder too, of which `agent` names one.

    What `out` holds already is not run again. Raises ConfigurationError, MissingInputError and StoreError.
    """
    yield_idle_cores()
    require("eval", "an evaluation")
    from ilr_bench.cli.inspect_log import check_format, write_inspect_logs
    from ilr_bench.cli.standalone_table import remarks
    from ilr_bench.evaluation.standalone import StandaloneRun, evaluate_model
    from ilr_bench.study.trained import evaluated_agent

    accept(_names(accept_licence))
    check_format(log_format)
    run = StandaloneRun(
        model=str(model), benchmarks=_names(benchmarks), out=Path(out), limit=limit, samples=samples,
        temperature=temperature, seed=seed, profile=profile, style=style, max_new_tokens=max_new_tokens,
        batch_tokens=batch_tokens, dtype=dtype, engine=engine, jail=jail, chat_template=chat_template,
        include_path=None if include_path is None else Path(include_path),
    )  # fmt: skip
    run, load_agent = evaluated_agent(run, agent)
    found = tuple(evaluate_model(run, load_agent))
    for remark in remarks(run.out, found):
        note(remark)
    if log_format == "inspect":
        write_inspect_logs(run.out, found, str(model))
    return Evaluation(run.out, found)


def load(folder: str | Path) -> Study:
    """The study in a folder (the `out` of a training or a sweep); records are read when they are asked for.

    Raises StoreError where there is no study.
    """
    read_study(Path(folder))
    return Study(Path(folder))


def _names(names: Names) -> tuple[str, ...]:
    return split(names) if isinstance(names, str) else tuple(map(str, names))


def _settings(settings: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys to values; raises ConfigurationError for what is given in two ways."""
    named, grouped = flat(settings), flat(more)
    for key in named.keys() & grouped.keys():
        raise ConfigurationError(f"{key} is given twice")
    return named | grouped
