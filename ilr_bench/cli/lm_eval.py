"""lm-eval's own command line, with our model class among its models."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ilr_bench.cli.app import app
from ilr_bench.core.console import fail_in_one_line
from ilr_bench.core.hardware import yield_idle_cores

MODEL = "ilr_bench"
"""The name of our class for `--model`."""


@app.command("lm-eval", context_settings={"ignore_unknown_options": True, "help_option_names": []})
def lm_eval(arguments: Annotated[list[str] | None, typer.Argument(metavar="ARGUMENTS...")] = None) -> None:
    """Is lm-eval's command line, in which `--model ilr_bench --model_args model=PATH_OR_NAME` is our model class."""
    yield_idle_cores()
    from lm_eval.__main__ import cli_evaluate
    from lm_eval.api.registry import model_registry

    model_registry.register(MODEL, target=f"{__package__}.lm_eval_model:CommandLineLM")
    # Where lm-eval looks for its arguments.
    sys.argv = ["lm-eval", *(arguments or [])]
    with fail_in_one_line():
        cli_evaluate()
