"""Errors that a user can act on.

Every one of these is printed by the command line as a single line, without a traceback, and ends the
process with the exit status of its class. Anything else that escapes is a defect of ours.
"""

from __future__ import annotations


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
    """A study or a model needs more memory or disk than this machine has, as far as can be told beforehand."""

    exit_status = 7
