"""Files of a study that change after they were written: known, refused by name, or dropped to be made anew."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from ilr_bench.core.errors import StoreError
from ilr_bench.evaluation.batching import NO_LOGPROBS, Journal
from ilr_bench.generation.engine import Completion
from ilr_bench.storage.checkpoints import save_checkpoint
from ilr_bench.storage.files import as_noted, write_noted
from ilr_bench.storage.records import (
    RecordTail,
    SampleRecord,
    Study,
    TrialEntry,
    TrialResult,
    Verdict,
    read,
    read_study,
    to_line,
    write_study,
)
from ilr_bench.storage.store import (
    Artifacts,
    append_records,
    finalize,
    invalidate,
    is_artifact,
    is_finalized,
    is_finished,
    require_artifact,
    require_finalized,
)

KEY = "0123456789ab"
ANSWER = SampleRecord("micro", "A", "q1", 0, "abc", "it is 7", "7", "7", Verdict.CORRECT, 4, 0)


def damaged(data: bytes, indices: int = 4) -> Iterator[bytes]:
    """A bit flipped or the rest cut off, at places spread over a file."""
    rng = random.Random(len(data))
    for index in sorted({0, len(data) - 1, *rng.sample(range(len(data)), min(indices, len(data)))}):
        yield data[:index] + bytes([data[index] ^ (1 << rng.randrange(8))]) + data[index + 1 :]
        yield data[:index]


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study with one artifact and one finished trial."""
    made = Artifacts(tmp_path / "artifacts").get(
        {"kind": "ability"}, lambda folder: fill(folder / "ability.json", "0.5")
    )
    trial = tmp_path / "trials" / "one"
    fill(trial / "config.json", '{"hash": "0"}')
    append_records(trial / "train.jsonl", [ANSWER])
    write_noted(trial / "eval" / "A" / "micro.jsonl", to_line(ANSWER) + "\n")
    save_checkpoint(trial / "checkpoints", 1, lambda folder: fill(folder / "weights", "1234"))
    fill(trial / "timing.jsonl", '{"seconds": 1}\n')
    result = TrialResult(
        KEY, "ilr", "micro", ("A",), ("A",), 0, 1, {"A": 4}, {"A": 0.5}, {"A": 0.5}, {}, {"ability/A": made.name}, {}
    )
    finalize(trial, KEY, json.dumps(dataclasses.asdict(result)))
    return tmp_path


def fill(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def finished(study: Path) -> bool:
    return is_finished(study / "trials" / "one", KEY, Artifacts(study / "artifacts"))


def results_depend_on(study: Path) -> list[Path]:
    files = [path for path in study.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return sorted(path for path in files if path.name != "timing.jsonl")


def test_a_finished_trial_with_any_file_flipped_or_cut_is_not_finished(study: Path) -> None:
    assert finished(study)
    indices = 0
    for path in results_depend_on(study):
        whole = path.read_bytes()
        for data in damaged(whole):
            path.write_bytes(data)
            assert not finished(study), (path, data)
            indices += 1
        path.write_bytes(whole)
    assert finished(study)
    assert indices > 60


def test_seconds_and_events_may_change(study: Path) -> None:
    trial = study / "trials" / "one"
    fill(trial / "timing.jsonl", "")
    fill(trial / "events.jsonl", "{}\n")
    fill(trial / "broken" / "batch.json", "{}")
    fill(trial / "checkpoints" / ".step-00000002.tmp" / "weights", "")
    assert finished(study)


@pytest.mark.parametrize("name", ["train.jsonl", "eval/A/micro.jsonl", "result.json", "config.json", "manifest.json"])
def test_reports_refuse_a_trial_that_changed_and_name_the_file(study: Path, name: str) -> None:
    trial = study / "trials" / "one"
    require_finalized(trial, KEY)
    (trial / name).write_bytes((trial / name).read_bytes()[:-9])
    with pytest.raises(StoreError, match=name.replace(".", r"\.")) as caught:
        require_finalized(trial, KEY)
    assert "run the sweep's command again" in str(caught.value)


def test_reports_refuse_a_trial_under_the_name_of_another(study: Path) -> None:
    with pytest.raises(StoreError, match=r"manifest\.json"):
        require_finalized(study / "trials" / "one", "ba9876543210")


def test_reports_do_not_read_weights(study: Path) -> None:
    trial = study / "trials" / "one"
    (trial / "checkpoints" / "step-00000001" / "weights").write_text("4321")
    require_finalized(trial, KEY)
    assert not is_finalized(trial, KEY)


def test_a_reopened_trial_keeps_the_answers_that_its_seal_knows(study: Path) -> None:
    trial = study / "trials" / "one"
    (trial / "result.json").write_text("{}")
    assert invalidate(trial, KEY) == ["result.json"]
    assert (trial / "eval" / "A" / "micro.jsonl").exists()
    assert not (trial / "result.json").exists()
    assert not (trial / "manifest.json").exists()


@pytest.mark.parametrize("name", ["eval/A/micro.jsonl", "manifest.json"])
def test_a_reopened_trial_drops_the_answers_that_nothing_vouches_for(study: Path, name: str) -> None:
    trial = study / "trials" / "one"
    (trial / name).write_text("{}")
    assert invalidate(trial, KEY) == [name]
    assert not (trial / "eval" / "A" / "micro.jsonl").exists()


def test_an_artifact_that_changed_is_refused_and_made_anew(study: Path) -> None:
    (folder,) = (study / "artifacts").glob("[!.]*")
    require_artifact(folder)
    (folder / "ability.json").write_text("0.6")
    with pytest.raises(StoreError, match="run the sweep's command again"):
        require_artifact(folder)
    Artifacts(study / "artifacts").get({"kind": "ability"}, lambda folder: fill(folder / "ability.json", "0.5"))
    assert is_artifact(folder)
    assert not is_artifact(folder.rename(folder.with_name(KEY)))


def test_a_study_with_any_byte_flipped_or_cut_is_refused(tmp_path: Path) -> None:
    study = Study("micro", "command", (TrialEntry("ilr", ("A", "B"), ("A", "B"), 0, KEY, "trials/ilr"),))
    write_study(tmp_path, study)
    path = tmp_path / "study.json"
    whole = path.read_bytes()
    for data in damaged(whole, indices=40):
        path.write_bytes(data)
        if _same_json(data, whole):  # white space carries nothing, and every sweep writes the file anew
            assert read_study(tmp_path) == study
        else:
            with pytest.raises(StoreError, match=r"study\.json"):
                read_study(tmp_path)


def test_a_study_of_an_earlier_version_without_a_digest_is_read(tmp_path: Path) -> None:
    study = Study("micro", "command", ())
    fill(tmp_path / "study.json", json.dumps(dataclasses.asdict(study)))
    assert read_study(tmp_path) == study


def test_answers_that_changed_since_they_were_noted_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "micro.jsonl"
    write_noted(path, to_line(ANSWER) + "\n")
    assert list(read(path, SampleRecord)) == [ANSWER]
    path.write_text(path.read_text().replace("it is 7", "it is 8"))
    assert not as_noted(path)
    with pytest.raises(StoreError, match="changed since it was written"):
        list(read(path, SampleRecord))


def test_a_journal_ends_before_the_first_line_that_changed(tmp_path: Path) -> None:
    path = tmp_path / "micro.part.jsonl"
    spoken = {number: [Completion((number, 10 + number), NO_LOGPROBS, True)] for number in range(4)}
    journal = Journal(path, "key")
    for number, output in spoken.items():
        journal.add(number, output)
    whole = path.read_bytes()
    header = whole.index(b"\n") + 1
    for index in range(len(whole)):
        path.write_bytes(whole[:index] + bytes([whole[index] ^ 1]) + whole[index + 1 :])
        kept = 0 if index < header else whole[header:index].count(b"\n")
        # By their texts: from Python 3.13 on, data classes with arrays in them cannot be compared.
        assert repr(Journal(path, "key").done) == repr({number: spoken[number] for number in range(kept)}), index


def _same_json(one: bytes, other: bytes) -> bool:
    try:
        return bool(json.loads(one) == json.loads(other))
    except ValueError:
        return False


@pytest.mark.parametrize("name", ["x.jsonl", ".x.jsonl.sha256"])
def test_a_folder_in_the_place_of_records_or_of_their_note_is_named(name: str, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    write_noted(path, "")
    (tmp_path / name).unlink()
    (tmp_path / name).mkdir()
    with pytest.raises(StoreError, match=r"x\.jsonl cannot be read \(Is a directory\); mend or delete it"):
        list(read(path, SampleRecord))


def test_a_folder_in_the_place_of_growing_files_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be read"):
        RecordTail(tmp_path).new()
    with pytest.raises(StoreError, match="cannot be read"):
        Journal(tmp_path, "key")
    assert RecordTail(tmp_path / "none.jsonl").new() == []
