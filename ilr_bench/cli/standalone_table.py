"""What one model gets right alone: a line per benchmark, from its records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ilr_bench.evaluation.metrics import majority_at_k, pass_at_k, sample_table
from ilr_bench.evaluation.runner import record_file
from ilr_bench.storage.records import SampleRecord, Verdict, read
from ilr_bench.tasks.benchmarks import BENCHMARKS
from ilr_bench.tasks.types import THINKING_TOKENS

if TYPE_CHECKING:
    from reports.rows import AVERAGE, PAPER_MATHS
    from reports.statistics.estimates import Interval, interval
    from reports.tables.footnotes import MOST_CUT
else:
    from ilr_bench.reports.rows import AVERAGE, PAPER_MATHS
    from ilr_bench.reports.statistics.estimates import Interval, interval
    from ilr_bench.reports.tables.footnotes import MOST_CUT

MOST_UNREAD = 0.5
"""Share of answers without the form asked for, from which on the form and not the answer is what was measured."""


def standalone_table(folder: Path, names: Sequence[str]) -> list[tuple[str, ...]]:
    """Header and rows, as text. Accuracy is mean@k with its 95 % interval over questions, in percent."""
    found = {name: list(read(record_file(folder, name), SampleRecord)) for name in names}
    most = max(_samples(records) for records in found.values())
    head = ["benchmark", "questions", "accuracy", "95 % interval"]
    head += [f"pass@{most}", f"maj@{most}"] if most > 1 else []
    head += ["no answer", "time-outs", "unfinished", "cut prompts"]
    rows = [tuple(head)]
    for name, records in found.items():
        for title, values in _scores(name, records).items():
            rows.append((*_measured(name, title, values, records, most), *_counts(records)))
    if set(PAPER_MATHS) <= found.keys():
        rows.append(_average({name: _scores(name, found[name])[name] for name in PAPER_MATHS}, len(head)))
    return rows


def remarks(folder: Path, names: Sequence[str]) -> Iterator[str]:
    """What a reader of the table should know about its numbers, a line each."""
    if formless := unread(folder, names):
        yield (
            f"most answers to {', '.join(formless)} lack the form that the prompt asks for and count as wrong: "
            "read some in the records, and see --style (docs/evaluation.md)"
        )
    for name, share in cut_answers(folder, names).items():
        yield (
            f"{100 * share:.0f} % of the answers to {name} were cut by the token limit, and hardly any of those is "
            f"right: raise --max-new-tokens ({THINKING_TOKENS:,} is usual for models that think before they answer)"
        )


def unread(folder: Path, names: Sequence[str]) -> list[str]:
    """Benchmarks of which most whole answers hold none in the form that was asked for: their zeros say little."""
    found = []
    for name in names:
        finished = [record for record in read(record_file(folder, name), SampleRecord) if record.finished]
        missing = sum(record.verdict is Verdict.MISSING for record in finished)
        if missing > MOST_UNREAD * len(finished):
            found.append(name)
    return found


def cut_answers(folder: Path, names: Sequence[str]) -> dict[str, float]:
    """Benchmark -> fraction of its answers that the token limit cut, where it is more than `MOST_CUT`."""
    found = {}
    for name in names:
        finished = [record.finished for record in read(record_file(folder, name), SampleRecord)]
        if (share := finished.count(False) / max(len(finished), 1)) > MOST_CUT:
            found[name] = share
    return found


def _average(columns: dict[str, NDArray[np.float64]], width: int) -> tuple[str, ...]:
    """The paper's Avg: the plain mean of its five maths benchmarks."""
    tables = columns.values()
    strata = np.concatenate([np.full(table.size, index) for index, table in enumerate(tables)])
    questions = np.concatenate([np.repeat(np.arange(len(table)), table.shape[1]) for table in tables])
    clusters = [f"{stratum}/{question}" for stratum, question in zip(strata, questions, strict=True)]
    found = interval(np.concatenate([table.ravel() for table in tables]), clusters=clusters, strata=strata)
    cells = [AVERAGE, str(sum(map(len, tables))), f"{100 * found.mean:.1f} %", _range(found)]
    return (*cells, *[""] * (width - len(cells)))


def _range(found: Interval) -> str:
    return f"{100 * found.low:.1f} - {100 * found.high:.1f} %"


def _scores(name: str, records: Sequence[SampleRecord]) -> dict[str, NDArray[np.float64]]:
    """Title -> (questions, samples) scores: one by verdict, or all that lm-eval measured in [0, 1]."""
    count = _samples(records)
    if records[0].metrics is None:
        return {name: sample_table(records)[0].astype(np.float64)}
    measured = {
        f"{name} {metric}": np.array([(record.metrics or {})[metric] for record in records]).reshape(-1, count)
        for metric in records[0].metrics
    }
    return {title: values for title, values in measured.items() if 0 <= values.min() <= values.max() <= 1}


def _measured(
    name: str, title: str, values: NDArray[np.float64], records: Sequence[SampleRecord], most: int
) -> list[str]:
    questions, count = values.shape
    clusters = np.repeat(np.arange(questions), count)
    share = np.mean([not record.finished for record in records])
    cells = [
        title,
        str(questions),
        f"{100 * values.mean():.1f} %" + (f" ({100 * share:.0f} % cut)" if share > MOST_CUT else ""),
    ]
    if 0 < values.mean() < 1 and np.ptp(values.mean(axis=1)) == 0:
        # Questions that all have the same share of right answers say nothing about how questions differ.
        cells.append("-")
    else:
        cells.append(_range(interval(values.ravel(), clusters=clusters)))
    if most > 1 and count < most:
        cells += ["-", "-"]
    elif most > 1:
        correct, classes = sample_table(records)
        # Two programs that differ in text may do the same: they cannot be put to the vote.
        known = name in BENCHMARKS and BENCHMARKS.get(name).kind in ("code", "function")
        programs = known or records[0].jail is not None  # of a user's own file
        votes = "-" if programs else f"{100 * majority_at_k(classes, correct).mean():.1f} %"
        cells += [f"{100 * pass_at_k(correct, count).mean():.1f} %", votes]
    return cells


def _counts(records: Sequence[SampleRecord]) -> list[str]:
    verdicts = [record.verdict for record in records]
    return [
        str(verdicts.count(Verdict.MISSING)),
        str(verdicts.count(Verdict.TIMEOUT)),
        str(sum(not record.finished for record in records)),
        str(sum(record.cut_prompt > 0 for record in records)),
    ]


def _samples(records: Sequence[SampleRecord]) -> int:
    return 1 + max(record.sample for record in records)
