"""The paper: the loop and its steps, one idea per file."""

from ilr_bench.core.lazy import public

__getattr__, __all__ = public(
    __name__,
    advantages="AdvantageBatch compute_advantages group_advantages",
    calibration="Calibrated perception_calibration",
    difficulty="joint_difficulty",
    idea3="StepBatch analyse fuse share",
    interaction="cooperation select_mode success_probability",
    loop="TrainerState train",
    rewards="Rollouts score",
)
