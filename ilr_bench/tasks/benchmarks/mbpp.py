"""MBPP (Austin et al. 2021): 500 short functions, the test split (tasks 11 to 510), with its three tests each.

All tests have the form `assert CALL == LITERAL`: the call is evaluated in the jail, the comparison is made outside.
"""

from __future__ import annotations

from operator import itemgetter

from ilr_bench.tasks.base import Benchmark, Row, register
from ilr_bench.tasks.benchmarks.evalplus_data import CODE_TOKENS
from ilr_bench.tasks.benchmarks.stated_tests import problem_of
from ilr_bench.tasks.data import Dataset, read_rows

DATA = Dataset(
    file="mbpp/mbpp.jsonl",
    hub="google-research-datasets/mbpp",
    configuration="full",
    split="prompt+test+validation+train",
    rows=974,
    sha256="a39309de6219ee5eb6cc684538f78838d6f8f7af8655744a8b25772c21bdba76",
    text=itemgetter("task_id", "text", "code", "test_list", "test_setup_code"),
)


def _load() -> tuple[Row, ...]:
    return tuple(problem_of(row) for row in read_rows(DATA) if 11 <= row["task_id"] <= 510)


register(
    Benchmark(
        name="mbpp",
        column="MBPP",
        summary="500 short functions, three tests each",
        kind="code",
        domain="out-of-domain",
        subject="code",
        load=_load,
        data=(DATA,),
        size=500,
        max_new_tokens=CODE_TOKENS,
        exceptions={"Mbpp/367": "its tests use a class that the function does not name, so that extraction drops it"},
    )
)
