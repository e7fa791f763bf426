"""A study in plain words: what each variant does, from its configuration alone."""

from __future__ import annotations

from collections.abc import Sequence

from ilr_bench.core.config import AdvantageSettings, RunConfig
from ilr_bench.core.plugins import short_label
from ilr_bench.core.validation import is_built_in

TRAINED = {
    "fusion": "Each learns from its answers after the discussion.",
    "sharing": "Each learns from its own first ideas only.",
    "both": "Each learns from its first ideas and from its answers after the discussion.",
    "all": "Each learns from its ideas, its analyses and its answers after the discussion.",
}
INFERENCE = {
    "single": "Not trained; one answer from each model.",
    "debate": "Not trained; models see each other's answers and revise their own, {rounds} rounds in all.",
    "idea3": "Not trained; models share ideas, analyse them and fuse them into an answer.",
}
NUMBERS = {2: "Two", 3: "Three", 4: "Four"}
MICRO_TESTS = {
    "micro_short_chain": "two or three sums and differences in a row",
    "micro_word_problem": "two or three steps told as a story",
    "micro_two_step": "a product and a sum or difference",
    "micro_long_chain": "four to six sums and differences in a row",
    "micro_ood": "longer chains, longer stories, larger numbers than in training",
    "micro_code": "one-line functions, scored as EvalPlus does",
}
"""Of our own benchmarks; public ones are known by their names."""
MICRO_MODELS = (
    "Micro models are tiny: one or two hundred thousand weights, made for this laboratory from generated sums with "
    "mistakes in them. What holds for them need not hold for models ten thousand times their size."
)
MICRO_SHORTHAND = (
    "These models write in shorthand. A solution goes on from the last result: after 3+4=7 comes +2=9. An analysis "
    "repeats the other's steps, each with the result that was written and, after a stroke, the one believed in; it "
    "stops at the first that differ and ends in a verdict (fix or keep for a partner, wrong or sound for an opponent)."
)
GLOSSARY = (
    ("agent", "One of the models of a group, with its own weights, tokenizer and optimizer."),
    (
        "grpo",
        "Group Relative Policy Optimization: a model answers each training question several times, and what was better "
        "than the average of these answers becomes likelier.",
    ),
    (
        "ilr",
        "Interactive Learning for LLM Reasoning (arXiv 2509.26306), the method in question: GRPO on discussions (di, "
        "dynamic interaction) with calibrated rewards (pc, perception calibration). di_only and pc_only have one of "
        "the two.",
    ),
    (
        "reward",
        "What an answer earns while training: mostly whether it is right, checked by a program. Depending on the "
        "configuration a wrong one earns something for right steps, so it can be better than the others.",
    ),
    (
        "advantage",
        "How much better an answer was than the others to the same question. Training makes answers with a positive "
        "advantage likelier and those with a negative one less likely; without differences there is nothing to learn.",
    ),
    (
        "cooperate, compete",
        "In the discussion an agent treats its peer as a partner or as an opponent. Only the wording of the prompt "
        "changes. The item-response rule cooperates where a question is harder than the agent is able.",
    ),
    (
        "calibration",
        "A correction of an agent's rewards by those of its peers on the same question (the paper's equation 5).",
    ),
    (
        "sampled tokens",
        "The pieces of text written while training, the main cost. grpo_matched writes as many as ilr, alone.",
    ),
    ("Avg", "Plain mean of the columns for mathematics; programs (code) are not in it."),
    ("point", "A hundredth: from 80 % to 82 % are two points."),
    (
        "±",
        "Half of a 95 % interval. Were the study repeated with new questions and new training runs, about 19 of 20 "
        "such intervals would hold the true value.",
    ),
    (
        "p, *",
        "How often chance alone would bring a difference as large somewhere in the whole table, if nothing mattered: "
        "p=.15 means in 15 of 100 such tables. Below 5 in 100 a star marks it. Without a star nothing is claimed, and "
        "the table's foot says which test it was and how small a difference it could have seen.",
    ),
)


def describe(config: RunConfig) -> str:
    """One to four sentences on what happens to the models under a configuration."""
    if config.inference.method != "none":
        return INFERENCE[config.inference.method].format(rounds=config.inference.rounds)
    if not config.training.steps:
        return "The models as they are, without training."
    parts = [_discussion(config) if config.discussion.discusses else "Each model is trained alone."]
    if config.sampling.match_tokens_of is not None:
        parts.append(f"It samples as much text as {config.sampling.match_tokens_of} does, on more answers.")
    if config.discussion.discusses:
        parts.append(TRAINED[config.discussion.trained_turns])
    if not is_built_in(config, "reward.kind"):
        parts.append(f"An answer earns what {short_label(config.reward.kind)} gives it.")
    if config.calibration.kind != "none":
        by = "" if is_built_in(config, "calibration.kind") else f", by {short_label(config.calibration.kind)}"
        parts.append(f"Rewards are calibrated by those of the peers{by}.")
    if config.advantages.kind != AdvantageSettings.kind:
        parts.append(f"Advantages are those of {short_label(config.advantages.kind)}.")
        return " ".join(parts)
    if config.pooling.kind != "none":
        parts.append("Right ideas of a peer join its own.")
    if config.critic.kind != "none":
        parts.append("A value function takes the place of the group as baseline (PPO).")
    if config.advantages.baseline in ("agents", "batch"):
        parts.append(f"Advantages are taken against a mean over the {config.advantages.baseline}.")
    if config.advantages.scale != "group":
        how = (
            "not divided by any spread" if config.advantages.scale == "none" else "divided by the whole batch's spread"
        )
        parts.append(f"Advantages are {how}.")
    return " ".join(parts)


def _discussion(config: RunConfig) -> str:
    if config.discussion.hears == "itself":
        return "Each model has an idea, analyses it and improves it, without hearing the others."
    number = len(config.models)
    count = NUMBERS.get(number, str(number))
    who = f"{count} {'models' if len(set(config.models)) == number else 'copies of one model'}"
    rule = config.interaction
    if rule.rule == "irt":
        how = "the item-response rule decides, question by question, who cooperates"
        how += ", with abilities that follow the training" if rule.ability == "online" else ""
    elif rule.rule == "matched_coin":
        how = "coins decide who cooperates, as often as the rule would"
    elif rule.rule != "coin":
        how = f"the rule {short_label(rule.rule)} decides who cooperates"
    elif rule.cooperation_ratio in (0, 1):
        how = "all cooperate on every question" if rule.cooperation_ratio else "all compete on every question"
    else:
        how = f"a coin decides whether they cooperate ({rule.cooperation_ratio:.0%} of the questions)"
    measured = " Difficulty is the share of wrong answers." if config.difficulty.source == "solve_rate" else ""
    between = config.discussion.labels[1:-1]
    look = "analyse each other's" if between == ("analysis",) else f"go through {listed(between)}"
    return f"{who} share ideas, {look} and fuse them; {how}.{measured}"


def counted(number: int, word: str) -> str:
    """`1 seed`, `3 seeds`."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def listed(names: Sequence[str]) -> str:
    """`A`, `A and B`, `A, B and C`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def between(numbers: Sequence[int], word: str) -> str:
    """`30 steps`, or `10 to 30 steps` where there are several numbers in rising order."""
    most = counted(numbers[-1], word)
    return most if len(numbers) == 1 else f"{numbers[0]:,} to {most}"
