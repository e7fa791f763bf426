"""The README.md of an exported model: where it comes from, what it scores, and the commands that made it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData, try_to_load_from_cache

from ilr_bench.cli.standalone_table import standalone_table
from ilr_bench.evaluation.runner import record_file
from ilr_bench.models.catalogue import MODELS
from ilr_bench.models.export import hub_name
from ilr_bench.models.sources import HUB_MODELS
from ilr_bench.storage.records import StepRecord, read
from ilr_bench.storage.store import require_finalized
from ilr_bench.study.own_data import label
from ilr_bench.study.trained import TrainedTrial

NO_LICENCE = "none needed"
"""What the catalogue says of models that are made on the machine."""
_FOLDERS = re.compile(r"(?<=[\s=,'\"])/(?:[^\s,/'\"]+/)+")
"""The folders of a path from the root, which is an argument or one of several with commas."""
CHAT = """\
```python
from transformers import pipeline

chat = pipeline("text-generation", model=".")
print(chat([{"role": "user", "content": "17 + 25 = ?"}], max_new_tokens=64)[0]["generated_text"][-1]["content"])
```"""
PLAIN = """\
```python
from transformers import pipeline

write = pipeline("text-generation", model=".")
print(write("17 + 25 =", max_new_tokens=64)[0]["generated_text"])
```"""


@dataclass(frozen=True)
class BaseModel:
    """What is known of the model that an agent started from."""

    name: str
    about: str
    licence: str | None
    hub: str | None
    """Its name on the hub."""


def model_card(trial: TrainedTrial, agent: str, folder: Path, command: Sequence[str]) -> str:
    """The card of an agent that was exported into `folder`; `command`: the arguments of the export after the trial.

    Scores are the trial's own where these weights made them. Raises StoreError for records that changed since.
    """
    base, scores = _base(trial.config.models[trial.index(agent)]), _scores(trial, agent)
    is_adapter = (folder / "adapter_config.json").exists()
    name = trial.name(agent)
    facts = _facts(trial, agent, base)
    licence, licence_name = _licence(base)
    data = ModelCardData(
        license=licence,
        license_name=licence_name,
        base_model=base.hub,
        library_name="peft" if is_adapter else "transformers",
        pipeline_tag="text-generation",
        tags=["ilr-bench"],
        model_name=name,
        eval_results=[_result(row) for row in scores[1:]] or None,
        ilr_bench=facts,
    )
    use = CHAT if (folder / "chat_template.jinja").exists() else PLAIN
    parts = [
        f"---\n{data.to_yaml()}\n---",
        f"# {name}",
        _summary(trial, agent, base, is_adapter),
        "\n".join(["| | |", "|---|---|", *(f"| {key.replace('_', ' ')} | {value} |" for key, value in facts.items())]),
        "## Scores",
        _markdown(scores) if scores else _without_scores(trial, agent),
        "## Use",
        f"In this folder, or with the model's name on the hub in place of the dot:\n\n{use}",
        "## Made by",
        "\n".join(f"    {line}" for line in _commands(trial, command)),
    ]
    return "\n\n".join(parts) + "\n"


def _facts(trial: TrainedTrial, agent: str, base: BaseModel) -> dict[str, Any]:
    config, result = trial.config, trial.result
    questions, update = config.questions, config.update
    versions = {} if result is None else result.versions
    source = label("questions.source", questions.source)
    known = {
        "agent": agent,
        "trained_with": ", ".join(name for name in config.agents if name != agent) if trial.step else "",
        "variant": trial.variant,
        "profile": config.profile,
        "seed": config.seed,
        "step": f"{trial.step} of {config.training.steps}",
        "data": f"{source}, {questions.train} training and {questions.validation} validation questions",
        "fine_tuned_before": f"{config.warm_start.steps} steps" if config.warm_start.steps else "",
        "weights_trained": f"LoRA, rank {update.lora_rank}" if update.adapter == "lora" else "all",
        "prompt_style": label("prompt_style", config.styles[trial.index(agent)]),
        "base_model": base.name,
        "commit": versions.get("commit", "not noted before the trial has finished"),
        "trial": trial.folder.name,
    }
    return {key: value for key, value in known.items() if value != ""}


def _summary(trial: TrainedTrial, agent: str, base: BaseModel, is_adapter: bool) -> str:
    config = trial.config
    others = [name for name in config.agents if name != agent]
    together = f" together with {', '.join(others)}" if others else ""
    before = "fine-tuned, before reinforcement" if config.warm_start.steps else "as it came, before any training"
    trained = f"trained{together} by the variant `{trial.variant}`" if trial.step else before
    form = "A LoRA adapter (PEFT) on it." if is_adapter else "A whole model, in float32."
    licence = base.licence or "not known here; look it up before you pass the model on"
    return f"`{base.name}` ({base.about}), {trained} of ilr-bench. {form} Licence of the base model: {licence}."


def _scores(trial: TrainedTrial, agent: str) -> list[tuple[str, ...]]:
    """Header and rows; nothing where the trial's evaluation was of other weights, or of all agents together."""
    result = trial.result
    if result is None or not trial.is_last or not (trial.folder / "eval" / agent).is_dir():
        return []
    require_finalized(trial.folder, result.hash)
    folder = trial.folder / "eval" / agent
    names = [name for name in result.subjects if record_file(folder, name).exists()]
    return standalone_table(folder, names) if names else []


def _without_scores(trial: TrainedTrial, agent: str) -> str:
    path = trial.folder / "train.jsonl"
    seen = [
        record.validation_accuracy
        for record in (read(path, StepRecord) if path.exists() else ())
        if (record.step, record.agent) == (trial.step, agent) and record.validation_accuracy is not None
    ]
    validation = f" Accuracy on the validation questions at this step: {100 * seen[0]:.1f} %." if seen else ""
    return f"The trial has not scored these weights on benchmarks.{validation}"


def _result(row: tuple[str, ...]) -> EvalResult:
    benchmark, questions, accuracy, interval = row[:4]
    return EvalResult(
        task_type="text-generation",
        dataset_type=benchmark,
        dataset_name=f"{benchmark}, {questions} questions",
        metric_type="accuracy",
        metric_name=f"accuracy in %, 95 % interval {interval}",
        metric_value=float(accuracy.split()[0]),
    )


def _markdown(rows: Sequence[tuple[str, ...]]) -> str:
    head, *lines = ("| " + " | ".join(row) + " |" for row in rows)
    return "\n".join([head, "|" + "---|" * len(rows[0]), *lines])


def _base(model: str) -> BaseModel:
    path = Path(model).expanduser()
    if hub := hub_name(model):
        stated = {name: licence for name, _, licence in HUB_MODELS}.get(hub)
        card = try_to_load_from_cache(hub, "README.md")
        return BaseModel(hub, "of the hub", stated or _stated(Path(card) if isinstance(card, str) else None), hub)
    if model in MODELS and not path.is_dir():
        entry = MODELS.get(model)
        licence = None if entry.licence == NO_LICENCE else entry.licence.partition(" (")[0]
        return BaseModel(model, f"{entry.summary}; {entry.source}", licence or NO_LICENCE, None)
    what = "a GGUF file, dequantised" if path.suffix == ".gguf" else "a local folder"
    return BaseModel(path.name, what, _stated(path / "README.md"), None)


def _stated(card: Path | None) -> str | None:
    """The licence that a model's card states."""
    if card is None or not card.is_file():
        return None
    front = re.match(r"---\n(.*?\n)---\n", card.read_text(encoding="utf-8", errors="replace"), re.DOTALL)
    stated = re.search(r"^license: *['\"]?([\w.-]+)", front[1], re.MULTILINE) if front else None
    return stated[1] if stated else None


def _licence(base: BaseModel) -> tuple[str | None, str | None]:
    """The card's `license`, an identifier of the hub or `other`, and for this its `license_name`."""
    if base.licence in (None, NO_LICENCE):
        return None, None
    text = base.licence.partition(" (")[0]
    return (text.lower(), None) if re.fullmatch(r"[\w.-]+", text) else ("other", text)


def _commands(trial: TrainedTrial, command: Sequence[str]) -> list[str]:
    """The study's command and the export's, without the folders of this machine that are named from the root."""
    export = shlex.join(["ilr-bench", "export", f"DIR/trials/{trial.folder.name}", *command])
    study = "" if trial.study is None else trial.study.command
    return [line for line in (_FOLDERS.sub("", study), export) if line]
