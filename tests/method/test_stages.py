"""What is heard in the stages of a discussion, and which stages a configuration names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ilr_bench.core.config import RunConfig, change
from ilr_bench.core.errors import ConfigurationError
from ilr_bench.core.profiles import profile
from ilr_bench.method.stages import STAGES, Heard, analysis, fusion, remark_stages, sharing
from ilr_bench.prompts import STYLES
from ilr_bench.prompts.baselines import baseline_prompts
from ilr_bench.prompts.style import Mode


def heard(style: str, own: tuple[str, ...], peer: tuple[str, ...]) -> Heard:
    return Heard("1+1", STYLES.get(style), Mode.COMPETE, "peers", "mine", ["theirs"], own, [peer])


@pytest.mark.parametrize("style", ["micro", "chat", "fewshot"])
def test_fusion_hears_every_remark_of_every_agent(style: str) -> None:
    text = fusion(heard(style, ("own look", "own check"), ("peer look", "peer check")))
    assert all(said in text for said in ("own look", "own check", "peer look", "peer check"))
    assert text.index("own look") < text.index("own check") < text.index("peer look") < text.index("peer check")
    text = " ".join(text.split())
    assert text.count("own look; own check") == text.count("peer look; peer check") == 1


@pytest.mark.parametrize("style", ["micro", "chat"])
def test_with_one_remark_the_stages_are_the_styles_own(style: str) -> None:
    one, made = heard(style, ("own look",), ("peer look",)), STYLES.get(style)
    assert sharing(one) == made.solve("1+1")
    assert analysis(one) == made.analyse("1+1", "mine", ["theirs"], Mode.COMPETE)
    assert fusion(one) == made.fuse("1+1", "mine", ["theirs"], "own look", ["peer look"], Mode.COMPETE)


@pytest.mark.parametrize("style", ["micro", "chat"])
def test_who_hears_itself_reflects_on_its_own_idea_and_improves_it(style: str) -> None:
    one, made = replace(heard(style, ("own look",), ("peer look",)), peer_context="itself"), STYLES.get(style)
    assert analysis(one) == baseline_prompts(made).reflect("1+1", "mine")
    assert fusion(one) == baseline_prompts(made).improve("1+1", "mine", "own look")


def test_before_anyone_speaks_peers_will_be_heard_and_nothing_was_said() -> None:
    first = Heard("1+1", STYLES.get("micro"), Mode.COOPERATE)
    assert (first.peer_context, first.own_idea) == ("peers", "")
    assert not [*first.peer_ideas, *first.own_remarks, *first.peer_remarks]


def test_the_papers_stages_have_names() -> None:
    assert STAGES.usable() == {"sharing": sharing, "analysis": analysis, "fusion": fusion}


MINE = """
from dataclasses import dataclass
@dataclass(frozen=True)
class Doubt:
    times: int = 1
    loud: bool = False
    def __call__(self, heard): return "doubt"
@dataclass(frozen=True)
class Praise:
    times: int = 1
    kind: str = "short"
    def __call__(self, heard): return "praise"
"""


def staged(folder: Path, *names: str, **options: str) -> RunConfig:
    """With stages of this file between the papers' first and last."""
    (folder / "mine.py").write_text(MINE)
    between = "+".join(name if name == "analysis" else f"{folder}/mine.py:{name}" for name in names)
    stages = {"discussion.stages": f"sharing+{between}+fusion"}
    return change(profile("micro"), stages | {f"discussion.options.{key}": value for key, value in options.items()})


def test_stages_between_come_in_order_under_their_labels_each_with_the_options_it_has(tmp_path: Path) -> None:
    assert remark_stages(profile("micro")) == {"analysis": analysis}
    found = remark_stages(staged(tmp_path, "Doubt", "analysis", "Praise", times="3", kind="long"))
    assert list(found) == ["Doubt", "analysis", "Praise"]
    assert repr(found["Doubt"]) == "Doubt(times=3, loud=False)"
    assert repr(found["Praise"]) == "Praise(times=3, kind='long')"
    assert found["analysis"] is analysis


@pytest.mark.parametrize(
    ("names", "options", "said"),
    [
        (
            ("Doubt", "Praise"),
            {"tims": "1"},
            "^unknown setting discussion.options.tims; did you mean discussion.options.times",
        ),
        (
            ("Praise", "Doubt"),
            {"kin": "1"},
            "^unknown setting discussion.options.kin; did you mean discussion.options.kind",
        ),
        (("analysis",), {"times": "1"}, "^discussion.options.times: no stage of this discussion has settings"),
        (("Dout",), {}, "^discussion.stages: stage .*defines no Dout; did you mean Doubt"),
    ],
)
def test_a_stage_or_an_option_that_is_not_there_is_named(
    tmp_path: Path, names: tuple[str, ...], options: dict[str, str], said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said.replace(".", r"\.").replace(r"\.*", ".*")):
        remark_stages(staged(tmp_path, *names, **options))
