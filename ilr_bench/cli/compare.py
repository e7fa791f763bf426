"""Two logs of answers side by side: ours, lm-eval's, EvalPlus's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import typer

from ilr_bench.cli.app import app, say_rows
from ilr_bench.core.console import fail_in_one_line, note, say

Log = Annotated[
    Path, typer.Argument(help="Folder of records or of one agent of a trial, lm-eval's samples, EvalPlus's results.")
]


@app.command(
    epilog="""Examples:

  ilr-bench compare runs/base runs/ilr

  ilr-bench compare runs/study/trials/ilr-A+B-0-0123456789ab/eval/A lm_eval_out/my__model --any-prompt

  ilr-bench compare one_eval_results.json other_eval_results.json --out code.md
"""
)
def compare(
    a: Log,
    b: Log,
    common: Annotated[bool, typer.Option("--common", help="Take the common questions, samples and prompts.")] = False,
    any_prompt: Annotated[bool, typer.Option("--any-prompt", help="Compare where the prompts differ, too.")] = False,
    metric: Annotated[str | None, typer.Option(help="METRIC or METRIC,FILTER where a log has several.")] = None,
    pair: Annotated[
        list[str] | None, typer.Option(help="IN_A=IN_B: benchmarks with different names; can be repeated.")
    ] = None,
    correction: Annotated[Literal["holm", "bh"], typer.Option(help="Of the p-values over all lines.")] = "holm",
    examples: Annotated[int, typer.Option(help="Questions shown per side and line.", min=0)] = 3,
    out: Annotated[Path | None, typer.Option(help="FILE.md, FILE.csv or FILE.json to write as well.")] = None,
) -> None:
    """Who is right more often on the same questions, and on which."""
    from ilr_bench.core.errors import ConfigurationError
    from ilr_bench.storage.files import write_atomic
    from reports.compare import formats as formats
    from reports.compare import paired as comparison

    with fail_in_one_line():
        suffix = out.suffix.removeprefix(".") if out else "md"
        if suffix not in formats.RENDERERS:
            raise ConfigurationError(f"--out {out}: the name must end in .md, .csv or .json")
        options = comparison.Options(common, any_prompt, metric, _pairs(pair or []), correction, examples)
        compared = comparison.compare(a, b, options, _texts)
        say_rows(formats.rows(compared))
        for line in compared.lines:
            for title, shown in (("A", line.won_examples), ("B", line.lost_examples)):
                if shown:
                    say(f"{line.benchmark} ({line.measure}), {title} is better, for example:")
                for text in formats.example_lines(shown):
                    say(text)
        for text in formats.notes(compared):
            note(text)
        if out:
            write_atomic(out, formats.RENDERERS[suffix](compared))
            note(f"written to {out}")


def _pairs(given: list[str]) -> tuple[tuple[str, str], ...]:
    from ilr_bench.core.errors import ConfigurationError

    for text in given:
        if text.count("=") != 1 or not all(text.split("=")):
            raise ConfigurationError(f"--pair {text}: write NAME_IN_A=NAME_IN_B")
    return tuple((text.split("=")[0], text.split("=")[1]) for text in given)


def _texts(benchmark: str) -> Mapping[str, str]:
    """Our questions' wordings, which join our records with other programs' logs."""
    from ilr_bench.tasks import benchmarks

    return {row.id: row.question for row in benchmarks.get(benchmark).load()}
