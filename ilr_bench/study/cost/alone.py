"""What `ilr-bench evaluate` will ask of one model, before it is loaded."""

from __future__ import annotations

from dataclasses import replace

from ilr_bench.core.errors import DoesNotFitError
from ilr_bench.core.profiles import MICRO, profile
from ilr_bench.evaluation.runner import record_file
from ilr_bench.evaluation.standalone import BATCH_TOKENS, LM_EVAL, LONGEST_ANSWER, StandaloneRun
from ilr_bench.study.cost.architecture import architecture
from ilr_bench.study.cost.fits import Resources
from ilr_bench.study.cost.memory import BASE, FLOAT, HALF
from ilr_bench.study.cost.show import Rows, number, size
from ilr_bench.tasks.types import expand, get, row_count


def rows(run: StandaloneRun) -> Rows:
    """A line per benchmark: questions, answers, and at most how many tokens; those of lm-eval's own tasks unknown.

    Raises ConfigurationError for an unknown benchmark, MissingInputError where its rows are needed to count them.
    """
    named = run.profile or ("micro" if run.model in MICRO.pool else None)
    settings = profile(named or "small").evaluation
    if named is None:
        settings = replace(settings, max_new_tokens=LONGEST_ANSWER)
    lines: Rows = [("benchmark", "state", "questions", "answers", "longest", "tokens")]
    for asked in run.benchmarks:
        for name in (asked,) if asked.startswith(LM_EVAL) else expand([asked]):
            state = "there" if record_file(run.out, name).exists() else "to be answered"
            if name.startswith(LM_EVAL):
                lines.append((name, state, "-", "-", "-", "-"))
                continue
            benchmark = get(name)
            count = min(row_count(benchmark), run.limit or row_count(benchmark))
            longest = run.max_new_tokens or benchmark.max_new_tokens or settings.max_new_tokens
            answers = count * run.samples
            most = f"at most {number(answers * longest)}"
            lines.append((name, state, number(count), number(answers), number(longest), most))
    return lines


def memory_line(run: StandaloneRun) -> str:
    """Peak memory: process, weights, and the keys and values of one batch."""
    shape = architecture(run.model)
    if shape is None:
        return "memory: the model's size is not known here"
    batch = (run.batch_tokens or BATCH_TOKENS) * 2 * shape.key_size * shape.layers * _width(run)
    weights = shape.parameters * _width(run)
    return (
        f"memory: at most about {size(BASE + weights + batch)} ({size(weights)} weights, {size(batch)} keys and values "
        "of one batch)"
    )


def require(run: StandaloneRun, resources: Resources) -> None:
    """Raises DoesNotFitError where not even the weights fit: batches are cut to what memory there is."""
    shape = architecture(run.model)
    if shape is None:
        return
    weights = shape.parameters * _width(run)
    smaller = "take a smaller model" + ("" if run.dtype == "bfloat16" else ", or half the size by --dtype bfloat16")
    if resources.gpus and weights > max(resources.gpus):
        raise DoesNotFitError(
            f"GPU memory: the weights take {size(weights)}, "
            f"the largest card here has {size(max(resources.gpus))}; {smaller}"
        )
    if not resources.gpus and BASE + weights > resources.memory:
        raise DoesNotFitError(
            f"memory: the process and the weights take {size(BASE + weights)}, {size(resources.memory)} are available; "
            f"{smaller}"
        )


def _width(run: StandaloneRun) -> int:
    return FLOAT if run.dtype == "float32" else HALF
