"""Licences that a user has to accept before their weights are used."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Annotated

import typer

from ilr_bench.core.errors import ConfigurationError

VARIABLE = "ILR_BENCH_ACCEPT_LICENCE"
TERMS = {"gemma": "https://ai.google.dev/gemma/terms"}
"""Licences by the name under which they are accepted, and where their text is."""


def accept(names: Sequence[str] | None) -> None:
    """Notes accepted licences for this process and those that it starts; raises ConfigurationError for unknown ones."""
    for name in names or ():
        if name not in TERMS:
            raise ConfigurationError(f"--accept-licence {name}: known licences are {', '.join(TERMS)}")
    os.environ[VARIABLE] = ",".join(dict.fromkeys([*_accepted(), *(names or ())]))


def require(name: str, what: str) -> None:
    """Raises ConfigurationError unless the licence of `what` was accepted."""
    if name not in _accepted():
        raise ConfigurationError(
            f"{what} is under terms of use that you have to accept: read {TERMS[name]}, "
            f"then add --accept-licence {name} (or set {VARIABLE}={name})"
        )


def _accepted() -> list[str]:
    return [name.strip() for name in os.environ.get(VARIABLE, "").split(",") if name.strip()]


AcceptLicence = Annotated[
    list[str] | None,
    typer.Option(
        "--accept-licence",
        help=f"A licence you have read and accept ({', '.join(TERMS)}); repeatable. {VARIABLE} does the same.",
    ),
]
"""The option of every command that loads models; hand its value to `accept`."""
