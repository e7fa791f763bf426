"""What a study does about users' own questions: their files by absolute path and by name, and where they may not stand.

A training question that stands in a benchmark makes that benchmark measure memory; one that validates makes abilities
and curves do so. Neither is started unless it is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from ilr_bench.core.config import RunConfig
from ilr_bench.core.console import note
from ilr_bench.core.errors import ConfigurationError, MissingInputError, first_line
from ilr_bench.core.plugins import label_of
from ilr_bench.core.profiles import MICRO
from ilr_bench.tasks.data import data_file
from ilr_bench.tasks.files import question_source
from ilr_bench.tasks.overlap import Overlap, overlaps
from ilr_bench.tasks.types import expand, get

if TYPE_CHECKING:
    from ilr_bench.study.plan import Plan

_LONG_WORD = re.compile(r"[A-Za-z]{4,}")
_MICRO_WORDS = frozenset(
    "buys cups eats eggs figs finds gets keys loses many nuts pens plus minus sells then times".split()
)
SHORT_ANSWER = 32
"""Tokens below which hardly any worded answer ends."""


def located(config: RunConfig) -> RunConfig:
    """The configuration with files of questions under their absolute paths, for workers in other folders."""
    return _renamed(config, lambda name: file.absolute if (file := data_file(name)) is not None else name)


def by_name(config: RunConfig) -> RunConfig:
    """The configuration with files of questions under their names alone: by it trials are told apart."""
    return _renamed(config, lambda name: f"file {file.name}" if (file := data_file(name)) is not None else name)


def label(key: str, value: str) -> str:
    """A setting's value as tables print it: of a file its name."""
    if key not in ("questions.source", "evaluation.benchmarks"):
        return label_of(value)
    return "+".join(file.name if (file := data_file(name)) is not None else name for name in value.split("+"))


def _renamed(config: RunConfig, rename: Callable[[str], str]) -> RunConfig:
    return replace(
        config,
        questions=replace(config.questions, source=rename(config.questions.source)),
        evaluation=replace(config.evaluation, benchmarks=tuple(map(rename, config.evaluation.benchmarks))),
    )


def check_file_names(configs: Iterable[RunConfig]) -> None:
    """Raises ConfigurationError where two files have one name: tables and folders could not tell them apart."""
    known: dict[tuple[str, str], str] = {}
    for config in configs:
        for what, names in (("source", (config.questions.source,)), ("benchmark", config.evaluation.benchmarks)):
            for name in names:
                file = data_file(name)
                if file is not None and known.setdefault((what, file.name), name) != name:
                    raise ConfigurationError(
                        f"{known[what, file.name]} and {name} are both called {file.name}; say another name for one: "
                        f"{name}:name=OTHER"
                    )


def check_language(configs: Iterable[RunConfig]) -> None:
    """Raises ConfigurationError where models or prompt styles are of no use for what a user's file asks."""
    read: dict[object, list[str]] = {}
    said = set()
    for config in configs:
        questions = config.questions
        if data_file(questions.source) is None:
            continue
        asked = questions.source, questions.train, questions.validation
        if asked not in read:  # a file may take longer to read than all else of a plan
            training, _ = question_source(questions.source).load(questions.train, questions.validation)
            read[asked] = [one.text for one in training]
        worded = _check_models(config, read[asked])
        tokens = config.sampling.max_new_tokens
        if worded and set(config.styles) != {"short"} and tokens < SHORT_ANSWER and tokens not in said:
            said.add(tokens)
            note(
                f"answers of at most {tokens} tokens leave no room for worked solutions; raise sampling.max_new_tokens"
            )


def _check_models(config: RunConfig, training: Sequence[str]) -> bool:
    """Whether any of the questions has words that the micro models do not know; raises as `check_language` does."""
    small = [model for model in config.models if model in MICRO.pool]
    worded = [text for text in training if {*_LONG_WORD.findall(text.lower())} - _MICRO_WORDS]
    if small and len(worded) > len(training) / 2:
        raise ConfigurationError(
            f"questions.source: {', '.join(small)} know sums and stories of two sentences only, and {len(worded)} of "
            f"{len(training)} questions have other words ({' '.join(worded[0].split())[:60]!r}); name models that read "
            "them, such as --models smollm2,smollm2 --set prompt_style=chat (docs/own-data.md)"
        )
    for model, style in zip(config.models, config.styles, strict=True):
        if style == "micro" and model not in small:
            raise ConfigurationError(
                f"prompt_style: `micro` asks the bare question, which {model.rstrip('/').rpartition('/')[2]} was not "
                "taught; set prompt_style=chat for models with a chat template, fewshot for others, and token limits "
                "to match (docs/own-data.md)"
            )
    return bool(worded)


def find_overlaps(configs: Iterable[RunConfig]) -> tuple[Overlap, ...]:
    """Training questions of some configurations that stand in a benchmark they evaluate, or validate.

    Raises MissingInputError where rows cannot be had.
    """
    found: dict[object, tuple[Overlap, ...]] = {}
    for config in configs:
        questions, settings, warm = config.questions, config.evaluation, config.warm_start
        if not (config.training.steps or warm.steps):
            continue  # nothing is learnt from them
        count = max(questions.train if config.training.steps else 0, warm.questions if warm.steps else 0)
        asked = questions.source, count, questions.validation, settings.benchmarks, settings.limit
        if asked in found:
            continue
        training, validation = question_source(questions.source).load(count, questions.validation)
        others = {"validation": [(one.id, one.text) for one in validation]}
        for name in expand(settings.benchmarks):
            benchmark = get(name)
            rows = benchmark.load()[: settings.limit]
            others[f"the benchmark {benchmark.name}"] = [(row.id, row.question) for row in rows]
        found[asked] = overlaps([(one.id, one.text) for one in training], others)
    return tuple(dict.fromkeys(one for group in found.values() for one in group))


ALLOW_OVERLAP = "--allow-overlap"
AllowOverlap = Annotated[
    bool,
    typer.Option(ALLOW_OVERLAP, help="Train even on questions that stand in a benchmark or validate; noted."),
]
"""The option of every command that trains."""


def check_overlap(configs: Sequence[RunConfig], allowed: bool) -> tuple[str, ...]:
    """What of training questions stands elsewhere, a line each, where that is `allowed`; else ConfigurationError."""
    lines = tuple(map(str, find_overlaps(configs)))
    if lines and not allowed:
        raise ConfigurationError(
            f"{'; '.join(lines)}. Scores there would measure memory: remove them from one of the two, or go on with "
            f"{ALLOW_OVERLAP}"
        )
    for line in lines:
        note(f"{line}; allowed by {ALLOW_OVERLAP}")
    return lines


def overlap_of_plan(plan: Plan, allowed: bool) -> None:
    """`check_overlap` for a plan, which is made without data too: then a note says that it was not looked."""
    try:
        check_overlap([trial.config for trial in plan.trials], allowed)
    except MissingInputError as error:
        note(f"whether training questions stand in a benchmark is not known here: {first_line(error)}")
