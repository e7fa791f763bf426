"""What is heard in the stages of a discussion."""

from __future__ import annotations

import pytest

from ilr_bench.method.stages import Heard, analysis, fusion, sharing
from ilr_bench.prompts import STYLES
from ilr_bench.prompts.style import Mode


def heard(style: str, own: tuple[str, ...], peer: tuple[str, ...]) -> Heard:
    return Heard("1+1", STYLES.get(style), Mode.COMPETE, "peers", "mine", ["theirs"], own, [peer])


@pytest.mark.parametrize("style", ["micro", "chat", "fewshot"])
def test_fusion_hears_every_remark_of_every_agent(style: str) -> None:
    text = fusion(heard(style, ("own look", "own check"), ("peer look", "peer check")))
    assert all(said in text for said in ("own look", "own check", "peer look", "peer check"))
    assert text.index("own look") < text.index("own check") < text.index("peer look") < text.index("peer check")


@pytest.mark.parametrize("style", ["micro", "chat"])
def test_with_one_remark_the_stages_are_the_styles_own(style: str) -> None:
    one, made = heard(style, ("own look",), ("peer look",)), STYLES.get(style)
    assert sharing(one) == made.solve("1+1")
    assert analysis(one) == made.analyse("1+1", "mine", ["theirs"], Mode.COMPETE)
    assert fusion(one) == made.fuse("1+1", "mine", ["theirs"], "own look", ["peer look"], Mode.COMPETE)
