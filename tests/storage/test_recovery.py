"""What a run survives, and where it says so."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shortages import MESSAGES, Shortage
from tiny_models import PAD, tiny_model

from ilr_bench.core.errors import IlrError, MemoryShortageError, NumericalError
from ilr_bench.generation.engine import SamplingOptions, SamplingRequest
from ilr_bench.generation.hf_engine import TransformersEngine
from ilr_bench.storage.recovery import BrokenBatchError, log_incident, log_incidents, retry_smaller_batch
from ilr_bench.storage.store import finalize, is_finalized


def short_above(most: int, error: Exception, tried: list[int]) -> Any:
    def attempt(rows: int) -> str:
        tried.append(rows)
        if rows > most:
            raise error
        return f"done with {rows}"

    return attempt


@pytest.mark.parametrize("error", MESSAGES)
def test_rows_are_halved_until_they_fit(error: Exception) -> None:
    tried: list[int] = []
    assert retry_smaller_batch(9, short_above(2, error, tried), "work", "a.setting") == "done with 2"
    assert tried == [9, 4, 2]


@pytest.mark.parametrize("error", MESSAGES)
def test_one_row_that_does_not_fit_is_a_clear_error(error: Exception) -> None:
    with pytest.raises(
        MemoryShortageError, match=r"agent A, step 3: update: out of memory with a single row .* smaller"
    ):
        retry_smaller_batch(4, short_above(0, error, []), "agent A, step 3: update", "a.setting")


def test_other_errors_pass_at_once() -> None:
    tried: list[int] = []
    with pytest.raises(RuntimeError, match="shapes"):
        retry_smaller_batch(4, short_above(0, RuntimeError("shapes do not match"), tried), "work", "a.setting")
    assert tried == [4]


def test_events_are_noted_in_the_trial_that_is_watched_and_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with log_incidents(tmp_path), caplog.at_level(logging.WARNING):
        retry_smaller_batch(2, short_above(1, MESSAGES[0], []), "work", "update.rows_per_micro_batch")
    log_incident("after the end")
    (event,) = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert event["event"].startswith("work: out of memory, repeated with half the rows")
    assert (event["rows"], event["then"], event["setting"]) == (2, 1, "update.rows_per_micro_batch")
    assert "CUDA out of memory" in event["error"]
    assert "work: out of memory" in caplog.text


def test_a_broken_batch_is_saved_and_the_error_names_its_file(tmp_path: Path) -> None:
    def breaks() -> None:
        raise BrokenBatchError("agent A, step 3: the loss is nan", "step-00000003-A.json", {"turns": [{"id": 1}]})

    message = r"step 3: the loss is nan.*broken/step-00000003-A.json"
    with pytest.raises(NumericalError, match=message) as raised, log_incidents(tmp_path):
        breaks()
    assert not isinstance(raised.value, BrokenBatchError)
    assert isinstance(raised.value, IlrError)
    assert json.loads((tmp_path / "broken" / "step-00000003-A.json").read_text()) == {"turns": [{"id": 1}]}


def test_events_and_broken_batches_lie_outside_a_trials_seal(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text("{}\n")
    finalize(tmp_path, "key", "{}\n")
    (tmp_path / "events.jsonl").write_text("{}\n")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "step-00000001-A.json").write_text("{}")
    assert is_finalized(tmp_path, "key")


def test_sampling_short_of_memory_at_any_operation_draws_the_same_tokens() -> None:
    engine = TransformersEngine(tiny_model(scale=0.1), [], PAD, lambda ids: "")
    prompts, counts, options = [[5, 6, 7], [8, 9], [10, 11, 12, 13]], [3, 2, 1], SamplingOptions(5, 1.0)

    def sample(first: int = 0, last: int | None = None) -> tuple[list[Any], int]:
        with Shortage(first, last) as memory:
            found = engine.sample(SamplingRequest(prompts, counts, options, seed=1))
        return [turn for group in found for turn in group], memory.seen

    plain, operations = sample()
    assert operations > 100
    for index in range(1, operations + 1, operations // 12):
        halved, seen = sample(index)
        assert seen > operations
        for one, other in zip(plain, halved, strict=True):
            assert one.token_ids == other.token_ids
            np.testing.assert_allclose(one.logprobs, other.logprobs, atol=1e-5)
    with pytest.raises(MemoryShortageError, match="sampling 6 rows: out of memory with a single row"):
        sample(1, 10**9)
    assert not engine.model.training
