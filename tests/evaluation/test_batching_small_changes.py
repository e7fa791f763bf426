"""What an interrupted evaluation is continued from: a journal's lines, and whose they are."""

from __future__ import annotations

import hashlib
import signal
from pathlib import Path

import numpy as np
import pytest
from scripted import scripted_agent

from ilr_bench.core import signals
from ilr_bench.evaluation.batching import GenerationRequest, Journal, complete, plan_batches
from ilr_bench.generation.engine import Completion, SamplingOptions


def test_a_line_is_the_first_sixteen_digits_of_its_digest_and_compact_json(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", "k")
    journal.add(3, [Completion((7, 8), np.zeros(2, np.float32), True), Completion((), np.zeros(0, np.float32), False)])
    texts = [b'{"key":"k"}', b'{"batch":3,"spoken":[[[7,8],true],[[],false]]}']
    expected = b"".join(hashlib.sha256(text).hexdigest()[:16].encode() + b" " + text + b"\n" for text in texts)
    assert (tmp_path / "j").read_bytes() == expected
    (found,) = Journal(tmp_path / "j", "k").done.values()
    assert [(one.token_ids, one.finished, len(one.logprobs)) for one in found] == [((7, 8), True, 0), ((), False, 0)]


def requests(*prompts: tuple[int, ...], samples: int = 1) -> list[GenerationRequest]:
    options = SamplingOptions(max_new_tokens=4, temperature=0.0, rows_per_call=1)
    return [GenerationRequest(prompt, samples, options) for prompt in prompts]


def answers(asked: list[GenerationRequest], journal: Path) -> list[tuple[int, int]]:
    """(completions, tokens sampled) of each batch."""
    engine = scripted_agent("A", lambda prompt, sample: "ab").engine
    told: list[tuple[int, int]] = []
    complete(engine, asked, None, 0, journal, lambda count, tokens: told.append((count, tokens)))
    return told


def test_a_prompt_without_samples_makes_no_batch() -> None:
    assert plan_batches(requests((65, 66), samples=0), None) == []


def test_batches_are_sampled_again_for_other_prompts_of_the_same_lengths(tmp_path: Path) -> None:
    first = answers(requests((65, 66), (67,)), tmp_path / "j")
    assert first == answers(requests((65, 66), (68,)), tmp_path / "j")
    assert [tokens for _, tokens in answers(requests((65, 66), (68,)), tmp_path / "j")] == [0, 0]
    assert all(tokens for _, tokens in first)


def test_who_is_asked_to_stop_does_so_once_a_batch_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "_received", signal.SIGTERM)
    with pytest.raises(signals.Stopped, match="a batch noted in"):
        answers(requests((65,), (66, 67)), tmp_path / "j")
    monkeypatch.undo()
    assert [tokens > 0 for _, tokens in answers(requests((65,), (66, 67)), tmp_path / "j")] == [False, True]
