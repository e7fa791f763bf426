"""Options of the command line that say where models are trained and sampled by others."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from ilr_bench.models.tinker import INSECURE, REDUCTION, URLS, address_of

EngineName = Annotated[
    str | None,
    typer.Option(
        "--engine", help="transformers, vllm or tinker (a server trains and samples); as --set sampling.engine=..."
    ),
]
TinkerUrls = Annotated[
    list[str] | None,
    typer.Option(
        "--tinker-url",
        help="Server behind the Tinker API, or AGENT=URL for one of several; without one, the hosted service "
        "(docs/tinker.md).",
    ),
]
Insecure = Annotated[
    bool, typer.Option("--tinker-insecure", help="Let questions, weights and the key cross a network in clear text.")
]
ReductionName = Annotated[
    str | None,
    typer.Option(
        "--tinker-reduction", help="How the server sums gradients, where it cannot be found out: sum or sequence_mean."
    ),
]


def with_engine(settings: list[str] | None, engine: str | None) -> list[str] | None:
    """Settings of the command line with the engine among them."""
    return settings if engine is None else [*(settings or ()), f"sampling.engine={engine}"]


def note_servers_asked(urls: list[str] | None, insecure: bool, reduction: str | None) -> None:
    """Notes in the environment, which workers inherit, where servers are: no record holds it.

    Raises ConfigurationError for an address that is refused.
    """
    if urls:
        os.environ[URLS] = ",".join(urls)
    if insecure:
        os.environ[INSECURE] = "1"
    if reduction:
        os.environ[REDUCTION] = reduction
    for url in urls or ():
        name, equals, _ = url.partition("=")
        address_of(name if equals and "/" not in name else "")
