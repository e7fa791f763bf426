"""Answers in the eval-log format of Inspect (version 2), for `inspect view` and what else reads it.

The format is written by hand from the records and lm-eval's log beside them; the package is not needed. It asks for a
time of creation: equal records leave equal files, so it is always the same one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ilr_bench.core.config import content_hash
from ilr_bench.core.errors import ConfigurationError, StoreError
from ilr_bench.evaluation.runner import LOGS, record_file
from ilr_bench.storage.files import explained, parse_json, write_atomic
from ilr_bench.storage.records import SampleRecord, Verdict, read

FORMATS = ("lm-eval", "inspect")
"""lm-eval's logs are always there; `inspect` adds those of this module."""
FOLDER = "inspect"
CREATED = "1970-01-01T00:00:00+00:00"
SCORER = "ilr_bench"


def check_format(name: str) -> None:
    """Raises ConfigurationError for what is no format of logs."""
    if name not in FORMATS:
        raise ConfigurationError(f"--log-format {name}: choose one of {', '.join(FORMATS)}")


def write_inspect_logs(out: Path, benchmarks: Sequence[str], model: str) -> Path:
    """Writes a log per benchmark of an evaluation's folder and returns their folder. Raises StoreError."""
    folder = out / FOLDER
    with explained(folder):
        folder.mkdir(exist_ok=True)
    for name in benchmarks:
        records = list(read(record_file(out, name), SampleRecord))
        log = inspect_log(name, model, records, _prompts(out / LOGS / record_file(out, name).stem))
        # Inspect finds time, task and an identifier in a log's name.
        task = re.sub(r"[^\w.]|_", "-", name)
        path = folder / f"{CREATED.replace(':', '-')}_{task}_{log['eval']['run_id']}.json"
        write_atomic(path, json.dumps(log, ensure_ascii=False, indent=1) + "\n")
    return folder


def inspect_log(name: str, model: str, records: Sequence[SampleRecord], prompts: dict[str, str]) -> dict[str, Any]:
    """A benchmark's log as JSON data; `prompts`: question's id, or lm-eval's hash of its row, -> the prompt.

    A right answer is `C`, any other one `I`, with the verdict as explanation; of lm-eval's own tasks each metric is a
    score of its own.
    """
    samples = [_sample(record, model, prompts) for record in records]
    names = list(samples[0]["scores"]) if samples else []
    identifier = content_hash([name, model])
    questions = list(dict.fromkeys(record.question_id for record in records))
    return {
        "version": 2,
        "status": "success",
        "eval": {
            "created": CREATED, "task": name, "task_id": identifier, "run_id": identifier, "eval_id": identifier,
            "model": model, "dataset": {"name": name, "samples": len(questions), "sample_ids": questions},
            "config": {"epochs": max((record.sample for record in records), default=0) + 1},
            "metadata": {"written_by": "ilr-bench evaluate --log-format inspect"},
        },
        "plan": {"name": "plan", "steps": [], "config": {}},
        "results": {
            "total_samples": len(samples), "completed_samples": len(samples),
            "scores": [_mean(score, [sample["scores"][score]["value"] for sample in samples]) for score in names],
        },
        "stats": {"started_at": CREATED, "completed_at": CREATED, "model_usage": {}},
        "samples": samples,
    }  # fmt: skip


def _sample(record: SampleRecord, model: str, prompts: dict[str, str]) -> dict[str, Any]:
    asked = prompts.get(record.doc_hash or record.question_id, record.question_id)
    said = {"role": "assistant", "content": record.completion, "source": "generate"}
    usage = {"output_tokens": record.tokens, "total_tokens": record.tokens}
    stop = "stop" if record.finished else "max_tokens"
    return {
        "id": record.question_id,
        "epoch": record.sample + 1,
        "input": asked,
        "target": record.gold,
        "messages": [{"role": "user", "content": asked, "source": "input"}, said],
        "output": {
            "model": model, "choices": [{"message": said, "stop_reason": stop}], "completion": record.completion,
            "usage": usage,
        },
        "scores": dict(_scores(record)),
        "metadata": {"agent": record.agent, "seed": record.seed, "jail": record.jail},
        "model_usage": {model: usage},
    }  # fmt: skip


def _scores(record: SampleRecord) -> Iterator[tuple[str, dict[str, Any]]]:
    value = "C" if record.verdict is Verdict.CORRECT else "I"
    yield "verdict", {"value": value, "answer": record.answer, "explanation": record.verdict.value}
    for metric, measured in (record.metrics or {}).items():
        yield metric, {"value": measured, "answer": record.answer}


def _mean(name: str, values: Sequence[Any]) -> dict[str, Any]:
    numbers = [{"C": 1.0, "I": 0.0}.get(value, value) for value in values]
    accuracy = {"name": "accuracy", "value": sum(numbers) / len(numbers)}
    return {"name": name, "scorer": SCORER, "scored_samples": len(numbers), "metrics": {"accuracy": accuracy}}


def _prompts(logs: Path) -> dict[str, str]:
    """From lm-eval's logs of a benchmark; none where there is no log."""
    found: dict[str, str] = {}
    for log in sorted(logs.glob("samples_*.jsonl")):
        try:
            for line in log.read_bytes().splitlines():
                data = parse_json(line)
                document, prompt = data["doc"], data["arguments"]["gen_args_0"]["arg_0"]
                found[str(data["doc_hash"])] = prompt
                if isinstance(document, dict) and "id" in document:
                    found[str(document["id"])] = prompt
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{log}: no log of lm-eval ({error!r}); name another --out") from error
    return found
