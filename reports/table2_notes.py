"""The foot of Table 2: what was tested and how, what is missing, and which rows could not differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reports.accuracy import AVERAGE, Cell, Columns, Comparison, Row, column_title
from reports.frames import StudyFrames
from reports.training_effects import Effects, Equality


def notes(
    frames: StudyFrames,
    columns: Columns,
    headline: str,
    rows: Sequence[Row],
    cells: Mapping[tuple[Row, str], Cell],
    effects: Mapping[Row, Effects],
    family: Sequence[Comparison],
    equal: Sequence[Equality],
) -> tuple[str, ...]:
    """One sentence or two per line, plain text."""
    lines = [_cells(columns, cells), _runs(frames, rows)]
    if family:
        lines.append(_tests(headline, family))
    else:
        lines.append("No comparison: the study holds neither `base` nor `grpo_matched` besides another variant.")
    lines += [f"= {_equality(item)}" for item in equal]
    calibrated = [row for row in rows if effects[row].changed is not None]
    idle = [f"{row.section} {row.label}" for row in calibrated if effects[row].changed == 0]
    if calibrated and not idle:
        lines.append("No row is equal to another one by theorem: in every calibrated row some advantages changed.")
    if idle and not equal:
        lines.append(f"Calibration changed no advantage in {', '.join(idle)}; the row that would equal it is not here.")
    most = max(len(row.seeds) for row in rows)
    single = [f"{row.section} {row.label}" for row in rows if len(row.seeds) == 1 < most and row.variant != "base"]
    if single:
        lines.append(f"One run only, so without the variance between runs: {', '.join(single)}.")
    lines += [f"{row.section}, {row.label}: the same trials as {row.same_as}." for row in rows if row.same_as]
    if frames.unfinished:
        lines.append(f"Not finished, and left out here: {'; '.join(frames.unfinished)}.")
    missing = [(row, name) for row in rows for name in columns.all if (row, name) not in cells]
    if missing:
        which = "; ".join(f"{row.section} {row.label} {column_title(name)}" for row, name in missing)
        lines.append(f"Without answers (printed as –): {which}.")
    return tuple(lines)


def _cells(columns: Columns, cells: Mapping[tuple[Row, str], Cell]) -> str:
    counts = sorted({_answers(cell) for cell in cells.values()})
    per = " or ".join(str(count) for count in counts)
    what = (
        f"Cells: accuracy in % of the agent answering alone ({per} answer{'s' if counts != [1] else ''} per question "
        "and run), mean over runs and questions ± half of the 95 % interval for new questions and new training runs "
        "(mid-P Beta interval at the effective number of answers)."
    )
    if columns.maths:
        maths = ", ".join(map(column_title, columns.maths))
        what += f" {AVERAGE}: plain mean of {maths}; as in the paper, code is not in it."
    return what


def _answers(cell: Cell) -> int:
    return cell.interval.n // (cell.interval.questions * cell.interval.seeds)


def _runs(frames: StudyFrames, rows: Sequence[Row]) -> str:
    seeds = sorted({seed for row in rows for seed in row.seeds})
    text = (
        f"{len(seeds)} training seed{'s' if len(seeds) > 1 else ''} ({', '.join(map(str, seeds))}). The untrained "
        "models are made once and shared by all seeds, so their making is in no interval."
    )
    if len(seeds) == 1:
        text += " One seed: the intervals and tests are about these very trained models, not about training them again."
    return text + " Tokens: thousands of completion tokens sampled for the agent while training, mean over runs."


def _tests(headline: str, family: Sequence[Comparison]) -> str:
    counted = [item for item in family if item.row.same_as is None]
    tests = list(dict.fromkeys(item.result.test for item in counted if item.result.test != "identical"))
    marked = [item for item in counted if item.adjusted is not None and item.adjusted < 0.05]
    text = (
        f"vs columns: difference of {headline} in points, paired on the question, ± half of its own 95 % interval, and "
        f"Holm's p-value over the family of {len(counted)} comparisons (every row with base and with grpo_matched, all "
        f"models); * marks p < 0.05. Test: {' or '.join(tests) or 'none needed'}."
    )
    if any("pooled" in test for test in tests):
        alone = sum(item.own_runs_pvalue < 0.05 for item in marked)
        text += (
            " The variance between training runs is pooled over the trained variants of a model, in the cells too; "
            f"with the two rows' own variance {alone} of the {len(marked)} marked have p < 0.05 before correction."
        )
    return text


def _equality(item: Equality) -> str:
    row, twin = item.row, item.twin
    where = f"{row.section}: {row.label} equals {twin.label} by theorem (no advantage of any group was changed)"
    if not item.answers:
        return f"{where}; there are no common answers to check it on."
    if not item.different:
        return f"{where}, and all {item.answers} answers are the same text."
    return (
        f"{where}, yet {item.different} of {item.answers} answers differ: rounding or sampling let the two drift "
        "apart, so their difference is noise."
    )
