"""The parts, in order of value."""

from __future__ import annotations

from bench.gpu.runner import Part

DETERMINISTIC = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
"""Without it torch refuses matrix products in deterministic mode."""

PARTS = (
    Part("checks", "every module that takes a device, against the CPU", 75, "bench.gpu.checks", "check", DETERMINISTIC),
    Part("trial", "micro Table 2 trial `ilr`, three steps", 90, "bench.gpu.trials", "micro_trial"),
    Part("smollm2", "three ILR steps of two SmolLM2, killed after the second", 120, "bench.gpu.trials", "smollm2"),
    Part("step", "a joint step of two 135M agents, 16 questions x 8 answers", 45, "bench.gpu.speed", "joint_step"),
    Part("engine", "tokens per second against `generate` and the memory limit", 110, "bench.gpu.speed", "engine"),
    Part("kernels", "operators, kernels and host waits for a token", 60, "bench.gpu.speed", "kernels"),
    Part("update", "the update at 1B: share of the peak, memory against the plan", 60, "bench.gpu.speed", "update"),
    Part("offload", "two agents to the host and back", 30, "bench.gpu.speed", "offload"),
    Part(
        "deterministic", "resume in deterministic mode, byte for byte", 75, "bench.gpu.trials", "deterministic",
        DETERMINISTIC,
    ),
    Part("evidence", "SmolLM2, `ilr` against `grpo_matched`: the seeds that fit", 600, "bench.gpu.trials", "evidence"),
)  # fmt: skip
