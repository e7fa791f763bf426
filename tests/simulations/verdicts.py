"""How often verdicts on rewritten gold answers are wrong: `python tests/simulations/verdicts.py [--every N]`.

Prints, for each kind of rewriting of the golds of gsm8k, math500, minerva and olympiadbench, the wrong verdicts over
those given: of our grader, of math-verify as it comes, and of lm-eval's exact match for the same benchmark (gsm8k:
`flexible-extract`; minerva: `minerva_math`; others: `hendrycks_math`). Takes minutes; `--only ours` is the fastest.
"""

from __future__ import annotations

import argparse
import inspect
import json
import logging
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rewritings import rewritings

from ilr_bench.grading.math import Grader
from ilr_bench.prompts import STYLES
from ilr_bench.storage.records import Verdict
from ilr_bench.tasks.types import get

BENCHMARKS = ("gsm8k", "math500", "minerva", "olympiadbench")
EXEMPT = {("minerva", "fraction rounded")}
"""Minerva's golds are measured quantities, which an answer may round."""


@dataclass(frozen=True)
class Case:
    """One answer to one gold."""

    benchmark: str
    gold: str
    kind: str
    right: bool
    answer: str

    @property
    def completion(self) -> str:
        """The answer in its box."""
        return rf"Hence it is $\boxed{{{self.answer}}}$."


def cases(every: int) -> list[Case]:
    """All cases of every n-th gold, each gold of a benchmark once."""
    golds = [(name, gold) for name in BENCHMARKS for gold in dict.fromkeys(row.gold for row in get(name).load())]
    return [
        Case(name, gold, one.kind, one.right, one.answer)
        for name, gold in golds[::every]
        for one in rewritings(gold)
        if (name, one.kind) not in EXEMPT
    ]


def by_us(asked: Sequence[Case]) -> list[bool]:
    """As the benchmark grades them in the style `chat`."""
    chat, verdicts = STYLES.get("chat"), {}
    measures = "measured" in inspect.signature(Grader.grade).parameters
    with Grader(workers=1) as grader:
        for name in BENCHMARKS:
            own = [case for case in asked if case.benchmark == name]
            pairs = [(chat.extract_answer(case.completion), case.gold) for case in own]
            settings = {"measured": get(name).measured} if measures else {}
            verdicts |= dict(zip(map(id, own), grader.grade(pairs, **settings), strict=True))
    return [verdicts[id(case)] is Verdict.CORRECT for case in asked]


def by_math_verify(asked: Sequence[Case]) -> list[bool]:
    """math-verify's `parse` and `verify`, with the settings that they come with."""
    from math_verify import parse, verify

    def right(case: Case) -> bool:
        return bool(verify(parse(rf"$\boxed{{{case.gold}}}$"), parse(case.completion)))

    return [right(case) for case in asked]


def by_lm_eval(asked: Sequence[Case]) -> list[bool]:
    """lm-eval's scorers that compare texts."""
    from lm_eval.tasks.hendrycks_math import utils as hendrycks
    from lm_eval.tasks.minerva_math import utils as minerva

    def gsm8k(case: Case) -> bool:
        found = re.findall(r"(-?[$0-9.,]{2,})|(-?[0-9]+)", case.completion)
        texts = ["".join(found[-1]) if found else "[invalid]", case.gold]
        ours, theirs = (re.sub(r",|\$|(?s:.*)#### |\.$", "", text).lower() for text in texts)
        return ours == theirs

    def minerva_math(case: Case) -> bool:
        ours, theirs = (minerva.normalize_final_answer(text) for text in (case.answer, case.gold))
        return bool(minerva.is_equiv(ours, theirs))

    scorers: dict[str, Callable[[Case], bool]] = {"gsm8k": gsm8k, "minerva": minerva_math}
    plain: Callable[[Case], bool] = lambda case: bool(hendrycks.is_equiv(case.answer, case.gold))  # noqa: E731
    return [scorers.get(case.benchmark, plain)(case) for case in asked]


GRADERS = {"ours": by_us, "math-verify": by_math_verify, "lm-eval": by_lm_eval}


def table(asked: Sequence[Case], verdicts: dict[str, list[bool]]) -> Iterable[str]:
    """A line for each kind: wrong verdicts of each grader, and how many there were to give."""
    for right in (True, False):
        tried = Counter(case.kind for case in asked if case.right is right)
        yield f"| {'right forms, refused' if right else 'wrong twins, accepted'} | {' | '.join(verdicts)} | tried |"
        total: dict[str, int] = defaultdict(int)
        for kind, count in tried.items():
            wrong = {
                name: sum(found is not right for case, found in zip(asked, given, strict=True)
                          if case.kind == kind and case.right is right)
                for name, given in verdicts.items()
            }  # fmt: skip
            for name, value in wrong.items():
                total[name] += value
            yield f"| {kind} | {' | '.join(map(str, wrong.values()))} | {count} |"
        everything = sum(tried.values())
        shares = " | ".join(f"{value} ({value / everything:.2%})" for value in total.values())
        yield f"| all | {shares} | {everything} |"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="take every n-th gold")
    parser.add_argument("--only", choices=GRADERS, help="one grader alone")
    parser.add_argument("--failures", type=Path, help="write the wrong verdicts there, a JSON line each")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    asked = cases(options.every)
    chosen = {name: grade for name, grade in GRADERS.items() if options.only in (None, name)}
    verdicts = {name: grade(asked) for name, grade in chosen.items()}
    print("\n".join(table(asked, verdicts)))
    if options.failures is not None:
        lines = [
            json.dumps([name, case.kind, case.right, case.benchmark, case.gold, case.answer], ensure_ascii=False)
            for name, given in verdicts.items()
            for case, found in zip(asked, given, strict=True)
            if found is not case.right
        ]
        options.failures.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    main()
