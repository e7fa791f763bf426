"""Agents that answer benchmarks together, as a method of its own: single answers, Debate, Idea3 (paper, Table 4).

Debate is that of Du et al. 2023 (arXiv 2305.14325): everybody answers, then everybody answers again in sight of
the others' last answers, and the majority decides at the end. Idea3 is one pass of its three stages. Benchmarks
that ask for programs are left out: analyses and fusions ask for an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ilr_bench.core.config import RunConfig, content_hash
from ilr_bench.core.errors import ConfigurationError
from ilr_bench.core.seeds import derive_seed
from ilr_bench.core.signals import stop_here
from ilr_bench.evaluation.scorer import Judgement, Scorer
from ilr_bench.generation.agent import Agent
from ilr_bench.grading.math import Grader
from ilr_bench.method.idea3 import Table, Turn, Turns, analyse, fuse, share, speak
from ilr_bench.method.interaction import cooperation
from ilr_bench.prompts import Kind, PromptStyle, solo_forms
from ilr_bench.prompts.baselines import rival_wordings
from ilr_bench.storage.files import as_noted, write_noted
from ilr_bench.storage.records import JOINT, InferenceRecord, Verdict, read, to_line
from ilr_bench.tasks.types import Benchmark, Question, Row, expand, get

KINDS: tuple[Kind, ...] = ("answer", "choice")


def infer(
    agents: Sequence[Agent],
    ability: Sequence[float],
    config: RunConfig,
    folder: Path,
    grader: Grader,
    watch: Callable[[float], None] = lambda share: None,
) -> None:
    """Answers the configuration's benchmarks by its inference method, and writes `folder/inference.jsonl`.

    The file grows by whole benchmarks; those it holds already are not answered again. `ability`: (agents,), decides
    ties of the joint answer. Raises ConfigurationError where no benchmark asks for an answer.
    """
    path = folder / "inference.jsonl"
    benchmarks = [benchmark for name in expand(config.evaluation.benchmarks) if (benchmark := get(name)).kind in KINDS]
    if not benchmarks:
        raise ConfigurationError(
            f"evaluation.benchmarks: none of {', '.join(config.evaluation.benchmarks)} asks for an answer, and "
            "agents that answer together write no programs; name another benchmark"
        )
    earlier = list(read(path, InferenceRecord)) if path.exists() and as_noted(path) else []
    records: list[InferenceRecord] = []
    for place, benchmark in enumerate(benchmarks):
        rows = benchmark.load()[: config.evaluation.limit]
        known = [record for record in earlier if record.benchmark == benchmark.name]
        if len(known) != len(rows) * (len(agents) + 1):
            known = _answer(benchmark, rows, agents, ability, config, grader)
        records += known
        write_noted(path, "".join(f"{to_line(record)}\n" for record in records))
        watch((place + 1) / len(benchmarks))
        if place + 1 < len(benchmarks):
            stop_here(f"{benchmark.name} in {path}")


def converse(table: Table, method: str, rounds: int) -> list[Turns]:
    """What everybody says in each round, one turn per agent and question; the last round holds the answers."""
    each = [1] * len(table.agents)
    said = [share(table, each)]
    if method == "idea3":
        said.append(analyse(table, said[0], 1))
        said.append(fuse(table, said[0], said[1], each))
    if method == "debate":
        while len(said) < rounds:
            said.append(revise(table, said[-1], len(said) + 1))
    return said


def revise(table: Table, said: Turns, round_number: int) -> Turns:
    """A further round of a debate: everybody's answer again, in sight of the others' last ones."""

    def prompts(agent: int, place: int) -> list[str]:
        own, text = said[agent][place][0].text, table.questions[place].text
        peers = [said[peer][place][0].text for peer in range(len(said)) if peer != agent]
        return [rival_wordings(table.agents[agent].style).revise(text, own, peers)]

    seat = replace(table, seed=derive_seed(table.seed, "round", round_number))
    return speak(seat, "sharing", prompts, [1] * len(table.agents))


def elect(answers: Sequence[str | None], ability: Sequence[float], equal: Callable[[str, str], bool]) -> int:
    """Place of an agent that gave the answer most agents gave; ties go to the ablest agent, then to the first.

    Agents without an answer do not vote; where nobody has one, the ablest agent stands for all.
    """
    order = sorted(range(len(answers)), key=lambda agent: -ability[agent])
    camps: list[list[int]] = []
    for agent in order:
        answer = answers[agent]
        if answer is None:
            continue
        for camp in camps:
            if equal(answer, str(answers[camp[0]])):
                camp.append(agent)
                break
        else:
            camps.append([agent])
    return max(camps, key=len)[0] if camps else order[0]


class AskedAs:
    """A style whose questions and answers have the form of one kind of benchmark; all else is the style's own."""

    def __init__(self, style: PromptStyle, kind: Kind) -> None:
        self._style = style
        self._kind = kind

    def __getattr__(self, name: str) -> Any:
        return getattr(self._style, name)

    def solve(self, question: str) -> str:
        """The question alone."""
        return solo_forms(self._style).solve_as(question, self._kind)

    def extract_answer(self, completion: str) -> str | None:
        """The final answer."""
        return solo_forms(self._style).extract_as(completion, self._kind)

    def stop_strings(self) -> tuple[str, ...]:
        """Where a turn ends."""
        return solo_forms(self._style).stops_as(self._kind)


def _answer(
    benchmark: Benchmark,
    rows: Sequence[Row],
    agents: Sequence[Agent],
    ability: Sequence[float],
    config: RunConfig,
    grader: Grader,
) -> list[InferenceRecord]:
    kind: Kind = "choice" if benchmark.kind == "choice" else "answer"
    seated = [replace(agent, style=cast(PromptStyle, AskedAs(agent.style, kind))) for agent in agents]
    seed = derive_seed(config.seed, "inference", benchmark.name)
    settings = config.evaluation
    limit = settings.token_limit or benchmark.max_new_tokens or settings.max_new_tokens
    table = Table(
        seated,
        [Question(row.id, row.question, row.gold) for row in rows],
        _modes(config, len(agents), len(rows), seed),
        replace(
            config.sampling,
            temperature=settings.temperature,
            max_new_tokens=limit,
            rows_per_call=settings.rows_per_call,
        ),
        seed,
    )
    said = converse(table, config.inference.method, config.inference.rounds)
    judged: list[list[Judgement]] = []
    for agent, answers in zip(seated, said[-1], strict=True):
        with Scorer(benchmark, agent, grader) as scorer:
            scored = scorer.score_all(rows, [[turn.text] for (turn,) in answers])
            judged.append([judgement for (judgement,) in scored])
    records = []
    for place, row in enumerate(rows):
        talk = [[by_agent[place][0] for by_agent in turns] for turns in said]
        found = [judgements[place] for judgements in judged]
        chosen = elect([judgement.answer for judgement in found], ability, partial(_equal, grader))
        template = _record(benchmark, config, row, seed)
        records += [
            _answered(template, agent.name, talk, [number], found[number]) for number, agent in enumerate(agents)
        ]
        everybody = [chosen, *(number for number in range(len(agents)) if number != chosen)]
        records.append(_answered(template, JOINT, talk, everybody, found[chosen]))
    return records


def _record(benchmark: Benchmark, config: RunConfig, row: Row, seed: int) -> Callable[..., InferenceRecord]:
    method = config.inference.method
    return partial(
        InferenceRecord, benchmark=benchmark.name, method=method, question_id=row.id, gold=row.gold, seed=seed
    )


def _answered(
    record: Callable[..., InferenceRecord], name: str, talk: list[list[Turn]], own: list[int], found: Judgement
) -> InferenceRecord:
    """`talk`: by round and agent; `own`: whose last turns made this answer, the one shown first."""
    last = [talk[-1][number] for number in own]
    spent = [turn for turns in talk[:-1] for turn in turns] + last
    return record(
        agent=name,
        rounds=len(talk),
        tokens=sum(len(turn.completion.token_ids) for turn in spent),
        prompt_hash=content_hash([turn.prompt.ids for turn in last]),
        completion=last[0].text,
        answer=found.answer,
        verdict=found.verdict,
        cut_prompts=sum(turn.prompt.cut_tokens > 0 for turn in spent),
    )


def _modes(config: RunConfig, agents: int, questions: int, seed: int) -> NDArray[np.bool_]:
    """(agents, questions) Whom the coin has cooperate; without a discussion, nobody is asked."""
    if config.inference.method != "idea3":
        return np.ones((agents, questions), dtype=bool)
    rng = np.random.default_rng(derive_seed(seed, "modes"))
    return cooperation(config.interaction, np.zeros(agents), np.zeros(questions), np.zeros(agents), rng)


def _equal(grader: Grader, one: str, other: str) -> bool:
    return one == other or grader.grade([(one, other)])[0] is Verdict.CORRECT
