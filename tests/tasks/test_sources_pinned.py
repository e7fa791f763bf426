"""Questions and published files are those of every result so far: what changes one of them changes every number."""

from __future__ import annotations

import hashlib
import random
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import pytest

from ilr_bench.core.errors import ConfigurationError, MissingInputError
from ilr_bench.tasks.sources import SOURCES, generated, gsm8k, math, micro, sums


def digest(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]


def test_micro_questions_and_their_steps() -> None:
    assert SOURCES.get("micro").name == "micro"
    assert digest(SOURCES.get("micro").load(512, 200)) == "10b6850dea8d8c97"
    found = {family: digest(micro.benchmark_questions(family, 300)) for family in micro.FAMILIES}
    assert found == {
        "short_chain": "ca9390dc6ee6359c",
        "long_chain": "5ffaab0481374079",
        "word_problem": "327d29720a9ac9fa",
        "two_step": "310f6a1abcedefc2",
        "ood": "b6223bbfa070e962",
    }
    streams = [
        list(islice(micro.question_stream(family, "training", random.Random(3)), 400)) for family in micro.FAMILIES
    ]
    assert digest(streams) == "e11492b3c43b6045"


def test_micro_questions_take_the_families_in_turn_whatever_the_number() -> None:
    for count in (0, 3, 6):
        asked = [question.family for question in micro.load(count, 3)[0]]
        assert asked == [micro.TRAINING_FAMILIES[index % 4] for index in range(count)]


def test_words_that_are_no_steps_are_passed_over() -> None:
    first, second = (1, ("+", 2), 3), (3, ("+", 1), 4)
    assert micro.read_tape(["so", "+1=4", "1+2=3", "1+2=3", "and", "+1=4"]) == (first, second)


def test_micro_programs() -> None:
    assert digest(micro.code_problems(60)) == "954ba58263177b0e"
    assert digest(list(islice(micro.code_stream("training", random.Random(5)), 400))) == "8dbbb6c87eeca797"


def test_sums() -> None:
    assert SOURCES.get("sums").name == "sums"
    assert digest((sums.load(320, 105), sums.benchmark_questions())) == "b249f447425dbed0"
    assert [sums.value_of(text) for text in sums.SHOWN] == [12, 12, 23, 6, 3, 27]


def test_published_files() -> None:
    assert digest((gsm8k.TRAIN, gsm8k.TEST)) == "83a40aaa5778b87c"
    assert digest((math.MATH500, math.files())) == "b210af4ba2dc74fb"
    assert (math.TRAINING, math.VALIDATION) == (10_999, 1_000)
    assert [SOURCES.get(name).name for name in ("gsm8k", "gsm8k_sums", "math")] == ["gsm8k", "gsm8k_sums", "math"]


def test_gsm8k_is_shuffled_the_same_way_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"question": f"How much is {n}?", "answer": f"<<{n} + 0={n}>>\n#### {n}"} for n in range(9)]
    monkeypatch.setattr(gsm8k, "read_rows", lambda data: rows)
    training, validation = gsm8k.load(5, 4)
    assert [question.answer for question in training + validation] == list("436207158")
    assert training[0].steps == (f"{training[0].answer}+0={training[0].answer}",)
    assert [question.id for question in gsm8k.test_questions()] == [f"gsm8k-test-{n:04d}" for n in range(9)]
    with pytest.raises(MissingInputError, match="x is no row of GSM8K"):
        gsm8k.parse({"question": None, "answer": "#### 1"}, "x")


def test_math_is_shuffled_the_same_way_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    tested = [{"problem": "alg 0 algebra"}, {"problem": "a lone problem"}]
    row = {"solution": r"\boxed{1}", "type": "Algebra"}

    def read(data: object) -> list[dict[str, str]]:
        return (
            tested if data is math.MATH500 else [row | {"problem": f"alg {n} {data.configuration}"} for n in range(2)]
        )  # type: ignore[attr-defined]

    monkeypatch.setattr(math, "read_rows", read)
    monkeypatch.setattr(math, "TRAINING", 15)
    training, _ = math.load(15, 0)
    assert [(question.id, question.family) for question in training[:4]] == [
        ("math-counting_and_probability-test-0000", "Algebra"),
        ("math-precalculus-test-0000", "Algebra"),
        ("math-prealgebra-test-0001", "Algebra"),
        ("math-geometry-test-0000", "Algebra"),
    ]
    for asked in ((16, 0), (0, 1_001)):
        with pytest.raises(ConfigurationError, match="asked for"):
            math.load(*asked)
    with pytest.raises(MissingInputError, match="x is no row of MATH"):
        math.parse({"problem": None, "solution": r"\boxed{1}"}, "x")
    with pytest.raises(MissingInputError, match="x is no row of MATH"):
        math.parse({"problem": "1+1?", "solution": None}, "x")
    assert math.parse({"problem": "1+1?", "solution": r"\boxed{2}"}, "x").family == ""


@pytest.mark.skipif(find_spec("reasoning_gym") is None, reason="reasoning-gym is not installed")
def test_generated_questions_are_named_after_their_task() -> None:
    first = generated.questions("chain_sum")[0]
    assert (first.id, first.family) == ("rg_chain_sum-000", "chain_sum")


def test_the_generators_that_are_asked_for_are_those_that_are_installed() -> None:
    noxfile = Path(__file__).parents[2] / "noxfile.py"
    assert f'GENERATORS = "reasoning-gym=={generated.VERSION}"' in noxfile.read_text(encoding="utf-8")
