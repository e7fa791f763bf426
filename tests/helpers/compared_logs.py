"""Logs to compare: our records, lm-eval's samples, EvalPlus's results."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from ilr_bench.core.errors import MissingInputError
from ilr_bench.storage.records import SampleRecord, Verdict, to_line

LOGS = Path(__file__).parents[1] / "logs" / "lm_eval"


def no_texts(benchmark: str) -> Mapping[str, str]:
    raise MissingInputError(f"{benchmark} is not here")


def write_records(
    folder: Path,
    right: Sequence[Sequence[int]],
    benchmark: str = "sums",
    prompt: str = "p",
    names: Sequence[str] | None = None,
    **other: object,
) -> Path:
    """Our records: `right[q][k]` says whether sample k of question q is right."""
    lines = [
        to_line(
            SampleRecord(
                benchmark=benchmark,
                agent="A",
                question_id=names[q] if names else f"{benchmark}-{q}",
                sample=k,
                prompt_hash=f"{prompt}{q}",
                completion=f"I say {value}",
                answer=str(value),
                gold="1",
                verdict=Verdict.CORRECT if value else Verdict.WRONG,
                tokens=3,
                seed=0,
                **other,
            )
        )
        for q, row in enumerate(right)
        for k, value in enumerate(row)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{benchmark.replace(':', '.')}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def write_evalplus(path: Path, base: Sequence[bool], plus: Sequence[bool | None], data: str = "abc") -> Path:
    words = {True: "pass", False: "fail", None: None}
    tasks = {
        f"HumanEval/{q}": [
            {"task_id": f"HumanEval/{q}", "solution": f"def f(): return {q}", "base_status": words[one],
             "plus_status": words[two], "base_fail_tests": [], "plus_fail_tests": []}
        ]
        for q, (one, two) in enumerate(zip(base, plus, strict=True))
    }  # fmt: skip
    path.write_text(json.dumps({"date": "2026-01-01 00:00", "hash": data, "eval": tasks}))
    return path


def harness_row(index: int, score: float = 1.0, metric: str = "exact_match", **other: object) -> dict[str, object]:
    """A line as lm-eval writes it, with as much as is read."""
    return {
        "doc_id": index, "doc": {"question": f"Question {index}?"}, "target": "1", "resps": [["1"]],
        "filtered_resps": ["1"], "filter": "none", "metrics": [metric], "doc_hash": f"d{index}",
        "prompt_hash": f"p{index}", metric: score,
    } | other  # fmt: skip


def write_harness(folder: Path, rows: Sequence[object]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "samples_task_2026-01-01T00-00-00.000000.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
