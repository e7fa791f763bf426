"""`ilr-bench lm-eval` is lm-eval's command line with our model class in it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from toy_harness import ROWS, run_harness, write_task


def samples(out: Path) -> list[dict[str, Any]]:
    (path,) = out.rglob("samples_toy_letters_*.jsonl")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_our_model_class_answers_greedily_as_lm_evals_hf_model(tmp_path: Path) -> None:
    write_task(tmp_path)
    ours, theirs = (run_harness(tmp_path, 0, ours=ours) for ours in (True, False))
    assert samples(ours) == samples(theirs)
    assert len(samples(ours)) == 2 * ROWS  # two filters
    assert len({sample["resps"][0][0] for sample in samples(ours)}) > 3
    results = [json.loads(next(out.rglob("results_*.json")).read_text()) for out in (ours, theirs)]
    assert results[0]["results"]["toy_letters"] == results[1]["results"]["toy_letters"]
    assert 0 < results[0]["results"]["toy_letters"]["exact_match,first-letter"] < 1
    assert results[0]["model_name"] == f"{tmp_path}/model0"


def test_a_model_that_is_not_there_is_one_line_and_its_exit_status(tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "ilr_bench", "lm-eval", "--model", "ilr_bench", "--model_args", "model=smolm2",
        "--tasks", str(tmp_path / "toy_letters.yaml"),
    ]  # fmt: skip
    (tmp_path / "toy_letters.yaml").write_text("task: toy_letters\ndataset_path: json\n")
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert ran.stderr.splitlines()[-1].startswith("error: ")
    assert "did you mean smollm2?" in ran.stderr
