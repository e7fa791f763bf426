"""What `ilr-bench evaluate` will ask of one model, and the memory that it takes."""

from __future__ import annotations

from dataclasses import replace

from ilr_bench.core.console import say, say_rows
from ilr_bench.core.errors import DoesNotFitError
from ilr_bench.core.profiles import MICRO, profile
from ilr_bench.evaluation.runner import record_file
from ilr_bench.evaluation.standalone import BATCH_TOKENS, LM_EVAL, StandaloneRun
from ilr_bench.study.cost.fits import Resources
from ilr_bench.study.cost.memory import BASE, FLOAT, HALF, architecture
from ilr_bench.study.cost.show import Rows, number, size
from ilr_bench.tasks.types import ANSWER_TOKENS, expand, get, row_count


def say_evaluation(run: StandaloneRun, resources: Resources) -> None:
    """Prints what one model will be asked, and its peak memory: process, weights, keys and values of one batch.

    Raises ConfigurationError for an unknown benchmark, MissingInputError where its rows are needed to count them,
    DoesNotFitError where not even the weights fit: batches are cut to what memory there is.
    """
    say_rows(_benchmark_rows(run))
    shape = architecture(run.model)
    if shape is None:
        say("memory: the model's size is not known here")
        return
    width = FLOAT if run.dtype == "float32" else HALF
    batch = (run.batch_tokens or BATCH_TOKENS) * 2 * shape.key_size * shape.layers * width
    weights = shape.parameters * width
    say(
        f"memory: at most about {size(BASE + weights + batch)} ({size(weights)} weights, {size(batch)} keys and values "
        "of one batch)"
    )
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


def _benchmark_rows(run: StandaloneRun) -> Rows:
    """A line per benchmark: questions, answers, and at most how many tokens; those of lm-eval's own tasks unknown."""
    named = run.profile or ("micro" if run.model in MICRO.pool else None)
    settings = profile(named or "small").evaluation
    if named is None:
        settings = replace(settings, max_new_tokens=ANSWER_TOKENS)
    rows: Rows = [("benchmark", "state", "questions", "answers", "longest", "tokens")]
    for name in (name for asked in run.benchmarks for name in ([asked] if _is_lm_eval(asked) else expand([asked]))):
        benchmark = None if _is_lm_eval(name) else get(name)
        title = name if benchmark is None else benchmark.name
        state = "there" if record_file(run.out, title).exists() else "to be answered"
        if benchmark is None:
            rows.append((title, state, "-", "-", "-", "-"))
            continue
        count = min(row_count(benchmark), run.limit or row_count(benchmark))
        longest = run.max_new_tokens or benchmark.max_new_tokens or settings.max_new_tokens
        answers = count * run.samples
        numbers = (number(count), number(answers), number(longest), f"at most {number(answers * longest)}")
        rows.append((title, state, *numbers))
    return rows


def _is_lm_eval(name: str) -> bool:
    return name.startswith(LM_EVAL)
