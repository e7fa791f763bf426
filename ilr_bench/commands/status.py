"""How far a study is."""

from __future__ import annotations

from ilr_bench.commands.app import StudyFolder, app, say_rows
from ilr_bench.console import fail_in_one_line


@app.command()
def status(study: StudyFolder) -> None:
    """Says which trials of a study have finished, and how far the others are."""
    from ilr_bench.records import StepRecord, read, read_study

    with fail_in_one_line():
        rows = []
        for entry in read_study(study).trials:
            folder = study / entry.folder
            if (folder / "result.json").exists():
                state = "finished"
            elif (folder / "train.jsonl").exists():
                state = f"step {max((record.step for record in read(folder / 'train.jsonl', StepRecord)), default=0)}"
            else:
                state = "not started"
            rows.append((entry.variant, "+".join(entry.models), str(entry.seed), state))
        say_rows(rows)
