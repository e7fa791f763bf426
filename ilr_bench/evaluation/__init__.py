"""Every agent scored alone, through lm-eval and EvalPlus's rules, or all agents answering jointly."""

from ilr_bench.core.lazy import public

__getattr__, __all__ = public(
    __name__,
    joint="run_joint_inference",
    runner="BenchmarkRun evaluate run_benchmarks",
    standalone="StandaloneRun evaluate_model",
)
