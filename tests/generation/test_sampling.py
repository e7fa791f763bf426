"""Drawing tokens: in blocks as without, whatever the vocabulary and the temperature."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ilr_bench.generation import sampling
from ilr_bench.generation.sampling import BLOCK, LARGE_VOCABULARY, draw, rng_streams
from ilr_bench.generation.vllm_engine import TokenDraws


def logits(rows: int, vocabulary: int, seed: int, scale: float = 3.0) -> torch.Tensor:
    numbers = np.random.default_rng(seed).normal(scale=scale, size=(rows, vocabulary))
    return torch.from_numpy(numbers.astype(np.float32))


@settings(max_examples=30, deadline=None)
@given(
    vocabulary=st.integers(2, 3 * BLOCK + 1),
    temperature=st.sampled_from([0.0, 0.5, 1.0, 1.7]),
    seed=st.integers(0, 2**31),
)
def test_blocks_draw_the_tokens_that_one_running_sum_draws(vocabulary: int, temperature: float, seed: int) -> None:
    given = logits(40, vocabulary, seed)
    uniforms = torch.from_numpy(np.random.default_rng(seed + 1).random(40))
    plain, logprobs = draw(given, temperature, uniforms)
    chosen, found = sampling._from_blocks(given, temperature, uniforms)
    # A uniform within rounding of a token's border may fall on either side of it.
    assert (chosen == plain).float().mean() > 0.97
    expected = given.double().log_softmax(-1).gather(1, chosen[:, None])[:, 0]
    assert found.dtype == torch.float32
    assert torch.allclose(found.double(), expected, atol=1e-5)
    assert torch.allclose(logprobs[chosen == plain], found[chosen == plain], atol=1e-5)


def test_a_large_vocabulary_is_drawn_by_its_probabilities() -> None:
    vocabulary, draws = LARGE_VOCABULARY + 7, 20_000
    one = logits(1, vocabulary, 5)
    uniforms = (torch.arange(draws, dtype=torch.float64) + 0.5) / draws
    chosen, _ = draw(one.expand(draws // 20, -1), 1.0, uniforms[::20])
    counts = np.bincount(chosen.numpy(), minlength=vocabulary).cumsum() / len(chosen)
    expected = one[0].double().softmax(-1).cumsum(-1).numpy()
    # Equally spaced uniforms follow the distribution function to within one of them.
    assert np.abs(counts - expected).max() <= 1.01 / len(chosen)


@pytest.mark.parametrize("vocabulary", [BLOCK + 3, 2 * BLOCK])
def test_impossible_tokens_are_never_drawn(vocabulary: int) -> None:
    one = torch.full((3, vocabulary), float("-inf"))
    one[:, vocabulary // 2] = 0.0
    uniforms = torch.tensor([0.0, 0.5, np.nextafter(1.0, 0.0)], dtype=torch.float64)
    chosen, logprobs = sampling._from_blocks(one, 1.0, uniforms)
    assert chosen.tolist() == [vocabulary // 2] * 3
    assert logprobs.tolist() == [0.0] * 3


def test_a_broken_model_gives_broken_log_probabilities() -> None:
    for bad in (float("nan"), float("inf")):
        one = logits(2, LARGE_VOCABULARY, 1)
        one[1, 10] = bad
        chosen, found = draw(one, 1.0, torch.tensor([0.3, 0.3], dtype=torch.float64))
        assert bool(((chosen >= 0) & (chosen < LARGE_VOCABULARY)).all())
        assert found.isfinite().tolist() == [True, False]


def test_half_precision_logits_give_single_precision_log_probabilities() -> None:
    one = logits(4, LARGE_VOCABULARY, 2).to(torch.bfloat16)
    chosen, found = draw(one, 1.0, torch.full((4,), 0.4, dtype=torch.float64))
    expected = one.float().log_softmax(-1).gather(1, chosen[:, None])[:, 0]
    assert torch.allclose(found, expected, atol=1e-5)


def test_a_row_draws_the_same_whatever_stands_beside_it_and_however_often_it_is_asked() -> None:
    names, limit = [(9, 0, 0), (9, 0, 1), (9, 3, 0), (4, 7, 2)], 5
    given = logits(4, 50, 1)
    draws = TokenDraws()
    draws.begin(names, 1.0, limit, "cpu")
    together = draws.take(given, [0, 1, 2, 3], [0, 2, 4, 1])
    numbers = torch.from_numpy(rng_streams(names, limit))[torch.arange(4), torch.tensor([0, 2, 4, 1])]
    tokens, logprobs = draw(given, 1.0, numbers)
    assert together.tolist() == tokens.tolist()
    assert draws.logprobs[[0, 1, 2, 3], [0, 2, 4, 1]].tolist() == logprobs.tolist()
    assert draws.take(given[[3, 1]], [3, 1], [1, 2]).tolist() == tokens[[3, 1]].tolist()
    assert torch.count_nonzero(draws.logprobs) == 4


def test_streams_are_named_by_seed_prompt_and_sample() -> None:
    whole = rng_streams([(3, 0, 0), (3, 0, 1), (3, 1, 0), (4, 0, 0)], 6)
    assert (rng_streams([(3, 1, 0)], 4)[0] == whole[2, :4]).all()
    assert len(np.unique(whole)) == 24
    assert ((whole >= 0) & (whole < 1)).all()


def test_a_stream_is_philox_with_its_name_as_the_key() -> None:
    for seed, prompt, sample in ((5, 0, 3), (2**64 + 7, 2, 0), (-1, 3, 9)):
        key = [seed % 2**64, prompt * 2**32 + sample]
        expected = np.random.Generator(np.random.Philox(key=np.array(key, dtype=np.uint64))).random(4)
        assert rng_streams([(seed, prompt, sample)], 4)[0].tolist() == expected.tolist()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("vocabulary", [7, LARGE_VOCABULARY + 5])
def test_a_draw_inverts_the_distribution_at_its_temperature(temperature: float, vocabulary: int) -> None:
    given = logits(200, vocabulary, 11)
    numbers = np.random.default_rng(12).random(200)
    chosen, logprobs = draw(given, temperature, torch.from_numpy(numbers))
    exact = given.double().numpy()
    weights = np.exp(exact / temperature - (exact / temperature).max(axis=1, keepdims=True))
    ends = weights.cumsum(axis=1) / weights.sum(axis=1, keepdims=True)
    wanted = [int(np.searchsorted(row, number, side="right")) for row, number in zip(ends, numbers, strict=True)]
    # A uniform within rounding of a token's border may fall on either side of it.
    assert (chosen.numpy() == wanted).mean() > 0.98
    plain = given.double().log_softmax(-1).gather(1, chosen[:, None])[:, 0]
    assert torch.allclose(logprobs.double(), plain, atol=1e-5)


def test_the_smallest_and_the_largest_uniform_draw_the_first_and_the_last_token() -> None:
    given = torch.zeros(2, LARGE_VOCABULARY + 3)
    edges = torch.tensor([0.0, np.nextafter(1.0, 0.0)], dtype=torch.float64)
    for width in (5, LARGE_VOCABULARY + 3):
        chosen, _ = draw(given[:, :width], 1.0, edges)
        assert chosen.tolist() == [0, width - 1]
        # At the border of two tokens, the later one is drawn.
        border, _ = draw(given[:1, :4], 1.0, torch.tensor([0.5], dtype=torch.float64))
        assert border.tolist() == [2]


@pytest.mark.parametrize(("vocabulary", "blocks"), [(LARGE_VOCABULARY - 1, False), (LARGE_VOCABULARY, True)])
def test_blocks_are_for_large_vocabularies(vocabulary: int, blocks: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    used = []
    plain = sampling._from_blocks
    monkeypatch.setattr(sampling, "_from_blocks", lambda *given: used.append(True) or plain(*given))
    draw(logits(1, vocabulary, 1), 1.0, torch.tensor([0.3], dtype=torch.float64))
    assert bool(used) is blocks
    # Another size of block, or another border, would change the last bits of what was drawn before.
    assert (BLOCK, LARGE_VOCABULARY) == (256, 4096)
