"""What reports make of studies: tables and figures, one number's trace, two logs side by side, a leaderboard."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ilr_bench.cli.app import StudyFolder, app, say_rows
from ilr_bench.core.console import fail_in_one_line, note, say
from ilr_bench.core.errors import ConfigurationError, IlrError, StoreError
from ilr_bench.storage.files import explained, write_atomic
from ilr_bench.storage.records import TrialEntry

if TYPE_CHECKING:
    from reports import Report, Settings
    from reports.frames import StudyFrames

Log = Annotated[
    Path, typer.Argument(help="Folder of records or of one agent of a trial, lm-eval's samples, EvalPlus's results.")
]


@app.command()
def report(
    study: StudyFolder,
    only: Annotated[list[str] | None, typer.Argument(metavar="[REPORT]...", help="Only these, by name.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write to; `reports` in the study's by default.")] = None,
    correction: Annotated[
        Literal["auto", "holm", "bh"],
        typer.Option(help="Of a table's p-values: by permutation of training runs or else Holm's, or as named."),
    ] = "auto",
) -> None:
    """Writes every table and figure that a study's records allow, or those that are named."""
    if TYPE_CHECKING:
        import reports
        from reports.frames import load
    else:
        from ilr_bench import reports
        from ilr_bench.reports.frames import load

    with fail_in_one_line():
        start = time.perf_counter()
        chosen = [reports.get(name) for name in only] if only else list(reports.REPORTS.usable().values())
        for reason in () if only else (*reports.REPORTS.broken().values(), *reports.REPORTS.conflicts()):
            note(reason)
        frames = load(study)
        for name, made in write_reports(frames, chosen, out or study / "reports", reports.Settings(correction)):
            if isinstance(made, Path):
                say(str(made))
            else:
                note(f"{name} left out: {made}")
        note(f"seconds on the clock: reports {time.perf_counter() - start:.0f}")


def write_reports(
    frames: StudyFrames, chosen: Iterable[Report], folder: Path, settings: Settings
) -> Iterator[tuple[str, Path | str]]:
    """Name of each report with the file to open first, or why this study cannot have it."""
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for item in chosen:
        reason = item.applies(frames)
        yield item.name, item.write(frames, folder, settings) if reason is None else reason


def say_training(study: Path, entries: Sequence[TrialEntry]) -> None:
    """Prints every agent of some trials before and after training, writes the study's reports and names the page."""
    if TYPE_CHECKING:
        import reports
        from reports.frames import load, narrowed
        from reports.tables.before_after import table
    else:
        from ilr_bench import reports
        from ilr_bench.reports.frames import load, narrowed
        from ilr_bench.reports.tables.before_after import table

    settings = reports.Settings()
    frames = load(study)
    mine = narrowed(frames, entries)
    if not mine.samples.empty:
        found = table(mine, settings)
        say_rows([found.main.head, *map(found.main.texts, found.main.lines)])
        note(
            "accuracy in % of each agent alone ± half of the 95 % interval; gains in points, paired on the question, "
            "* where more than chance; the report says how"
        )
    files = dict(write_reports(frames, reports.REPORTS.usable().values(), study / "reports", settings))
    say(f"report: {files['page']}")


@app.command(
    # A row may begin with a dash, as its model does.
    context_settings={"ignore_unknown_options": True},
    epilog="""Examples:

  ilr-bench why runs/reproduce_table2 table2 A/ilr Avg

  ilr-bench why runs/reproduce_table2 table2 A/ilr 'vs base'

  ilr-bench why runs/reproduce_table1 table1 'B/ilr (B+C)' 'Tokens (k)'
""",
)
def why(
    study: StudyFolder,
    table: Annotated[str, typer.Argument(help="accuracy, table1, table2, table4 or variants.")],
    row: Annotated[str, typer.Argument(metavar="MODEL/VARIANT", help="Such as A/ilr.")],
    column: Annotated[str, typer.Argument(help="As printed, such as Avg or 'vs base'.")],
    correction: Annotated[
        Literal["auto", "holm", "bh"], typer.Option(help="As the table was made, see `ilr-bench report --help`.")
    ] = "auto",
) -> None:
    """Traces one number of a table: its trials, settings, versions, record files, prompts and test."""
    if TYPE_CHECKING:
        from reports import Settings
        from reports.frames import load
        from reports.why import why as explain
    else:
        from ilr_bench.reports import Settings
        from ilr_bench.reports.frames import load
        from ilr_bench.reports.why import why as explain

    with fail_in_one_line():
        for line in explain(load(study), table, row, column, Settings(correction)):
            say(line)


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
    if TYPE_CHECKING:
        from reports.compare import formats
        from reports.compare import paired as comparison
    else:
        from ilr_bench.reports.compare import formats
        from ilr_bench.reports.compare import paired as comparison

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
    for text in given:
        if text.count("=") != 1 or not all(text.split("=")):
            raise ConfigurationError(f"--pair {text}: write NAME_IN_A=NAME_IN_B")
    return tuple((text.split("=")[0], text.split("=")[1]) for text in given)


def _texts(benchmark: str) -> Mapping[str, str]:
    """Our questions' wordings, which join our records with other programs' logs."""
    from ilr_bench.tasks import benchmarks

    return {row.id: row.question for row in benchmarks.get(benchmark).load()}


@app.command(
    epilog="""Examples:

  ilr-bench leaderboard runs/*

  ilr-bench leaderboard runs/reproduce_table1 runs/reproduce_table2 --out board.md
"""
)
def leaderboard(
    studies: Annotated[list[Path], typer.Argument(help="Folders of studies.")],
    out: Annotated[Path | None, typer.Option(help="Write FILE.md, .csv or .json as well.")] = None,
) -> None:
    """Lists the variants of several studies: accuracy, tokens, wall time, machine, commit; comparable ones together."""
    if TYPE_CHECKING:
        from reports.compare.leaderboard import collect, load_scored, markdown, renderer
    else:
        from ilr_bench.reports.compare.leaderboard import collect, load_scored, markdown, renderer

    with fail_in_one_line():
        render = None if out is None else renderer(out)
        frames, reasons = [], []
        for folder in studies:
            try:
                frames.append(load_scored(folder))
            except IlrError as error:
                reasons.append(str(error))
        if not frames:
            raise StoreError("; ".join(reasons))
        for reason in reasons:
            note(f"left out: {reason}")
        for study in frames:
            if study.unfinished:
                first = "; ".join(study.unfinished[:3])
                note(f"{study.folder}: {len(study.unfinished)} trials have not finished and are left out ({first}...)")
        found = collect(frames)
        say(markdown(found))
        if out is not None and render is not None:
            write_atomic(out, render(found))
