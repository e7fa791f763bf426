"""docs/plug-ins.md as a reader follows it: its files in a folder of their own, named where names may stand."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ilr_bench.reports.frames import load
from ilr_bench.reports.page import facts
from ilr_bench.reports.page.descriptions import describe
from plug_in_examples import PAGE, commands, files, settings, write_examples
from tiny_trials import contents, run_plan, tiny_checkpoints, tiny_plan

from ilr_bench.core.config import to_dict
from ilr_bench.core.errors import ConfigurationError
from ilr_bench.core.registry import forget_references
from ilr_bench.storage.records import DialogueRecord, StepRecord, read
from ilr_bench.storage.store import Artifacts
from ilr_bench.study.inputs import InputReader, changes_since
from ilr_bench.study.plan import Plan
from ilr_bench.study.trial import run_trial

MECHANISMS = ("median", "brief", "threshold", "ranks", "verifier", "stern")
"""Commands whose settings fit into one trial."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory that holds the page's files and nothing else."""
    place = tmp_path / "mine"
    place.mkdir()
    write_examples(place)
    monkeypatch.chdir(place)
    return place


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    return tiny_checkpoints(tmp_path_factory.mktemp("models"))


def every_mechanism(models: tuple[str, ...], **changes: str) -> Plan:
    chosen = {key: value for name in MECHANISMS for key, value in settings(commands()[name]).items()}
    return tiny_plan(models, "ilr", **{key.replace(".", "__"): value for key, value in chosen.items()} | changes)


def run(plan: Plan, out: Path) -> Path:
    run_plan(plan, out)
    return out / plan.trials[0].folder


def test_every_file_of_the_page_is_short_and_named_by_a_command_of_it() -> None:
    assert {name for name, text in files().items() if len(text.splitlines()) > 25} == set()
    named = {name for name in files() if any(f"{name}:" in word for words in commands().values() for word in words)}
    assert named == set(files()) == set(PAGE.read_text(encoding="utf-8").split("`")) & set(files())
    assert len(named) == 9
    assert set(MECHANISMS) < set(commands())


def test_all_mechanisms_of_one_trial_can_be_a_strangers(folder: Path, models: tuple[str, ...], tmp_path: Path) -> None:
    trial = run(every_mechanism(models), tmp_path / "study")
    dialogues, steps = (
        list(read(trial / "dialogues.jsonl", DialogueRecord)),
        list(read(trial / "train.jsonl", StepRecord)),
    )
    assert [turn.stage for turn in dialogues[0].turns] == [
        *["sharing"] * 6, *["analysis"] * 2, *["verify"] * 2, *["fusion"] * 6,
    ]  # fmt: skip
    for stage in ("sharing", "fusion"):
        ours, peers = (
            [turn for turn in dialogues[0].turns if turn.stage == stage and turn.agent == agent]
            for agent in ("first", "second")
        )
        assert [turn.reward for turn in ours] == [(turn.verdict == "correct") - 0.02 * 8 for turn in ours]
        median = np.median([turn.reward for turn in peers])
        assert [turn.calibrated_reward for turn in ours] == [
            turn.reward + 0.5 * np.sign(turn.reward - median) for turn in ours
        ]
        assert all(-1 <= turn.advantage <= 1 for turn in ours)
        assert sum(turn.advantage for turn in ours) == pytest.approx(0)
    verified = [turn for turn in dialogues[0].turns if turn.stage == "verify"]
    assert len(verified) == 2
    assert all(turn.reward is turn.advantage is turn.verdict is None for turn in verified)
    timed = [json.loads(line) for line in (trial / "timing.jsonl").read_text().splitlines()]
    sampled = {line["stage"]: line["tokens"] for line in timed if line["step"] == 1 and line.get("tokens")}
    own = [record.sampled_tokens for record in steps if record.step == 1]
    assert sum(own) == sum(sampled[stage] for stage in ("sharing", "analysis", "verify", "fusion"))
    assert 0 < sampled["verify"] <= 2 * 2 * 6
    state = json.loads(next(trial.glob("checkpoints/*/state.json")).read_text())
    assert state["memory"] == {"threshold": pytest.approx(0.05 * round(state["memory"]["threshold"] / 0.05))} != {}


def test_paths_stand_in_configurations_alone(folder: Path, models: tuple[str, ...], tmp_path: Path) -> None:
    study = tmp_path / "study"
    trial = run(every_mechanism(models), study)
    noted = json.loads((trial / "config.json").read_text())
    assert noted["config"]["reward"]["kind"] == f"{folder}/my_reward.py:Brief"
    holding = {path.name for path in study.rglob("*") if path.is_file() and str(folder).encode() in path.read_bytes()}
    assert holding == {"config.json"}
    manifest = json.loads((study / "artifacts" / noted["inputs"] / "manifest.json").read_text())
    training = manifest["key"]["training"]
    assert training["reward my_reward.py:Brief"].keys() == training["stage my_stages.py:verify"].keys() ^ {
        "my_stages.py", "my_reward.py"
    }  # fmt: skip
    assert "wording my_style.py:Stern" in training


def test_reports_name_mechanisms_without_their_paths_and_options_where_only_some_have_them(
    folder: Path, models: tuple[str, ...], tmp_path: Path
) -> None:
    mine = {"calibration.kind": "my_calibration.py:AboveMedian", "calibration.options.strength": "0.5"}
    plan = tiny_plan(models, "grpo", "ilr", **mine | {"reward.kind": "my_reward.py:Brief"})
    run_plan(plan, tmp_path / "study")
    frames = load(tmp_path / "study")
    found = facts.settings(frames)
    assert str(folder) not in str(found)
    different = {row.key: row.values for row in found.different}
    assert different["calibration.kind"] == ("none", "my_calibration.py:AboveMedian")
    assert different["calibration.options.strength"] == ("–", "0.5")
    assert ("reward.kind", "my_reward.py:Brief") in found.common
    said = describe(next(trial.config for trial in plan.trials if trial.config.variant == "ilr"))
    assert "An answer earns what Brief gives it. Rewards are calibrated by those of the peers, by AboveMedian." in said


def test_where_a_file_lies_decides_no_number(
    folder: Path, models: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = every_mechanism(models).trials[0]
    other = tmp_path / "elsewhere"
    other.mkdir()
    write_examples(other)
    monkeypatch.chdir(other)
    there = every_mechanism(models).trials[0]
    assert to_dict(here.config) != to_dict(there.config)
    assert here.hash == there.hash
    with pytest.raises(ConfigurationError, match=r"are both called my_reward\.py:Brief; rename one"):
        tiny_plan(
            models,
            "ilr",
            reward__kind="my_reward.py:Brief",
            discussion__stages="sharing+analysis+my_stages.py:verify+fusion",
            calibration__kind=f"{folder}/my_reward.py:Brief",
        )


def test_a_source_that_changed_is_said_by_name_and_run_again(
    folder: Path, models: tuple[str, ...], tmp_path: Path
) -> None:
    study, asked = tmp_path / "study", {"reward__kind": "my_reward.py:Brief"}
    plan = tiny_plan(models, "ilr", **asked)
    trial = run(plan, study)
    source = folder / "my_reward.py"
    source.write_text(source.read_text() + "\n# a comment is no change\n")
    now = InputReader().of(plan.trials[0].config)
    assert not changes_since(trial, study / "artifacts", now)
    before = [record.mean_reward for record in read(trial / "train.jsonl", StepRecord)]
    source.write_text(source.read_text().replace('"correct")', '"correct") + 1'))
    now = InputReader().of(plan.trials[0].config)
    assert str(changes_since(trial, study / "artifacts", now)) == "reward my_reward.py:Brief: my_reward.py changed"
    run(plan, study)
    after = [record.mean_reward for record in read(trial / "train.jsonl", StepRecord)]
    assert after[:2] == pytest.approx([reward + 1 for reward in before[:2]])


def test_an_edit_while_a_trial_runs_changes_nothing(folder: Path, models: tuple[str, ...], tmp_path: Path) -> None:
    plan = tiny_plan(models, "ilr", reward__kind="my_reward.py:Brief")
    whole = run(plan, tmp_path / "whole")

    def edit(step: int, evaluated: float) -> None:
        (folder / "my_reward.py").write_text("raise RuntimeError('half saved')\n")

    (planned,) = plan.trials
    edited = tmp_path / "edited"
    run_trial(planned.config, planned.hash, edited / planned.folder, Artifacts(edited / "artifacts"), watch=edit)
    with pytest.raises(ConfigurationError, match=r"RuntimeError: half saved \(my_reward\.py, line 1\)"):
        InputReader().of(planned.config)
    assert (edited / planned.folder / "train.jsonl").read_bytes() == (whole / "train.jsonl").read_bytes()


def test_a_trial_that_continues_remembers_what_its_rule_learned(
    folder: Path, models: tuple[str, ...], tmp_path: Path
) -> None:
    (planned,) = every_mechanism(models, training__steps="3").trials
    for name, stops in (("whole", ()), ("stopped", (1, 2))):
        for until in (*stops, None):
            run_trial(
                planned.config,
                planned.hash,
                tmp_path / name / "trial",
                Artifacts(tmp_path / name / "artifacts"),
                until=until,
            )
    assert contents(tmp_path / "whole") == contents(tmp_path / "stopped")


def test_joint_inference_goes_through_a_strangers_stage(folder: Path, models: tuple[str, ...], tmp_path: Path) -> None:
    stages = settings(commands()["verifier"])["discussion.stages"]
    spent = {}
    for name, chosen in (("plain", {}), ("verified", {"discussion__stages": stages})):
        plan = tiny_plan(models, "infer_idea3", evaluation__benchmarks="micro_short_chain", **chosen)
        records = (run(plan, tmp_path / name) / "inference.jsonl").read_text().splitlines()
        spent[name] = [(json.loads(line)["rounds"], json.loads(line)["tokens"]) for line in records]
    assert {rounds for rounds, _ in spent["plain"]} == {3}
    assert {rounds for rounds, _ in spent["verified"]} == {4}
    assert [after - before for (_, before), (_, after) in zip(*spent.values(), strict=True)] == [2 * 6] * len(
        spent["plain"]
    )


VERIFIER = {"discussion.stages": "sharing+analysis+my_stages.py:verify+fusion"}
WRONG: dict[str, dict[str, str]] = {
    r"unknown setting reward\.options\.per_tokn; did you mean reward\.options\.per_token\?": {
        "reward.options.per_tokn": "1"
    },
    r"reward\.options\.per_token: 'much' is not a finite number": {"reward.options.per_token": "much"},
    r"unknown setting reward\.options\.format_weight": {"reward.options.format_weight": "1"},
    r"advantages\.options\.x: advantage estimator ranks has no settings of its own": {
        "advantages.kind": "my_advantages.py:ranks",
        "advantages.options.x": "1",
    },
    r"^calibration\.kind: unknown calibration 'percption'; did you mean perception\?": {
        "calibration.kind": "percption"
    },
    r"^calibration\.kind: .*my_calibration\.py defines no AboveMedia; did you mean AboveMedian\?": {
        "calibration.kind": "my_calibration.py:AboveMedia"
    },
    r"^interaction\.rule: .*: np is a module, and nothing that can be called": {"interaction.rule": "my_rule.py:np"},
    "records need another name than verify": {
        "discussion.stages": "sharing+my_stages.py:verify+my_stages.py:verify+fusion"
    },
    r"my_stages\.py:verify is neither sharing nor sharing, other": {"discussion.stages": "sharing+my_stages.py:verify"},
    "no stage of this discussion has settings": VERIFIER | {"discussion.options.x": "1"},
    "Brief is no prompt style: it lacks name, uses_chat_template": {"prompt_style": "my_reward.py:Brief"},
}
"""What is said -> of which settings."""


@pytest.mark.parametrize("message", WRONG)
def test_what_is_wrong_with_a_plug_in_is_said_before_anything_runs(
    folder: Path, models: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message) as raised:
        tiny_plan(models, "ilr", **{"reward.kind": "my_reward.py:Brief"} | WRONG[message])
    assert "\n" not in str(raised.value)


def test_variants_keep_a_strangers_mechanism_in_the_place_of_the_papers(folder: Path, models: tuple[str, ...]) -> None:
    mine = {"calibration__kind": "my_calibration.py:AboveMedian", "calibration__options__strength": "0.5"}
    plan = tiny_plan(models, "ilr", "di_only", "pc_only", "grpo", **mine)
    kinds = {trial.config.variant: trial.config.calibration for trial in plan.trials}
    assert kinds["ilr"].kind == kinds["pc_only"].kind == f"{folder}/my_calibration.py:AboveMedian"
    assert kinds["ilr"].options == kinds["pc_only"].options == {"strength": 0.5}
    assert (
        (kinds["di_only"].kind, kinds["di_only"].options) == (kinds["grpo"].kind, kinds["grpo"].options) == ("none", {})
    )
    compared = tiny_plan(models, "ilr", calibration__kind="my_calibration.py:AboveMedian")
    assert [entry.variant for entry in compared.entries] == ["ilr"]


TINY = (
    "training.steps=1 training.questions_per_step=2 training.checkpoint_every=1 questions.train=16 "
    "questions.validation=8 sampling.samples=2 evaluation.limit=2 evaluation.benchmarks=micro_short_chain"
).split()


SEARCHED = ("sampling.samples",)
"""What the example's space chooses."""


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(commands()) - {"judge"}))
def test_each_command_of_the_page_runs_as_written(folder: Path, name: str) -> None:
    words = commands()[name]
    program = ["ilr_bench", "train"] if "--search" not in words else ["ilr_bench.sweep"]
    stated = {*settings(words), *(SEARCHED if "--search" in words else ())}
    tiny = [word for pair in TINY if pair.split("=")[0] not in stated for word in ("--set", pair)]
    done = subprocess.run(
        [sys.executable, "-m", *program, *words, *tiny], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert list((folder / "runs" / name).glob("trials/*/result.json"))


@pytest.fixture(autouse=True)
def _files_are_read_anew() -> None:
    forget_references()
