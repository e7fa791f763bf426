"""What an agent is asked in each stage of Idea3, and in stages that others put between sharing and fusion.

A dialogue begins with the first ideas (`sharing`) and ends with the answers that are made of all that was said
(`fusion`). Every stage between is a remark: one turn of each agent in each dialogue, on the ideas and the remarks of
earlier stages. The paper has one, `analysis`. Fusion hears all remarks of an agent where it hears the analysis.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ilr_bench.core.config import RunConfig
from ilr_bench.core.errors import ConfigurationError
from ilr_bench.core.plugins import short_label
from ilr_bench.core.registry import Mechanisms, option_names
from ilr_bench.core.settings import unknown
from ilr_bench.prompts.baselines import baseline_prompts
from ilr_bench.prompts.style import Mode, PromptStyle

BETWEEN_REMARKS = ";\n"
"""The style `micro` reads the parts between semicolons one by one."""


@dataclass(frozen=True)
class Heard:
    """What one agent has heard in one dialogue when its turn comes. Peers are in the order of the agents."""

    question: str
    style: PromptStyle
    """The agent's own, which words the stages of Idea3."""
    mode: Mode
    peer_context: Literal["peers", "itself"] = "peers"
    """`itself`: nothing of a peer is heard, and the agent's own idea stands in its place (self-reflection)."""
    own_idea: str = ""
    peer_ideas: Sequence[str] = ()
    own_remarks: Sequence[str] = ()
    """By stage."""
    peer_remarks: Sequence[Sequence[str]] = ()
    """By peer, then by stage."""


StagePrompt = Callable[[Heard], str]
"""The text of an agent's user turn."""
STAGES: Mechanisms[StagePrompt] = Mechanisms("stage", "discussion.stages", group="ilr_bench.stages")
"""By the names in `discussion.stages`."""


def sharing(heard: Heard) -> str:
    """The question alone, as in standalone evaluation."""
    return heard.style.solve(heard.question)


def analysis(heard: Heard) -> str:
    """What is good and bad in each peer's idea, or in the own one."""
    if heard.peer_context == "itself":
        return baseline_prompts(heard.style).reflect(heard.question, heard.own_idea)
    return heard.style.analyse(heard.question, heard.own_idea, heard.peer_ideas, heard.mode)


def fusion(heard: Heard) -> str:
    """An improved answer from ideas and remarks; several remarks of one agent are heard as one text."""
    own = BETWEEN_REMARKS.join(heard.own_remarks)
    if heard.peer_context == "itself":
        return baseline_prompts(heard.style).improve(heard.question, heard.own_idea, own)
    peers = [BETWEEN_REMARKS.join(remarks) for remarks in heard.peer_remarks]
    return heard.style.fuse(heard.question, heard.own_idea, heard.peer_ideas, own, peers, heard.mode)


STAGES.register("sharing", sharing)
STAGES.register("analysis", analysis)
STAGES.register("fusion", fusion)


def remark_stages(config: RunConfig) -> Mapping[str, StagePrompt]:
    """Label -> prompt of the stages between sharing and fusion.

    `discussion.options` are shared by all of them. Raises ConfigurationError for an unknown stage, for one that cannot
    be loaded, and for an option that no stage has.
    """
    options = config.discussion.options
    found: dict[str, StagePrompt] = {}
    known: list[str] = []
    for name in config.discussion.stages[1:-1]:
        try:
            entry = STAGES.get(name)
        except ConfigurationError as error:
            raise ConfigurationError(f"discussion.stages: {error}") from error
        names = option_names(entry)
        known += names
        found[short_label(name)] = STAGES.make(entry, {key: options[key] for key in names if key in options}, {})
    for key in options:
        if key not in known:
            prefix = "discussion.options."
            if known:
                raise unknown(prefix + key, [prefix + name for name in known])
            raise ConfigurationError(f"{prefix}{key}: no stage of this discussion has settings of its own")
    return found
