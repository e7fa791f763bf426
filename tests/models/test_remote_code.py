"""Code that comes with a model is never run, and nobody is asked whether it should be."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
from tiny_models import tiny_model, tiny_tokenizer

import ilr_bench
from ilr_bench.cli.lm_eval_model import CommandLineLM
from ilr_bench.core.errors import ConfigurationError, MissingInputError
from ilr_bench.models.loading import load_model, load_tokenizer, save_prepared

LOADERS = {"from_pretrained": "transformers", "LLM": "vllm"}
MADE_HERE = {"models/micro/pretrain.py"}
"""Reads only the folder that it has just written."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model of no known kind, whose code would leave a file behind."""

    def asked(question: str = "") -> str:
        pytest.fail(f"asked: {question}")  # transformers takes an ordinary error for a no

    monkeypatch.setattr("builtins.input", asked)
    folder = tmp_path / "model"
    save_prepared(tiny_model(), tiny_tokenizer(), folder)
    for name in ("configuration_own.py", "modeling_own.py", "tokenization_own.py"):
        (folder / name).write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    return folder


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_model_that_brings_its_own_code_is_refused_without_a_question(folder: Path) -> None:
    own = {"AutoConfig": "configuration_own.Own", "AutoModelForCausalLM": "modeling_own.Own"}
    edit(folder / "config.json", auto_map=own, model_type="own")
    with pytest.raises(MissingInputError, match="can be read"):
        load_model(str(folder))
    assert not (folder.parent / "ran").exists()


def test_a_tokenizer_that_brings_its_own_code_is_refused_without_a_question(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    own = {"auto_map": {"AutoTokenizer": ["tokenization_own.Own", None]}, "tokenizer_class": "Own"}
    edit(folder / "tokenizer_config.json", **own)
    with pytest.raises(MissingInputError, match="can be read"):
        load_model(str(folder))
    with pytest.raises(ValueError, match="trust_remote_code"):
        load_tokenizer(folder)
    assert not (folder.parent / "ran").exists()


def test_every_loader_of_other_libraries_is_told_so() -> None:
    package = Path(ilr_bench.__file__).parent
    told: dict[str, list[bool]] = {name: [] for name in LOADERS}
    for path in sorted(package.rglob("*.py")):
        if path.relative_to(package).as_posix() in MADE_HERE:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if name in LOADERS:
                    given = {keyword.arg: keyword.value for keyword in node.keywords}
                    value = given.get("trust_remote_code")
                    told[name].append(isinstance(value, ast.Constant) and value.value is False)
    assert {name: len(calls) for name, calls in told.items()} == {"from_pretrained": 9, "LLM": 1}
    assert all(all(calls) for calls in told.values())


def test_lm_evals_option_to_run_such_code_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="leave --trust_remote_code out"):
        CommandLineLM(str(folder), trust_remote_code=True)
