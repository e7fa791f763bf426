"""Which tests are asked about the mutants of which module. The one table to mend where modules move."""

from __future__ import annotations

STATISTICS = "oracles/test_statistics_forms oracles/test_statistics_max_t oracles/test_statistics_corners"
TABLES = "reports/test_rows reports/test_comparison"

TESTS = {
    "ilr_bench/method/loop.py": (
        "method/test_loop_numbers method/test_loop_mechanisms method/test_loop method/test_pooling "
        "method/test_step_records_small_changes method/test_timing_small_changes"
    ),
    "ilr_bench/method/idea3.py": "method/test_idea3 method/test_idea3_small_changes",
    "ilr_bench/method/interaction.py": "method/test_mechanisms_small_changes method/test_interaction",
    "ilr_bench/method/calibration.py": "method/test_mechanisms_small_changes method/test_calibration",
    "ilr_bench/method/advantages.py": (
        "method/test_mechanisms_small_changes method/test_advantages method/test_loop_numbers"
    ),
    "ilr_bench/method/pooling.py": "method/test_pooling method/test_pooling_small_changes",
    "ilr_bench/method/difficulty.py": "method/test_difficulty method/test_difficulty_small_changes",
    "ilr_bench/method/rewards.py": (
        "method/test_mechanisms_small_changes method/test_rewards method/test_rewards_small_changes "
        "method/test_loop_numbers"
    ),
    "ilr_bench/method/judge.py": "method/test_judge method/test_mechanisms_small_changes",
    "ilr_bench/method/stages.py": "method/test_stages method/test_mechanisms_small_changes",
    "ilr_bench/learner/grpo.py": (
        "learner/test_grpo_small_changes learner/test_grpo_corners learner/test_grpo_written_out learner/test_grpo "
        "learner/test_grpo_broken learner/test_grpo_memory learner/test_ppo"
    ),
    "ilr_bench/learner/trl_loss.py": "learner/test_trl_loss_small_changes learner/test_grpo_corners learner/test_grpo",
    "ilr_bench/learner/ppo.py": "learner/test_ppo_small_changes learner/test_ppo learner/test_grpo_memory",
    "ilr_bench/method/metrics.py": "method/test_step_records_small_changes method/test_loop_numbers method/test_loop",
    "ilr_bench/tasks/sources/micro.py": "tasks/test_sources_pinned tasks/test_micro_questions",
    "ilr_bench/tasks/sources/sums.py": "tasks/test_sources_pinned tasks/test_questions_real",
    "ilr_bench/tasks/sources/gsm8k.py": "tasks/test_sources_pinned tasks/test_questions_real",
    "ilr_bench/tasks/sources/math.py": "tasks/test_sources_pinned tasks/test_question_sources",
    "ilr_bench/tasks/sources/generated.py": "tasks/test_sources_pinned tasks/test_benchmarks_public",
    "ilr_bench/evaluation/joint.py": "evaluation/test_joint evaluation/test_joint_small_changes",
    "ilr_bench/grading/math.py": "grading/test_plain_numbers",
    "ilr_bench/grading/math_worker.py": "grading/test_judge_small_changes",
    "ilr_bench/grading/inequalities.py": "grading/test_inequalities",
    "ilr_bench/grading/notation.py": "grading/test_readable_notation",
    "ilr_bench/grading/number_words.py": "grading/test_number_words",
    "ilr_bench/grading/forms.py": "grading/test_forms grading/test_forms_of_quantities",
    "ilr_bench/prompts/thoughts.py": "prompts/test_thoughts",
    "ilr_bench/grading/expressions.py": "grading/test_expressions",
    "ilr_bench/grading/compare_outputs.py": "grading/test_compare_outputs",
    "ilr_bench/core/profiles.py": "core/test_profiles",
    "ilr_bench/core/seeds.py": "core/test_seeds",
    "ilr_bench/learner/logprobs.py": (
        "learner/test_logprobs_batches learner/test_logprobs generation/test_prefix_attention learner/test_grpo"
    ),
    "ilr_bench/generation/sampling.py": "generation/test_sampling",
    "ilr_bench/evaluation/metrics.py": "evaluation/test_metrics",
    "ilr_bench/evaluation/scorer.py": (
        "evaluation/test_scorer_small_changes evaluation/test_records evaluation/test_runner tasks/test_benchmarks"
    ),
    "ilr_bench/grading/code.py": "grading/test_code_small_changes grading/test_code_extraction",
    "ilr_bench/evaluation/batching.py": (
        "evaluation/test_batching_small_changes evaluation/test_records evaluation/test_runner"
    ),
    "ilr_bench/evaluation/runner.py": (
        "evaluation/test_runner_small_changes evaluation/test_records evaluation/test_runner tasks/test_benchmarks"
    ),
    "ilr_bench/prompts/style.py": "prompts/test_style_small_changes prompts/test_evaluation_prompts",
    "ilr_bench/prompts/letters.py": "prompts/test_letters_small_changes prompts/test_hedges prompts/test_letters",
    "ilr_bench/prompts/chat.py": (
        "prompts/test_letters prompts/test_wordings prompts/test_prompts prompts/test_evaluation_prompts"
    ),
    "ilr_bench/prompts/fewshot.py": (
        "prompts/test_fewshot_small_changes prompts/test_wordings prompts/test_prompts prompts/test_evaluation_prompts"
    ),
    "ilr_bench/prompts/micro.py": "prompts/test_fewshot_small_changes prompts/test_wordings prompts/test_prompts",
    "ilr_bench/prompts/baselines.py": "prompts/test_wordings",
    "ablations/baselines.py": "ablations/test_registry_of_variants",
    "ablations/beyond.py": "ablations/test_registry_of_variants",
    "ablations/paper.py": "ablations/test_registry_of_variants",
    "ablations/registry.py": "ablations/test_registry_of_variants",
    "reports/statistics/estimates.py": (
        f"oracles/test_estimates_small_changes oracles/test_statistics_small_changes {STATISTICS} "
        "oracles/test_statistics oracles/test_statistics_anova"
    ),
    "reports/statistics/permutation.py": (
        "oracles/test_permutation_small_changes oracles/test_statistics_small_changes oracles/test_statistics_max_t "
        "oracles/test_statistics_permutation oracles/test_statistics_forms"
    ),
    "reports/statistics/power.py": (
        "oracles/test_statistics_small_changes oracles/test_statistics_forms oracles/test_statistics_power"
    ),
    "reports/tables/accuracy.py": TABLES,
    "reports/tables/averages.py": "reports/test_rows",
    "reports/tables/comparison.py": TABLES,
    "reports/rows.py": TABLES,
}
"""File -> names of test files in `tests`, those first that kill most."""
