"""Many studies in one list: what each variant reaches alone, what it cost, and on which machine and code."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ilr_bench.core.config import content_hash
from ilr_bench.core.errors import ConfigurationError, StoreError
from ilr_bench.storage.provenance import read_inputs

from .. import escaping
from ..frames import StudyFrames, load, short_names, total_times
from ..rows import TableRow, column_title
from ..tables.averages import Averages, averages
from ..tables.training_effects import of_row
from ..tables.writer import NOTHING, Column, Grid, Line, Value, csv_text, pipes, plain

COLUMNS = (
    Column("average", "Avg"), Column("agent", "Model"), Column("models", "Group"),
    Column("sampled_tokens", "Tokens (k)"), Column("seconds", "Minutes"), Column("seeds", "Seeds"),
    Column("studies", "Study"), Column("machines", "Machine"), Column("commits", "Commit"),
)  # fmt: skip


@dataclass(frozen=True)
class ComparisonKey:
    """What has to be equal for two averages to be compared: questions, wording, number of answers."""

    profile: str
    column: str
    """Avg, or the only benchmark."""
    benchmarks: tuple[str, ...]
    questions: int
    samples: int
    temperature: float
    prompt_style: str
    max_new_tokens: int
    """Longest answer where a benchmark states no limit of its own."""
    token_limit: int | None
    """Longest answer to any benchmark."""
    hash: str
    """Of the questions' names; of rows and wording too where studies have several versions of them."""

    @property
    def title(self) -> str:
        """In one line."""
        answers = f"{self.samples} answer{'s' if self.samples > 1 else ''} each at temperature {self.temperature:g}"
        limit = f"the benchmark's tokens or {self.max_new_tokens}"
        if self.token_limit is not None:
            limit += f", at most {self.token_limit}"
        return (
            f"Profile {self.profile}, {', '.join(map(column_title, self.benchmarks))}: {self.questions} questions, "
            f"{answers} within {limit}, prompt style {self.prompt_style} (questions {self.hash})"
        )


@dataclass(frozen=True)
class Entry:
    """One variant of one model."""

    exam: ComparisonKey
    model: str
    agent: str
    """The model's name in the group: two copies of one model have two."""
    variant: str
    models: str
    mean: float
    low: float
    high: float
    sampled_tokens: float
    """For this agent while training, mean over runs."""
    seconds: float | None
    """On the clock, from the first model loaded to the last answer; mean over runs; None where nothing was noted."""
    seeds: tuple[int, ...]
    studies: tuple[str, ...]
    machines: tuple[str, ...]
    commits: tuple[str, ...]
    trials: tuple[str, ...]
    """Hashes: the same trials in two studies are one entry."""


def collect(studies: Sequence[StudyFrames]) -> tuple[Entry, ...]:
    """Entries of all studies, comparable ones together, best first; each study's intervals are its own."""
    found: dict[tuple[str, str, tuple[str, ...]], Entry] = {}
    names = short_names(str(frames.folder.resolve()) for frames in studies)
    told_apart = _told_apart(
        [pair for frames in studies for pair in _entries(frames, names[str(frames.folder.resolve())])]
    )
    for entry in told_apart:
        key = (entry.agent, entry.exam.hash, entry.trials)
        known = found.get(key)
        studies_of = (*known.studies, *entry.studies) if known else entry.studies
        found[key] = dataclasses.replace(known or entry, studies=tuple(dict.fromkeys(studies_of)))
    exams = list(dict.fromkeys(entry.exam for entry in found.values()))
    return tuple(sorted(found.values(), key=lambda item: (exams.index(item.exam), -item.mean, item.agent)))


def _told_apart(entries: Sequence[tuple[Entry, str]]) -> Iterator[Entry]:
    """The entries of (entry, version) pairs; versions that were asked under the same names get keys of their own."""
    known: dict[ComparisonKey, set[str]] = {}
    for entry, version in entries:
        known.setdefault(entry.exam, set()).add(version)
    for entry, version in entries:
        exam = entry.exam
        if len(known[exam]) > 1:
            exam = dataclasses.replace(exam, hash=content_hash([exam.hash, version]))
        yield dataclasses.replace(entry, exam=exam)


def markdown(entries: Sequence[Entry]) -> str:
    """A table for each set of entries that can be compared."""
    parts = ["# Leaderboard"]
    exams = list(dict.fromkeys(entry.exam for entry in entries))
    for key in exams:
        mine = [entry for entry in entries if entry.exam == key]
        grid = Grid(key.title, COLUMNS, tuple(map(_line, mine)), heads=("Variant",))
        parts += [f"**{escaping.markdown(key.title)}**", pipes(grid)]
    notes = [
        "Avg: accuracy in % alone ± half of its 95 % interval. Minutes: on the clock for one run, mean over runs, with "
        "whatever else the machine did. Whether two rows differ is what the tables of a study test."
    ]
    if len(exams) > 1:
        notes.append(
            "The tables differ in questions, wording or number of answers: averages of two cannot be compared."
        )
    return "\n\n".join([*parts, *notes]) + "\n"


def comma_separated(entries: Sequence[Entry]) -> str:
    """A line per entry; accuracies as fractions of 1, several machines or commits joined by `; `."""
    names = [field.name for field in dataclasses.fields(Entry) if field.name != "exam"]
    rows = []
    for entry in entries:
        key = (entry.exam.profile, plain(entry.exam.benchmarks), entry.exam.questions, entry.exam.hash)
        rows.append([*key, *(plain(getattr(entry, name)) for name in names)])
    return csv_text(["profile", "benchmarks", "questions", "exam", *names], rows)


def as_json(entries: Sequence[Entry]) -> str:
    """A list of entries."""
    return json.dumps([dataclasses.asdict(entry) for entry in entries], indent=1, ensure_ascii=False) + "\n"


RENDERERS: dict[str, Callable[[Sequence[Entry]], str]] = {"md": markdown, "csv": comma_separated, "json": as_json}


def renderer(path: Path) -> Callable[[Sequence[Entry]], str]:
    """By the file's ending; raises ConfigurationError for another one."""
    suffix = path.suffix.removeprefix(".")
    if suffix not in RENDERERS:
        raise ConfigurationError(f"--out {path}: name a file that ends in .{', .'.join(RENDERERS)}")
    return RENDERERS[suffix]


def load_scored(folder: Path) -> StudyFrames:
    """The records of a study; raises StoreError where there are none of agents that answered alone."""
    frames = load(folder)
    if frames.samples.empty:
        raise StoreError(f"{folder}: no agent was scored alone here")
    return frames


def _entries(frames: StudyFrames, name: str) -> list[tuple[Entry, str]]:
    """Each with the version of what was asked."""
    found = averages(frames)
    entries = []
    for row, cell in found.cells.items():
        seconds, machines = _timing(frames, row)
        commits = [frames.results[index].versions.get("commit", "unknown") for index in row.folders]
        trials = of_row(frames.trials, row)
        trials, it = trials[trials["folder"].isin(row.folders)], cell.interval
        entry = Entry(
            exam=_exam(frames, found, row), model=row.section, agent=row.agent, variant=row.variant,
            models=row.models, mean=it.mean, low=it.low, high=it.high,
            sampled_tokens=float(trials["sampled_tokens"].mean()), seconds=seconds, seeds=cell.seeds,
            studies=(name,), machines=machines, commits=tuple(dict.fromkeys(commits)), trials=tuple(trials["hash"]),
        )  # fmt: skip
        entries.append((entry, _version(frames, row)))
    return entries


def _exam(frames: StudyFrames, found: Averages, row: TableRow) -> ComparisonKey:
    config = frames.configs[row.folders[0]]
    answers = found.accuracies.answers(row, found.headline)
    index = () if answers is None else answers.index
    names = sorted({(str(benchmark), str(question)) for benchmark, question, _, _ in index})
    evaluation = config.evaluation
    return ComparisonKey(
        profile=frames.study.profile, column=found.headline, benchmarks=found.columns.benchmarks(found.headline),
        questions=len(names), samples=evaluation.samples, temperature=evaluation.temperature,
        prompt_style=config.prompt_style, max_new_tokens=evaluation.max_new_tokens,
        token_limit=evaluation.token_limit, hash=content_hash(names),
    )  # fmt: skip


def _version(frames: StudyFrames, row: TableRow) -> str:
    """Content hash of the benchmarks' rows and of how they are asked; empty for trials that did not note them."""
    noted = read_inputs(frames.folder / "artifacts", frames.results[row.folders[0]].inputs)
    found: dict[str, object] = {}
    for name, parts in ({} if noted is None else noted.evaluation).items():
        if name.startswith("benchmark "):
            found[name.split(" ")[1]] = parts
        elif name.startswith("wording "):
            found[name] = parts["benchmarks"]
    return content_hash(found) if found else ""


def _timing(frames: StudyFrames, row: TableRow) -> tuple[float | None, tuple[str, ...]]:
    """Mean seconds of a run, and the machines that the runs were on."""
    known = [found for index in row.folders if (found := total_times(frames.folder / index)) is not None]
    seconds = [sum(line["seconds"] for line in lines) for lines in known]
    machines = [str(line["machine"]) for lines in known for line in lines if "machine" in line]
    return (sum(seconds) / len(seconds) if seconds else None), tuple(dict.fromkeys(machines))


def _line(entry: Entry) -> Line:
    texts = (
        f"{100 * entry.mean:.1f} ±{50 * (entry.high - entry.low):.1f}",
        entry.agent,
        entry.models,
        f"{entry.sampled_tokens / 1000:,.0f}",
        NOTHING if entry.seconds is None else f"{entry.seconds / 60:.1f}",
        str(len(entry.seeds)),
        ", ".join(entry.studies),
        "; ".join(entry.machines) or NOTHING,
        ", ".join(entry.commits),
    )
    return Line(entry.variant, entry.variant, tuple(Value(text, "amount") for text in texts))
