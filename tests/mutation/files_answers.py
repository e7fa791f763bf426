"""The part of the table of tests that is about answers: sampled, graded, averaged and compared; and what is asked."""

from __future__ import annotations

STATISTICS = "oracles/test_statistics_forms oracles/test_statistics_max_t oracles/test_statistics_corners"
TABLES = "test_reports_rows test_reports_comparison"

ANSWERS = {
    "ilr_bench/evaluation/joint.py": "test_inference",
    "ilr_bench/grading/math.py": "test_grading",
    "ilr_bench/grading/math_worker.py": "test_grading",
    "ilr_bench/grading/expressions.py": "test_programs",
    "ilr_bench/grading/compare_outputs.py": "test_code test_programs",
    "ilr_bench/core/profiles.py": "test_profiles",
    "ilr_bench/core/seeds.py": "test_seeds",
    "ilr_bench/learner/logprobs.py": "test_generation_layout test_policy_update test_logprobs_pieces",
    "ilr_bench/generation/sampling.py": "test_generation_drawing",
    "ilr_bench/learner/logprobs.py": "test_logprobs_pieces",
    "ilr_bench/evaluation/metrics.py": "test_metrics",
    "ilr_bench/evaluation/scorer.py": "test_evaluation_records test_evaluation test_benchmarks",
    "ilr_bench/grading/code.py": "test_code",
    "ilr_bench/grading/code.py": "test_code_extraction",
    "ilr_bench/grading/code.py": "test_code",
    "ilr_bench/evaluation/batching.py": "test_evaluation_records test_evaluation",
    "ilr_bench/evaluation/runner.py": "test_evaluation_records test_evaluation test_benchmarks",
    "ilr_bench/prompts/style.py": "test_evaluation_prompts",
    "ilr_bench/prompts/chat.py": "test_prompts_words test_prompts test_evaluation_prompts",
    "ilr_bench/prompts/fewshot.py": "test_prompts_words test_prompts test_evaluation_prompts",
    "ilr_bench/prompts/micro.py": "test_prompts_words test_prompts",
    "ilr_bench/prompts/baselines.py": "test_prompts_words",
    "ablations/baselines.py": "test_ablations",
    "ablations/beyond.py": "test_ablations",
    "ablations/paper.py": "test_ablations",
    "ablations/registry.py": "test_ablations",
    "reports/statistics/estimates.py": STATISTICS,
    "reports/statistics/corrections.py": "oracles/test_statistics oracles/test_statistics_power",
    "reports/statistics/permutation.py": "oracles/test_statistics_max_t oracles/test_statistics_forms",
    "reports/statistics/power.py": "oracles/test_statistics_forms oracles/test_statistics_power",
    "reports/tables/accuracy.py": TABLES,
    "reports/tables/averages.py": "test_reports_rows",
    "reports/tables/comparison.py": TABLES,
    "reports/rows.py": TABLES,
}
"""File -> names of test files in `tests`, those first that kill most."""
