"""The head of the page: which question a study asks, of whom, and how that was tested."""

from __future__ import annotations

import pandas as pd

from ilr_bench.core.config import RunConfig
from ilr_bench.core.profiles import MICRO

from ..frames import StudyFrames
from ..rows import AVERAGE, column_title, find_columns
from .descriptions import MICRO_MODELS, MICRO_TESTS, between, counted, listed


def title(frames: StudyFrames) -> str:
    """The study's question; the laboratory's own where any model was trained."""
    if _trained(frames) or not _discuss_untrained(frames):
        return "Does talking to other models while training make a language model reason better alone?"
    return "Does talking to other models while answering make untrained language models answer better?"


def introduction(frames: StudyFrames) -> list[str]:
    """What was done and how it was tested, in a few sentences."""
    models = list(dict.fromkeys(frames.trials["model"]))
    trained = _trained(frames)
    who = f"The models are {listed(models)}." if len(models) > 1 else f"The model is {models[0]}."
    sentences = [" ".join([_question(frames), who, *([MICRO_MODELS] if is_micro(frames) else [])])]
    if any(config.discussion.discusses for config in trained):
        sentences.append(
            "In a discussion every model first writes its own idea, then reads and criticises the ideas of the others, "
            "and at last writes an answer that draws on all of it. A program checks the answers, and each model is "
            "changed a little so that what earned more becomes likelier."
        )
    if trained:
        steps = sorted({config.training.steps for config in trained})
        questions = sorted({config.training.questions_per_step for config in trained})
        seeds = frames.trials["seed"].nunique()
        runs = f"with {counted(seeds, 'seed')}: runs that differ in nothing but chance" if seeds > 1 else "once"
        size = f"{between(steps, 'step')} of {between(questions, 'question')} each"
        sentences.append(f"A run takes {size}. Every variant was run {runs}.")
    if not frames.samples.empty:
        sentences.append(
            "What counts is tested at the end: every model answers test questions alone, without any discussion."
        )
    if frames.unfinished:
        missing = counted(len(frames.unfinished), "run")
        sentences.append(f"Not finished yet, and nowhere in this report: {missing}, named under Runs.")
    return sentences


def asked(frames: StudyFrames) -> list[tuple[str, str]]:
    """Every test with its number of questions and, for our own benchmarks, what they are."""
    answers = pd.concat([frames.samples, frames.inference]) if len(frames.inference) else frames.samples
    if answers.empty:
        return []
    sizes = answers.groupby("benchmark")["question"].nunique()
    names = [name for name in find_columns(frames, answers=answers).all if name != AVERAGE]
    counts = {name: counted(int(sizes[name]), "question") for name in names}
    return [
        (column_title(name), f"{counts[name]}: {MICRO_TESTS[name]}" if name in MICRO_TESTS else counts[name])
        for name in names
    ]


def is_micro(frames: StudyFrames) -> bool:
    """Whether all models are those that the profile `micro` makes."""
    return all(
        config.prompt_style == MICRO.prompt_style and set(config.models) <= set(MICRO.pool)
        for config in frames.configs.values()
    )


def _question(frames: StudyFrames) -> str:
    discusses = [config for config in _trained(frames) if config.discussion.discusses]
    if any(config.discussion.hears == "peers" and len(config.models) > 1 for config in discusses):
        return (
            "This study asks whether language models that talk to each other while they are trained answer better "
            "afterwards, each on its own."
        )
    if _trained(frames):
        return "This study trains language models, each by itself, and tests them afterwards."
    if _discuss_untrained(frames):
        return "This study asks whether models that talk to each other while they answer are right more often."
    return "This study tests language models as they are; nothing is trained."


def _trained(frames: StudyFrames) -> list[RunConfig]:
    return [config for config in frames.configs.values() if config.training.steps]


def _discuss_untrained(frames: StudyFrames) -> bool:
    return any(config.inference.method in ("debate", "idea3") for config in frames.configs.values())
