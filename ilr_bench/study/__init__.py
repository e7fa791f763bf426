"""Trials and the sweeps, searches and forecasts over them."""

from ilr_bench.core.lazy import public

__getattr__, __all__ = public(
    __name__,
    plan="PlannedTrial plan_study",
    sweep="run_sweep",
    trial="run_trial",
)
