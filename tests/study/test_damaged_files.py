"""Files that a crash, a disk or an editor damaged end in an answer or in one line that names them, never in a trace."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from study_folders import both, finish, write_entries, write_steps, write_trial
from synthetic_study import write_synthetic_study

from ilr_bench.core.errors import ConfigurationError, IlrError, StoreError
from ilr_bench.core.profiles import MICRO
from ilr_bench.evaluation import standalone
from ilr_bench.storage import files, provenance
from ilr_bench.storage.files import DEEPEST, parse_json, read_json, readable_lines
from ilr_bench.storage.timing import stage_seconds
from ilr_bench.study.cost import fits
from ilr_bench.study.cost.memory import architecture
from ilr_bench.study.inputs import noted_inputs
from ilr_bench.study.search.run import claim
from ilr_bench.study.search.space import load_space
from ilr_bench.study.status import read_state
from ilr_bench.study.tracking import make_loggers
from ilr_bench.study.tracking.study_log import StudyLog
from ilr_bench.tasks.data import Dataset, read_rows
from reports.frames import load, total_times

DAMAGE: Mapping[str, bytes] = {
    "nothing": b"",
    "deep": b'{"config":' * 150 + b"1" + b"}" * 150,
    "deeper than the stack": b"[" * 100_000 + b"]" * 100_000,
    "open to no end": b'{"a":' * 100_000,
    "not UTF-8": b'{"config": "\xff\xfe"}\n',
    "UTF-16": '{"config": {}}'.encode("utf-16"),
    "a list": b"[]\n",
    "a number": b"3\n",
    "an empty object": b"{}\n",
    "objects of numbers": b'{"config": 3, "trials": 3, "points": 3, "rules": 3, "job": 3, "stage": [], "time": 3}\n',
    "a word for a number": b'{"stage": "total", "seconds": "two", "config": "x", "trials": "x", "points": "x"}\n',
    "a digit too many": b'{"config": ' + b"9" * 5000 + b"}\n",
}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A finished trial and one under way, with all that a sweep leaves beside them."""
    done, going = write_trial(tmp_path, "grpo"), write_trial(tmp_path, "ilr")
    write_steps(done, both(1, 0.5))
    write_steps(going, both(1, 0.25))
    finish(done)
    write_entries(tmp_path, [done, going])
    (tmp_path / "events").mkdir()
    for name in ("failures.jsonl", "search.json", "plan.json", ".lock.pid", "events/tensorboard.json"):
        (tmp_path / name).write_text("{}\n")
    for folder in (done, going):
        (folder / "timing.jsonl").write_text('{"step": 1, "stage": "total", "seconds": 2.0}\n')
    return tmp_path


def in_one_line(call: Callable[[], object], path: Path) -> None:
    """Runs `call`, which may refuse `path` by its name."""
    message = ""
    try:
        call()
    except IlrError as error:
        message = str(error)
    assert not message or path.name in message
    assert "\n" not in message


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_study_is_looked_at_and_logged_whatever_became_of_any_of_its_files(study: Path, damage: str) -> None:
    names = [path.relative_to(study) for path in study.rglob("*") if path.is_file()]
    assert len(names) > 10
    for name in names:
        path = study / name
        whole = path.read_bytes()
        path.write_bytes(DAMAGE[damage])
        in_one_line(lambda: read_state(study), path)
        in_one_line(lambda path=path: total_times(path.parent), path)
        in_one_line(lambda: claim(study, {}), path)
        if name.name not in ("result.json", "micro_ood.jsonl"):
            in_one_line(lambda: StudyLog(study, make_loggers(["tensorboard"])).look(), path)
        shutil.rmtree(study / "events")
        (study / "events").mkdir()
        (study / "events" / "tensorboard.json").write_text("{}\n")
        path.write_bytes(whole)


@pytest.mark.parametrize("damage", DAMAGE)
def test_reports_refuse_a_damaged_study_in_one_line(tmp_path: Path, damage: str) -> None:
    write_synthetic_study(tmp_path, variants=("base", "ilr"), seeds=(0,), questions=3, steps=2)
    whole = load(tmp_path)
    for path in sorted(path for path in tmp_path.rglob("*.json*") if path.is_file())[:12]:
        kept = path.read_bytes()
        path.write_bytes(DAMAGE[damage])
        in_one_line(lambda: load(tmp_path), path)
        path.write_bytes(kept)
    assert len(load(tmp_path).samples) == len(whole.samples)


@pytest.mark.parametrize("damage", DAMAGE)
def test_notes_that_decide_nothing_are_left_out(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "timing.jsonl"
    path.write_bytes(b'{"stage": "total", "seconds": 2.0}\n' + DAMAGE[damage] + b'\n{"stage": "total", "seconds": 1}\n')
    assert stage_seconds([path])["total"] == 3.0
    for name in ("plan.json", "config.json"):
        (tmp_path / name).write_bytes(DAMAGE[damage])
    assert fits._earlier(tmp_path / "plan.json") == {}
    assert architecture(str(tmp_path)) is None


@pytest.mark.parametrize(
    "damage", sorted(DAMAGE.keys() - {"an empty object", "objects of numbers", "a word for a number"})
)
def test_what_decides_is_refused_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    (tmp_path / "evaluation.json").write_bytes(DAMAGE[damage])
    with pytest.raises(StoreError, match=r"evaluation.json .*choose another --out"):
        standalone.claim(tmp_path, {"seed": 0})
    monkeypatch.setenv("ILR_BENCH_DATA", str(tmp_path))
    (tmp_path / "rows.jsonl").write_bytes(DAMAGE[damage])
    if damage not in ("nothing", "a list", "a number"):  # those are rows, or none
        with pytest.raises(IlrError, match="fetch the file again"):
            read_rows(Dataset("rows.jsonl", "owner/rows", "main", "test"))


NOTE_DAMAGE = {
    **DAMAGE,
    "rows of numbers": b'{"benchmark": {"row": 3}}',
    "a number for rows": b'{"benchmark": 3}',
    "no name": b'{"inputs": [], "state": 3, "sha256": []}',
    "another path": b'{"inputs": "../../elsewhere"}',
}


@pytest.mark.parametrize("damage", NOTE_DAMAGE)
def test_notes_of_inputs_are_none_or_refused_where_they_are_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    (tmp_path / "config.json").write_bytes(NOTE_DAMAGE[damage])
    assert noted_inputs(tmp_path) is None
    (tmp_path / "inputs.json").write_bytes(NOTE_DAMAGE[damage])
    records = tmp_path / "benchmark.jsonl"
    records.write_text("answers that took a day\n")
    if damage not in ("an empty object",):
        with pytest.raises(StoreError, match=r"inputs.json .*choose another --out"):
            standalone.drop_outdated(tmp_path, {"benchmark": {"benchmark x": {"row": "hash"}}})
        assert records.exists()
    monkeypatch.setattr(files, "LARGE", 0)
    monkeypatch.setattr(files, "SETTLED", -1)
    monkeypatch.setenv("ILR_BENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "module.py").write_text("x = 3\n")
    whole = files.file_hash(records), provenance.source_hash(tmp_path / "module.py")
    notes = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert len(notes) == 2
    for note in notes:
        note.write_bytes(NOTE_DAMAGE[damage])
    assert whole == (files.file_hash(records), provenance.source_hash(tmp_path / "module.py"))


@pytest.mark.parametrize("key", [3, [], {"kind": "inputs"}, {"kind": "inputs", "training": 3, "evaluation": {"x": []}}])
def test_an_artifact_that_holds_something_else_notes_no_inputs(tmp_path: Path, key: object) -> None:
    (tmp_path / "noted").mkdir()
    files.write_manifest(tmp_path / "noted", key, {})  # type: ignore[arg-type]
    assert files.read_manifest(tmp_path / "noted") == (key, {})
    assert provenance.read_inputs(tmp_path, "noted") is None


@pytest.mark.parametrize(
    "text", [b"\xff", b"x = " + b"[" * 20_000 + b"]" * 20_000, b"x = " + b"{a=" * 20_000, b"space = 3"]
)
def test_a_damaged_declaration_of_a_search_is_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "space.toml").write_bytes(text)
    with pytest.raises(ConfigurationError, match=r"space.toml"):
        load_space(str(tmp_path / "space.toml"), MICRO)


def test_json_is_read_up_to_a_depth_and_brackets_inside_texts_do_not_count() -> None:
    for depth in (1, DEEPEST):
        assert parse_json("[" * depth + "]" * depth) == json.loads("[" * depth + "]" * depth)
    with pytest.raises(ValueError, match="levels deep"):
        parse_json("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1))
    assert parse_json(json.dumps(["[" * 500 + '\\"{', {"a": "{" * 500}])) == ["[" * 500 + '\\"{', {"a": "{" * 500}]
    assert parse_json("[" + ",".join(["[1]"] * 500) + "]") == [[1]] * 500
    assert math.isnan(parse_json("NaN"))
    with pytest.raises(ValueError, match="utf-8"):
        parse_json(b'"\xed\xa0\x80"')  # half of a surrogate pair, which json alone lets pass


def test_a_missing_or_other_file_is_named_with_the_advice(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"gone.json cannot be read \(No such file or directory\); do this"):
        read_json(tmp_path / "gone.json", "do this")
    (tmp_path / "list.json").write_text("[1]")
    with pytest.raises(StoreError, match=r"list.json holds no JSON object; do this"):
        read_json(tmp_path / "list.json", "do this")
    assert list(readable_lines(tmp_path / "gone.jsonl")) == []
