"""`import ilr_bench as ilr`: training, evaluation and studies from Python, by the functions that the commands call.

Errors are those of `ilr_bench.core.errors`; progress goes to stderr as from the command line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ilr_bench.cli.results import Evaluation, Study
from ilr_bench.core.console import note
from ilr_bench.core.errors import ConfigurationError
from ilr_bench.core.hardware import yield_idle_cores
from ilr_bench.models.catalogue import accept
from ilr_bench.storage.records import read_study
from ilr_bench.study.launch.pool import Execution
from ilr_bench.study.plan import plan_study
from ilr_bench.study.sweep import finish, recorded_training, run_sweep, split

Names = str | Sequence[str]
"""Names as the command line takes them (`A,B`), or one by one."""


def train(
    variant: str = "ilr",
    models: Names = (),
    *,
    out: str | Path,
    profile: str = "micro",
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    log: Names = (),
    force: bool = False,
    allow_overlap: bool = False,
    accept_licence: Names = (),
    **more: Any,
) -> Study:
    """Trains one variant on one group of models, asks every agent before and after, and returns the study in `out`.

    Settings are named by dotted keys (`settings={"training.steps": 20}`) or by their group (`training={"steps": 20}`,
    `prompt_style="chat"`). The training runs in a process of its own, so memory is free again when this returns.
    What `out` holds already is not run again. Raises ConfigurationError before anything runs, MissingInputError,
    StoreError, Stopped where it was interrupted (everything is saved; the same call continues), and IlrError where a
    job failed.
    """
    folder, group = Path(out), _names(models)
    chosen = _settings(settings or {}, more)
    accept(_names(accept_licence))
    execution = Execution(workers=1, log=_names(log))
    overrides = {key: (value,) for key, value in chosen.items()}
    plan = plan_study(profile, [variant], [group] if group else [], [seed], overrides, with_untrained=True)
    texts = [f"{key}={_text(value)}" for key, value in chosen.items()]
    command = recorded_training(profile, variant, ",".join(group) or None, seed, texts, allow_overlap)
    outcome = run_sweep(
        plan, profile, folder, 1, command, execution=execution, force=force, allow_overlap=allow_overlap
    )
    finish(plan, folder, outcome)
    return load(folder)


def evaluate(
    model: str | Path,
    benchmarks: Names = "micro",
    *,
    out: str | Path,
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
    accept_licence: Names = (),
) -> Evaluation:
    """Scores one model alone, in this process; `StandaloneRun` says what each argument means.

    What `out` holds already is not run again. Raises ConfigurationError, MissingInputError and StoreError.
    """
    yield_idle_cores()
    from ilr_bench.cli.standalone_table import remarks
    from ilr_bench.evaluation.standalone import StandaloneRun, evaluate_model

    accept(_names(accept_licence))
    run = StandaloneRun(
        model=str(model), benchmarks=_names(benchmarks), out=Path(out), limit=limit, samples=samples,
        temperature=temperature, seed=seed, profile=profile, style=style, max_new_tokens=max_new_tokens,
        batch_tokens=batch_tokens, dtype=dtype, engine=engine, jail=jail, chat_template=chat_template,
        include_path=None if include_path is None else Path(include_path),
    )  # fmt: skip
    found = tuple(evaluate_model(run))
    for remark in remarks(run.out, found):
        note(remark)
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
    found: dict[str, Any] = {}
    for key, value in (*_flat(settings), *_flat(more)):
        if key in found:
            raise ConfigurationError(f"{key} is given twice")
        found[key] = value
    return found


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _text(value: Any) -> str:
    """A value as `--set` takes it."""
    if isinstance(value, list | tuple):
        return "+".join(map(_text, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)
