"""The page's viewer of answers: what is chosen, how much, and that nothing of it leaves its place."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from answer_logs import add_logs, rewrite_answers
from synthetic_study import write_synthetic_study
from synthetic_training import HOSTILE

from ilr_bench.core.errors import StoreError
from reports import Settings
from reports.frames import StudyFrames, load
from reports.page import answers, page

BENCHMARKS = ("micro_ood", "micro_code", "micro_short_chain")


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> StudyFrames:
    folder = write_synthetic_study(
        tmp_path_factory.mktemp("answers"), ("base", "grpo", "ilr"), seeds=(4, 2), questions=60, samples=2,
        benchmarks=BENCHMARKS,
    )  # fmt: skip
    return load(add_logs(folder))


def items(frames: StudyFrames, budget: int = 10**7) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = answers.select(frames, budget).data["items"]
    return found


def test_answers_are_those_of_the_first_run_and_stand_with_their_question(frames: StudyFrames) -> None:
    chosen = answers.select(frames, 10**7)
    rows = chosen.data["rows"]
    assert {row["seed"] for row in rows} == {2}
    assert [(row["agent"], row["variant"]) for row in rows] == [
        (agent, variant) for variant in ("base", "grpo", "ilr") for agent in ("A", "B")
    ]
    samples = frames.samples[(frames.samples["seed"] == 2) & (frames.samples["sample"] == 0)]
    known = {(row.variant, row.agent, row.question): row for row in samples.itertuples()}
    for item in chosen.data["items"]:
        assert item["question"] == f"What is {item['id']}?"
        assert len(item["answers"]) == 6
        for place, answer in item["answers"].items():
            row = known[rows[int(place)]["variant"], rows[int(place)]["agent"], item["id"]]
            assert (answer["text"], answer["verdict"], item["gold"]) == (row.completion, row.verdict, row.gold)


def test_who_was_right_is_there_for_every_question(frames: StudyFrames) -> None:
    data = answers.select(frames, 10**7).data
    assert [benchmark["name"] for benchmark in data["benchmarks"]] == ["short chain", "ood", "code"]
    samples = frames.samples[(frames.samples["seed"] == 2) & (frames.samples["sample"] == 0)]
    for benchmark, name in zip(data["benchmarks"], ("micro_short_chain", "micro_ood", "micro_code"), strict=True):
        for row, signs in zip(data["rows"], benchmark["right"], strict=True):
            mine = samples[
                (samples["variant"] == row["variant"]) & (samples["agent"] == row["agent"])
                & (samples["benchmark"] == name)
            ]  # fmt: skip
            assert signs == "".join(str(int(value)) for value in mine["correct"])


def test_a_variant_that_was_not_asked_a_benchmark_has_no_sign_there(tmp_path: Path) -> None:
    folder = write_synthetic_study(tmp_path, ("base", "ilr"), seeds=(0,), questions=3, benchmarks=("micro_ood", "sums"))
    for path in folder.glob("trials/ilr-*/eval/*/sums.jsonl"):
        path.unlink()
    data = answers.select(load(folder), 10**6).data
    sums = next(benchmark for benchmark in data["benchmarks"] if benchmark["name"] == "sums")
    assert [set(signs) == {"-"} for signs in sums["right"]] == [row["variant"] == "ilr" for row in data["rows"]]


def test_three_in_four_are_questions_on_which_variants_differ(frames: StudyFrames) -> None:
    data = answers.select(frames, 10**7).data
    for number in range(3):
        mine = [item for item in data["items"] if item["benchmark"] == number]
        assert len(mine) == answers.PER_BENCHMARK
        right = data["benchmarks"][number]["right"]
        agents = [row["agent"] for row in data["rows"]]

        def differs(item: dict[str, Any], right: list[str] = right, agents: list[str] = agents) -> bool:
            seen = {(agent, line[item["place"]]) for agent, line in zip(agents, right, strict=True)}
            return len(seen) > len(set(agents))

        assert sum(map(differs, mine)) == 30
        assert [item["place"] for item in mine] == sorted(item["place"] for item in mine)


@pytest.mark.parametrize("budget", [0, 2_000, 12_000, 40_000])
def test_a_small_budget_is_kept_and_leaves_some_of_every_benchmark(frames: StudyFrames, budget: int) -> None:
    chosen = answers.select(frames, budget)
    assert len(json.dumps(chosen.data)) <= max(budget, len(json.dumps(answers.NOTHING.data)))
    if budget > 10_000:
        counts = [sum(item["benchmark"] == number for item in chosen.data["items"]) for number in range(3)]
        assert 0 < min(counts) <= max(counts) <= min(counts) + 1
        assert (chosen.shown, chosen.asked) == (sum(counts), 180)
    if budget == 0:
        assert chosen == answers.NOTHING


def test_long_texts_are_cut_and_say_so(tmp_path: Path) -> None:
    folder = write_synthetic_study(tmp_path, ("ilr",), seeds=(0,), questions=2, benchmarks=("micro_ood",))
    found = items(load(rewrite_answers(add_logs(folder, lambda _: "q" * 2_500), "x" * 5_000)))
    assert found[0]["answers"]["0"]["text"] == "x" * 2_000 + " [cut: 3,000 characters]"
    assert found[0]["question"] == "q" * 2_000 + " [cut: 500 characters]"
    assert "answer" not in found[0]["answers"]["0"]  # it is the whole completion


def test_what_models_write_stays_text_and_can_be_seen(tmp_path: Path) -> None:
    folder = write_synthetic_study(tmp_path, ("base", "ilr"), seeds=(0,), questions=3, benchmarks=("micro_ood",))
    evil = f"{HOSTILE}\x00\x1b[31m\u202eabc\r\x7f\n\tgood \ud800"
    written = evil.replace("\ud800", "")  # no record file can hold half a sign
    text = page.render(load(rewrite_answers(add_logs(folder, lambda _: evil), written)), Settings())
    text.encode()
    data = json.loads(re.findall(r'id="answer-data">(.*?)</script>', text, re.DOTALL)[0])
    seen = data["items"][0]["answers"]["0"]["text"]
    assert seen.startswith("</script><script>window.broken")
    assert seen.endswith("␀␛[31m\\u202eabc␍␡\n\tgood ")
    assert data["items"][0]["question"].endswith("good \\ud800")
    assert text.count("<script") == 3
    assert "<img" not in text


def test_without_logs_the_questions_are_known_by_their_ids(tmp_path: Path) -> None:
    folder = write_synthetic_study(tmp_path, ("ilr",), seeds=(0,), questions=2, benchmarks=("micro_ood",))
    assert [(item["id"], item["question"]) for item in items(load(folder))] == [
        ("micro_ood-0", ""),
        ("micro_ood-1", ""),
    ]


@pytest.mark.parametrize("damage", ['{"doc": 3}\n', "no json\n"])
def test_a_damaged_log_is_named(tmp_path: Path, damage: str) -> None:
    folder = add_logs(write_synthetic_study(tmp_path, ("ilr",), seeds=(0,), questions=2, benchmarks=("micro_ood",)))
    next(folder.glob("trials/*/eval/A/lm_eval/*/*.jsonl")).write_text(damage)
    with pytest.raises(StoreError, match=r"samples_micro_ood.*\.jsonl: no log of a benchmark"):
        answers.select(load(folder), 10**6)


def test_a_study_without_answers_has_no_viewer(tmp_path: Path) -> None:
    folder = write_synthetic_study(tmp_path, ("infer_debate",), seeds=(0,), questions=4)
    frames = load(folder)
    assert answers.select(frames, 10**6) == answers.NOTHING
    assert 'id="answers"' not in page.render(frames, Settings())
