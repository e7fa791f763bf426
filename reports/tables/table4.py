"""Table 4: what talking is worth without training. Single answers, Debate and Idea3, with rounds and tokens counted."""

from reports.tables.comparison import Spec
from reports.tables.report import table_report

SPEC = Spec(
    name="table4",
    title="Table 4. Inference only: one answer, Debate and Idea3 by untrained models",
    references=("infer_single",),
    variants=("infer_single", "infer_debate", "infer_idea3"),
    inference=True,
)
REPORT = table_report(SPEC, needed=("infer_single", "infer_debate", "infer_idea3"))
