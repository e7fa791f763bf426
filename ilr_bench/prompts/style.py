"""How a prompt style words the stages of Idea3.

A style makes the text of one user turn; the agent's own chat template (or none, for base models) and its
own tokenizer make tokens of it. Text crosses between agents, tokens never do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, Protocol, get_args, runtime_checkable

from ilr_bench.core.config import content_hash
from ilr_bench.core.errors import ConfigurationError
from ilr_bench.storage.provenance import plugin_hashes

PARTS = (
    "name", "uses_chat_template", "solve", "analyse", "fuse", "rank", "parse_ranking", "extract_answer", "stop_strings",
)  # fmt: skip
"""What a prompt style has."""
Kind = Literal["answer", "choice", "code", "function"]
"""What a benchmark asks for; `function` is the micro models' short code, the others as in `tasks.types.Benchmark`."""


class Mode(StrEnum):
    """How an agent treats its peers on one question."""

    COOPERATE = "cooperate"
    COMPETE = "compete"


class PromptStyle(Protocol):
    """Wordings of one prompt style. Peers come in the order of the agents; own text never among them."""

    name: str
    uses_chat_template: bool
    """False where the text goes to the model as it is, to be continued."""

    def solve(self, question: str) -> str:
        """Idea Sharing, and the prompt of training and evaluation without peers: the question alone."""
        ...

    def analyse(self, question: str, own_idea: str, peer_ideas: Sequence[str], mode: Mode) -> str:
        """Idea Analysis: what is good and bad in each peer's idea; wording depends on the mode."""
        ...

    def fuse(
        self,
        question: str,
        own_idea: str,
        peer_ideas: Sequence[str],
        own_analysis: str,
        peer_analyses: Sequence[str],
        mode: Mode,
    ) -> str:
        """Idea Fusion: an improved answer from ideas and analyses."""
        ...

    def rank(self, questions: Sequence[str]) -> str:
        """Self-ranking: order these questions from easy to hard."""
        ...

    def parse_ranking(self, text: str, size: int) -> tuple[int, ...] | None:
        """Indices of the questions from easiest to hardest (0-based), or None if no permutation of `size`."""
        ...

    def extract_answer(self, completion: str) -> str | None:
        """The final answer in a sharing or fusion turn, or None where there is none (or two different ones)."""
        ...

    def stop_strings(self) -> tuple[str, ...]:
        """Texts at which a turn ends, besides the tokenizer's end token (for base models)."""
        ...


def style_of(name: str, found: Any) -> PromptStyle:
    """The style that an outside name stands for, one of a class made; raises ConfigurationError where it is none."""
    style = found() if isinstance(found, type) else found
    lacking = [part for part in PARTS if not hasattr(style, part)]
    if lacking:
        raise ConfigurationError(f"{name} is no prompt style: it lacks {', '.join(lacking)} (docs/plug-ins.md)")
    made: PromptStyle = style
    return made


@runtime_checkable
class TaskFormats(Protocol):
    """A style's prompts on benchmarks, where answers are of several kinds."""

    def solve_as(self, question: str, kind: Kind) -> str:
        """The question, and what kind of answer is wanted in which form."""
        ...

    def extract_as(self, completion: str, kind: Kind) -> str | None:
        """The final answer (the letter of an option for `choice`), or None where there is none or two different ones.

        Not asked for code, whose programs `ilr_bench.grading.code` finds.
        """
        ...

    def stops_as(self, kind: Kind) -> tuple[str, ...]:
        """Texts at which a completion ends, besides the tokenizer's end token."""
        ...


@dataclass(frozen=True)
class SingleFormat:
    """The formats of a style that asks every question alike."""

    style: PromptStyle

    def solve_as(self, question: str, kind: Kind) -> str:
        """As in training."""
        return self.style.solve(question)

    def extract_as(self, completion: str, kind: Kind) -> str | None:
        """As in training."""
        return self.style.extract_answer(completion)

    def stops_as(self, kind: Kind) -> tuple[str, ...]:
        """As in training."""
        return self.style.stop_strings()


def task_formats(style: PromptStyle) -> TaskFormats:
    """A style's own formats for the kinds of answers where it has any, else its only one."""
    return style if isinstance(style, TaskFormats) else SingleFormat(style)


def wording(style: PromptStyle, plugin: str | None = None) -> dict[str, str]:
    """Part of a style -> content hash: the texts that it makes of examples, and the modules that read answers.

    Texts tell what comes from files and settings, modules what no example shows. `plugin`: the module that another
    package names as the style's.
    """
    question, own, peers = "Ann has 3 figs.\nHow many?", "3 \\boxed{3}", ["4", "so 3\n= 3"]
    forms = task_formats(style)
    texts: dict[str, list[object]] = {
        "sharing": [style.uses_chat_template, style.solve(question), style.stop_strings()],
        "analysis": [style.analyse(question, own, peers, mode) for mode in Mode],
        "fusion": [style.fuse(question, own, peers, "mine", ["his", "hers"], mode) for mode in Mode],
        "ranking": [style.rank([question, "1+1"])],
        "benchmarks": [[forms.solve_as(question, kind), forms.stops_as(kind)] for kind in get_args(Kind)],
    }
    modules = dict.fromkeys([type(style).__module__, *([plugin] if plugin else [])])
    sources = {name: found for module in modules for name, found in plugin_hashes(module).items()}
    return {part: content_hash(made) for part, made in texts.items()} | sources
