"""How far a study is."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated

import typer

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
        best = None if state.best is None else state.best.flat()
        trials = [trial.flat() for trial in state.trials]
        data = {
            "profile": state.profile,
            "holder": state.holder,
            "trials": trials,
            "best": best,
            "counts": state.counts,
        }
        say(json.dumps(data, ensure_ascii=False, indent=None if watch else 1))
        return
    if watch:
        from rich.console import Console

        Console().clear()  # on a terminal only
    rows = [HEAD]
    for trial in state.trials:
        entry, progress = trial.entry, trial.progress
        validation = "" if progress.validation is None else f"{progress.validation:.1%}"
        state_and_detail = " ".join(filter(None, (trial.state, trial.detail)))
        tokens = f"{progress.sampled_tokens:,}" if progress.sampled_tokens else ""
        rows.append((entry.variant, trial.models, str(entry.seed), state_and_detail, validation, tokens))
    say_rows(rows)
    say("")
    say(", ".join(f"{count} {name}" for name, count in state.counts.items()))
    if state.best is not None:
        entry, value = state.best.entry, state.best.progress.validation
        say(f"best so far: {entry.variant} {state.best.models} {entry.seed}, {value:.1%} on validation")
    say("no process works on it" if state.holder is None else f"{state.holder} works on it")
