"""Which tests are asked about the mutants of which module. The one table to mend where modules move."""

from __future__ import annotations

from files_answers import ANSWERS

TESTS = {
    "ilr_bench/ilr.py": "test_ilr_numbers test_ilr test_pooling",
    "ilr_bench/idea3.py": "test_idea3",
    "ilr_bench/interaction.py": "test_interaction",
    "ilr_bench/calibration.py": "test_calibration",
    "ilr_bench/advantages.py": "test_advantages",
    "ilr_bench/outcomes.py": "test_outcomes test_ilr_numbers",
    "ilr_bench/pooling.py": "test_pooling",
    "ilr_bench/difficulty.py": "test_difficulty",
    "ilr_bench/rewards.py": "test_rewards",
    "ilr_bench/policy_update.py": (
        "test_policy_update_written_out test_policy_update test_policy_update_broken test_policy_update_memory"
    ),
    "ilr_bench/trl_loss.py": "test_policy_update",
    "ilr_bench/ppo.py": "test_ppo test_policy_update_memory",
    "ilr_bench/gae.py": "test_ppo",
    "ilr_bench/step_log.py": "test_ilr_numbers test_ilr",
}
"""File -> names of test files in `tests`, those first that kill most."""
TESTS |= ANSWERS
