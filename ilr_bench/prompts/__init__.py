"""Prompt styles, by name."""

from ilr_bench.core.registry import Registry
from ilr_bench.prompts.style import Kind, PromptStyle, TaskFormats, style_of, task_formats

STYLES: Registry[PromptStyle] = Registry(
    "prompt style",
    modules=(
        "ilr_bench.prompts.micro",
        "ilr_bench.prompts.chat",
        "ilr_bench.prompts.fewshot",
        "ilr_bench.prompts.short",
    ),
    group="ilr_bench.prompts",
    adapt=style_of,
)

__all__ = ["STYLES", "Kind", "PromptStyle", "TaskFormats", "task_formats"]
