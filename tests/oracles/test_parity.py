"""`ilr-bench evaluate --benchmarks lm_eval:TASK` says what lm-eval's own command line says, sample by sample."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import datasets
import pytest
from parity_tools import differences, ours, parting, subjects, theirs
from tiny_models import tiny_model, tiny_tokenizer

from ilr_bench.core.errors import MissingInputError
from ilr_bench.models.loading import load_model

ROWS = int(os.environ.get("ILR_BENCH_PARITY_ROWS", "100"))
TOKENS = int(os.environ.get("ILR_BENCH_PARITY_TOKENS", "512"))
FOLDER = Path("runs", "parity")
"""What was sampled lies here, so that an interrupted comparison continues."""
NEAR_TIE = 1e-4
"""Next tokens whose fp32 logits are this close may change places with the order of additions: attention over a shared
prompt moves SmolLM2's log-probabilities by up to 7e-6 (72 tokens behind prompts of gsm8k)."""


def toy_data(folder: Path) -> Path:
    """Rows of our own in the layout of the data folder; the tiny tokenizer knows their characters."""
    numbers = random.Random(0)
    sums = [(numbers.randint(1, 50), numbers.randint(1, 50)) for _ in range(8)]
    word_problems = [
        {"question": f"Ann has {a} figs and buys {b}. How many has she?", "answer": f"{a}+{b}={a + b}\n#### {a + b}"}
        for a, b in sums
    ]
    maths = [
        {"problem": f"What is ${a} + {b}$?", "solution": f"It is $\\boxed{{{a + b}}}$.", "answer": str(a + b)}
        for a, b in sums
    ]
    choices = [
        {
            "question_id": index,
            "question": f"What is {a}+{b}?",
            "options": [str(a + b), str(a * b), "None"],
            "answer": "A",
            "answer_index": 0,
            "cot_content": f"A: Let's think step by step. {a}+{b}={a + b}. The answer is (A).",
            "category": ("biology", "law")[index % 2],
            "src": "toy",
        }
        for index, (a, b) in enumerate(sums * 2)
    ]
    for name, rows in (("gsm8k/train", word_problems[::-1]), ("gsm8k/test", word_problems), ("math500/test", maths)):
        path = folder / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for split in ("validation", "test"):
        path = folder / f"mmlu_pro/{split}-00000-of-00001.parquet"
        datasets.Dataset.from_list(choices).to_parquet(path)
    return folder


@pytest.mark.slow
def test_a_tiny_model_on_toy_rows(tmp_path: Path) -> None:
    data, model = toy_data(tmp_path / "data"), tmp_path / "model"
    tiny_model("llama").save_pretrained(model)
    tiny_tokenizer().save_pretrained(model)
    tasks = ("gsm8k", "minerva_math500", "mmlu_pro_biology", "mmlu_pro_law")
    expected = theirs(model, tasks, 4, 24, data, tmp_path / "theirs")
    got = ours(model, tasks, 4, 24, data, tmp_path / "ours")
    assert len(got) == 16
    assert len({answered.completion for answered in got.values()}) > 8
    assert differences(got, expected) == {}


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("task", ["gsm8k", "minerva_math500", "mmlu_pro"])
def test_smollm2_on_real_rows(task: str, record_property: Callable[[str, object], None]) -> None:
    """ILR_BENCH_PARITY_ROWS (100) and ILR_BENCH_PARITY_TOKENS (512) make it shorter; see docs/parity.md."""
    try:
        loaded = load_model("smollm2")
    except MissingInputError as error:
        pytest.skip(str(error))
    data = Path(os.environ["ILR_BENCH_DATA"]).expanduser().absolute()
    tasks = subjects() if task == "mmlu_pro" else [task]
    rows = -(-ROWS // len(tasks))
    folder = (FOLDER / f"{loaded.fingerprint[:12]}-{task}-{TOKENS}").absolute()
    mine = folder / f"ours-{rows}"
    expected = theirs(loaded.folder, tasks, rows, TOKENS, data, folder)
    got = ours(loaded.folder, [task], rows, TOKENS, data, mine)
    # The next comparison is one of the code as it is then.
    shutil.rmtree(folder / "compared", ignore_errors=True)
    mine.rename(folder / "compared")
    record_property("rows", len(got))
    unequal = differences(got, expected)
    partings = {
        row: parting(loaded, expected[row].prompt, got[row].completion, expected[row].completion)
        for row, what in unequal.items()
        if "completion" in what and not {"prompt", "document"} & set(what)
    }
    (folder / "differences.txt").write_text("".join(f"{row}: {where}\n" for row, where in partings.items()))
    assert {row: what for row, what in unequal.items() if row not in partings} == {}
    assert {row: where for row, where in partings.items() if where.gap > NEAR_TIE} == {}
