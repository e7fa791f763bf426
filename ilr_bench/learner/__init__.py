"""One agent's update: loss, log-probabilities, GRPO, PPO, SFT, data and weights on several devices."""

from ilr_bench.core.lazy import public

__getattr__, __all__ = public(
    __name__,
    build="build_agents make_learners",
    grpo="GRPOLearner StepMetrics TrainingSample",
    logprobs="completion_logprobs",
    ppo="PPOLearner",
)
