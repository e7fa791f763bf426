"""Which tests are asked about the mutants of which module. The one table to mend where modules move."""

from __future__ import annotations

from files_answers import ANSWERS

TESTS = {
    "ilr_bench/method/loop.py": "method/test_loop_numbers method/test_loop method/test_pooling",
    "ilr_bench/method/idea3.py": "method/test_idea3",
    "ilr_bench/method/interaction.py": "method/test_interaction",
    "ilr_bench/method/calibration.py": "method/test_calibration",
    "ilr_bench/method/advantages.py": "method/test_advantages method/test_loop_numbers",
    "ilr_bench/method/pooling.py": "method/test_pooling",
    "ilr_bench/method/difficulty.py": "method/test_difficulty",
    "ilr_bench/method/rewards.py": "method/test_rewards method/test_loop_numbers",
    "ilr_bench/learner/grpo.py": (
        "learner/test_grpo_written_out learner/test_grpo learner/test_grpo_broken learner/test_grpo_memory"
    ),
    "ilr_bench/learner/trl_loss.py": "learner/test_grpo",
    "ilr_bench/learner/ppo.py": "learner/test_ppo learner/test_grpo_memory",
    "ilr_bench/method/metrics.py": "method/test_loop_numbers method/test_loop",
}
"""File -> names of test files in `tests`, those first that kill most."""
TESTS |= ANSWERS
