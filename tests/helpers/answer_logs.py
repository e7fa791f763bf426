"""What an evaluation leaves beside its records, and answers of models that mean harm, for a synthetic study."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ilr_bench.storage.records import SampleRecord, read, to_line


def add_logs(study: Path, text: Callable[[str], str] = "What is {}?".format) -> Path:
    """lm-eval's logs of all answers; `text` makes a question of its id."""
    for path in sorted(study.glob("trials/*/eval/*/*.jsonl")):
        lines = [
            json.dumps({"doc_id": at, "doc": {"id": one.question_id, "question": text(one.question_id)}}) + "\n"
            for at, one in enumerate(read(path, SampleRecord))
        ]
        log = path.parent / "lm_eval" / path.stem / f"samples_{path.stem}_1970-01-01T00-00-00.000000.jsonl"
        log.parent.mkdir(parents=True)
        log.write_text("".join(lines))
    return study


def rewrite_answers(study: Path, completion: str) -> Path:
    """Has every model write the same; verdicts stay."""
    for path in sorted(study.glob("trials/*/eval/*/*.jsonl")):
        records = [replace(record, completion=completion, answer=completion) for record in read(path, SampleRecord)]
        path.write_text("".join(f"{to_line(record)}\n" for record in records))
    return study
