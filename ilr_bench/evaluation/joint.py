"""Agents that answer benchmarks together, as a method of its own: single answers, Debate, Idea3 (paper, Table 4).

Debate is that of Du et al. 2023 (arXiv 2305.14325): all agents answer, then all answer again in sight of the
others' last answers, and the majority decides at the end. Idea3 is one pass of its three stages. Benchmarks
that ask for programs are left out: analyses and fusions ask for an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
from ilr_bench.evaluation.runner import answer_limit
from ilr_bench.evaluation.scorer import GradedAnswer, Scorer
from ilr_bench.generation.agent import Agent
from ilr_bench.grading.math import Grader
from ilr_bench.method.idea3 import StepBatch, Turn, Turns, fuse, generate_stage, remark, share
from ilr_bench.method.interaction import RULES, Situation, cooperation
from ilr_bench.method.stages import StagePrompt, analysis, remark_stages
from ilr_bench.prompts import Kind, PromptStyle, task_formats
from ilr_bench.prompts.baselines import baseline_prompts
from ilr_bench.storage.files import as_noted, write_noted
from ilr_bench.storage.records import JOINT, InferenceRecord, Verdict, read, to_line
from ilr_bench.tasks.types import Benchmark, BenchmarkQuestion, Question, expand, get

KINDS: tuple[Kind, ...] = ("answer", "choice")
IDEA3_REMARKS: Mapping[str, StagePrompt] = {"analysis": analysis}


def run_joint_inference(
    agents: Sequence[Agent],
    ability: Sequence[float],
    config: RunConfig,
    folder: Path,
    grader: Grader,
    watch: Callable[[float], None] = lambda fraction: None,
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
    for index, benchmark in enumerate(benchmarks):
        rows = benchmark.load()[: config.evaluation.limit]
        known = [record for record in earlier if record.benchmark == benchmark.name]
        if len(known) != len(rows) * (len(agents) + 1):
            known = _answer(benchmark, rows, agents, ability, config, grader)
        records += known
        write_noted(path, "".join(f"{to_line(record)}\n" for record in records))
        watch((index + 1) / len(benchmarks))
        if index + 1 < len(benchmarks):
            stop_here(f"{benchmark.name} in {path}")


def run_dialogue(
    batch: StepBatch, method: str, rounds: int, remarks: Mapping[str, StagePrompt] = IDEA3_REMARKS
) -> list[Turns]:
    """The turns of each round, one per agent and question; the last round holds the answers.

    `remarks`: the stages of Idea3 between sharing and fusion.
    """
    each = [1] * len(batch.agents)
    rounds_so_far = [share(batch, each)]
    if method == "idea3":
        for stage, prompt in remarks.items():
            rounds_so_far.append(remark(batch, stage, prompt, rounds_so_far[0], rounds_so_far[1:], 1))
        rounds_so_far.append(fuse(batch, rounds_so_far[0], rounds_so_far[1:], each))
    if method == "debate":
        while len(rounds_so_far) < rounds:
            rounds_so_far.append(debate_round(batch, rounds_so_far[-1], len(rounds_so_far) + 1))
    return rounds_so_far


def debate_round(batch: StepBatch, last_answers: Turns, round_number: int) -> Turns:
    """A further round of a debate: each agent's answer again, in sight of the others' last ones."""

    def prompts(agent: int, index: int) -> list[str]:
        own, text = last_answers[agent][index][0].text, batch.questions[index].text
        peers = [last_answers[peer][index][0].text for peer in range(len(last_answers)) if peer != agent]
        return [baseline_prompts(batch.agents[agent].style).revise(text, own, peers)]

    round_batch = replace(batch, seed=derive_seed(batch.seed, "round", round_number))
    return generate_stage(round_batch, "sharing", prompts, [1] * len(batch.agents))


def majority_vote(answers: Sequence[str | None], ability: Sequence[float], equal: Callable[[str, str], bool]) -> int:
    """Index of an agent that gave the answer most agents gave; ties go to the ablest agent, then to the first.

    Agents without an answer do not vote; where no agent has one, the ablest agent is chosen.
    """
    order = sorted(range(len(answers)), key=lambda agent: -ability[agent])
    groups: list[list[int]] = []
    for agent in order:
        answer = answers[agent]
        if answer is None:
            continue
        for group in groups:
            if equal(answer, str(answers[group[0]])):
                group.append(agent)
                break
        else:
            groups.append([agent])
    return max(groups, key=len)[0] if groups else order[0]


class FormattedStyle:
    """A style whose questions and answers have the form of one kind of benchmark; all else is the style's own."""

    def __init__(self, style: PromptStyle, kind: Kind) -> None:
        self._style = style
        self._kind = kind

    def __getattr__(self, name: str) -> Any:
        return getattr(self._style, name)

    def solve(self, question: str) -> str:
        """The question alone."""
        return task_formats(self._style).solve_as(question, self._kind)

    def extract_answer(self, completion: str) -> str | None:
        """The final answer."""
        return task_formats(self._style).extract_as(completion, self._kind)

    def stop_strings(self) -> tuple[str, ...]:
        """Where a turn ends."""
        return task_formats(self._style).stops_as(self._kind)


def _answer(
    benchmark: Benchmark,
    rows: Sequence[BenchmarkQuestion],
    agents: Sequence[Agent],
    ability: Sequence[float],
    config: RunConfig,
    grader: Grader,
) -> list[InferenceRecord]:
    kind: Kind = "choice" if benchmark.kind == "choice" else "answer"
    formatted_agents = [replace(agent, style=cast(PromptStyle, FormattedStyle(agent.style, kind))) for agent in agents]
    seed = derive_seed(config.seed, "inference", benchmark.seed_name)
    settings = config.evaluation
    limit = answer_limit(benchmark, settings, agents)
    step_batch = StepBatch(
        formatted_agents,
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
    remarks = remark_stages(config) if config.discussion.discusses else IDEA3_REMARKS
    rounds_of_turns = run_dialogue(step_batch, config.inference.method, config.inference.rounds, remarks)
    graded: list[list[GradedAnswer]] = []
    for agent, answers in zip(formatted_agents, rounds_of_turns[-1], strict=True):
        with Scorer(benchmark, agent, grader) as scorer:
            scored = scorer.score_all(rows, [[turn.text] for (turn,) in answers])
            graded.append([graded_answer for (graded_answer,) in scored])
    records = []
    for index, row in enumerate(rows):
        turns_by_round = [[by_agent[index][0] for by_agent in turns] for turns in rounds_of_turns]
        found = [graded_answers[index] for graded_answers in graded]
        chosen = majority_vote([graded_answer.answer for graded_answer in found], ability, partial(_equal, grader))
        everyone = [chosen, *(number for number in range(len(agents)) if number != chosen)]
        answerers = [*((agent.name, [number]) for number, agent in enumerate(agents)), (JOINT, everyone)]
        records += [
            _record(config, benchmark.name, row, seed, turns_by_round, name, numbers, found[numbers[0]])
            for name, numbers in answerers
        ]
    return records


def _record(
    config: RunConfig,
    benchmark: str,
    row: BenchmarkQuestion,
    seed: int,
    turns_by_round: list[list[Turn]],
    name: str,
    numbers: list[int],
    found: GradedAnswer,
) -> InferenceRecord:
    """`turns_by_round`: by round and agent; `numbers`: agents whose last turns made the answer, the shown one first."""
    last = [turns_by_round[-1][number] for number in numbers]
    spent = [turn for turns in turns_by_round[:-1] for turn in turns] + last
    return InferenceRecord(
        benchmark=benchmark,
        method=config.inference.method,
        question_id=row.id,
        gold=row.gold,
        seed=seed,
        agent=name,
        rounds=len(turns_by_round),
        tokens=sum(len(turn.completion.token_ids) for turn in spent),
        prompt_hash=content_hash([turn.prompt.ids for turn in last]),
        completion=last[0].text,
        answer=found.answer,
        verdict=found.verdict,
        cut_prompts=sum(turn.prompt.cut_tokens > 0 for turn in spent),
    )


def _modes(config: RunConfig, agents: int, questions: int, seed: int) -> NDArray[np.bool_]:
    """(agents, questions): where the interaction rule has an agent cooperate; all True without Idea3."""
    if config.inference.method != "idea3":
        return np.ones((agents, questions), dtype=bool)
    rng = np.random.default_rng(derive_seed(seed, "modes"))
    return cooperation(RULES.of(config), Situation(np.zeros(agents), np.zeros(questions), np.zeros(questions), rng))


def _equal(grader: Grader, one: str, other: str) -> bool:
    return one == other or grader.grade([(one, other)])[0] is Verdict.CORRECT
