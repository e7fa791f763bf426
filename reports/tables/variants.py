"""Every variant of a study, best first, with what can be said about the differences."""

from reports.tables.comparison import Spec
from reports.tables.report import table_report

SPEC = Spec(
    name="variants",
    title="Variants ranked. Every variant of the study by accuracy, model by model",
    references=("base", "ilr"),
    ranked=True,
)
REPORT = table_report(SPEC, with_effects=True)
