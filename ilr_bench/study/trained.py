"""The trained agents of a trial: which checkpoints there are, and an agent in memory as it was evaluated."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ilr_bench.core.config import RunConfig, content_hash
from ilr_bench.core.console import note
from ilr_bench.core.errors import ConfigurationError, StoreError
from ilr_bench.evaluation.standalone import StandaloneRun
from ilr_bench.learner.build import build_agent
from ilr_bench.learner.served import served_fingerprint
from ilr_bench.learner.sft import sft_checkpoint
from ilr_bench.models.export import check_folder, hub_name, write_model
from ilr_bench.models.loading import LoadedModel, load_model, load_weights, load_with_adapters
from ilr_bench.storage.checkpoints import intact_checkpoints, latest_checkpoint, step_folder
from ilr_bench.storage.files import file_hash, is_intact, parse_json, read_json, read_manifest
from ilr_bench.storage.records import Study, TrialResult, read_config, read_result, read_study
from ilr_bench.storage.store import RESULT
from ilr_bench.study.trial_state import CHECKPOINTS, STATE


@dataclass(frozen=True)
class TrainedTrial:
    """A trial at one of its steps."""

    folder: Path
    config: RunConfig
    step: int
    checkpoint: Path | None
    """None at step 0: the agents are the models that they started from."""
    result: TrialResult | None
    """None before the trial has finished."""
    study: Study | None
    """None where the trial's folder lies outside its study."""

    @property
    def is_last(self) -> bool:
        """Whether these are the weights that the trial's own evaluation scored."""
        return self.step == self.config.training.steps

    @property
    def variant(self) -> str:
        """Its name in the study, which holds the settings of a grid."""
        entries = self.study.trials if self.study is not None else ()
        named = (entry.variant for entry in entries if Path(entry.folder).name == self.folder.name)
        return next(named, self.config.variant)

    @property
    def adapters(self) -> bool:
        """Whether training changed LoRA adapters only."""
        return self.checkpoint is not None and self.config.update.adapter == "lora"

    def index(self, agent: str) -> int:
        """Of an agent by name; raises ConfigurationError for an unknown one."""
        if agent not in self.config.agents:
            raise ConfigurationError(f"{self.folder.name} has no agent {agent}; it has {', '.join(self.config.agents)}")
        return self.config.agents.index(agent)

    def only_agent(self) -> str:
        """The trial's agent; raises ConfigurationError where there are several."""
        if len(self.config.agents) > 1:
            raise ConfigurationError(
                f"{self.folder.name} has several agents; choose one: --agent {' | '.join(self.config.agents)}"
            )
        return self.config.agents[0]

    def name(self, agent: str) -> str:
        """Agent, variant and seed, such as `A-ilr-0`, and the step where it is not the last."""
        parts = [agent, self.variant, str(self.config.seed), *([] if self.is_last else [f"step{self.step}"])]
        return "-".join(parts).replace("/", "_")

    def published_base(self, agent: str) -> str | None:
        """The hub's name of the model that an agent's adapter belongs on, None where that is nowhere but here."""
        return None if self.config.warm_start.steps else hub_name(self.config.models[self.index(agent)])


def holds_trial(path: Path) -> bool:
    """Whether a folder is a trial's, one of its checkpoints, or a study's, and not a model's."""
    if (path / "study.json").is_file() or (path / STATE).is_file():
        return True
    with suppress(OSError, ValueError):
        found = parse_json((path / "config.json").read_bytes())
        return isinstance(found, dict) and {"hash", "config"} <= found.keys()
    return False


def find_trained(path: Path, step: int | None = None) -> TrainedTrial:
    """The trial of a folder (its own, a checkpoint's, or a study's that has one) at a step, by default its last.

    Raises StoreError where there is none, several, or no such checkpoint, ConfigurationError for a step that cannot be.
    """
    if not holds_trial(path):
        raise StoreError(f"{path} is no trial, checkpoint or study; name a folder such as runs/x/trials/...")
    folder = path.resolve()
    study = _study_of(folder)
    if study is not None:
        folder = _only_trial(study, folder, path)
    elif (folder / STATE).is_file():
        number = re.fullmatch(r"step-(\d+)", folder.name)
        if number is None or not (folder.parents[1] / "config.json").is_file():
            raise StoreError(f"{path} does not lie in its trial (TRIAL/{CHECKPOINTS}/step-...), which says what it is")
        if step not in (None, int(number[1])):
            raise ConfigurationError(f"--step {step}: {path} is step {int(number[1])}; name the trial's folder")
        step, folder = int(number[1]), folder.parents[1]
    study = study or _study_of(folder.parents[1])
    config = read_config(folder)
    result = read_result(folder) if (folder / RESULT).exists() else None
    found, checkpoint = _checkpoint(folder, config.training.steps, step, result is not None)
    return TrainedTrial(folder, config, found, checkpoint, result, study)


def _study_of(folder: Path) -> Study | None:
    return read_study(folder) if (folder / "study.json").is_file() else None


def _only_trial(study: Study, folder: Path, named: Path) -> Path:
    listed = dict.fromkeys(entry.folder for entry in study.trials)
    begun = [name for name in listed if (folder / name / "config.json").is_file()]
    if not begun:
        raise StoreError(f"{named}: no trial of this study has begun")
    trained = [name for name in begun if read_config(folder / name).training.steps]
    begun = trained or begun  # beside a training lies what its models answered before
    if len(begun) > 1:
        raise StoreError(f"{named} holds several trials; name one: {', '.join(str(named / name) for name in begun)}")
    return folder / begun[0]


def _checkpoint(folder: Path, steps: int, step: int | None, is_finished: bool) -> tuple[int, Path | None]:
    """Step and folder of the checkpoint at `step`, or of the last one."""
    place = folder / CHECKPOINTS
    if step == 0 or not steps:
        if step:
            raise ConfigurationError(f"--step {step}: {folder.name} trains nothing; its agents are the models it names")
        return 0, None
    if step is not None:
        path = place / step_folder(step)
        if not is_intact(path, {"step": step}):
            what = "is damaged" if path.exists() else "was not kept"
            raise StoreError(f"--step {step}: that checkpoint of {folder.name} {what}; {_kept(place)}")
        return step, path
    latest = latest_checkpoint(place)
    if latest is None or (is_finished and latest[0] != steps):
        missing = "no checkpoint yet" if not is_finished else "lost the checkpoint that it ended with"
        raise StoreError(
            f"{folder.name} has {missing}; {_kept(place)}; the sweep's command again goes on and makes what is missing"
        )
    return latest


def _kept(place: Path) -> str:
    steps = sorted(step for step, _ in intact_checkpoints(place))
    return (
        f"steps there are: {', '.join(map(str, [0, *steps]))} (0: as the models came; of a training the newest "
        "checkpoint and the best by validation stay, and more with a sweep's --keep-checkpoints)"
    )


def load_agent(trial: TrainedTrial, agent: str, device: str | None = None) -> LoadedModel:
    """An agent with the weights of the trial's step, bit for bit, as `load_model` gives a model.

    `device`: of its weights, the computing device unless given. Raises ConfigurationError for an unknown agent,
    StoreError where its model is not the one that the trial started from, and what loading a model raises.
    """
    config, index = trial.config, trial.index(agent)
    model = config.models[index]
    whole = trial.checkpoint is not None and not trial.adapters
    if not whole:  # a whole model's checkpoint holds all that fine-tuning changed
        model = sft_checkpoint(model, index, config, build_agent)
    if trial.adapters:
        (loaded,) = load_with_adapters([model], [agent], config.update, config.seed, device)
    else:
        loaded = load_model(model, device)
    before = {loaded.fingerprint} if whole and config.warm_start.steps else set(_started_from(trial, agent))
    served = config.sampling.engine == "tinker"
    if before and (served_fingerprint(model) if served else loaded.fingerprint) not in before:
        raise StoreError(
            f"the model of {agent} ({config.models[index]}) is not the one that {trial.folder.name} started from; "
            "bring back the model's files and the versions of packages as they were"
        )
    if trial.checkpoint is None:
        return loaded
    if served and not any((trial.checkpoint / agent).glob("*.safetensors")):
        raise StoreError(
            f"step {trial.step} of {trial.folder.name} is kept by a server; its adapters come home after the last step"
        )
    load_weights(loaded.model, trial.checkpoint / agent)
    (weights,) = (trial.checkpoint / agent).glob("*.safetensors")
    return replace(loaded, fingerprint=content_hash([loaded.fingerprint, file_hash(weights)]))


def _started_from(trial: TrainedTrial, agent: str) -> Iterator[str]:
    """Fingerprint of the model that an agent started from, where the trial noted it."""
    if trial.checkpoint is not None:
        yield read_json(trial.checkpoint / STATE, "name another step")["models"][agent]
        return
    noted = trial.result.artifacts.get(f"ability/{agent}") if trial.result is not None else None
    manifest = read_manifest(trial.folder.parents[1] / "artifacts" / noted) if noted else None
    if manifest is not None:
        yield manifest[0]["model"]


def export_agent(trial: TrainedTrial, agent: str, folder: Path, merge: bool = False) -> None:
    """Fills an empty folder with an agent for `from_pretrained`, and reads it back.

    An adapter of a model that is not of the hub names the folder where that model lies on this machine. Raises
    StoreError where what is read back is not what was written, and what `load_agent` and the disk raise.
    """
    loaded = load_agent(trial, agent, device="cpu")
    base = trial.published_base(agent) or str(loaded.folder.resolve())
    weights, tokenizer = write_model(loaded, folder, base, merge), loaded.tokenizer
    del loaded  # the model is read back before it counts, and two of it may not fit
    check_folder(folder, weights, tokenizer)


def evaluated_agent(run: StandaloneRun, agent: str | None) -> tuple[StandaloneRun, Callable[[str], LoadedModel]]:
    """The run of `ilr-bench evaluate`, and what loads its model: where that is a trial, of its agent `agent`.

    Unless the run says otherwise, such an agent keeps its prompt style and its trial's profile. Raises
    ConfigurationError where there is no such agent, or several and none is chosen, and what `find_trained` raises.
    """
    path = Path(run.model).expanduser()
    if not holds_trial(path):
        if agent is not None:
            raise ConfigurationError(f"--agent {agent}: {run.model} is no trial and has no agents; leave --agent out")
        return run, load_model
    trial = find_trained(path)
    chosen = agent or trial.only_agent()
    index = trial.index(chosen)
    config = trial.config
    settled = replace(
        run,
        model=config.models[index],
        agent=trial.name(chosen),
        profile=run.profile or config.profile,
        style=run.style or config.styles[index],
    )
    note(f"{settled.agent}: step {trial.step} of {config.training.steps} of {trial.folder.name}")
    return settled, lambda model: load_agent(trial, chosen)
