"""Variants with machinery of their own, as whole trials on tiny models."""

import json
from collections import Counter

import pytest
from tiny_trials import contents, run_plan, tiny_checkpoints, tiny_plan

from ilr_bench.storage.records import JOINT, DialogueRecord, InferenceRecord, StepRecord, read, read_result


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return tiny_checkpoints(tmp_path_factory.mktemp("models"))


def trial(plan, out):
    run_plan(plan, out)
    return out / plan.trials[-1].folder


@pytest.mark.parametrize(("variant", "rounds"), [("infer_single", 1), ("infer_debate", 3), ("infer_idea3", 3)])
def test_an_inference_method_answers_every_maths_benchmark_and_trains_nothing(variant, rounds, models, tmp_path):
    folder = trial(tiny_plan(models, variant), tmp_path)
    records = list(read(folder / "inference.jsonl", InferenceRecord))
    assert [record.agent for record in records[:3]] == ["first", "second", JOINT]
    assert len(records) == 5 * 2 * 3
    assert {record.rounds for record in records} == {rounds}
    assert not (folder / "eval").exists()
    assert not (folder / "train.jsonl").exists()
    assert read_result(folder).sampled_tokens == {"first": 0, "second": 0}


def test_equal_runs_of_an_inference_method_leave_equal_bytes(models, tmp_path):
    plan = tiny_plan(models, "infer_debate", evaluation__temperature="1.0")
    assert contents(trial(plan, tmp_path / "one")) == contents(trial(plan, tmp_path / "two"))


def test_self_reflection_hears_nobody_else(models, tmp_path):
    folder = trial(tiny_plan(models, "self_reflection"), tmp_path)
    for record in read(folder / "train.jsonl", StepRecord):
        assert record.cooperation_share is None
        assert record.clipped_share is None
        assert record.fusion_accuracy is not None
    stages = {turn.stage for record in read(folder / "dialogues.jsonl", DialogueRecord) for turn in record.turns}
    assert stages == {"sharing", "analysis", "fusion"}


def test_a_solve_rate_is_an_artifact_of_each_agent(models, tmp_path):
    plan = tiny_plan(models, "solve_rate_difficulty")
    folder = trial(plan, tmp_path)
    result = read_result(folder)
    assert set(result.artifacts) == {
        f"{kind}/{agent}" for kind in ("solve_rates", "ability") for agent in result.agents
    }
    for agent in result.agents:
        path = tmp_path / "artifacts" / result.artifacts[f"solve_rates/{agent}"] / "solve_rates.json"
        assert all(0 <= value <= 1 for value in json.loads(path.read_text())["difficulty"])
    assert "valid_rankings" not in result.difficulty


def test_pooled_rollouts_are_charged_to_those_who_sampled_them(models, tmp_path):
    folder = trial(tiny_plan(models, "peer_pooling"), tmp_path)
    spoken = Counter()
    for record in read(folder / "dialogues.jsonl", DialogueRecord):
        spoken.update(turn.agent for turn in record.turns)
    for record in read(folder / "train.jsonl", StepRecord):
        assert record.sharing_samples == 3
        assert record.borrowed_turns == 0  # random weights solve nothing
    assert spoken == {"first": 2 * 2 * 3, "second": 2 * 2 * 3}
