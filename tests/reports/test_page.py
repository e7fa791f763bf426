"""The page of a study: whole, small, safe against what models write, and in words that need no paper."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from synthetic_study import write_synthetic_study
from synthetic_training import HOSTILE, add_training

import ablations
from ilr_bench.core.profiles import MICRO
from ilr_bench.storage.records import read_study, write_study
from ilr_bench.tasks import benchmarks
from reports import Settings, get
from reports.escaping import visible
from reports.frames import StudyFrames, load
from reports.page import dialogues, figures, page
from reports.page.descriptions import MICRO_MODELS, MICRO_TESTS, describe
from reports.page.facts import settings, variant_configs
from reports.page.findings import findings
from reports.page.introduction import asked, introduction, title
from reports.tables.report import TableReport
from reports.tables.writer import Table


class Outline(HTMLParser):
    """Elements by name, their ids, and what they point at."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        for name, value in attrs:
            if name == "id" and value:
                self.ids.append(value)
            if name in ("src", "href", "srcset", "action") and value:
                self.links.append(value)


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> StudyFrames:
    folder = write_synthetic_study(
        tmp_path_factory.mktemp("page"), ("base", "grpo", "ilr"), seeds=(0, 1), questions=8, steps=6,
        benchmarks=("micro_short_chain", "micro_ood"), unfinished=[("grpo", 1)],
    )  # fmt: skip
    return load(add_training(folder, HOSTILE, per_step=5))


@pytest.fixture(scope="module")
def text(frames: StudyFrames, tmp_path_factory: pytest.TempPathFactory) -> str:
    return get("page").write(frames, tmp_path_factory.mktemp("out"), Settings()).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def outline(text: str) -> Outline:
    return Outline(text)


def test_page_is_one_small_file_that_points_nowhere_else(text: str, outline: Outline) -> None:
    assert len(text.encode()) < 2_000_000
    assert all(link.startswith("#") or link == "data:," for link in outline.links)
    assert not re.search(r"@import|url\((?!#)", text)


def test_page_has_every_part_and_every_report_that_the_study_allows(outline: Outline) -> None:
    parts = {"summary", "tables", "figures", "dialogues", "configuration", "runs"}
    assert parts <= set(outline.ids)
    assert {"table1", "table2", "training_curves", "figure4", "ranking", "mode_shares"} <= set(outline.ids)
    assert "figure3" not in outline.ids
    assert outline.elements.count("svg") == outline.elements.count("figure") > 4


def test_page_says_what_is_left_out_and_what_is_unfinished(text: str) -> None:
    assert re.search(r"Reports left out.*fewer than two cooperation ratios", text, re.DOTALL)
    assert "grpo, A+B, seed 1" in text


def test_names_inside_drawings_do_not_collide(outline: Outline, text: str) -> None:
    clips = [name for name in outline.ids if re.fullmatch(r"\w+-p[0-9a-f]{10}", name)]
    assert len(clips) == len(set(clips)) > 0
    assert set(re.findall(r"url\(#([^)]+)\)", text)) <= set(outline.ids)


def test_drawings_take_the_colours_of_the_page(text: str) -> None:
    drawn = "".join(re.findall(r"<svg.*?</svg>", text, re.DOTALL)).lower()
    assert "#ffffff" not in drawn
    assert "#1b1f24" not in drawn
    assert "var(--ink)" in drawn
    assert "var(--paper)" in drawn


def test_drawings_keep_their_words_and_lose_only_digits_that_nobody_sees() -> None:
    svg = '<svg x="1"><path d="M 1.23456 2.5"/><text>0.005</text><metadata>x</metadata></svg>'
    drawn = figures.themed(svg, "name", 'a "b" <c>')
    assert '<path d="M 1.23 2.5"/><text>0.005</text></svg>' in drawn
    assert 'aria-label="a &#34;b&#34; &lt;c&gt;"' in drawn


def test_what_models_write_cannot_leave_its_place(text: str, outline: Outline) -> None:
    assert outline.elements.count("script") == 3
    assert "img" not in outline.elements
    assert "window.broken" in text  # it is there, as data
    assert "onerror='window.broken" not in text.replace("\\u003cimg src=x onerror='window.broken", "")
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])
    assert data[0]["turns"][0]["text"] == visible(HOSTILE) != HOSTILE


def test_embedded_data_is_plain_ascii_that_ends_no_script() -> None:
    data = ["</script>", "<!--", "\u2028\u2029", "]]>", "&lt;", "\ud7ff\U0001f600"]
    text = page.embedded(data)
    assert text.isascii()
    assert not re.search("[<>&]", text)
    assert json.loads(text) == data


def test_hostile_names_in_settings_and_commands_are_escaped(tmp_path: Path) -> None:
    folder = write_synthetic_study(tmp_path, ("base",), seeds=(0,), questions=4, benchmarks=("micro_ood",))
    study = read_study(folder)
    named = (replace(study.trials[0], variant="base <b>style=1</b>"), *study.trials[1:])
    write_study(folder, replace(study, command="python -m x --out '<script>alert(1)</script>'", trials=named))
    made = page.render(load(folder), Settings())
    assert "<b>" not in made
    assert "<script>alert" not in made
    assert "base &lt;b&gt;style=1&lt;/b&gt;" in made


def test_same_records_give_the_same_page(frames: StudyFrames, text: str) -> None:
    assert page.render(load(frames.folder), Settings()) == text


def test_dialogues_stay_within_their_budget_and_leave_some_of_every_variant(frames: StudyFrames) -> None:
    for budget in (0, 3_000, 20_000, 10**6):
        chosen = dialogues.select(frames, budget)
        assert sum(len(json.dumps(item)) for item in chosen.dialogues) <= budget
        assert chosen.recorded == 2 * 6 * 5  # grpo and ilr, their first seed
    assert {item["variant"] for item in dialogues.select(frames, 20_000).dialogues} == {"grpo", "ilr"}


def test_dialogues_come_from_first_middle_and_last_step_those_that_teach_first(frames: StudyFrames) -> None:
    chosen = dialogues.select(frames, 10**6).dialogues
    mine = [item for item in chosen if item["variant"] == "ilr"]
    assert [item["step"] for item in mine] == [1] * 4 + [3] * 4 + [6] * 4
    assert {item["seed"] for item in mine} == {0}
    # The first question of every step teaches nothing; four better ones are there.
    assert not any(item["question"].startswith("What is 0?") for item in mine)


def test_long_turns_are_cut_and_say_so(tmp_path: Path) -> None:
    folder = write_synthetic_study(tmp_path, ("ilr",), seeds=(0,), questions=4, benchmarks=("micro_ood",), steps=1)
    chosen = dialogues.select(load(add_training(folder, "x" * 9_000, per_step=1)), 10**6)
    assert chosen.dialogues[0]["turns"][0]["text"] == "x" * 4_000 + " [cut: 5,000 characters]"


def test_settings_that_differ_are_shown_against_ilr(frames: StudyFrames) -> None:
    found = settings(frames)
    assert (found.variants, found.reference) == (("base", "grpo", "ilr"), "ilr")
    rows = {row.key: row for row in found.different}
    assert rows["calibration.kind"].values == ("none", "none", "perception")
    assert rows["calibration.kind"].differs == (True, True, False)
    assert rows["training.steps"].differs == (True, False, False)
    assert ("sampling.temperature", "1.0") in found.common
    assert not {row.key for row in found.different} & {key for key, _ in found.common}


def test_groups_of_one_variant_are_told_apart(tmp_path: Path) -> None:
    folder = write_synthetic_study(
        tmp_path, ("ilr", "twins"), seeds=(0,), questions=4, benchmarks=("micro_ood",), steps=1
    )
    assert list(variant_configs(load(folder))) == ["ilr", "twins"]


@pytest.mark.parametrize("name", ablations.names())
def test_every_variant_has_a_description_of_its_own(name: str) -> None:
    words = describe(ablations.get(name)(MICRO))
    assert words.endswith(".")
    assert "{" not in words
    alike = {"pure_cooperative": "cooperation_1.0", "pure_competitive": "cooperation_0.0"}
    others = {describe(ablations.get(other)(MICRO)) for other in ("base", "grpo", "ilr") if other != name}
    assert name in alike or words not in others


def test_introduction_counts_models_steps_seeds_and_what_is_missing(frames: StudyFrames) -> None:
    words = " ".join(introduction(frames))
    for part in ("The models are A and B.", MICRO_MODELS, "16 questions each", "2 seeds", "alone", "1 run, named"):
        assert part in words


def test_micro_tests_are_described_as_the_benchmarks_themselves_do(frames: StudyFrames) -> None:
    assert {name: benchmarks.get(name).summary for name in MICRO_TESTS} == MICRO_TESTS
    assert asked(frames) == [
        ("short chain", "8 questions: two or three sums and differences in a row"),
        ("ood", "8 questions: longer chains, longer stories, larger numbers than in training"),
    ]


def test_study_without_training_asks_another_question(tmp_path: Path) -> None:
    folder = write_synthetic_study(tmp_path, ("infer_single", "infer_idea3"), seeds=(0,), questions=4)
    found = load(folder)
    assert "while answering" in title(found)
    assert "while they are trained" not in " ".join(introduction(found))
    assert [name for name, _ in asked(found)] == ["short chain", "word problem", "two step", "long chain", "ood"]


def _table(folder: Path, variants: tuple[str, ...], name: str = "table2", **more: Any) -> Table:
    report = get(name)
    assert isinstance(report, TableReport)
    return report.table(load(write_synthetic_study(folder, variants, **more)), Settings())


def test_findings_claim_what_the_stars_say_and_no_more(tmp_path: Path) -> None:
    gains = {"base": 0.0, "grpo_matched": 0.3, "ilr": 0.3}
    table = _table(tmp_path, ("base", "grpo_matched", "ilr"), questions=60, gains=gains)
    discussing, training = findings([table])
    assert discussing.startswith("Does talking help? Table 2 compares ilr with grpo_matched")
    assert "no more than chance could bring in 6 comparisons, so nothing is claimed" in discussing
    size = next(
        item for item in table.facts["detectable"] if (item["column"], item["reference"]) == ("Avg", "grpo_matched")
    )
    assert f"one of {100 * size['family']:.1f} points would have been found in four cases of five" in discussing
    assert training.endswith("More than chance: a gain for A and B.")
    ilr = next(line for line in table.main.lines if (line.section, line.label) == ("B", "ilr"))
    assert f"B {ilr.values[-2].text.split(' p')[0]} (p<.001)" in training


def test_findings_call_a_loss_a_loss(tmp_path: Path) -> None:
    gains = {"base": 0.4, "grpo_matched": 0.4, "ilr": 0.0}
    table = _table(tmp_path, ("base", "grpo_matched", "ilr"), questions=60, gains=gains)
    discussing = findings([table])[0]
    assert discussing.endswith("More than chance: a loss for A and B.")


def test_findings_of_one_seed_are_about_these_models(tmp_path: Path) -> None:
    [training] = findings([_table(tmp_path, ("base", "ilr"), questions=1, seeds=(0,), benchmarks=("micro_ood",))])
    assert "about these very models" in training


def test_findings_of_untrained_models_compare_with_single_answers(tmp_path: Path) -> None:
    table = _table(tmp_path, ("infer_single", "infer_debate"), "table4", questions=8, seeds=(0,))
    [sentence] = findings([table])
    assert sentence.startswith("Does a debate (infer_debate) help while answering? Table 4 compares it")
    assert "A+B, joint" in sentence
    assert "training others" not in sentence


def test_study_without_the_compared_variants_has_no_finding(tmp_path: Path) -> None:
    assert findings([_table(tmp_path, ("grpo", "ppo"), "table1", questions=4, seeds=(0,))]) == []


def test_study_of_untrained_models_has_a_page_without_dialogues(tmp_path: Path) -> None:
    folder = write_synthetic_study(tmp_path, ("base",), seeds=(0,), questions=4, benchmarks=("micro_ood",))
    made = page.render(load(folder), Settings())
    assert "dialogues" not in Outline(made).ids
    assert json.loads(re.search(r'id="data">(.*?)</script>', made)[1]) == []


def test_study_of_untrained_models_that_answer_together_has_a_page(tmp_path: Path) -> None:
    folder = write_synthetic_study(
        tmp_path, ("infer_single", "infer_debate"), seeds=(0,), questions=4, benchmarks=("micro_ood",)
    )
    outline = Outline(page.render(load(folder), Settings()))
    assert "table4" in outline.ids
    assert "svg" not in outline.elements
