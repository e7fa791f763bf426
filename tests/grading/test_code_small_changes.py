"""What a judge of programs asks of the jail and of its comparison, and which verdicts follow; and odd programs found.

The jail stands still here: it says what a test tells it to. `test_code` has the real one.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from ilr_bench.core.errors import ConfigurationError
from ilr_bench.grading import code
from ilr_bench.grading.code import CodeJudge
from ilr_bench.grading.sandbox.host import ProgramEnd, ProgramRequest
from ilr_bench.grading.sandbox.wire import encode
from ilr_bench.storage.records import Verdict

Reply = bytes | ProgramEnd
FLOAT, ONE, TWO = (encode(value).encode() for value in (0.5, 1, 2))


class ToldRun:
    """One program: how its loading ended, then its replies, each of which took a quarter of a second."""

    def __init__(self, ended: ProgramEnd | None, replies: Sequence[Reply], seconds: float) -> None:
        self.ended, self.replies, self.cpu_seconds = ended, list(replies), seconds
        self.limits: list[Any] = []

    def loaded(self, cpu_seconds: float) -> ProgramEnd | None:
        self.limits.append(cpu_seconds)
        return self.ended

    def reply(self, cpu_seconds: float, longest: int | None = None) -> Reply:
        self.limits.append((cpu_seconds, longest))
        return self.replies.pop(0)


class ToldJail:
    """Says what it was told for one program after the other."""

    pid, protection = 7, "told"

    def __init__(self, *runs: ToldRun) -> None:
        self.runs, self.asked, self.closed = list(runs), list[ProgramRequest](), 0
        self.begun: list[ToldRun] = []

    @contextmanager
    def run(self, request: ProgramRequest) -> Iterator[ToldRun]:
        self.asked.append(request)
        self.begun.append(self.runs.pop(0))
        yield self.begun[-1]

    def close(self) -> None:
        self.closed += 1


class ToldOutputs:
    """Finds right what it was told to."""

    def __init__(self, *verdicts: bool | None) -> None:
        self.verdicts, self.asked, self.closed = list(verdicts), list[tuple[Any, ...]](), 0

    def accepts(self, *asked: Any) -> bool | None:
        self.asked.append(asked[1:])
        return self.verdicts.pop(0)

    def close(self) -> None:
        self.closed += 1


def run(*replies: Reply, ended: ProgramEnd | None = None, seconds: float = 0.25) -> ToldRun:
    return ToldRun(ended, replies, seconds)


def judging(jail: ToldJail, outputs: ToldOutputs, workers: int = 1) -> CodeJudge:
    judge = CodeJudge(workers=workers)
    judge._jail, judge._outputs = jail, outputs  # type: ignore[assignment]
    return judge


def stated(*tests: tuple[str, Any], **more: Any) -> dict[str, Any]:
    return {"task_id": "t", "entry_point": "f", "atol": 0, "tests": list(tests), **more}


CANONICAL: dict[str, Any] = {
    "task_id": "t", "prompt": "P", "canonical_solution": "C", "entry_point": "f", "atol": 0, "base_input": [[1], [2]],
    "plus_input": [[3]], "setup": "s = 1",
}  # fmt: skip


def test_tests_that_state_results_get_fifteen_seconds_each_and_a_minute_together() -> None:
    jail, outputs = ToldJail(run(ONE, TWO), run(*[ONE] * 6)), ToldOutputs()
    judge = judging(jail, outputs)
    assert judge.judge("source", stated(("f(1)", 1), ("f(2)", 2), setup="import a")) is Verdict.CORRECT
    assert jail.asked == [ProgramRequest("source", "f", ("f(1)", "f(2)"), "import a", "value", 5 + 31)]
    assert jail.begun[0].limits == [5, (15, 65536 + 16 * len(ONE)), (15, 65536 + 16 * len(TWO))]
    assert outputs.asked == []
    jail.begun.clear()
    assert judge.judge("source", stated(*[("f(1)", 1)] * 6)) is Verdict.CORRECT
    assert jail.asked[1].cpu_seconds == 66
    assert [limit for limit, _ in jail.begun[0].limits[1:]] == [15] * 6
    jail.runs.append(run(*[ONE] * 5, seconds=14.0))
    assert judge.judge("source", stated(*[("f(1)", 1)] * 5)) is Verdict.CORRECT
    assert [limit for limit, _ in jail.begun[1].limits[1:]] == [15, 15, 15, 15, 5]


def test_what_is_not_the_same_text_or_no_number_is_compared_with_the_tolerance_in_force() -> None:
    nan = encode(float("nan")).encode()
    problem = stated(("f(1)", 0.5), ("f(2)", 1), ("f(3)", float("nan")))
    jail, outputs = ToldJail(run(FLOAT, TWO, nan), run(FLOAT, TWO, nan)), ToldOutputs(True, False, False)
    assert judging(jail, outputs).judge("s", problem) is Verdict.WRONG
    assert outputs.asked == [(1e-6, TWO, ONE, "f(2)"), (1e-6, nan, nan, "f(3)")]
    assert judging(jail, ToldOutputs(None)).judge("s", problem) is Verdict.TIMEOUT
    assert judging(ToldJail(run(TWO)), ToldOutputs(False)).judge("s", stated(("f(2)", 1))) is Verdict.WRONG
    # With an oracle, equal texts are no proof.
    sets, told = CANONICAL | {"task_id": "Mbpp/1", "entry_point": "Diff", "plus_input": []}, ToldOutputs(True, True)
    jail = ToldJail(run(ONE, TWO), run(ONE, TWO))
    assert judging(jail, told).judge("s", sets) is Verdict.CORRECT
    assert told.asked == [(0, ONE, ONE, [1]), (0, TWO, TWO, [2])]
    assert [request.view for request in jail.asked] == ["items", "items"]


@pytest.mark.parametrize(
    ("end", "verdict"), [(ProgramEnd.FAILED, Verdict.WRONG), (ProgramEnd.OVERRAN, Verdict.TIMEOUT)]
)
def test_how_a_program_ends_is_its_verdict(end: ProgramEnd, verdict: Verdict) -> None:
    problem = stated(("f(1)", 1), ("f(2)", 2))
    for ended in (run(ended=end), run(end), run(ONE, end)):
        assert judging(ToldJail(ended), ToldOutputs()).judge("s", problem) is verdict


def test_a_killed_program_is_run_once_more_and_no_more() -> None:
    problem, killed = stated(("f(1)", 1)), ProgramEnd.KILLED
    assert judging(ToldJail(run(killed), run(ONE)), ToldOutputs()).judge("s", problem) is Verdict.CORRECT
    assert judging(ToldJail(run(ended=killed), run(killed)), ToldOutputs()).judge("s", problem) is Verdict.KILLED
    assert judging(ToldJail(), ToldOutputs()).judge(None, problem) is Verdict.MISSING
    assert judging(ToldJail(), ToldOutputs()).judge("s", stated()) is Verdict.CORRECT


def test_the_canonical_solution_says_what_is_right_and_how_long_it_may_take() -> None:
    jail = ToldJail(run(ONE, TWO, seconds=0.5), run(ONE, TWO), run(TWO, seconds=0.1), run(TWO), run(ONE, TWO), run(ONE))
    outputs = ToldOutputs(False)
    judge = judging(jail, outputs)
    assert judge.judge("s", CANONICAL) is Verdict.CORRECT
    assert [(one.source, one.calls, one.setup, one.cpu_seconds) for one in jail.asked] == [
        ("PC", ([1], [2]), "s = 1", 120), ("s", ([1], [2]), "s = 1", 10), ("PC", ([3],), "s = 1", 120),
        ("s", ([3],), "s = 1", 7),
    ]  # fmt: skip
    assert jail.begun[0].limits == [120, (120, None), (120, None)]
    assert [limit for limit, _ in jail.begun[1].limits[1:]] == [2, 2]
    assert [limit for limit, _ in jail.begun[3].limits[1:]] == [1]
    # A second program finds the tests made; the first part that fails decides.
    assert judge.judge("s", CANONICAL) is Verdict.WRONG
    assert (len(jail.asked), len(jail.runs)) == (6, 0)


def test_a_canonical_solution_that_fails_is_named_and_one_that_was_killed_runs_again() -> None:
    killed, failed = ProgramEnd.KILLED, ProgramEnd.FAILED
    jail = ToldJail(run(ONE, killed), run(ONE, TWO), run(ONE, TWO), run(ONE), run(ONE))
    judge = judging(jail, ToldOutputs())
    assert judge.judge("s", CANONICAL) is Verdict.CORRECT
    assert jail.runs == []
    for runs, place in (
        ((run(ONE, killed), run(ended=killed)), 0),
        ((run(ONE, failed),), 1),
        ((run(ended=failed),), 0),
    ):
        with pytest.raises(ConfigurationError, match=f"problem t: its canonical solution .* on test {place};"):
            judging(ToldJail(*runs), ToldOutputs()).judge("s", dict(CANONICAL))


def test_several_workers_make_the_tests_of_all_problems_before_the_first_program() -> None:
    first, second = dict(CANONICAL), stated(("f(1)", 1))
    for workers, sources in ((1, ["PC", "s", "PC", "s", "t"]), (2, ["PC", "PC"])):
        replies = [run(ONE, TWO), run(ONE, TWO), run(ONE), run(ONE), run(ONE)]
        if workers == 2:
            replies[1:3] = [run(ONE), run(ONE, TWO)]
        jail = ToldJail(*replies)
        judging(jail, ToldOutputs(*[True] * 9), workers).judge_many([("s", dict(first)), ("t", dict(second))])
        assert [one.source for one in jail.asked][: len(sources)] == sources


def test_a_judge_tells_of_its_jail_and_closes_all_it_has() -> None:
    jail, outputs = ToldJail(), ToldOutputs()
    with judging(jail, outputs) as judge:
        assert (judge.protection, judge.launcher_pid) == ("told", 7)
    assert (jail.closed, outputs.closed) == (1, 1)


@pytest.mark.parametrize(
    ("completion", "program"),
    [
        ("import a.b as c\ndef f(x):\n    return x", "import a.b as c\ndef f(x):\n    return x"),
        ("g = 1\nh = 2\ndef f(x, *, g=3):\n    return x", "g = 1\ndef f(x, *, g=3):\n    return x"),
        ("g = 1\nh = 2\ndef f(x):\n    from a.h import b\n    return x",
         "h = 2\ndef f(x):\n    from a.h import b\n    return x"),
        ("g = 1\nh = 2\ndef f(x):\n    global h\n    return x", "h = 2\ndef f(x):\n    global h\n    return x"),
        ("  \n# text\ng = 1\nf = g", "g = 1\nf = g"), ("\n\nf = 1\n\n\n", "f = 1"),
        ("x = f\ny = 1", "x = f\ny = 1"), ("f = 1\nx = f", "f = 1"), ("def f(x):\n    return 1 # ä\n", None),
        ("é = 1; g = 'é'; h = 2\nf = g + h", "g = 'é'\nh = 2\nf = g + h"),
        ("(\nf\n) = 1\ng = 2", "(\nf\n) = 1"), ("class f:\n    pass\ng = 1", "class f:\n    pass"),
    ],
)  # fmt: skip
def test_what_belongs_to_a_program_is_taken_whole(completion: str, program: str | None) -> None:
    found = code.extract_code(completion, "f")
    assert found == (program if program is not None else "def f(x):\n    return 1")


def test_the_parser_reads_so_much_and_no_more() -> None:
    assert (code._MOST_PARSED, code._READINGS, code.LONGEST_COMPLETION) == (2_000_000, 100, 500_000)
    assert code._Runs(["a" * 10, "b"]).left == 100 * (1000 + 11)
    assert code._Runs(["a" * 30_000]).left == 2_000_000
    runs = code._Runs(["a = 1", "b = 2"])
    runs.left = 11
    assert isinstance(runs._parse(0, 2), ast.Module)
    assert runs.left == -1
    runs.left = 10
    assert (runs._parse(0, 2), runs.left) == (None, 0)


def test_a_run_may_begin_with_an_indented_comment_and_ends_with_its_last_filled_line() -> None:
    assert code.longest_code("no code\n  # a\nb = 1\nc = 2") == "  # a\nb = 1\nc = 2"
    assert code.longest_code("a = 1\nb = 2\nc = 3\n\n\nno code (") == "a = 1\nb = 2\nc = 3"
    text = "x = 'abc\\\ndef'\ny = 1"
    assert code.longest_code(text) == text


def test_one_program_is_run_at_a_time_unless_more_are_asked_for() -> None:
    with CodeJudge() as judge:
        assert judge.judge_many([(None, CANONICAL)] * 2) == [Verdict.MISSING] * 2
