"""Errors that a user can act on.

The command line prints each as a single line, without a traceback, and ends with the exit status of its class. Any
other exception that escapes is a bug.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class IlrError(Exception):
    """Something a user can mend: what was wrong, where, and what to do about it."""

    exit_status = 1


class ConfigurationError(IlrError):
    """A setting is unknown, malformed or contradicts another one."""

    exit_status = 2


class MissingInputError(IlrError):
    """A model, data set or package that the run needs is not on this machine."""

    exit_status = 3


class StoreError(IlrError):
    """A folder of results cannot be read or written, or is torn."""

    exit_status = 4


class NumericalError(IlrError):
    """A loss, gradient or weight is not finite; names agent and step."""

    exit_status = 5


class MemoryShortageError(IlrError):
    """Not even a single row fits into this machine's memory."""

    exit_status = 6


class DoesNotFitError(ConfigurationError):
    """By our estimate a study or a model needs more memory or disk than this machine has."""

    exit_status = 7


class ServiceError(IlrError):
    """A server that trains or samples for this machine refuses, is gone, or does not do what it says."""

    exit_status = 8


class LostServiceError(ServiceError):
    """A server or its session is gone; what was saved there may still be, so another attempt may succeed."""


def did_you_mean(name: str, known: Iterable[str], otherwise: str) -> str:
    """The end of an error about an unknown name: the closest of the known ones, or `otherwise` where none is close."""
    close = get_close_matches(name, list(known), n=1)
    return f"did you mean {close[0]}?" if close else otherwise


def first_line(error: object) -> str:
    """An error, or its reason, in a line: the first of its text, or its class where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
