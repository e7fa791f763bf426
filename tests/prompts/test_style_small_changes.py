"""What a style's key is made of: every text that it can make, and the modules that read answers."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ilr_bench.core.config import content_hash
from ilr_bench.prompts.style import Mode, SingleFormat, wording
from ilr_bench.storage.provenance import plugin_hashes

QUESTION, OWN, PEERS = "Ann has 3 figs.\nHow many?", "3 \\boxed{3}", ["4", "so 3\n= 3"]


class Echo:
    """A style whose texts tell what they were asked for."""

    name = "echo"
    uses_chat_template = True

    def solve(self, question: str) -> str:
        return f"solve {question}"

    def analyse(self, question: str, own_idea: str, peer_ideas: Sequence[str], mode: Mode) -> str:
        return f"analyse {question} {own_idea} {list(peer_ideas)} {mode}"

    def fuse(
        self,
        question: str,
        own_idea: str,
        peer_ideas: Sequence[str],
        own_analysis: str,
        peer_analyses: Sequence[str],
        mode: Mode,
    ) -> str:
        return f"fuse {question} {own_idea} {list(peer_ideas)} {own_analysis} {list(peer_analyses)} {mode}"

    def rank(self, questions: Sequence[str]) -> str:
        return f"rank {list(questions)}"

    def parse_ranking(self, text: str, size: int) -> tuple[int, ...] | None:
        return None

    def extract_answer(self, completion: str) -> str | None:
        return completion.split()[-1]

    def stop_strings(self) -> tuple[str, ...]:
        return ("stop",)


def test_a_key_covers_every_text_of_a_style() -> None:
    found = wording(Echo())
    discussed = f"{QUESTION} {OWN} {PEERS}"
    expected = {
        "sharing": [True, f"solve {QUESTION}", ("stop",)],
        "analysis": [f"analyse {discussed} {mode}" for mode in ("cooperate", "compete")],
        "fusion": [f"fuse {discussed} mine ['his', 'hers'] {mode}" for mode in ("cooperate", "compete")],
        "ranking": [f"rank {[QUESTION, '1+1']}"],
        "benchmarks": [[f"solve {QUESTION}", ("stop",)]] * 4,
    }
    assert {part: found[part] for part in expected} == {part: content_hash(made) for part, made in expected.items()}


def test_a_key_covers_the_modules_of_the_style_and_of_the_package_that_offers_it() -> None:
    own = plugin_hashes(__name__)
    assert set(wording(Echo())) == {"sharing", "analysis", "fusion", "ranking", "benchmarks"} | set(own)
    both = wording(Echo(), plugin="hypothesis")
    assert set(plugin_hashes("hypothesis")) <= set(both)
    assert set(own) <= set(both)


@pytest.mark.parametrize("kind", ["answer", "choice", "code", "function"])
def test_a_style_with_one_format_reads_every_kind_of_answer_alike(kind: str) -> None:
    assert SingleFormat(Echo()).extract_as("so it is 7", kind) == "7"  # type: ignore[arg-type]


def test_modes_are_named_as_in_records() -> None:
    assert [mode.value for mode in Mode] == ["cooperate", "compete"]
