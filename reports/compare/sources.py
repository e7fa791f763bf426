"""Logs of answers, ours and other programs', as one kind of value: who answered which question how well.

Read are: a folder of our records (`ilr-bench evaluate --out`, or a trial's `eval/<agent>`), what lm-eval writes with
`--log_samples` (`samples_<task>_<date>.jsonl`), and EvalPlus's `*eval_results.json`.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from ilr_bench.core.errors import StoreError
from ilr_bench.storage.files import parse_json
from ilr_bench.storage.records import SampleRecord, Verdict, read, read_result
from ilr_bench.storage.store import require_finalized

Key = Literal["document", "id", "text"]
KEYS: tuple[Key, ...] = ("document", "id", "text")
"""By what questions are joined, in the order in which it is tried: lm-eval's hash of the whole row, the question's
name, the wording of the question."""
ACCURACY = "accuracy"
PASS = "pass"
OURS = "lm_eval:"
"""Prefix of our records of lm-eval's own tasks."""
QUESTION_FIELDS = ("question", "problem", "prompt", "Question", "Problem", "query", "text", "input")
NAME_FIELDS = ("task_id", "unique_id", "id", "question_id", "idx")
MALFORMED = (ValueError, LookupError, TypeError, AttributeError, OverflowError)
"""What JSON of another form raises when it is read as a log."""
_FILE = re.compile(r"samples_(?P<task>.+)_(?P<date>\d{4}-\d\d-\d\dT[^_]+)\.jsonl")


@dataclass(frozen=True)
class Answer:
    """All samples of one question."""

    name: str
    """As people find it again: the question's name, or its number in the log."""
    keys: Mapping[Key, str]
    prompt: str | None
    """Hash of the prompt; equal hashes mean equal prompts within one `Log.hashing`."""
    samples: int
    scores: Mapping[str, tuple[float, ...]]
    """Measure -> a score per sample, or a single one for all of them."""
    question: str | None
    gold: str | None
    completion: str
    """The (first) answer, as it was extracted where it was."""
    settings: str | None = None
    """How it was sampled, as JSON, where the log has it."""


@dataclass(frozen=True)
class Log:
    """One benchmark's answers by one model."""

    benchmark: str
    kind: Literal["ours", "lm-eval", "EvalPlus"]
    path: Path
    hashing: str
    """How prompts are hashed: hashes of two logs can be compared where this is equal."""
    answers: tuple[Answer, ...]

    @property
    def measures(self) -> tuple[str, ...]:
        """What every answer was scored by."""
        first = self.answers[0].scores
        return tuple(name for name in first if all(name in answer.scores for answer in self.answers))


def read_logs(path: Path) -> dict[str, Log]:
    """Benchmark -> log; raises StoreError where the path holds no answers, several agents' or several runs'."""
    if not path.exists():
        raise StoreError(f"{path} does not exist; name a folder of records, lm-eval's samples or EvalPlus's results")
    if path.is_file():
        logs = [_evalplus(path)] if path.suffix == ".json" else [[_samples_file(path)]]
        return {log.benchmark: log for log in logs[0]}
    if (path / "study.json").exists():
        found = ", ".join(sorted(str(item.relative_to(path)) for item in path.glob("trials/*/eval/*"))[:4])
        raise StoreError(f"{path} is a whole study; name one agent of one trial in it, such as {found or 'trials/…'}")
    if any(map(_holds_records, [*path.glob("*.jsonl"), *path.glob("eval/*/*.jsonl")])):
        return _ours(_agent_folder(path))  # lm-eval's log of the same samples lies beside our records
    samples = sorted(path.rglob("samples_*.jsonl"))
    results = sorted(path.glob("*eval_results.json"))
    if samples:
        return _one_run_each(path, [_samples_file(item) for item in samples])
    if results:
        return _one_run_each(path, [log for item in results for log in _evalplus(item)])
    return _ours(_agent_folder(path))


def with_texts(log: Log, texts: Callable[[str], Mapping[str, str]]) -> Log:
    """Our log with the questions' wording, which records do not hold; `texts(benchmark)`: question id -> wording."""
    if log.kind != "ours" or "id" not in log.answers[0].keys:
        return log
    known = texts(log.benchmark)

    def worded(answer: Answer) -> Answer:
        text = known.get(answer.keys["id"])
        return answer if text is None else replace(answer, keys={**answer.keys, "text": normal(text)}, question=text)

    return replace(log, answers=tuple(map(worded, log.answers)))


def normal(text: str) -> str:
    """A wording without what printing adds: runs of white space are one space."""
    return " ".join(text.split())


def _one_run_each(path: Path, logs: Iterable[Log]) -> dict[str, Log]:
    found: dict[str, Log] = {}
    for log in logs:
        if log.benchmark in found:
            both = f"{found[log.benchmark].path} and {log.path}"
            raise StoreError(f"{path} holds {log.benchmark} more than once ({both}); name one of the files")
        found[log.benchmark] = log
    return found


def _agent_folder(path: Path) -> Path:
    agents = sorted(item for item in path.glob("eval/*") if item.is_dir())
    if len(agents) > 1:
        raise StoreError(f"{path} holds several agents; name one: {', '.join(map(str, agents))}")
    if not agents and (path / "config.json").exists():
        raise StoreError(f"{path} is a trial in which no agent has answered alone; name one that was evaluated alone")
    return agents[0] if agents else path


def _ours(folder: Path) -> dict[str, Log]:
    logs: dict[str, Log] = {}
    trial = folder.absolute().parent.parent
    if folder.absolute().parent.name == "eval" and (trial / "result.json").exists():
        require_finalized(trial, read_result(trial).hash)
    for path in sorted(folder.glob("*.jsonl")):
        if path.name == "timing.jsonl" or path.name.endswith(".part.jsonl"):
            continue
        if not _holds_records(path):
            raise StoreError(f"{path} is no file of our records; name a folder that holds nothing else")
        records = list(read(path, SampleRecord))
        agents = sorted({record.agent for record in records})
        if len(agents) > 1:
            raise StoreError(f"{path} holds answers of several agents ({', '.join(agents)})")
        for name, mine in groupby(records, key=_benchmark):
            answers = tuple(_our_answer(list(group)) for _, group in groupby(mine, key=lambda item: item.question_id))
            hashing = "lm-eval" if records[0].benchmark.startswith(OURS) else "ours"
            logs[name] = Log(name, "ours", path, hashing, _numbered(answers))
    if not logs:
        raise StoreError(
            f"{folder} holds no answers: neither records (*.jsonl of ilr-bench evaluate), nor lm-eval's "
            "samples_*.jsonl, nor EvalPlus's *eval_results.json"
        )
    return logs


def _holds_records(path: Path) -> bool:
    """By its first line: the advice of those who read records is about records."""
    try:
        with path.open("rb") as file:
            first = parse_json(file.readline() or b"{}")
    except (OSError, ValueError):
        return False
    return isinstance(first, dict) and (not first or "question_id" in first)


def _benchmark(record: SampleRecord) -> str:
    """A group of lm-eval's tasks is logged there task by task."""
    return record.question_id.rpartition("/")[0] if record.benchmark.startswith(OURS) else record.benchmark


def _our_answer(records: list[SampleRecord]) -> Answer:
    first = records[0]
    keys: dict[Key, str] = {"id": first.question_id}
    if first.doc_hash is not None:
        keys = {"document": first.doc_hash}
    scores = {ACCURACY: tuple(float(item.verdict is Verdict.CORRECT) for item in records)}
    if first.metrics is not None:
        scores = {name: tuple(float((item.metrics or {})[name]) for item in records) for name in first.metrics}
    lines = first.answer if first.answer is not None else first.completion
    return Answer(first.question_id, keys, first.prompt_hash, len(records), scores, None, first.gold, lines)


def _samples_file(path: Path) -> Log:
    """A line per question and filter; of each only what is compared is kept, since logs can be larger than memory."""
    name = _FILE.fullmatch(path.name)
    task = name["task"] if name else path.stem.removeprefix("samples_")
    found: dict[int, Answer] = {}
    try:
        # As bytes: text has more ends of lines than the one that lm-eval writes, and answers may hold the others.
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    index, answer = _harness_answer(parse_json(line))
                    found[index] = _merged(found[index], answer, index) if index in found else answer
                except MALFORMED as error:
                    raise StoreError(
                        f"{path}, line {number}, is not what lm-eval writes with --log_samples "
                        f"({type(error).__name__}: {error}); name such a file, a folder of ours, or EvalPlus's results"
                    ) from error
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}") from error
    if not found:
        raise StoreError(f"{path} holds no samples")
    return Log(task, "lm-eval", path, "lm-eval", _numbered(found[index] for index in sorted(found)))


def _harness_answer(row: Mapping[str, Any]) -> tuple[int, Answer]:
    """One question's number in the task, and its answer as one of the task's filters has it."""
    index, document = int(row["doc_id"]), row["doc"]
    fields = document if isinstance(document, dict) else {}
    keys: dict[Key, str] = {"document": str(row["doc_hash"])}
    names = [fields[field] for field in NAME_FIELDS if isinstance(fields.get(field), (str, int))]
    if names:
        keys["id"] = str(names[0])
    question = next((fields[field] for field in QUESTION_FIELDS if isinstance(fields.get(field), str)), None)
    if question is not None:
        keys["text"] = normal(question)
    scores = {
        f"{metric},{row['filter']}": (float(row[metric]),)
        for metric in row["metrics"]
        if isinstance(row[metric], (bool, int, float))
    }
    lines = row["filtered_resps"][0]
    return index, Answer(
        keys.get("id", f"document {index}"), keys, str(row["prompt_hash"]), len(row["resps"][0]), scores, question,
        str(row["target"]), lines if isinstance(lines, str) else json.dumps(lines, ensure_ascii=False), _settings(row),
    )  # fmt: skip


def _settings(row: Mapping[str, Any]) -> str | None:
    """The options of generation; a task of choices has none."""
    arguments = row.get("arguments")
    first = arguments.get("gen_args_0") if isinstance(arguments, dict) else None
    options = first.get("arg_1") if isinstance(first, dict) else None
    return json.dumps(options, sort_keys=True) if isinstance(options, dict) else None


def _merged(known: Answer, other: Answer, index: int) -> Answer:
    """What two filters made of one answer."""
    if known.keys != other.keys:
        raise ValueError(f"document {index} is another one in an earlier line")
    if known.scores.keys() & other.scores.keys():
        raise ValueError(f"document {index} is there twice with the same filter")
    return replace(known, scores={**known.scores, **other.scores})


def _numbered(answers: Iterable[Answer]) -> tuple[Answer, ...]:
    """Rows that a data set holds twice have one hash: the second one gets a number."""
    seen: Counter[str] = Counter()
    done = []
    for answer in answers:
        hashed = answer.keys.get("document", "")
        seen[hashed] += 1
        again = hashed and seen[hashed] > 1
        keys: Mapping[Key, str] = {**answer.keys, "document": f"{hashed}, {seen[hashed]}"} if again else answer.keys
        done.append(replace(answer, keys=keys))
    return tuple(done)


def _evalplus(path: Path) -> list[Log]:
    """The base tests, and base and extra tests together, as two benchmarks."""
    try:
        data = parse_json(path.read_bytes())
        tasks: dict[str, list[dict[str, Any]]] = data["eval"]
        name = next(iter(tasks)).partition("/")[0].lower()
        needed: dict[str, tuple[str, ...]] = {name: ("base_status",)}
        if all(item["plus_status"] is not None for items in tasks.values() for item in items):
            needed[f"{name}_plus"] = ("base_status", "plus_status")
        hashing = f"EvalPlus {data['hash']}"
        return [Log(key, "EvalPlus", path, hashing, tuple(_solutions(tasks, tests))) for key, tests in needed.items()]
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}") from error
    except (*MALFORMED, StopIteration) as error:
        raise StoreError(f"{path} is not a result of EvalPlus ({type(error).__name__}: {error})") from error


def _solutions(tasks: Mapping[str, list[dict[str, Any]]], needed: tuple[str, ...]) -> Iterator[Answer]:
    for task, items in tasks.items():
        scores = tuple(float(all(item[status] == PASS for status in needed)) for item in items)
        # EvalPlus's prompts are those of its data set, whose hash it notes.
        yield Answer(task, {"id": task}, "", len(items), {ACCURACY: scores}, None, None, str(items[0]["solution"]))
