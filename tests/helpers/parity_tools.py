"""lm-eval's own command line beside ours: the same model, rows and limit, compared sample by sample."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lm_eval
import torch
import yaml
from lm_eval.api.model import LM

from ilr_bench.evaluation.lm_eval_model import run_tasks
from ilr_bench.evaluation.lm_eval_tasks import LOCAL, load_tasks
from ilr_bench.models.loading import LoadedModel
from ilr_bench.storage.records import SampleRecord, read
from ilr_bench.tasks.benchmarks import BenchmarkQuestion

BUILT_IN = Path(lm_eval.__file__).parent / "tasks"
SUFFIX = "_local"
"""lm-eval lets no task file take a built-in task's name."""
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


@dataclass(frozen=True)
class Answered:
    """What one side says about one row of a task."""

    prompt: str
    """Empty where the side does not tell."""
    prompt_hash: str
    doc_hash: str
    completion: str
    answers: tuple[str, ...]
    """By filter."""
    metrics: Mapping[str, float]
    """`metric,filter` -> value."""


def subjects() -> list[str]:
    """The tasks that lm-eval's group mmlu_pro consists of."""
    return sorted(path.stem for path in (BUILT_IN / "mmlu_pro").glob("mmlu_pro_*.yaml"))


TASKS = {"gsm8k": ["gsm8k"], "math500": ["minerva_math500"], "mmlu_pro": subjects()}
"""Benchmark of ours -> lm-eval's tasks on the same rows."""
METRICS = {
    "gsm8k": ("exact_match,strict-match", "exact_match,flexible-extract"),
    "math500": ("math_verify,none", "exact_match,none"),
    "mmlu_pro": ("exact_match,custom-extract",),
}
"""Benchmark -> lm-eval's verdicts on it, as `metric,filter`."""


def key_of_row(row: BenchmarkQuestion) -> str:
    """What a row of ours and lm-eval's document of it have in common."""
    return row.id if row.id.startswith("mmlu_pro") else row.question


def key_of_document(document: dict[str, Any]) -> str:
    """The `key_of_row` of a document of lm-eval's."""
    if "question_id" in document:
        return f"mmlu_pro-{document['question_id']}"
    return str(document.get("problem") or document["question"])


def write_tasks(folder: Path, data: Path) -> None:
    """Task files that include lm-eval's built-in ones and take their rows from the data folder."""
    files = {
        "gsm8k": "gsm8k/gsm8k.yaml",
        "minerva_math500": "minerva_math/minerva_math500.yaml",
        **{name: f"mmlu_pro/{name}.yaml" for name in subjects()},
    }
    hubs = {"gsm8k": "openai/gsm8k", "minerva_math500": "HuggingFaceH4/MATH-500"}
    folder.mkdir(parents=True, exist_ok=True)
    for name, file in files.items():
        splits = LOCAL[hubs.get(name, "TIGER-Lab/MMLU-Pro")]
        task = {
            "include": str(BUILT_IN / file),
            "task": name + SUFFIX,
            "dataset_path": "parquet" if splits[0].file.endswith(".parquet") else "json",
            "dataset_name": None,
            "dataset_kwargs": {"data_files": {split.split: str(data / split.file) for split in splits}},
        }
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(task), encoding="utf-8")


def theirs(model: Path, tasks: Sequence[str], rows: int, tokens: int, data: Path, folder: Path) -> dict[str, Answered]:
    """`task/row` -> what lm-eval's command line makes of it; answers that the folder holds are not sampled again.

    The folder belongs to one model. fp32, batches of one row, on the GPU where there is one.
    """
    write_tasks(folder / "tasks", data)
    samples = folder / "samples"
    _run(
        "lm_eval", "run", "--model", "hf", "--model_args", f"pretrained={model},dtype=float32", "--batch_size", "1",
        "--device", "cuda" if torch.cuda.is_available() else "cpu", "--include_path", str(folder / "tasks"),
        "--tasks", ",".join(task + SUFFIX for task in tasks), "--limit", str(rows),
        "--gen_kwargs", f"max_gen_toks={tokens}", "--use_cache", str(folder / "answers"),
        "--log_samples", "--output_path", str(samples),
        HF_DATASETS_CACHE=str(folder / "datasets"),
    )  # fmt: skip
    answered: dict[str, Answered] = {}
    for task in tasks:
        newest = max(samples.rglob(f"samples_{task}{SUFFIX}_*.jsonl"), key=lambda path: path.name)
        answered |= read_theirs(newest, task)
    return answered


def read_theirs(path: Path, task: str) -> dict[str, Answered]:
    """A file of lm-eval's, which holds every row once for each filter."""
    by_row: dict[int, list[dict[str, Any]]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        sample = json.loads(line)
        by_row.setdefault(sample["doc_id"], []).append(sample)
    return {
        f"{task}/{row}": Answered(
            prompt=filtered[0]["arguments"]["gen_args_0"]["arg_0"],
            prompt_hash=filtered[0]["prompt_hash"],
            doc_hash=filtered[0]["doc_hash"],
            completion=filtered[0]["resps"][0][0],
            answers=tuple(str(one["filtered_resps"][0]) for one in filtered),
            metrics={f"{name},{one['filter']}": float(one[name]) for one in filtered for name in one["metrics"]},
        )
        for row, filtered in by_row.items()
    }


def ours(
    model: Path, benchmarks: Sequence[str], rows: int, tokens: int, data: Path, folder: Path
) -> dict[str, Answered]:
    """`task/row` -> what `ilr-bench evaluate` makes of it; an interrupted call continues."""
    names = [f"lm_eval:{name}" for name in benchmarks]
    _run(
        "ilr_bench", "evaluate", "--model", str(model), "--benchmarks", ",".join(names), "--limit", str(rows),
        "--max-new-tokens", str(tokens), "--out", str(folder), ILR_BENCH_DATA=str(data),
    )  # fmt: skip
    return {
        record.question_id: Answered(
            prompt="",
            prompt_hash=record.prompt_hash,
            doc_hash=record.doc_hash or "",
            completion=record.completion,
            answers=(record.answer or "",),
            metrics=record.metrics or {},
        )
        for name in names
        for record in read(next(folder.glob(f"{name.replace(':', '.')}.jsonl")), SampleRecord)
    }


def differences(ours: Mapping[str, Answered], theirs: Mapping[str, Answered]) -> dict[str, list[str]]:
    """Row -> what is not equal in it; our records keep the answer of the first filter only."""
    assert ours.keys() == theirs.keys()
    found = {}
    for row in ours:
        one, other = ours[row], theirs[row]
        pairs = {
            "prompt": (one.prompt_hash, other.prompt_hash),
            "document": (one.doc_hash, other.doc_hash),
            "completion": (one.completion, other.completion),
            "answer": (one.answers[0] in other.answers, True),
            "metrics": (one.metrics, other.metrics),
        }
        unequal = [name for name, (mine, other_side) in pairs.items() if mine != other_side]
        if unequal:
            found[row] = unequal
    return found


@dataclass(frozen=True)
class Parting:
    """Where two greedy completions of one prompt part."""

    token: int
    """Counted from the completion's beginning."""
    words: tuple[str, str]
    logits: tuple[float, float]
    """Of the two words, in one fp32 forward pass over all that stands before them."""
    top: float
    """The greatest logit there."""

    @property
    def gap(self) -> float:
        """How far both words are from being equally likely and likeliest."""
        return max(abs(self.logits[0] - self.logits[1]), self.top - min(self.logits))


def parting(loaded: LoadedModel, prompt: str, one: str, other: str) -> Parting:
    """The first token on which two different completions disagree; the end of the text is a token as well."""
    model, tokenizer = loaded.model, loaded.tokenizer
    begin = len(tokenizer(prompt)["input_ids"])
    ids = [[*tokenizer(prompt + text)["input_ids"], tokenizer.eos_token_id] for text in (one, other)]
    index = next(index for index, (mine, theirs) in enumerate(zip(*ids, strict=False)) if mine != theirs)
    with torch.inference_mode():
        logits = model(torch.tensor([ids[0][:index]], device=model.device)).logits[0, -1].double()
    chosen = [tokens[index] for tokens in ids]
    words = (tokenizer.decode([chosen[0]]), tokenizer.decode([chosen[1]]))
    return Parting(index - begin, words, (float(logits[chosen[0]]), float(logits[chosen[1]])), float(logits.max()))


class Replay(LM):  # type: ignore[misc]
    """A model of lm-eval's that says what it is told to say about each document."""

    def __init__(self, say: Callable[[dict[str, Any]], str]) -> None:
        super().__init__()
        self._say = say

    def generate_until(self, requests: list[Any]) -> list[str]:
        return [self._say(request.doc) for request in requests]

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        raise NotImplementedError

    def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
        raise NotImplementedError


def replay(tasks: Sequence[str], limit: int | None, say: Callable[[dict[str, Any]], str]) -> list[dict[str, Any]]:
    """lm-eval's samples of its own tasks where a model says `say(document)`: a sample for each document and filter."""
    loaded = {name: task for group in tasks for name, task in load_tasks(group).items()}
    results = run_tasks(Replay(say), loaded, limit=limit)
    return [sample for samples in results["samples"].values() for sample in samples]


def _run(module: str, *arguments: str, **settings: str) -> None:
    """A command in a process of its own, its output in ours."""
    environment = os.environ | OFFLINE | settings
    subprocess.run([sys.executable, "-m", module, *arguments], env=environment, check=True)
