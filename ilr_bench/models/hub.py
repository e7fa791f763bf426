"""The paper's models, which only their hub has; nothing here connects to it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class HubModel:
    """A model under its hub name, which is its name in a configuration too."""

    name: str
    summary: str
    licence: str


HUB_MODELS = (
    HubModel(
        "meta-llama/Llama-3.1-8B-Instruct",
        "Llama 3.1, 8.0B (the paper's Group1 and Group2)",
        "Llama 3.1 Community License (accepted on the hub)",
    ),
    HubModel("Qwen/Qwen2.5-7B-Instruct", "Qwen2.5, 7.6B (the paper's Group1 and Group3)", "Apache-2.0"),
    HubModel("Qwen/Qwen2.5-14B-Instruct", "Qwen2.5, 14.8B (the paper's Group2 and Group3)", "Apache-2.0"),
)


def is_downloaded(name: str) -> bool:
    """Whether the hub's own cache on this machine holds the model's configuration."""
    # Takes a moment to import, and most commands need none of it.
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(name, "config.json"), str)
