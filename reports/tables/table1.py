"""Table 1: the main result. Every model untrained, trained alone, and trained with others, group by group."""

from reports.tables.comparison import Spec
from reports.tables.report import table_report

SPEC = Spec(
    name="table1",
    title="Table 1. Main result: models answering alone, untrained, trained alone and trained together",
    references=("base", "grpo_matched"),
    variants=("base", "grpo", "ppo", "grpo_matched", "ilr"),
)
REPORT = table_report(SPEC, needed=("grpo", "ppo", "grpo_matched", "ilr"))
