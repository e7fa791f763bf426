"""Tokenizers are reloaded as they were saved, or not at all.

`AutoTokenizer` rebuilds the pre-tokenizer of some architectures without a word, which changes token ids; so the
saved pipeline is read by the plain class, and its ids are compared with those it gave when it was saved.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from ilr_bench.core.errors import StoreError

CHECK_FILE = "tokenizer_check.json"
PROBES = (
    "3 + 14 = 17",
    "  two spaces  12 and\ttabs\n\nlines\n",
    "a) b) 007 1,234.5 $9.99 50%",
    "The answer is \\boxed{\\frac{1}{2}}. It's done!",
    "if x:\n    return x*2-1",
    "ä ß 数 😀",
)
"""Texts on which pre-tokenizers are known to differ: digits, runs of spaces, punctuation, other scripts."""


def write_check(tokenizer: Any, folder: Path) -> None:
    """Notes the ids of some texts beside a saved tokenizer."""
    ids = {text: _ids(tokenizer, text) for text in PROBES}
    (folder / CHECK_FILE).write_text(json.dumps(ids, indent=1) + "\n", encoding="utf-8")


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer saved in a folder; raises StoreError where it does not give the ids it was saved with."""
    saved = folder / "tokenizer.json"
    if not saved.exists():
        return AutoTokenizer.from_pretrained(folder)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    noted = folder / CHECK_FILE
    if noted.exists():
        expected: dict[str, list[int]] = json.loads(noted.read_text(encoding="utf-8"))
    else:
        pipeline = Tokenizer.from_file(str(saved))
        expected = {text: pipeline.encode(text, add_special_tokens=False).ids for text in PROBES}
    for text, ids in expected.items():
        if _ids(tokenizer, text) != ids:
            raise StoreError(
                f"the tokenizer in {folder} gives other ids for {text!r} than when it was saved; "
                "delete the folder and prepare it again"
            )
    return tokenizer


def _ids(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids
