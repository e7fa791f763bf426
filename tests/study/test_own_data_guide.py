"""docs/own-data.md, done as it says: its files, its commands, and what it says they say."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_models import tiny_model, tiny_tokenizer

from ilr_bench.models.loading import save_prepared
from ilr_bench.storage.records import SampleRecord, read

GUIDE = (Path(__file__).parents[2] / "docs" / "own-data.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)
    assert found is not None
    return found[1]


def make_files(folder: Path) -> None:
    """What the guide shows the first row of: fifty questions, ten others, and a model's folder."""
    row = json.loads(block("json"))
    text = row["question"]
    rows = [row, *({"question": text.replace("3", str(n + 10)), "answer": n + 14} for n in range(49))]
    (folder / "mine.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    header, shown = block("csv").splitlines()
    more = [shown.replace("3", str(n), 1).replace("36", str(12 * n)) for n in range(4, 13)]
    (folder / "test.csv").write_text("\n".join([header, shown, *more]) + "\n")
    (folder / "model").mkdir()
    save_prepared(tiny_model("llama", seed=1), tiny_tokenizer(), folder / "model")


def run(commands: str, folder: Path) -> subprocess.CompletedProcess[str]:
    script = f'set -e\nilr-bench() {{ "{sys.executable}" -m ilr_bench "$@"; }}\n{commands}'
    root = str(Path(__file__).parents[2])
    environment = os.environ | {"PYTHONPATH": root, "ILR_BENCH_CACHE": str(folder / "cache")}
    return subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=False, cwd=folder, env=environment
    )


@pytest.mark.slow
def test_the_commands_run_as_written_and_leave_records_and_a_report(tmp_path: Path) -> None:
    make_files(tmp_path)
    commands = re.sub(r"^\$ ", "", block("console"), flags=re.MULTILINE)
    assert len(re.findall("^ilr-bench", commands, re.MULTILINE)) == 3
    ran = run(commands, tmp_path)
    assert ran.returncode == 0, ran.stderr
    said = re.search(r"^ {4}(mine\.jsonl: .*)$", GUIDE, re.MULTILINE)
    assert said is not None
    assert ran.stderr.count(said[1]) == 2  # once for each command that reads the file
    assert "40 questions to train on, 10 others to validate" in ran.stderr
    assert sorted(path.name for path in (tmp_path / "runs" / "before").glob("*.jsonl")) == [
        "mine.jsonl", "test.jsonl", "timing.jsonl",
    ]  # fmt: skip
    (trial,) = (tmp_path / "runs" / "mine" / "trials").glob("ilr-*")
    for agent in ("model.1", "model.2"):
        records = list(read(trial / "eval" / agent / "test.jsonl", SampleRecord))
        assert [record.gold for record in records] == [str(12 * n) for n in range(3, 13)]
    assert (tmp_path / "runs" / "mine" / "reports" / "report.html").exists()
    train = next(part for part in block("console").split("$ ") if part.startswith("ilr-bench train"))
    assert re.search(r"(\d) of \1 trials have finished before", run(train, tmp_path).stderr)
    edited = (tmp_path / "test.csv").read_text().replace(",36", ",37")
    (tmp_path / "test.csv").write_text(edited)
    assert "benchmark test: 1 of 10 rows changed" in run(train, tmp_path).stderr


def test_a_plan_and_a_training_refuse_questions_of_the_benchmark(tmp_path: Path) -> None:
    make_files(tmp_path)
    train = next(part for part in block("console").split("$ ") if part.startswith("ilr-bench train"))
    twice = re.sub(r"evaluation.benchmarks=\S+", "evaluation.benchmarks=mine.jsonl", train)
    for command in (twice, twice.replace("train --models", "plan --quick --variants ilr --models")):
        ran = run(command, tmp_path)
        assert ran.returncode == 2, ran.stderr
        assert "40 of 40 training questions stand in the benchmark mine, letter by letter" in ran.stderr
    assert not (tmp_path / "runs" / "mine").exists()


@pytest.mark.slow
def test_a_task_of_ones_own_is_found_in_its_folder(tmp_path: Path) -> None:
    make_files(tmp_path)
    (tmp_path / "my_tasks").mkdir()
    (tmp_path / "my_tasks" / "my_task.yaml").write_text(
        f"task: my_task\ndataset_path: json\ndataset_kwargs: {{data_files: {{test: {tmp_path / 'mine.jsonl'}}}}}\n"
        "test_split: test\noutput_type: generate_until\ndoc_to_text: '{{question}}'\ndoc_to_target: '{{answer}}'\n"
        "metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]\n"
        "generation_kwargs: {until: ['.'], max_gen_toks: 4}\n"
    )
    shown = re.search(r"`(ilr-bench evaluate --benchmarks lm_eval:my_task .*?) \.\.\.`", GUIDE)
    assert shown is not None
    ran = run(f"{shown[1]} --model ./model --limit 3 --out runs/task", tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert len(list(read(tmp_path / "runs" / "task" / "lm_eval.my_task.jsonl", SampleRecord))) == 3
    gone = run(f"{shown[1]} --model ./model --out runs/gone".replace("my_tasks", "elsewhere"), tmp_path)
    assert gone.returncode == 2
    assert "--include-path elsewhere: no folder" in gone.stderr
