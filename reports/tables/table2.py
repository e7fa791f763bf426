"""Table 2: the method with its components taken away, out-of-domain code, and what it cost in sampled tokens.

Which of the paper's tables has this number is not known (docs/method.md); both candidates, the component
ablation and the code result, are in one table here.
"""

from __future__ import annotations

import base64
from pathlib import Path

from ilr_bench.storage.files import write_atomic

from .comparison import Numbers, Spec
from .report import table_report
from .writer import Table, html_template

SPEC = Spec(
    name="table2",
    title="Table 2. Component ablation and out-of-domain code",
    references=("base", "grpo_matched"),
    variants=("base", "grpo", "grpo_matched", "di_only", "pc_only", "ilr"),
)


def html(table: Table, picture: bytes) -> str:
    """One self-contained page."""
    return html_template("table2.html.jinja").render(table=table, picture=base64.b64encode(picture).decode())


def _draw(numbers: Numbers, table: Table, out: Path) -> None:
    from ..figures.table2 import draw

    draw(numbers, out / "table2.png")
    write_atomic(out / "table2.html", html(table, (out / "table2.png").read_bytes()))


REPORT = table_report(SPEC, needed=("di_only", "pc_only", "ilr"), with_effects=True, draw=_draw)
