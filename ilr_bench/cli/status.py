"""How far a study is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ilr_bench.cli.app import StudyFolder, app, say_rows
from ilr_bench.core.console import fail_in_one_line, say

if TYPE_CHECKING:
    from ilr_bench.study.status import StudyState

SECONDS_BETWEEN_LOOKS = 5.0
HEAD = ("variant", "models", "seed", "state", "validation", "sampled tokens")


@app.command()
def status(
    study: StudyFolder,
    watch: Annotated[bool, typer.Option("--watch", help="Look again every few seconds until nothing runs.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines; with --watch, a line per look.")] = False,
) -> None:
    """Says how far every trial of a study is, from any machine that sees its folder, while it runs or later."""
    from ilr_bench.study.status import read_state

    with fail_in_one_line():
        state = read_state(study)
        _show(state, as_json, watch)
        while watch and state.holder is not None:
            time.sleep(SECONDS_BETWEEN_LOOKS)
            earlier, state = state, read_state(study)
            if state != earlier:
                _show(state, as_json, watch)


def _show(state: StudyState, as_json: bool, watch: bool) -> None:
    if as_json:
        _say_json(state, None if watch else 1)
        return
    if watch:
        Console().clear()  # on a terminal only
    _say_table(state)


def _say_json(state: StudyState, indent: int | None) -> None:
    import json
    from dataclasses import asdict

    say(json.dumps(asdict(state) | {"counts": state.counts}, ensure_ascii=False, indent=indent))


def _say_table(state: StudyState) -> None:
    rows = [HEAD]
    for trial in state.trials:
        validation = "" if trial.validation is None else f"{trial.validation:.1%}"
        told = " ".join(filter(None, (trial.state, trial.detail)))
        tokens = f"{trial.sampled_tokens:,}" if trial.sampled_tokens else ""
        rows.append((trial.variant, trial.models, str(trial.seed), told, validation, tokens))
    say_rows(rows)
    say("")
    say(", ".join(f"{count} {name}" for name, count in state.counts.items()))
    if state.best is not None:
        ahead = state.best
        say(f"best so far: {ahead.variant} {ahead.models} {ahead.seed}, {ahead.validation:.1%} on validation")
    say("no process works on it" if state.holder is None else f"{state.holder} works on it")
