"""What the names in a configuration stand for: a trial is current where all of it is as it was when it ran.

A configuration names questions, benchmarks, wordings and models; their content, and the code and packages that compute
with them, are the trial's inputs. They are noted part by part, so that a change can be told by name.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from ilr_bench.core.config import RunConfig, content_hash
from ilr_bench.core.plugins import label_of, model_source
from ilr_bench.core.registry import forget_references
from ilr_bench.models.catalogue import MODELS, hub_revision, model_files
from ilr_bench.prompts import STYLES
from ilr_bench.prompts.style import wording
from ilr_bench.storage import provenance
from ilr_bench.storage.files import MANIFEST, explained, parse_json, remove, sync
from ilr_bench.storage.provenance import (
    Changes,
    TrialInputs,
    changes,
    code_inputs,
    package_inputs,
    read_inputs,
    row_parts,
)
from ilr_bench.storage.store import RESULT, Artifacts
from ilr_bench.study.plan import PlannedTrial, outside_modules
from ilr_bench.tasks.files import question_source
from ilr_bench.tasks.types import expand, get

_HASH = re.compile(r"[0-9a-f]{12}")
"""What `content_hash` returns; a name that is none comes from a damaged file, and is no path to look under."""
UNNOTED = Changes(("what it was made from was not noted, or the note is damaged",), ())
SUPERSEDED = "superseded"
"""Folder of a study for trials that other inputs made; one comes back when its inputs do."""


class InputReader:
    """Reads inputs, each once for all the trials that are asked about; make a new one for every command."""

    def __init__(self) -> None:
        forget_references()
        self._read: dict[str, Mapping[str, str]] = {}

    def of(self, config: RunConfig, matched: TrialInputs | None = None) -> TrialInputs:
        """The inputs of a trial; `matched`: those of the trial whose sampled tokens it matches.

        Raises MissingInputError where questions or rows cannot be had.
        """
        questions, settings, warm = config.questions, config.evaluation, config.warm_start
        agents: dict[str, Mapping[str, str]] = {}
        for style in config.styles:
            agents |= self._once(f"wording {label_of(style)}", partial(_wording, style))
        for model in config.models:
            found = _model(model)
            agents |= {f"model {label_of(model)}": found} if found else {}
        mechanisms: dict[str, Mapping[str, str]] = {}
        for name, module in outside_modules(config).items():
            mechanisms |= self._once(name, partial(provenance.plugin_hashes, module))
        engines = {"vllm": provenance.ENGINES, "tinker": ("tinker",)}.get(config.sampling.engine, ())
        training = dict(agents)
        for count in dict.fromkeys([questions.train, *([warm.questions] if warm.steps else [])]):
            name = f"questions {question_source(questions.source).name} ({count} + {questions.validation})"
            training |= self._once(name, partial(_questions, questions.source, count, questions.validation))
        learns = bool(config.training.steps)
        training |= mechanisms if learns else {}
        code = provenance.TRAINING if learns else provenance.MEASURING
        training |= code_inputs((*code, *(provenance.FINE_TUNING if warm.steps else ())))
        training |= package_inputs(
            (*provenance.ALWAYS, *engines, *(provenance.LEARNERS if learns or warm.steps else ()))
        )
        if matched is not None:
            training["matched trial"] = {"training": content_hash(matched.training)}
        evaluation: dict[str, Mapping[str, str]] = {}
        for benchmark in expand(settings.benchmarks):
            name = f"benchmark {get(benchmark).name}" + (
                f" (first {settings.limit})" if settings.limit is not None else ""
            )
            evaluation |= self._once(name, partial(_benchmark, benchmark, settings.limit))
        if evaluation:
            alone = config.inference.method == "none"
            evaluation |= {} if alone else mechanisms
            evaluation |= agents | code_inputs(provenance.EVALUATING if alone else provenance.ANSWERING_TOGETHER)
            evaluation |= package_inputs((*provenance.ALWAYS, *engines, *(provenance.HARNESS if alone else ())))
        return TrialInputs(training, evaluation)

    def _once(self, name: str, read: Callable[[], Mapping[str, str]]) -> dict[str, Mapping[str, str]]:
        if name not in self._read:
            self._read[name] = read()
        return {name: self._read[name]}


def inputs_of_trials(trials: Sequence[PlannedTrial]) -> dict[str, TrialInputs]:
    """Trial hash -> its inputs as they are now; raises MissingInputError, see `InputReader.of`."""
    reader, found = InputReader(), dict[str, TrialInputs]()
    for trial in trials:  # a trial comes after the one that it matches
        found[trial.hash] = reader.of(trial.config, found[trial.dependency] if trial.dependency else None)
    return found


def _wording(name: str) -> dict[str, str]:
    return wording(STYLES.get(name), STYLES.plugin(name))


def _questions(source: str, train: int, validation: int) -> dict[str, str]:
    training, held_out = question_source(source).load(train, validation)
    rows = [(one.id, [one.text, one.answer, one.steps]) for one in (*training, *held_out)]
    return row_parts(rows, [len(training), len(held_out)])


def _benchmark(name: str, limit: int | None) -> dict[str, str]:
    benchmark = get(name)
    rows = [(row.id, [row.question, row.gold, row.problem]) for row in benchmark.load()[:limit]]
    return row_parts(rows, benchmark.stated)


def _model(name: str) -> dict[str, str]:
    """Files, fingerprint or revision of a model; nothing for one that has not been downloaded."""
    name = model_source(name)
    path = Path(name).expanduser()
    if path.is_dir():
        return model_files(path)
    if path.suffix == ".gguf":
        return model_files(path.parent, (glob.escape(path.name),))
    if name in MODELS:
        plugin = MODELS.plugin(name)
        sources = provenance.plugin_hashes(plugin) if plugin else {}
        return {"fingerprint": MODELS.get(name).fingerprint()} | sources
    revision = hub_revision(name)
    return {"revision": revision} if revision else {}


def noted_inputs(folder: Path) -> str | None:
    """Name of the inputs that a trial notes, in its result where its configuration is damaged; None without one."""
    for name in ("config.json", RESULT):
        try:
            noted = parse_json((folder / name).read_bytes())["inputs"]
        except (OSError, ValueError, KeyError, TypeError):  # not there, or damaged
            continue
        if isinstance(noted, str) and _HASH.fullmatch(noted):
            return noted
    return None


def note_inputs(inputs: TrialInputs, artifacts: Artifacts) -> str:
    """Keeps a trial's inputs as an artifact and returns its name."""
    return artifacts.get(inputs.key, lambda folder: None).name


def changes_since(folder: Path, root: Path, now: TrialInputs) -> Changes:
    """What changed since the trial in a folder ran; `root`: of the artifacts of its study."""
    return changes_from(noted_inputs(folder), root, now)


def changes_from(name: str | None, root: Path, now: TrialInputs) -> Changes:
    """What changed since the inputs of a name, which are noted among the artifacts in `root`."""
    if name == now.hash:
        return Changes((), ())
    earlier = read_inputs(root, name)
    return UNNOTED if earlier is None else changes(earlier, now)


def settle(folder: Path, now: TrialInputs, artifacts: Artifacts) -> str:
    """Keeps of a trial's folder what its inputs would make again, and says what changed; empty where nothing did.

    Where training depends on what changed, the folder moves to `SUPERSEDED`, and one that these very inputs made
    comes back from there. Else the changed benchmarks' answers are removed. Raises StoreError.
    """
    if not (folder / "config.json").exists():
        return ""
    changed = changes_since(folder, artifacts.root, now)
    if not changed:
        if noted_inputs(folder) == now.hash:
            note_inputs(now, artifacts)  # where the earlier note is damaged or gone
        return ""
    if changed.training:
        aside = artifacts.root.parent / SUPERSEDED
        with explained(aside):
            aside.mkdir(parents=True, exist_ok=True)
            older = aside / f"{folder.name}-{noted_inputs(folder) or 'unknown'}"
            remove(older)
            folder.rename(older)
            same = aside / f"{folder.name}-{now.hash}"
            if same.exists():
                same.rename(folder)
            sync(folder.parent)
        return f"{changed}; {'taken up again from' if folder.exists() else 'run again, the earlier one is in'} {aside}"
    for name in (RESULT, MANIFEST):
        remove(folder / name)
    for path in _stale_answers(folder, read_inputs(artifacts.root, noted_inputs(folder)), now):
        remove(path)
    return f"{changed}; evaluated again"


def _stale_answers(folder: Path, earlier: TrialInputs | None, now: TrialInputs) -> Iterator[Path]:
    """Files and folders of answers that what changed decides: one benchmark's, or all."""
    then = {} if earlier is None else earlier.evaluation
    names = [name for name in {**then, **now.evaluation} if then.get(name) != now.evaluation.get(name)]
    if all(name.startswith("benchmark ") for name in names):
        for name in names:
            stem = name.split(" ")[1].replace(":", ".")
            yield from folder.glob(f"eval/*/{stem}.*jsonl")
            yield from folder.glob(f"eval/*/.{stem}.*")
            yield from folder.glob(f"eval/*/lm_eval/{stem}")
    else:
        yield folder / "eval"
    yield folder / "inference.jsonl"
    yield folder / ".inference.jsonl.sha256"
