"""Answers to the benchmarks' questions for the page: two variants of an agent side by side, a few questions of each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pandas as pd

from ilr_bench.core.errors import StoreError
from ilr_bench.storage.files import parse_json

from ..escaping import visible
from ..frames import StudyFrames
from ..rows import column_title, find_columns

PER_BENCHMARK = 40
"""Questions at most."""
DIFFERING = 3
"""Of four questions so many are ones on which two variants of an agent differ, where there are as many."""
LONGEST = {"question": 2_000, "gold": 500, "answer": 500, "completion": 2_000}
"""Characters; a longer text is cut and marked."""
LOGS = "lm_eval"
"""Folder beside an agent's records in which lm-eval's logs hold the questions' texts."""
KEYS = ["agent", "variant", "models"]


@dataclass(frozen=True)
class Answers:
    """JSON data: `rows` (who answered), `benchmarks` (who was right on every question), `items` (what is shown)."""

    data: Mapping[str, Any]

    @property
    def shown(self) -> int:
        """Questions whose answers are here."""
        return len(self.data["items"])

    @property
    def asked(self) -> int:
        """Questions of all benchmarks."""
        return sum(benchmark["questions"] for benchmark in self.data["benchmarks"])


NOTHING = Answers({"rows": [], "benchmarks": [], "items": []})


def select(frames: StudyFrames, budget: int) -> Answers:
    """Answers that take at most `budget` characters of JSON together; raises StoreError for a damaged log.

    The first answer of the first run (lowest seed) of every variant and agent. Of each benchmark up to PER_BENCHMARK
    questions in its own order, of which three in four are ones on which two variants of an agent differ; benchmarks
    take turns, so that a small budget leaves some of each.
    """
    samples = _first_runs(frames)
    rows = samples.drop_duplicates("row").sort_values("row")[[*KEYS, "seed"]].to_dict("records")
    benchmarks, candidates = [], []
    by_name = {str(name): mine for name, mine in samples.groupby("benchmark", sort=False)}
    order = find_columns(frames).all if by_name else ()
    for number, name in enumerate(sorted(by_name, key=order.index)):
        mine = by_name[name]
        right = _right(mine, len(rows))
        questions = _texts(frames, mine)
        benchmarks.append(
            {
                "name": column_title(name),
                "questions": right.shape[1],
                "right": [_signs(line) for line in right.to_numpy().tolist()],
            }
        )
        candidates.append(_items(number, mine, right, questions))
    head = {"rows": rows, "benchmarks": benchmarks}
    left = budget - len(json.dumps(head))
    chosen: list[dict[str, Any]] = []
    for together in zip_longest(*candidates):
        for item in together:
            size = len(json.dumps(item)) + 2 if item is not None else left + 1
            if size <= left:
                left -= size
                chosen.append(item)
    if not chosen:
        return NOTHING
    return Answers({**head, "items": sorted(chosen, key=lambda item: (item["benchmark"], item["place"]))})


def _first_runs(frames: StudyFrames) -> pd.DataFrame:
    first = frames.samples[frames.samples["sample"] == 0]
    lowest = first.groupby(KEYS, sort=False)["seed"].transform("min")
    mine = first[first["seed"] == lowest]
    return mine.assign(row=mine.groupby([*KEYS, "seed"], sort=False).ngroup())


def _right(answers: pd.DataFrame, rows: int) -> pd.DataFrame:
    """A line per row, a column per question in the benchmark's order: 1 for right, 0 for not, NaN for not asked."""
    table = answers.pivot(index="row", columns="question", values="correct")
    return table.reindex(index=range(rows), columns=answers["question"].unique())


def _signs(line: Iterable[float]) -> str:
    return "".join("-" if value != value else str(int(value)) for value in line)


def _items(
    benchmark: int, answers: pd.DataFrame, right: pd.DataFrame, questions: Mapping[str, str]
) -> list[dict[str, Any]]:
    agents = answers.drop_duplicates("row").set_index("row")["agent"]
    known = right.loc[agents.index]
    differ = (known.groupby(agents).max() > known.groupby(agents).min()).any()
    names = [str(name) for name in right]
    order = _mixed([name for name in names if differ[name]], [name for name in names if not differ[name]])
    places = {name: place for place, name in enumerate(names)}
    by_question = {str(name): mine for name, mine in answers.groupby("question", sort=False)}
    found = []
    for name in order[:PER_BENCHMARK]:
        mine = by_question[name]
        found.append(
            {
                "benchmark": benchmark, "place": places[name], "id": visible(name),
                "question": _cut("question", questions.get(name, "")),
                "gold": _cut("gold", mine["gold"].iloc[0]),
                "answers": {str(record.row): _answer(record) for record in mine.itertuples()},
            }
        )  # fmt: skip
    return found


def _mixed(differing: list[str], alike: list[str]) -> list[str]:
    """Three of the first, one of the second, and so on; what is left of one at the end."""
    first, second, found = iter(differing), iter(alike), []
    for number in range(len(differing) + len(alike)):
        main, other = (second, first) if number % (DIFFERING + 1) == DIFFERING else (first, second)
        found.append(next(main, None) or next(other))
    return found


def _answer(record: Any) -> dict[str, Any]:
    found = {"text": _cut("completion", record.completion), "verdict": record.verdict}
    if record.answer is not None and record.answer != record.completion:
        found["answer"] = _cut("answer", record.answer)
    return found | ({"cut": True} if record.cut else {})


def _texts(frames: StudyFrames, answers: pd.DataFrame) -> dict[str, str]:
    """Question's id -> its text, from lm-eval's log of one of the runs; none where no run has left one."""
    for file in answers["file"].unique():
        records = frames.folder / file
        for log in sorted((records.parent / LOGS / records.stem).glob("samples_*.jsonl")):
            return dict(_documents(log))
    return {}


def _documents(log: Path) -> Iterator[tuple[str, str]]:
    try:
        for line in log.read_bytes().splitlines():
            document = parse_json(line)["doc"]
            yield str(document["id"]), str(document["question"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{log}: no log of a benchmark ({error!r}); run the sweep's command again") from error


def _cut(what: str, text: str) -> str:
    longer = len(text) - LONGEST[what]
    return visible(text if longer <= 0 else f"{text[: LONGEST[what]]} [cut: {longer:,} characters]")
