"""Prompt styles, by name."""

from ilr_bench.prompts.base import Kind, PromptStyle, SoloForms, solo_forms
from ilr_bench.registry import Registry

STYLES: Registry[PromptStyle] = Registry(
    "prompt style",
    modules=("ilr_bench.prompts.micro", "ilr_bench.prompts.chat", "ilr_bench.prompts.fewshot"),
    group="ilr_bench.prompts",
)

__all__ = ["STYLES", "Kind", "PromptStyle", "SoloForms", "solo_forms"]
