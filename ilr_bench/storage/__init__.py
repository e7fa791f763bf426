"""Records, checkpoints and artifacts on disk: whole or not there at all, whenever the process ends."""

from ilr_bench.core.lazy import public

__getattr__, __all__ = public(
    __name__,
    checkpoints="latest_checkpoint save_checkpoint",
    records="DialogueRecord SampleRecord StepRecord TrialResult Verdict read",
    store="Artifacts",
    timing="Stopwatch",
)
