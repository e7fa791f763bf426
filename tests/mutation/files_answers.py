"""The part of the table of tests that is about answers: sampled, graded, averaged and compared; and what is asked."""

from __future__ import annotations

STATISTICS = "oracles/test_statistics_forms oracles/test_statistics_max_t oracles/test_statistics_corners"
TABLES = "test_reports_rows test_reports_comparison"

ANSWERS = {
    "ilr_bench/inference.py": "test_inference",
    "ilr_bench/grading.py": "test_grading",
    "ilr_bench/grading_worker.py": "test_grading",
    "ilr_bench/programs.py": "test_programs",
    "ilr_bench/outputs.py": "test_code test_programs",
    "ilr_bench/profiles.py": "test_profiles",
    "ilr_bench/seeds.py": "test_seeds",
    "ilr_bench/logprobs.py": "test_generation_layout test_policy_update test_logprobs_pieces",
    "ilr_bench/generation/drawing.py": "test_generation_drawing",
    "ilr_bench/generation/heads.py": "test_logprobs_pieces",
    "ilr_bench/benchmarks/metrics.py": "test_metrics",
    "ilr_bench/benchmarks/scoring.py": "test_evaluation_records test_evaluation test_benchmarks",
    "ilr_bench/benchmarks/code.py": "test_code",
    "ilr_bench/benchmarks/code_extraction.py": "test_code_extraction",
    "ilr_bench/benchmarks/code_rules.py": "test_code",
    "ilr_bench/benchmarks/batches.py": "test_evaluation_records test_evaluation",
    "ilr_bench/benchmarks/evaluation.py": "test_evaluation_records test_evaluation test_benchmarks",
    "ilr_bench/prompts/base.py": "test_evaluation_prompts",
    "ilr_bench/prompts/chat.py": "test_prompts_words test_prompts test_evaluation_prompts",
    "ilr_bench/prompts/fewshot.py": "test_prompts_words test_prompts test_evaluation_prompts",
    "ilr_bench/prompts/micro.py": "test_prompts_words test_prompts",
    "ilr_bench/prompts/rivals.py": "test_prompts_words",
    "ablations/baselines.py": "test_ablations",
    "ablations/beyond.py": "test_ablations",
    "ablations/paper.py": "test_ablations",
    "ablations/registry.py": "test_ablations",
    "reports/statistics.py": STATISTICS,
    "reports/statistics_families.py": "oracles/test_statistics oracles/test_statistics_power",
    "reports/statistics_permutation.py": "oracles/test_statistics_max_t oracles/test_statistics_forms",
    "reports/statistics_power.py": "oracles/test_statistics_forms oracles/test_statistics_power",
    "reports/accuracy.py": TABLES,
    "reports/averages.py": "test_reports_rows",
    "reports/comparison.py": TABLES,
    "reports/rows.py": TABLES,
}
"""File -> names of test files in `tests`, those first that kill most."""
