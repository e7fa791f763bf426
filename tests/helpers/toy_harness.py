"""Logs written by lm-eval's own command line: tiny models, and a task of local rows that each is sometimes right on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROWS = 24
TASK = """\
task: toy_letters
dataset_path: json
dataset_kwargs:
  data_files: {{test: {rows}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{question}}}} "
doc_to_target: "{{{{answer}}}}"
generation_kwargs: {{until: ["\\n"], max_gen_toks: 3, do_sample: false}}
metric_list:
  - {{metric: exact_match, aggregation: mean, higher_is_better: true}}
filter_list:
  - {{name: first-letter, filter: [{{function: regex, regex_pattern: "(.)"}}, {{function: take_first}}]}}
  - {{name: raw, filter: [{{function: take_first}}]}}
"""


def write_task(folder: Path) -> None:
    """Two models and the task. The gold letter of every other row is what one of the models says first."""
    # Logs that are there already are compared without torch, and tests of that should start fast.
    import torch
    from tiny_models import tiny_model, tiny_tokenizer

    tokenizer = tiny_tokenizer()
    models = [tiny_model("llama", seed=seed) for seed in (0, 1)]
    for number, model in enumerate(models):
        model.save_pretrained(folder / f"model{number}")
        tokenizer.save_pretrained(folder / f"model{number}")
    rows = []
    for index in range(ROWS):
        question = f"Letter {index} after {'abcdefgh'[index % 8]}?"
        ids = torch.tensor([tokenizer(f"{question} ")["input_ids"]])
        with torch.no_grad():
            decoded = int(models[index % 3 == 0](ids).logits[0, -1].argmax())
        rows.append({"question": question, "answer": tokenizer.decode([decoded])})
    (folder / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (folder / "toy_letters.yaml").write_text(TASK.format(rows=folder / "rows.jsonl"))


def run_harness(folder: Path, model: int, *arguments: str, ours: bool = False) -> Path:
    """lm-eval's command line on one of the models; returns the folder with its logs.

    `ours`: with our model class in place of its own `hf`.
    """
    out = folder / f"out{model}{ours}{''.join(arguments)}"
    program = ["ilr_bench", "lm-eval"] if ours else ["lm_eval"]
    chosen = ["ilr_bench", "--model_args", f"model={folder}/model{model}"]
    if not ours:
        chosen = ["hf", "--model_args", f"pretrained={folder}/model{model}"]
    command = [
        sys.executable, "-m", *program, "run", "--model", *chosen,
        "--include_path", str(folder), "--tasks", "toy_letters", "--device", "cpu", "--batch_size", "4",
        "--log_samples", "--output_path", str(out), *arguments,
    ]  # fmt: skip
    ran = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert ran.returncode == 0, ran.stderr[-2000:]
    return out
