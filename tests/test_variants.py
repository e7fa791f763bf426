"""Variants with machinery of their own, as whole trials on tiny models."""

import pytest
from tiny_trials import contents, run_plan, tiny_checkpoints, tiny_plan

from ilr_bench.records import JOINT, InferenceRecord, read, read_result


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
