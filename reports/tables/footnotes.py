"""The footnotes of a table: what was tested and how, what it could find, what is missing, what could not differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..rows import AVERAGE, TableRow, column_title
from .comparison import LEVEL, Numbers
from .families import describe
from .training_effects import Effects, Equality, of_row

MOST_CUT = 0.05
"""Fraction of cut answers above which a number says something about the limit."""


def footnotes(numbers: Numbers, effects: Mapping[TableRow, Effects], equal: Sequence[Equality]) -> tuple[str, ...]:
    """One sentence or two per line, plain text; `effects` is empty for a table about untrained agents."""
    lines = [_cells(numbers), _runs(numbers)]
    if numbers.spec.ranked:
        lines.append("Rank: by accuracy within a model; whether two rows differ is what intervals and tests say.")
    if numbers.family.comparisons:
        lines += [_tests(numbers), _detectable(numbers), *_uneven(numbers)]
    else:
        lines.append(f"No comparison: the study holds no {' or '.join(numbers.spec.references)} besides another row.")
    lines += [f"= {_equality(item)}" for item in equal]
    lines += _idle(numbers, effects, equal)
    lines += _particular(numbers)
    if cut := cut_answers(numbers):
        parts = [f"{row.section} {row.label} {column_title(name)} {100 * share:.0f} %" for row, name, share in cut]
        lines.append(
            "More than 5 % of the answers were cut by the token limit, and hardly any of those is right: "
            f"{'; '.join(parts)}. Raise evaluation.token_limit."
        )
    frames = numbers.frames
    if frames.study.overlaps:
        lines.append(f"Trained on what is asked here, as was allowed: {'; '.join(frames.study.overlaps)}.")
    if frames.unfinished:
        lines.append(f"Not finished, and left out here: {'; '.join(frames.unfinished)}.")
    missing = [(row, name) for row in numbers.rows for name in numbers.shown if (row, name) not in numbers.cells]
    if missing:
        which = "; ".join(f"{row.section} {row.label} {column_title(name)}" for row, name in missing)
        lines.append(f"Without answers (printed as –): {which}.")
    return tuple(lines)


def cut_answers(numbers: Numbers) -> list[tuple[TableRow, str, float]]:
    """Row, benchmark and fraction of answers that the token limit cut, where it is more than `MOST_CUT`."""
    samples = numbers.frames.samples
    found = []
    for row in () if numbers.spec.inference else numbers.rows:
        shares = of_row(samples, row).groupby("benchmark", sort=False)["cut"].mean()
        found += [(row, str(name), float(share)) for name, share in shares.items() if share > MOST_CUT]
    return found


def _cells(numbers: Numbers) -> str:
    intervals = [cell.interval for cell in numbers.cells.values()]
    counts = sorted({item.n // (item.questions * item.seeds) for item in intervals})
    per = " or ".join(str(count) for count in counts)
    who = "the agent's own last answer, or of all agents' joint one" if numbers.spec.inference else "the agent alone"
    what = (
        f"Cells: accuracy in % of {who} ({per} answer{'s' if counts != [1] else ''} per question and run), mean over "
        "runs and questions ± half of the 95 % interval for new questions and new "
        f"{'runs' if numbers.spec.inference else 'training runs'} (mid-P Beta interval at the effective number of "
        "answers)."
    )
    columns = numbers.columns
    if columns.maths:
        what += f" {AVERAGE}: plain mean of {', '.join(map(column_title, columns.maths))}"
        beside = [column_title(name) for name in (*columns.code, *columns.other)]
        what += f"; {', '.join(beside)} {'is' if len(beside) == 1 else 'are'} not in it." if beside else "."
    return what


def _runs(numbers: Numbers) -> str:
    seeds = sorted({seed for row in numbers.rows for seed in row.seeds})
    text = f"{len(seeds)} seed{'s' if len(seeds) > 1 else ''} ({', '.join(map(str, seeds))}). "
    if numbers.spec.inference:
        return text + (
            "Nothing is trained here. Rounds: how often every agent spoke before the answer stood. Tokens per answer: "
            "sampled by all agents for it, earlier rounds and analyses included."
        )
    text += "The untrained models, supervised steps included, are made once and shared by all seeds, so their making "
    text += "is in no interval."
    if len(seeds) == 1:
        text += " One seed: the intervals and tests are about these very trained models, not about training them again."
    if not numbers.spec.with_costs:
        return text
    return text + " Tokens: thousands of completion tokens sampled for the agent while training, mean over runs."


def _tests(numbers: Numbers) -> str:
    counted = numbers.family.counted
    marked = [item for item in counted if item.adjusted is not None and item.adjusted < LEVEL]
    text = (
        f"{numbers.spec.differences}: difference of {column_title(numbers.headline)} in points, paired on the "
        "question, ± half of its own 95 % interval, and corrected p-value in a family of "
        f"{len(counted)} comparisons (every row with {' and with '.join(numbers.references)}, all models); "
        f"* marks p < 0.05. {describe(numbers.family)}."
    )
    if any("pooled" in item.result.test for item in counted):
        alone = sum(item.own_runs_pvalue is not None and item.own_runs_pvalue < LEVEL for item in marked)
        text += (
            " The variance between runs is pooled over all variants of a model in this study, in the cells too; with "
            f"the two rows' own variance {alone} of the {len(marked)} marked have p < 0.05 (t test) before correction."
        )
    return text


def _detectable(numbers: Numbers) -> str:
    known = [item for item in numbers.detectable if item.single is not None and item.column in numbers.shown]
    if not known:
        return "Smallest detectable difference: none to state, the compared rows answered alike."
    parts = []
    for column in dict.fromkeys(item.column for item in known):
        mine = [item for item in known if item.column == column]
        single = ", ".join(f"{_points(item.single or 0)} vs {item.reference}" for item in mine)
        family = " and ".join(_points(item.family) for item in mine if item.family is not None)
        within = f"; in the family {family}" if family else ""
        parts.append(f"{column_title(column)} {single} ({mine[0].questions} questions{within})")
    return (
        "Smallest detectable difference in points (power 80 %, two-sided 5 %, one comparison, median over the "
        f"comparisons with each reference): {'; '.join(parts)}."
    )


def _points(difference: float) -> str:
    return "over 100" if difference > 1 else f"{100 * difference:.1f}"


def _uneven(numbers: Numbers) -> list[str]:
    parts = []
    for item in numbers.family.counted:
        own, other = (set(numbers.cells[side, numbers.headline].seeds) for side in (item.row, item.against))
        if own != other:
            common = ", ".join(map(str, sorted(own & other)))
            parts.append(f"{item.row.section} {item.row.label} vs {item.against.label} ({common})")
    if not parts:
        return []
    test = "; the permutation test takes all runs of both" if numbers.family.method == "max_t" else ""
    return [f"Differences of rows with unequal seeds are those of the common ones{test}: {'; '.join(parts)}."]


def _idle(numbers: Numbers, effects: Mapping[TableRow, Effects], equal: Sequence[Equality]) -> list[str]:
    calibrated = [row for row in numbers.rows if row in effects and effects[row].changed is not None]
    idle = [f"{row.section} {row.label}" for row in calibrated if effects[row].changed == 0]
    if calibrated and not idle:
        return ["No row is equal to another one by theorem: in every calibrated row some advantages changed."]
    if idle and not equal:
        return [f"Calibration changed no advantage in {', '.join(idle)}; the row that would equal it is not here."]
    return []


def _particular(numbers: Numbers) -> list[str]:
    rows = numbers.rows
    most = max(len(row.seeds) for row in rows)
    single = [f"{row.section} {row.label}" for row in rows if len(row.seeds) == 1 < most and row.stem != "base"]
    lines = []
    if single:
        lines.append(f"One run only, so without the variance between runs: {', '.join(single)}.")
    lines += [f"{row.section}, {row.label}: the same trials as {row.same_as}." for row in rows if row.same_as]
    groups: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        if row.also:
            groups.setdefault((row.models, *row.also), []).append(f"{row.section} {row.label}")
    once = "Printed once, since all answers are the same texts in"
    return [*lines, *(f"{once} {' and '.join(names)}: {', '.join(alike)}." for names, alike in groups.items())]


def _equality(item: Equality) -> str:
    row = item.row
    where = f"{row.section}: {row.label} equals {item.other.label} by theorem (no advantage of any group was changed)"
    if not item.answers:
        return f"{where}; there are no common answers to check it on."
    if not item.different:
        return f"{where}, and all {item.answers} answers are the same text."
    return (
        f"{where}, yet {item.different} of {item.answers} answers differ: rounding or sampling let the two drift "
        "apart, so their difference is noise."
    )
