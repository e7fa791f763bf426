"""Sharing of trials is measured against cold runs, whose records have to be the same."""

import json
from types import SimpleNamespace

import pytest

from bench import sharing
from ilr_bench.storage.files import digests, write_manifest


def pretend_sweep(study, workers, variants):
    for variant in variants:
        trial = study / "trials" / variant
        (trial / "eval" / "A").mkdir(parents=True)
        (trial / "result.json").write_text(json.dumps({"steps": 3, "versions": {"code": "c", "commit": str(workers)}}))
        (trial / "train.jsonl").write_text("5\n7\n")
        (trial / "eval" / "A" / "micro.jsonl").write_text("2\n")
        write_manifest(trial, {}, digests(trial))
    made = study / "artifacts" / "a"
    made.mkdir(parents=True)
    (made / "ability.json").write_text(json.dumps({"sampled_tokens": 100}))
    (made / "records.jsonl").write_text("30\n")


@pytest.fixture
def pretended(monkeypatch):
    monkeypatch.setattr(sharing, "profile", lambda _: SimpleNamespace(models=()))
    monkeypatch.setattr(sharing, "call", lambda *_, **__: None)
    monkeypatch.setattr(sharing, "read_result", lambda trial: SimpleNamespace(steps=3))
    monkeypatch.setattr(sharing, "sweep", pretend_sweep)

    def read(path, _):
        return [SimpleNamespace(tokens=int(n), sampled_tokens=int(n)) for n in path.read_text().split()]

    monkeypatch.setattr(sharing, "read", read)


def test_sharing_is_told_in_tokens_of_both_ways(pretended):
    lines = sharing.compare_with_cold_runs(2, ("ilr", "grpo")).splitlines()
    assert {
        "| trials run | 2 | 2 | 1.00 |",
        "| tokens, training | 24 | 24 | 1.00 |",
        "| tokens, evaluation | 34 | 64 | 1.88 |",
        "| tokens, ability | 100 | 200 | 2.00 |",
        "| tokens, all | 158 | 288 | 1.82 |",
        "The records of all 2 trials are the same, byte for byte.",
    } <= set(lines)


@pytest.mark.parametrize("name", ["train.jsonl", "result.json"])
def test_records_that_differ_are_no_sharing(pretended, monkeypatch, name):
    def differing(study, workers, variants):
        pretend_sweep(study, workers, variants)
        if len(variants) == 1:
            trial = study / "trials" / variants[0]
            text = (trial / name).read_text()
            (trial / name).write_text(text.replace("5", "6").replace('"steps": 3', '"steps": 4'))
            write_manifest(trial, {}, digests(trial))

    monkeypatch.setattr(sharing, "sweep", differing)
    with pytest.raises(AssertionError, match="differs from"):
        sharing.compare_with_cold_runs(2, ("ilr", "grpo"))


# Tables.
