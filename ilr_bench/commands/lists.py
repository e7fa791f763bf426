"""What there is: variants, benchmarks, models."""

from __future__ import annotations

from ilr_bench.commands.app import app, say_rows
from ilr_bench.console import fail_in_one_line


@app.command()
def variants() -> None:
    """Lists the variants: name, where it comes from, what it changes."""
    import ablations

    with fail_in_one_line():
        say_rows([(name, ablations.get(name).source, ablations.get(name).summary) for name in ablations.names()])


@app.command()
def benchmarks() -> None:
    """Lists the benchmarks that a trained model can be scored on."""
    from ilr_bench import benchmarks as rooms

    with fail_in_one_line():
        say_rows([(name, rooms.get(name).summary) for name in rooms.names()])


@app.command()
def models() -> None:
    """Lists the models that can be named, and what they are; a local folder, GGUF file or hub name works too."""
    from ilr_bench.models.base import MODELS

    with fail_in_one_line():
        say_rows([(name, MODELS.get(name).summary) for name in MODELS.names()])
