"""Public benchmarks are read from the folder `ILR_BENCH_DATA`, else from the hub; never from this repository."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ilr_bench.errors import MissingInputError


@dataclass(frozen=True)
class Dataset:
    """One split of a public data set, under both names."""

    file: str
    """JSON lines inside the data folder, such as `gsm8k/test.jsonl`."""
    hub: str
    """`owner/name` on the hub."""
    configuration: str
    split: str


def read_rows(dataset: Dataset) -> list[dict[str, Any]]:
    """All rows in their order; raises MissingInputError that names both ways to get them."""
    path = data_path(dataset.file)
    if path is None:
        return _from_hub(dataset)
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except ValueError as error:
                raise MissingInputError(f"{path}, line {number}: no JSON ({error}); fetch the file again") from error
    return rows


def data_path(file: str) -> Path | None:
    """A file of the data folder, or None where there is no such folder or file."""
    folder = os.environ.get("ILR_BENCH_DATA")
    path = Path(folder).expanduser() / file if folder else None
    return path if path is not None and path.is_file() else None


def _from_hub(dataset: Dataset) -> list[dict[str, Any]]:
    # The library takes seconds to import and is needed for the hub only.
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError

    try:
        table = load_dataset(dataset.hub, dataset.configuration, split=dataset.split)
    except (OSError, DatasetsError) as error:
        raise MissingInputError(
            f"{dataset.file} is not here: either set ILR_BENCH_DATA to a folder that holds it, "
            f"or connect to the hub, which has it as the data set {dataset.hub}"
        ) from error
    return [dict(row) for row in table]
