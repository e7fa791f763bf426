"""What of a trial's records is drawn as a curve."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

from ilr_bench.storage.records import SampleRecord, StepRecord, Verdict, read


def step_scalars(record: StepRecord, questions: int) -> dict[str, float]:
    """`agent/field` -> value of every number in one agent's record of one step, under the record's own names.

    `questions`: of a step; they give `sharing_length` and `sampled_length`, mean tokens of a sharing turn and tokens
    sampled per question.
    """
    fields = {key: value for key, value in dataclasses.asdict(record).items() if key not in ("step", "agent")}
    fields["sharing_length"] = record.sharing_tokens / (record.sharing_samples * questions)
    fields["sampled_length"] = record.sampled_tokens / questions
    return {f"{record.agent}/{key}": float(value) for key, value in fields.items() if value is not None}


def standalone_scalars(folder: Path) -> dict[str, float]:
    """`agent/solo/benchmark` -> accuracy in a trial's folder, over all samples."""
    return dict(_standalone(folder))


def _standalone(folder: Path) -> Iterator[tuple[str, float]]:
    for path in sorted(folder.glob("eval/*/*.jsonl")):
        right = [record.verdict is Verdict.CORRECT for record in read(path, SampleRecord)]
        if right:
            yield f"{path.parent.name}/solo/{path.stem}", fmean(right)
