"""lm-eval's own command line asks exported agents, and gets the trained agents' answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from exportable_trials import run_study
from toy_harness import ROWS, write_task
from typer.testing import CliRunner

from ilr_bench.cli import app
from ilr_bench.models.loading import load_model
from ilr_bench.study.trained import find_trained, load_agent


def greedy(model: Any, tokenizer: Any, prompts: list[str]) -> list[str]:
    """Three tokens after each prompt, up to the end of a line."""
    found = []
    for prompt in prompts:
        ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            made = model.generate(ids, max_new_tokens=3, do_sample=False)[0, ids.shape[1] :]
        found.append(tokenizer.decode(made, skip_special_tokens=True).partition("\n")[0])
    return found


@pytest.mark.parametrize("adapter", ["full", "lora"])
def test_lm_evals_command_line_gets_the_trained_agents_answers(adapter: str, tmp_path: Path) -> None:
    write_task(tmp_path)
    base, out = tmp_path / "model0", tmp_path / "exported"
    trial = run_study((str(base), str(tmp_path / "model1")), tmp_path / "study", update__adapter=adapter)
    assert CliRunner().invoke(app, ["export", str(trial), "--agent", "model0", "--out", str(out)]).exit_code == 0
    arguments = f"pretrained={out}" if adapter == "full" else f"pretrained={base},peft={out}"
    command = [
        sys.executable, "-m", "lm_eval", "run", "--model", "hf", "--model_args", arguments, "--tasks", "toy_letters",
        "--include_path", str(tmp_path), "--device", "cpu", "--batch_size", "4", "--log_samples",
        "--output_path", str(tmp_path / "log"),
    ]  # fmt: skip
    ran = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    (path,) = (tmp_path / "log").rglob("samples_toy_letters_*.jsonl")
    samples = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()][:ROWS]
    prompts = [sample["arguments"]["gen_args_0"]["arg_0"] for sample in samples]
    mine, untrained = load_agent(find_trained(trial), "model0", "cpu"), load_model(str(base), "cpu")
    said = [sample["resps"][0][0] for sample in samples]
    assert said == greedy(mine.model.base if adapter == "lora" else mine.model, mine.tokenizer, prompts)
    assert said != greedy(untrained.model, untrained.tokenizer, prompts)
