"""What lm-eval's scorers say of answers that we have judged: `python tests/helpers/rejudge.py FOLDER BENCHMARK...`.

FOLDER is one of `ilr-bench evaluate`, with the benchmark's records (gsm8k, math500, mmlu_pro) in it. Prints a table of
verdicts, then every answer on which a metric of lm-eval's and our verdict differ.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

from parity_tools import METRICS, TASKS, key_of_document, key_of_row, replay

from ilr_bench.storage.records import SampleRecord, Verdict, read
from ilr_bench.tasks.benchmarks import get


def rejudge(benchmark: str, records: list[SampleRecord]) -> list[tuple[SampleRecord, dict[str, bool]]]:
    """Each record with what lm-eval's metrics (`metric,filter`) make of the same text."""
    ids = {key_of_row(row): row.id for row in get(benchmark).load()}
    output = {record.question_id: record.completion for record in records}

    def say(document: dict[str, Any]) -> str:
        return output.get(ids[key_of_document(document)], "")

    theirs: dict[str, dict[str, bool]] = {}
    for sample in replay(TASKS[benchmark], None, say):
        found = theirs.setdefault(ids[key_of_document(sample["doc"])], {})
        for metric in METRICS[benchmark]:
            name, filtered = metric.split(",")
            if sample["filter"] == filtered:
                found[metric] = bool(sample[name])
    return [(record, theirs[record.question_id]) for record in records]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("benchmarks", nargs="+", choices=sorted(TASKS))
    arguments = parser.parse_args()
    for benchmark in arguments.benchmarks:
        judged = rejudge(benchmark, list(read(arguments.folder / f"{benchmark}.jsonl", SampleRecord)))
        print(f"{benchmark}: {len(judged)} answers, verdicts {dict(Counter(record.verdict for record, _ in judged))}")
        for metric in METRICS[benchmark]:
            other = [record for record, found in judged if found[metric] != (record.verdict == Verdict.CORRECT)]
            right = sum(found[metric] for _, found in judged)
            print(f"  {metric}: accepts {right}, differs on {len(other)}")
            for record in other:
                print(f"    {record.question_id}: {record.verdict}, gold {record.gold!r}, ours {record.answer!r}")
                print(f"      ...{record.completion[-160:]!r}")


if __name__ == "__main__":
    main()
