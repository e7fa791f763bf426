"""Verdicts: is an answer right, does a program pass its tests; untrusted input runs where it can be killed."""

from ilr_bench.core.lazy import public

__getattr__, __all__ = public(
    __name__,
    expressions="ProgramRunner",
    math="Grader",
)
