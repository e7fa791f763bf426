"""What a configuration's names stand for: every edit that changes numbers is seen and named, every other is not."""

from __future__ import annotations

import ast
import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
from own_files import NAME, Laboratory, asked, edit_rows, install
from peft import LoraConfig, get_peft_model

from ilr_bench.core.config import RunConfig, change
from ilr_bench.core.errors import StoreError
from ilr_bench.core.profiles import MICRO
from ilr_bench.models.catalogue import model_files
from ilr_bench.models.loading import load_model
from ilr_bench.prompts import STYLES
from ilr_bench.storage import files, provenance
from ilr_bench.storage.files import file_hash
from ilr_bench.storage.provenance import changes, difference, source_hash
from ilr_bench.study.inputs import InputReader, _model
from ilr_bench.tasks.types import BENCHMARKS, Benchmark


@pytest.fixture
def laboratory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Laboratory:
    monkeypatch.setenv("ILR_BENCH_CACHE", str(tmp_path / "cache"))
    found = Laboratory(tmp_path)
    install(found, monkeypatch)
    return found


def config_of(laboratory: Laboratory, **more: str) -> RunConfig:
    return change(MICRO, {"models": laboratory.models, **asked(**more)})


def told(laboratory: Laboratory, edit: Callable[[], object], **more: str) -> tuple[list[str], list[str]]:
    """What is said of training and evaluation after an edit."""
    before = InputReader().of(config_of(laboratory, **more))
    edit()
    found = changes(before, InputReader().of(config_of(laboratory, **more)))
    return list(found.training), list(found.evaluation)


def other_golds(rows: list[list[str]]) -> None:
    rows[3][1] = rows[7][1] = "99"


def test_benchmark_rows_are_told_by_number_and_train_nothing_again(laboratory: Laboratory) -> None:
    name = f"benchmark {NAME}"
    assert told(laboratory, edit_rows(laboratory, "benchmark", other_golds)) == (
        [], [f"{name}: 2 of 50 rows changed"],
    )  # fmt: skip
    longer = edit_rows(laboratory, "benchmark", lambda rows: rows.append(["1+1=?", "2"]))
    assert told(laboratory, longer) == ([], [f"{name}: 1 added"])
    reworded = edit_rows(laboratory, "benchmark", lambda rows: rows[0].__setitem__(0, "0 + 2 = ?"))
    assert told(laboratory, reworded) == ([], [f"{name}: 1 of 51 rows changed"])
    beyond = edit_rows(laboratory, "benchmark", lambda rows: rows[20].__setitem__(1, "5"))
    assert told(laboratory, beyond, evaluation__limit="20") == ([], [])


def test_what_a_benchmark_states_about_all_rows_counts(laboratory: Laboratory, monkeypatch) -> None:
    entry = BENCHMARKS.get(NAME)

    def limit() -> None:
        monkeypatch.setitem(BENCHMARKS._entries, NAME, Benchmark(**{**vars(entry), "max_new_tokens": 7}))

    assert told(laboratory, limit) == ([], [f"benchmark {NAME}: another order, kind or limit of tokens"])


def test_training_and_validation_questions_are_told_and_score_nothing_again(laboratory: Laboratory) -> None:
    name = f"questions {NAME} (4 + 2)"
    for number in (0, 5):  # of training, of validation
        edit = edit_rows(laboratory, "questions", lambda rows, n=number: rows[n].__setitem__(1, "77"))
        assert told(laboratory, edit) == ([f"{name}: 1 of 6 rows changed"], [])
    swap = edit_rows(laboratory, "questions", lambda rows: rows.insert(0, rows.pop(1)))
    assert told(laboratory, swap)[0] == [f"{name}: 2 of 6 rows changed"]


def test_line_endings_and_blanks_between_rows_change_nothing(laboratory: Laboratory) -> None:
    for name in ("benchmark", "questions"):
        assert told(laboratory, lambda name=name: laboratory.write(name, laboratory.read(name), "\r\n")) == ([], [])


def test_a_style_counts_by_its_texts_wherever_they_come_from(laboratory: Laboratory, monkeypatch) -> None:
    style = STYLES.get(NAME)

    def reword() -> None:
        monkeypatch.setattr(style, "rank", lambda questions: "rank hard to easy", raising=False)

    message = [f"wording {NAME}: ranking changed"]
    assert told(laboratory, reword) == (message, message)


def test_a_style_of_another_package_counts_by_all_modules_of_that_package(
    laboratory: Laboratory, tmp_path: Path, monkeypatch
) -> None:
    package = tmp_path / "styles_of_another"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "words.py").write_text('"""Words."""\nBOX = "boxed"\n')
    (package / "style.py").write_text(
        "from ilr_bench.prompts.micro import MicroStyle\n\n\nclass Mine(MicroStyle):\n    name = 'another'\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(STYLES._entries, NAME, import_module("styles_of_another.style").Mine())
    try:
        docs = lambda: (package / "words.py").write_text('"""Other words."""\nBOX = "boxed"  # as in TeX\n')  # noqa: E731
        assert told(laboratory, docs) == ([], [])
        crlf = lambda: (package / "words.py").write_bytes(b'"""Words."""\r\nBOX = "boxed"\r\n')  # noqa: E731
        assert told(laboratory, crlf) == ([], [])
        message = [f"wording {NAME}: words.py changed"]
        assert told(laboratory, lambda: (package / "words.py").write_text("BOX = 'fbox'\n")) == (message, message)
    finally:
        for name in [name for name in sys.modules if name.startswith("styles_of_another")]:
            del sys.modules[name]


def test_a_local_models_weights_tokenizer_and_settings_are_told_by_file(laboratory: Laboratory) -> None:
    folder = Path(laboratory.models[0])
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        data = (folder / name).read_bytes()
        message = [f"model {folder}: {name} changed"]
        edit = lambda name=name, data=data: (folder / name).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))  # noqa: E731
        assert told(laboratory, edit) == (message, message)
        assert told(laboratory, lambda name=name, data=data: (folder / name).write_bytes(data))[0] == message
    assert told(laboratory, lambda: (folder / "README.md").write_text("new")) == ([], [])


def test_the_base_of_an_adapter_counts_wherever_it_lies(laboratory: Laboratory, tmp_path: Path) -> None:
    base, adapter = Path(laboratory.models[0]), tmp_path / "adapter"
    tuned = get_peft_model(load_model(str(base)).model, LoraConfig(target_modules=["q_proj"], task_type="CAUSAL_LM"))
    tuned.save_pretrained(str(adapter))
    shutil.copy(base / "tokenizer.json", adapter)
    shutil.copy(base / "tokenizer_config.json", adapter)
    loaded = load_model(str(adapter))
    earlier = model_files(adapter)
    data = (base / "model.safetensors").read_bytes()
    (base / "model.safetensors").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    now = model_files(adapter)
    assert difference("model x", earlier, now) == "model x: base model.safetensors changed"
    assert load_model(str(adapter)).fingerprint != loaded.fingerprint
    for circle in (str(adapter), "[" * 200):
        config = json.loads((adapter / "adapter_config.json").read_text()) | {"base_model_name_or_path": circle}
        (adapter / "adapter_config.json").write_text(json.dumps(config) if circle[0] != "[" else circle)
        with pytest.raises(StoreError, match=r"adapter_config\.json"):
            model_files(adapter)


def test_a_gguf_file_with_brackets_in_its_name_counts(tmp_path: Path) -> None:
    path = tmp_path / "q[4]*.gguf"
    path.write_bytes(b"one")
    earlier = _model(str(path))
    path.write_bytes(b"two")
    assert difference("model x", earlier, _model(str(path))) == f"model x: {path.name} changed"


def test_the_order_in_which_a_folder_lists_its_files_does_not_matter(laboratory: Laboratory) -> None:
    folder = Path(laboratory.models[0])

    def write_backwards() -> None:
        kept = sorted(folder.iterdir(), reverse=True)
        for path in kept:
            shutil.copy(path, folder.parent / "copy")
            path.unlink()
            shutil.copy(folder.parent / "copy", path)

    assert told(laboratory, write_backwards) == ([], [])


@pytest.mark.parametrize("how", ["same size and times", "another file under the link"])
def test_a_large_file_is_hashed_once_and_no_disguise_of_a_change_helps(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ILR_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(files, "SETTLED", 0)
    read: list[Path] = []
    plain = files.sha256
    monkeypatch.setattr(files, "sha256", lambda path: read.append(path) or plain(path))
    path, other = tmp_path / "weights", tmp_path / "others"
    path.write_bytes(b"\0" * files.LARGE)
    time.sleep(0.02)
    link = tmp_path / "link"
    link.symlink_to(path)
    first = file_hash(link)
    assert (file_hash(link), len(read)) == (first, 1)
    times = path.stat()
    if how == "same size and times":
        path.write_bytes(b"\1" * files.LARGE)
    else:
        other.write_bytes(b"\1" * files.LARGE)
        link.unlink()
        link.symlink_to(other)
    os.utime(link, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert link.stat().st_mtime_ns == times.st_mtime_ns
    assert file_hash(link) == plain(link) != first


def test_a_hash_is_not_remembered_right_after_a_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A second change within the same tick of the clock could leave size and times as they are.
    monkeypatch.setenv("ILR_BENCH_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "weights"
    path.write_bytes(b"\0" * files.LARGE)
    file_hash(path)
    assert not (tmp_path / "cache").exists()


SETS = {
    "training": provenance.TRAINING, "evaluation": provenance.EVALUATING, "measurement": provenance.MEASURING,
    "SFT": provenance.FINE_TUNING,
}  # fmt: skip


@pytest.mark.parametrize(
    ("module", "depend"),
    [
        ("core/seeds.py", {"training", "evaluation", "measurement", "SFT"}),
        ("generation/hf_engine.py", {"training", "evaluation", "measurement", "SFT"}),
        ("models/loading.py", {"training", "evaluation", "measurement", "SFT"}),
        ("prompts/style.py", {"training", "evaluation", "measurement", "SFT"}),
        ("tasks/types.py", {"training", "evaluation", "measurement", "SFT"}),
        ("grading/math.py", {"training", "evaluation", "measurement", "SFT"}),
        ("grading/forms.py", {"training", "evaluation", "measurement", "SFT"}),
        ("prompts/letters.py", {"training", "evaluation", "measurement", "SFT"}),
        ("grading/sandbox/isolation.py", {"evaluation"}),
        ("evaluation/scorer.py", {"evaluation"}),
        ("method/calibration.py", {"training"}),
        ("method/difficulty.py", {"training", "measurement"}),
        ("learner/ppo.py", {"training"}),
        ("learner/sft.py", {"training", "SFT"}),
        ("study/trial.py", {"training"}),
        *((name, set()) for name in (
            "cli/train.py", "core/console.py", "study/launch/local.py", "study/tracking/study_log.py",
            "study/cost/memory.py", "study/sweep.py", "storage/store.py", "models/catalogue.py", "core/validation.py",
        )),
    ],
)  # fmt: skip
def test_an_edited_module_retires_what_it_computes_and_nothing_else(
    module: str, depend: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "ilr_bench"
    shutil.copytree(provenance.OWN, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(provenance, "OWN", copy)
    hashes = provenance.module_hashes.__wrapped__
    before = {name: hashes(modules) for name, modules in SETS.items()}
    path = copy / module
    text = path.read_text()
    path.write_text(text + '\n\n# A remark.\n"""A text alone."""\n')
    assert {name: hashes(modules) for name, modules in SETS.items()} == before
    path.write_text(text + "\nEDITED = 1\n")
    assert {name for name, modules in SETS.items() if hashes(modules) != before[name]} == depend


def test_a_source_counts_by_what_python_runs(tmp_path: Path) -> None:
    path = tmp_path / "module.py"

    def written(text: str) -> str:
        path.write_text(text)
        return source_hash(path)

    first = written('"""Doc."""\n\nclass A:\n    """Doc."""\n\n    x: int = 1\n    """Of a field."""\n')
    assert first == written("class A:\n    x: int=1 # one\n")
    assert first != written("class A:\n    x: int = 2\n")
    assert written("def f():\n    return '1'\n") != written("def f():\n    return '2'\n")
    assert written("def f():\n    '''Doc.'''\n") == written("def f():\n    '''Other.'''\n")
    assert written("x = (") != written("x = ((")


NO_NUMBERS = {
    "core/console.py", "core/errors.py", "core/extras.py", "core/futures.py", "core/hardware.py", "core/lazy.py",
    "core/plugins.py", "core/profiles.py", "core/registry.py",
    "core/settings.py", "core/signals.py", "core/validation.py", "models/catalogue.py", "models/gguf.py",
    "prompts/__init__.py",
    "storage/checkpoints.py", "storage/files.py", "storage/provenance.py", "storage/recovery.py", "storage/store.py",
    "storage/timing.py", "study/inputs.py", "tasks/benchmarks/__init__.py", "tasks/data.py", "tasks/files.py",
    "tasks/sources/__init__.py", "tasks/sources/sums.py", "prompts/chat.py",
}  # fmt: skip
"""What numeric modules import that computes no number itself, or counts by what it gives: rows, wordings, models."""


def imported_by(modules: set[str]) -> set[str]:
    """The package's own modules that some of them import."""
    imported = set()
    for module in modules:
        for node in ast.walk(ast.parse((provenance.OWN / module).read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ilr_bench"):
                place = (node.module or "").replace(".", "/").removeprefix("ilr_bench").lstrip("/")
                for name in node.names:
                    files_of = (f"{place}/{name.name}.py", f"{place}.py", f"{place}/__init__.py")
                    imported.add(next(file for file in files_of if (provenance.OWN / file).exists()))
    return imported


def test_no_module_that_numeric_modules_import_is_forgotten() -> None:
    numeric = set(provenance.module_hashes(provenance.NUMERIC))
    assert imported_by(numeric) - numeric - NO_NUMBERS == set()
    assert NO_NUMBERS & numeric == set()


@pytest.mark.parametrize("name", SETS)
def test_whatever_computes_verdicts_counts_wherever_there_are_verdicts(name: str) -> None:
    modules = set(provenance.module_hashes(SETS[name]))
    missed = imported_by(modules) - modules - NO_NUMBERS
    assert {module for module in missed if module.startswith(("grading/", "prompts/"))} == set()
