"""Which libraries each extra of the package installs, and the one line that names the extra where one is missing.

`pip install ilr-bench` alone reads records. pyproject.toml has the versions.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from ilr_bench.core.errors import MissingInputError

LIBRARIES = {
    "eval": (
        "torch", "transformers", "tokenizers", "accelerate", "peft", "datasets", "pyarrow", "gguf", "huggingface_hub",
        "httpx", "lm_eval", "math_verify", "latex2sympy2_extended", "sympy", "yaml",
    ),
    "train": ("trl", "optuna"),
    "code": ("evalplus",),
    "vllm": ("vllm",),
    "tinker": ("tinker",),
    "ray": ("ray",),
    "slurm": ("submitit",),
    "watch": ("tensorboard",),
    "trackers": ("trackio", "wandb"),
}  # fmt: skip
"""Extra -> the modules it brings, under the names they are imported by."""
INCLUDED = {"train": ("eval",), "code": ("eval",), "vllm": ("train",), "tinker": ("train",), "trackers": ("watch",)}
"""Extra -> others that it brings along."""


def require(extra: str, what: str) -> None:
    """Raises MissingInputError where a library of an extra is not installed; `what` needs it, such as `training`."""
    missing = [name for name in _libraries(extra) if not is_installed(name)]
    if missing:
        shown = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        raise MissingInputError(f"{what} needs {shown}, not installed here: {install(extra)}")


def install(extra: str) -> str:
    """The command that installs an extra."""
    return f"python -m pip install 'ilr-bench[{extra}]'"


def missing_extra(error: ModuleNotFoundError) -> MissingInputError | None:
    """An import that failed, as an error that a user can mend; None where the module belongs to no extra."""
    name = (error.name or "").partition(".")[0]
    found = next((extra for extra, modules in LIBRARIES.items() if name in modules), None)
    return None if found is None else MissingInputError(f"{name} is not installed here: {install(found)}")


def is_installed(module: str) -> bool:
    """Whether a module of the top level can be found; nothing is imported."""
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # forbidden, or half taken out
        return False


def _libraries(extra: str) -> Iterator[str]:
    for included in INCLUDED.get(extra, ()):
        yield from _libraries(included)
    yield from LIBRARIES[extra]
