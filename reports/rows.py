"""Which rows and columns the tables of a study have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from typing import Any

import pandas as pd

from ilr_bench.storage.records import JOINT

from .frames import StudyFrames

AVERAGE = "Avg"
CODE_PATTERNS = ("*_code", "mbpp*", "humaneval*")
PAPER_MATHS = ("gsm8k", "math500", "minerva", "olympiadbench", "aime")
"""What the paper's Avg is the mean of; with all of them there, other answers are printed beside it, not in it."""
OTHER_PATTERNS = ("mmlu*", "gpqa*")
PAPER_ORDER = ("base", "grpo", "ppo", "grpo_matched", "di_only", "pc_only", "ilr")
COLUMN_ORDER = (
    *PAPER_MATHS, "micro_short_chain", "micro_word_problem", "micro_two_step", "micro_long_chain", "micro_ood",
)  # fmt: skip
"""The paper's columns and the micro ones in order of difficulty; others follow by name."""


@dataclass(frozen=True)
class TableRow:
    """One variant of one agent."""

    section: str
    """Heading of the model's part of the table."""
    label: str
    """The variant, with its group or the agent's name in it where rows would look alike without."""
    variant: str
    models: str
    """The group it was trained in, as `A+B`."""
    agent: str
    seeds: tuple[int, ...]
    folders: tuple[str, ...]
    same_as: str | None
    """Label of an earlier row that is the same trials under another name."""
    also: tuple[str, ...]
    """Other groups in which this variant of the model gave the very same answers: one row stands for all."""

    @property
    def stem(self) -> str:
        """The variant without the settings that a sweep varied: `ilr` of `ilr training.steps=20`."""
        return stem(self.variant)


@dataclass(frozen=True)
class Columns:
    """Benchmarks by subject, in the order of the table."""

    maths: tuple[str, ...]
    code: tuple[str, ...]
    other: tuple[str, ...] = ()
    """Neither: general questions, and what is not in the paper's Avg where that can be had."""

    @property
    def all(self) -> tuple[str, ...]:
        """The columns with accuracies."""
        return (*self.maths, *([AVERAGE] if self.maths else []), *self.code, *self.other)

    @property
    def headline(self) -> str:
        """The column that comparisons are about: Avg, or the first where there is none."""
        return AVERAGE if self.maths else self.all[0]

    def benchmarks(self, column: str) -> tuple[str, ...]:
        """The benchmarks that a column is made of."""
        return self.maths if column == AVERAGE else (column,)


def stem(variant: str) -> str:
    """A variant's name without the settings that a sweep varied."""
    return variant.partition(" ")[0]


def column_title(name: str) -> str:
    """A column's name as printed: the micro benchmarks without their common prefix."""
    return name.removeprefix("micro_").replace("_", " ")


def find_columns(frames: StudyFrames, answers: pd.DataFrame | None = None) -> Columns:
    """Sorts benchmarks into maths, code and others, as each states its subject.

    `answers` are those that the table is about (default: `frames.samples`).
    """
    found = (frames.samples if answers is None else answers)["benchmark"].unique().tolist()
    ordered = sorted(found, key=lambda name: (_place(COLUMN_ORDER, name), name))
    subjects = {name: frames.subjects.get(name) or _subject_by_name(name) for name in found}
    maths = tuple(name for name in ordered if subjects[name] == "maths")
    if set(PAPER_MATHS) <= set(maths):
        maths = PAPER_MATHS
    code = tuple(name for name in ordered if subjects[name] == "code")
    return Columns(maths, code, tuple(name for name in ordered if name not in (*maths, *code)))


def _subject_by_name(name: str) -> str:
    """For trials of versions whose results do not state it: those knew the benchmarks of this project only."""
    if any(fnmatch(name, pattern) for pattern in CODE_PATTERNS):
        return "code"
    return "general" if any(fnmatch(name, pattern) for pattern in OTHER_PATTERNS) else "maths"


def find_rows(
    frames: StudyFrames, variants: Sequence[str] | None = None, answers: pd.DataFrame | None = None
) -> tuple[TableRow, ...]:
    """The rows, a section per model: in the order of `variants`, which also chooses, or the paper's and the study's.

    `answers` are those that the table is about (default: `frames.samples`); trials without any have no row. A model
    trained in several groups has a row for each, except where all answers are the same texts, as they are for an
    untrained model. Answers of all agents together make a section of their own.
    """
    order = PAPER_ORDER if variants is None else tuple(variants)
    found = frames.samples if answers is None else answers
    texts = {str(key): group for key, group in found.groupby(["variant", "models", "agent"])}
    names = [
        item
        for item in _names(frames, found)
        if _key(item) in texts and (variants is None or stem(item["variant"]) in variants)
    ]
    groups = list(dict.fromkeys(item["models"] for item in names if item["variant"] == "base"))
    # Groups with an untrained row open the sections; larger groups and copies of one model join them.
    names.sort(key=lambda item: _place(groups, item["models"]))
    models = list(dict.fromkeys(item["model"] for item in names))
    rows: list[TableRow] = []
    for model in models:
        mine = [item for item in names if item["model"] == model]
        section: list[TableRow] = []
        for item in sorted(mine, key=lambda item: _place(order, stem(item["variant"]))):
            row = _row(frames, model, item, section)
            twin = next((other for other in section if _answers_alike(row, other, texts)), None)
            if twin is None:
                section.append(row)
            else:
                section[section.index(twin)] = replace(twin, also=(*twin.also, row.models))
        rows += _labelled(section)
    return tuple(rows)


def _names(frames: StudyFrames, answers: pd.DataFrame) -> list[dict[str, str]]:
    """Variant, models, agent and model of everything that may have a row."""
    agents = frames.trials[["variant", "models", "agent", "model"]].drop_duplicates()
    joint = answers.loc[answers["agent"] == JOINT, ["variant", "models", "agent"]].drop_duplicates()
    both = pd.concat([agents, joint.assign(model=[f"{name}, {JOINT}" for name in joint["models"]])])
    return [{str(key): str(value) for key, value in item.items()} for item in both.to_dict("records")]


def _row(frames: StudyFrames, title: str, item: Mapping[str, str], earlier: Sequence[TableRow]) -> TableRow:
    trials = frames.trials.drop_duplicates(["models", "variant", "seed"])
    mine = trials[(trials["models"] == item["models"]) & (trials["variant"] == item["variant"])].sort_values("seed")
    folders = tuple(mine["folder"])
    same = [row for row in earlier if (row.folders, row.agent) == (folders, item["agent"])]
    return TableRow(
        section=title, label=item["variant"], variant=item["variant"], models=item["models"], agent=item["agent"],
        seeds=tuple(mine["seed"].tolist()), folders=folders, same_as=same[0].variant if same else None, also=(),
    )  # fmt: skip


def _labelled(section: Sequence[TableRow]) -> list[TableRow]:
    """Adds the group to labels where another row has the same variant, or the group is not the section's own."""
    counts, home = Counter(row.variant for row in section), section[0].models
    named = []
    for row in section:
        copy = row.agent not in (row.section, JOINT)
        unclear = copy or counts[row.variant] > 1 or home not in (row.models, *row.also)
        where = f"{row.agent} in {row.models}" if copy else row.models
        named.append(replace(row, label=f"{row.variant} ({where})") if unclear else row)
    return named


def _answers_alike(row: TableRow, other: TableRow, answers: Mapping[str, pd.DataFrame]) -> bool:
    same = (row.variant, row.agent) == (other.variant, other.agent)
    return same and _texts(answers[_key(vars(row))]) == _texts(answers[_key(vars(other))])


def _texts(answers: pd.DataFrame) -> list[tuple[Any, ...]]:
    columns = ["benchmark", "question", "seed", "sample", "completion"]
    return sorted(answers[columns].itertuples(index=False, name=None))


def _key(item: Mapping[str, Any]) -> str:
    return str((item["variant"], item["models"], item["agent"]))


def _place(order: Sequence[str], name: str) -> int:
    return order.index(name) if name in order else len(order)
