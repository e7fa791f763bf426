"""The records of trials and studies, and how they are read, also while a trial still writes them.

Records hold no seconds: times are in `timing.jsonl`, outside the promise of equal bytes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from ilr_bench.core.config import RunConfig, from_dict
from ilr_bench.core.errors import ConfigurationError, StoreError
from ilr_bench.storage.files import as_noted, parse_json, read_json, readable, write_atomic


class Verdict(StrEnum):
    """The result of grading one answer."""

    CORRECT = "correct"
    WRONG = "wrong"
    MISSING = "missing"
    """No final answer, or two different ones."""
    TIMEOUT = "timeout"
    """Grading or running it took too long; counted as not right."""
    REFUSED = "refused"
    """A program outside the subset that may run here; counted as not right."""
    KILLED = "killed"
    """Something outside (as the system, for want of memory) killed the program twice; counted as not right."""


@dataclass(frozen=True)
class SampleRecord:
    """One answer of one agent, alone, to one benchmark question (`eval/<agent>/<benchmark>.jsonl`)."""

    benchmark: str
    agent: str
    question_id: str
    sample: int
    prompt_hash: str
    completion: str
    answer: str | None
    gold: str
    verdict: Verdict
    tokens: int
    """Sampled tokens."""
    seed: int
    finished: bool = True
    """False where the token limit cut the completion."""
    cut_prompt: int = 0
    """Tokens of the prompt that were left out to fit the model's context."""
    jail: str | None = None
    """The jail in which the program was run (`none`: without one); None where no program is run."""
    doc_hash: str | None = None
    """lm-eval's hash of the question's row, for `lm_eval:` tasks; `prompt_hash` is lm-eval's own there."""
    metrics: dict[str, float] | None = None
    """lm-eval's metrics of this sample, `metric,filter` -> value, for `lm_eval:` tasks; the verdict is CORRECT where
    the first of them is 1."""


JOINT = "joint"
"""Agent of an InferenceRecord that stands for all agents together."""


@dataclass(frozen=True)
class InferenceRecord:
    """One answer that untrained agents reach together, to one benchmark question (a line of `inference.jsonl`).

    Every agent has a record for each question (its own last answer), and all of them together have one more under
    the agent `joint`: the answer that most of them ended with, ties going to the agent that is abler on validation
    questions. Lines stand by benchmark, question and agent, in the configuration's order, `joint` last.
    """

    benchmark: str
    method: str
    """`single` (one answer), `debate` (answers revised in sight of the others') or `idea3` (share, analyse, fuse)."""
    agent: str
    """The agent's name, or `joint`."""
    question_id: str
    rounds: int
    """Turns of every agent up to this answer, which is included: 1 for `single`."""
    tokens: int
    """Tokens sampled for this answer: earlier rounds of all agents, and the answer (of `joint`: all answers)."""
    prompt_hash: str
    """Of the prompt of the last turn; of `joint`, of all of them."""
    completion: str
    """The last turn; of `joint`, the completion that gave its answer."""
    answer: str | None
    gold: str
    verdict: Verdict
    seed: int
    cut_prompts: int = 0
    """Prompts up to this answer that lost their middle to the limit."""


@dataclass(frozen=True)
class WarmStartRecord:
    """One supervised step of one agent's model before reinforcement (`warm_start.jsonl`)."""

    step: int
    agent: str
    loss: float
    """Mean negative log-probability per token of the step's solutions, before the step."""
    tokens: int


@dataclass(frozen=True)
class StepRecord:
    """One agent's part of one joint training step (`train.jsonl`)."""

    step: int
    agent: str
    loss: float
    gradient_norm: float | None
    learning_rate: float
    kl: float | None
    """Mean k3 estimate against the starting policy; None without a KL term."""
    sharing_accuracy: float | None
    """Fraction of right sharing turns, of all sampled ones; None where none was graded."""
    fusion_accuracy: float | None
    mean_reward: float
    mean_calibrated_reward: float
    cooperation_share: float | None
    """Fraction of this step's questions on which the agent cooperates; None without modes."""
    clipped_share: float | None
    """Fraction of equation (5)'s terms that are clipped, over trained turns; None without calibration or peers."""
    flat_peer_share: float | None
    changed_group_share: float | None
    """Fraction of groups with any advantage changed by more than 1e-3 by calibration; of sharing and fusion only."""
    mean_advantage_change: float | None
    groups: int
    flat_groups: int
    """Groups whose advantages are all zero."""
    trained_tokens: int
    sampled_tokens: int
    """All completion tokens sampled for this agent in this step, analyses too, validation not."""
    sharing_tokens: int
    """Completion tokens of this agent's sharing turns in this step."""
    sharing_samples: int
    """Sharing turns sampled per question."""
    cut_prompts: int
    unfinished_turns: int
    """Turns cut by the token limit."""
    ability: float
    """The ability that chose this step's modes."""
    validation_accuracy: float | None
    value_loss: float | None = None
    """None without a critic."""
    borrowed_turns: int = 0
    """Turns of peers that this agent was trained on as well; their tokens count for the agents that sampled them."""


@dataclass(frozen=True)
class TurnRecord:
    """One message of one agent in one stage."""

    agent: str
    stage: str
    mode: str
    text: str
    verdict: str | None
    reward: float | None
    calibrated_reward: float | None
    advantage: float | None


@dataclass(frozen=True)
class DialogueRecord:
    """All turns on one question in one step (`dialogues.jsonl`)."""

    step: int
    question_id: str
    question: str
    gold: str
    difficulty: float
    dialogue: int
    turns: tuple[TurnRecord, ...]


@dataclass(frozen=True)
class TrialResult:
    """The result of a finished trial (`result.json`, written last)."""

    hash: str
    variant: str
    profile: str
    models: tuple[str, ...]
    agents: tuple[str, ...]
    seed: int
    steps: int
    sampled_tokens: dict[str, int]
    """Agent -> completion tokens sampled while training (validation not counted)."""
    cooperation_share: dict[str, float | None]
    """Agent -> fraction of the training questions on which the item-response rule has it cooperate."""
    ability: dict[str, float]
    """Agent -> accuracy on the validation questions before training."""
    difficulty: dict[str, Any]
    """Mean, standard deviation, valid and invalid rankings of the difficulty artifact."""
    artifacts: dict[str, str]
    """Artifact name -> content hash."""
    versions: dict[str, str]
    """Package -> version, and `commit`."""
    subjects: dict[str, str] = field(default_factory=dict)
    """Benchmark -> `maths`, `code` or `general`; none by earlier versions."""
    inputs: str = ""
    """Content hash of the artifact that notes what its configuration stood for; none by earlier versions."""


@dataclass(frozen=True)
class TrialEntry:
    """One line of a study: which trial folder answers for a variant, models and seed."""

    variant: str
    models: tuple[str, ...]
    agents: tuple[str, ...]
    seed: int
    hash: str
    folder: str
    """Relative to the study, such as `trials/ilr-A+B-0-0123456789ab`; equal variants have the same one."""


@dataclass(frozen=True)
class Study:
    """The trials of a study (`study.json`)."""

    profile: str
    command: str
    trials: tuple[TrialEntry, ...]
    inputs: dict[str, list[str]] = field(default_factory=dict)
    """Name of an input -> content hashes of its versions here, the one that counts first; see `study.inputs`."""
    overlaps: tuple[str, ...] = ()
    """Training questions that stand in a benchmark or validate, which was allowed; see `tasks.overlap`."""


Record = TypeVar("Record", SampleRecord, InferenceRecord, WarmStartRecord, StepRecord, DialogueRecord)


def to_line(record: Any) -> str:
    """One line of canonical JSON (keys in field order), without the newline."""
    return json.dumps(dataclasses.asdict(record), ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def read(path: Path, kind: type[Record]) -> Iterator[Record]:
    """The records of one file.

    Raises StoreError where the file changed since it was written, or naming the line that is torn or of another kind.
    """
    if not as_noted(path):
        raise StoreError(f"{path} changed since it was written; run the same command again, which makes it anew")
    with readable(path):
        lines = path.read_bytes().removesuffix(b"\n").split(b"\n")  # a completion may hold U+2028
    for number, line in enumerate(lines if lines != [b""] else [], start=1):
        try:
            yield _parse(parse_json(line), kind)
        except (ValueError, TypeError, KeyError) as error:
            raise StoreError(
                f"{path}, line {number}: not a {kind.__name__} ({error}); delete the trial's folder to run it again"
            ) from error


def _parse(data: dict[str, Any], kind: type[Record]) -> Record:
    if kind is SampleRecord or kind is InferenceRecord:
        data["verdict"] = Verdict(data["verdict"])
    if kind is DialogueRecord:
        data["turns"] = tuple(TurnRecord(**turn) for turn in data["turns"])
    return kind(**data)


_AGAIN = "delete it and run the sweep's command again"


def write_study(folder: Path, study: Study) -> None:
    """Writes `study.json` in the study's folder, with a digest of its content."""
    data = dataclasses.asdict(study)
    if not study.overlaps:
        del data["overlaps"]  # as before there was this field
    text = json.dumps(data | {"sha256": _digest(data)}, ensure_ascii=False, indent=1)
    write_atomic(folder / "study.json", text + "\n")


def read_study(folder: Path) -> Study:
    """The study in a folder; raises StoreError where there is none, or it changed since it was written."""
    path = folder / "study.json"
    if not path.exists():
        raise StoreError(f"{folder} holds no study (no study.json); name the folder given to `--out`")
    data = read_json(path, _AGAIN)
    digest = data.pop("sha256", None)
    try:
        if digest not in (None, _digest(data)):  # None: written by an earlier version
            raise ValueError("not what its digest says")
        trials = tuple(TrialEntry(**_tuples(entry)) for entry in data.pop("trials"))
        return Study(trials=trials, **_tuples(data))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise StoreError(
            f"{path} changed since it was written ({error}); delete it and run the sweep's commands again: they write "
            "it anew and repeat no trial"
        ) from error


def _digest(data: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(data, ensure_ascii=False, sort_keys=True).encode()).hexdigest()


def read_config(folder: Path) -> RunConfig:
    """The resolved configuration of a trial; raises StoreError where there is none that can be read."""
    path, advice = folder / "config.json", "delete the trial's folder to run it again"
    data = read_json(path, advice)
    try:
        return from_dict(data["config"])
    except (KeyError, TypeError, ValueError, ConfigurationError) as error:
        raise StoreError(f"{path}: no configuration ({error}); {advice}") from error


def read_result(folder: Path) -> TrialResult:
    """The result of a finished trial; raises StoreError where it has not finished."""
    path = folder / "result.json"
    if not path.exists():
        raise StoreError(f"{folder.name} has not finished (no result.json); run the sweep's command again")
    try:
        return TrialResult(**_tuples(read_json(path, _AGAIN)))
    except TypeError as error:
        raise StoreError(f"{path} is no result of a trial ({error}); run the sweep's command again") from error


def _tuples(data: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}


class RecordTail:
    """The training records of one trial as they are written: each once, however often the trial is resumed.

    A resumed trial drops the steps after its checkpoint and writes the same bytes again. An incomplete last line is
    read later, a torn line is skipped. Nothing is locked and nothing is written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0
        self._last: dict[str, int] = {}

    def new(self) -> list[StepRecord]:
        """What has been added since the last call."""
        try:
            with readable(self._path), self._path.open("rb") as file:
                size = file.seek(0, 2)
                self._read = self._read if self._read <= size else 0
                file.seek(self._read)
                content = file.read()
        except FileNotFoundError:
            self._read = 0
            return []
        whole = content[: content.rfind(b"\n") + 1]
        self._read += len(whole)
        found = []
        for record in filter(None, map(_record, whole.splitlines())):
            if record.step > self._last.get(record.agent, 0):
                self._last[record.agent] = record.step
                found.append(record)
        return found


def _record(line: bytes) -> StepRecord | None:
    try:
        return StepRecord(**parse_json(line))
    except (ValueError, TypeError):
        return None
