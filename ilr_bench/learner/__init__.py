"""One agent's update: loss, log-probabilities, GRPO, PPO, SFT, data and weights on several devices."""
