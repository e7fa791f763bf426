"""The examples of docs/plug-ins.md, written to files as a reader would."""

from __future__ import annotations

import re
import shlex
from itertools import pairwise
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "plug-ins.md"
_FILE = re.compile(r"`(my_\w+\.py)`:\n\n```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
_COMMAND = re.compile(r"^\$ (ilr-bench train|python -m ilr_bench\.sweep) (.*)$", re.MULTILINE)


def files() -> dict[str, str]:
    """File -> its text."""
    return dict(_FILE.findall(PAGE.read_text(encoding="utf-8")))


def commands() -> dict[str, list[str]]:
    """Name of the command's output -> its words, without the program."""
    found = [shlex.split(rest) for _, rest in _COMMAND.findall(PAGE.read_text(encoding="utf-8"))]
    return {words[words.index("--out") + 1].removeprefix("runs/"): words for words in found}


def settings(words: list[str]) -> dict[str, str]:
    """What a command sets."""
    pairs = [after for word, after in pairwise(words) if word == "--set"]
    return dict(pair.split("=", 1) for pair in pairs)


def write_examples(folder: Path) -> None:
    for name, text in files().items():
        (folder / name).write_text(text, encoding="utf-8")
