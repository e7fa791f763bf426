"""Which tests are asked about the mutants of which module. The one table to mend where modules move."""

from __future__ import annotations

from files_answers import ANSWERS

TESTS = {
    "ilr_bench/method/loop.py": (
        "method/test_loop_numbers method/test_loop method/test_pooling method/test_step_records_small_changes "
        "method/test_timing_small_changes"
    ),
    "ilr_bench/method/idea3.py": "method/test_idea3 method/test_idea3_small_changes",
    "ilr_bench/method/interaction.py": "method/test_interaction",
    "ilr_bench/method/calibration.py": "method/test_calibration",
    "ilr_bench/method/advantages.py": "method/test_advantages method/test_loop_numbers",
    "ilr_bench/method/pooling.py": "method/test_pooling method/test_pooling_small_changes",
    "ilr_bench/method/difficulty.py": "method/test_difficulty method/test_difficulty_small_changes",
    "ilr_bench/method/rewards.py": "method/test_rewards method/test_rewards_small_changes method/test_loop_numbers",
    "ilr_bench/learner/grpo.py": (
        "learner/test_grpo_written_out learner/test_grpo learner/test_grpo_broken learner/test_grpo_memory"
    ),
    "ilr_bench/learner/trl_loss.py": "learner/test_grpo",
    "ilr_bench/learner/ppo.py": "learner/test_ppo learner/test_grpo_memory",
    "ilr_bench/method/metrics.py": "method/test_step_records_small_changes method/test_loop_numbers method/test_loop",
    "ilr_bench/tasks/sources/micro.py": "tasks/test_micro_questions",
    "ilr_bench/tasks/sources/sums.py": "tasks/test_questions_real",
    "ilr_bench/tasks/sources/gsm8k.py": "tasks/test_questions_real",
    "ilr_bench/tasks/sources/math.py": "tasks/test_question_sources",
    "ilr_bench/tasks/sources/generated.py": "tasks/test_benchmarks_public",
}
"""File -> names of test files in `tests`, those first that kill most."""
TESTS |= ANSWERS
