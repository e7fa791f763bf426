"""Tables and figures of a study."""

from __future__ import annotations

import time

from ilr_bench.commands.app import StudyFolder, app
from ilr_bench.console import fail_in_one_line, note, say


@app.command()
def report(study: StudyFolder) -> None:
    """Writes every table and figure of a study into its folder `reports/`, from records alone."""
    import reports

    with fail_in_one_line():
        start = time.perf_counter()
        for name in reports.names():
            say(str(reports.get(name).write(study)))
        note(f"seconds on the clock: reports {time.perf_counter() - start:.0f}")
