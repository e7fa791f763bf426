"""Which tests are asked about the mutants of which module. The one table to mend where modules move."""

from __future__ import annotations

from files_answers import ANSWERS

TESTS = {
    "ilr_bench/method/loop.py": "test_ilr_numbers test_ilr test_pooling",
    "ilr_bench/method/idea3.py": "test_idea3",
    "ilr_bench/method/interaction.py": "test_interaction",
    "ilr_bench/method/calibration.py": "test_calibration",
    "ilr_bench/method/advantages.py": "test_advantages",
    "ilr_bench/method/outcomes.py": "test_outcomes test_ilr_numbers",
    "ilr_bench/method/pooling.py": "test_pooling",
    "ilr_bench/method/difficulty.py": "test_difficulty",
    "ilr_bench/method/rewards.py": "test_rewards",
    "ilr_bench/learner/grpo.py": (
        "test_policy_update_written_out test_policy_update test_policy_update_broken test_policy_update_memory"
    ),
    "ilr_bench/learner/trl_loss.py": "test_policy_update",
    "ilr_bench/learner/ppo.py": "test_ppo test_policy_update_memory",
    "ilr_bench/learner/ppo.py": "test_ppo",
    "ilr_bench/method/metrics.py": "test_ilr_numbers test_ilr",
}
"""File -> names of test files in `tests`, those first that kill most."""
TESTS |= ANSWERS
