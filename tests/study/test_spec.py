"""A study in a file: the same as its options, replaced by options beside it, and refused by file and key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ilr_bench.core.config import change, to_dict
from ilr_bench.core.errors import ConfigurationError
from ilr_bench.core.profiles import MICRO
from ilr_bench.study.plan import plan_study
from ilr_bench.study.spec import Request, ask

STUDY = """
profile = "micro"
variants = ["ilr", "grpo"]
models = [["A", "B"], ["A", "C"]]
seeds = [0, 1]
workers = 3
log = ["tensorboard"]

[set]
evaluation.limit = 5
evaluation.benchmarks = ["micro_code", "micro_ood"]

[set.update]
gradient_checkpointing = true

[grid]
"training.steps" = [3, 4]
"""
OPTIONS = (
    ["evaluation.limit=5", "evaluation.benchmarks=micro_code+micro_ood", "update.gradient_checkpointing=true",
     "training.steps=3,4"],
)  # fmt: skip


def written(text: str, folder: Path, name: str = "study.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_asks_for_what_its_options_ask_for(tmp_path: Path) -> None:
    by_file = ask(written(STUDY, tmp_path))
    by_options = ask(
        None, *OPTIONS, profile="micro", variants="ilr,grpo", models=["A,B", "A,C"], seeds="0,1", workers=3,
        log="tensorboard",
    )  # fmt: skip
    assert by_file.plan() == by_options.plan()
    assert len(by_file.plan().trials) == 16
    assert by_file.command() == by_options.command()
    assert (by_file.spec.workers, by_file.spec.log) == (by_options.spec.workers, by_options.spec.log) == (
        3, ("tensorboard",)
    )  # fmt: skip
    assert by_options.plan() == plan_study(
        "micro", ["ilr", "grpo"], [("A", "B"), ("A", "C")], (0, 1),
        {"evaluation.limit": ("5",), "evaluation.benchmarks": (("micro_code", "micro_ood"),),
         "update.gradient_checkpointing": (True,), "training.steps": ("3", "4")},
    )  # fmt: skip


def test_options_take_the_place_of_the_file_and_it_is_said_which(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(STUDY, tmp_path)
    asked = ask(path, ["training.steps=9", "seed=7"], variants="base", workers=1)
    assert (asked.spec.variants, asked.spec.workers, asked.spec.seeds) == (("base",), 1, (0, 1))
    assert asked.spec.overrides["training.steps"] == ("9",)
    assert asked.spec.overrides["evaluation.limit"] == (5,)
    assert capsys.readouterr().err.splitlines() == [
        f"{option} takes the place of what {path} says"
        for option in ("--variants", "--workers", "--set training.steps")
    ]
    with pytest.raises(ConfigurationError, match=rf"^{path} with --variants: unknown variant 'bse'; did you mean base"):
        ask(path, variants="bse").plan()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seeds = [0,\nx", r"--config .*study\.toml: not a TOML file that can be read \(.*line 2"),
        ("seed = 1", r"study\.toml: unknown setting seed; did you mean seeds"),
        ("seeds = ['x']", r"study\.toml: seeds: 'x' is not an integer"),
        ("workers = 0", r"study\.toml: workers: at least 1, not 0"),
        ("models = [['A'], 'B']", r"study\.toml: models: 'B' is not a list"),
        ("models = 3", r"study\.toml: models: 3 is not a list"),
        ("profile = 'mikro'", r"study\.toml: profile: unknown profile 'mikro'; did you mean micro"),
        ("[set]\ntraining.steps = -1", r"study\.toml: \[set\] training\.steps: at least 0, not -1"),
        ("[set]\ntraining.step = 1", r"study\.toml: \[set\] unknown setting training\.step; did you mean training\.st"),
        ("[set]\ntraining = 1", r"study\.toml: \[set\] unknown setting training"),
        ("[set]\nseed = 1", r"study\.toml: \[set\] seed: stands above the tables, as seeds = \[0\]"),
        ("[grid]\ntraining.steps = 3", r"study\.toml: \[grid\] training\.steps: write a list"),
        ("[grid]\ntraining.steps = []", r"study\.toml: \[grid\] training\.steps: write a list"),
        ("[grid]\ntraining.steps = [1, nan]", r"study\.toml: \[grid\] training\.steps: nan is not a finite number"),
        ("[set]\nsampling.samples = 4\n[grid]\nsampling.samples = [4]", r"sampling\.samples: stands in \[set\] and in"),
        ("set = 3", r"study\.toml: set: 3 is not a group"),
        ("[matches]\nprofile = 'a'", r"study\.toml: matches\.variant: missing"),
        ("[config]\nprofile = 'a'", r"study\.toml: config\.variant: missing; config\.models: missing"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_file_is_named_by_file_and_key(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        ask(written(text, tmp_path))
    assert "\n" not in str(caught.value)


def test_what_slurm_is_asked_for_stands_in_a_file_or_an_option(tmp_path: Path) -> None:
    text = 'executor = "slurm"\n[slurm]\npartition = "gpu"\ntime = 60\nsetup = ["module load cuda"]\n'
    by_file = ask(written(text, tmp_path)).spec
    assert (by_file.executor, by_file.slurm) == (
        "slurm", {"partition": "gpu", "time": 60, "setup": ["module load cuda"]},
    )  # fmt: skip
    assert ask(None, slurm="partition=gpu, time=60").spec.slurm == {"partition": "gpu", "time": 60}
    with pytest.raises(ConfigurationError, match="--slurm gpu: write KEY=VALUE with commas"):
        ask(None, slurm="gpu")


def test_a_file_that_is_not_there_or_no_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nothing\.toml: not a TOML file that can be read \(.*No such file"):
        ask(tmp_path / "nothing.toml")
    for text in ("[]", "{}", '{"config": {}}'):
        with pytest.raises(ConfigurationError, match="no configuration of a trial"):
            ask(written(text, tmp_path, "config.json"))


def test_names_that_begin_with_a_dot_start_at_the_folder_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written('models = [["./mine", "A"]]\n[set]\nprompt_style = "../x"', tmp_path)
    monkeypatch.chdir(tmp_path.parent)
    assert ask(path).spec.models == ((f"{tmp_path.name}/mine", "A"),)
    assert ask(path).spec.set == {"prompt_style": "x"}
    monkeypatch.chdir(tmp_path)
    assert ask(path).spec.models == (("mine", "A"),)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert ask(path).spec.models == ((str(tmp_path / "mine"), "A"),)


def test_a_value_with_a_comma_stands_in_quotes_in_the_command(tmp_path: Path) -> None:
    asked = ask(written('variants = ["ilr"]\n[set]\nthought_marks = "<a,b> </a,b>"', tmp_path))
    assert """--set 'thought_marks="<a,b> </a,b>"'""" in asked.command()
    again = ask(None, ['thought_marks="<a,b> </a,b>"'], variants="ilr")
    assert again.plan() == asked.plan()
    assert again.plan().trials[0].config.thought_marks == "<a,b> </a,b>"


def trial_folders(asked: Request, study: Path) -> list[Path]:
    """The trials of a plan as a sweep leaves them, with numbers of samples where tokens were matched."""
    folders = []
    for trial in asked.plan().trials:
        folder = study / trial.folder
        folder.mkdir(parents=True)
        config = trial.config if trial.dependency is None else change(
            trial.config, {"sampling.samples_per_agent": (5, 6)}
        )  # fmt: skip
        (folder / "config.json").write_text(json.dumps({"hash": trial.hash, "inputs": "", "config": to_dict(config)}))
        folders.append(folder)
    return folders


def test_a_trial_runs_again_from_its_configuration(tmp_path: Path) -> None:
    first = ask(
        None, ["training.steps=4", "interaction.cooperation_ratio=0.2"], variants="coin", models=["B,C"], seeds="3"
    )
    [folder] = trial_folders(first, tmp_path)
    for file in (folder, folder / "config.json"):
        again = ask(file)
        assert again.plan() == first.plan()
        assert again.spec.profile == "micro"
        assert "--config" in again.command()
    other = ask(folder, ["training.steps=5"], seeds="4", models=["A,B"]).plan().trials[0].config
    assert (other.training.steps, other.seed, other.models) == (5, 4, ("A", "B"))
    assert other.interaction.cooperation_ratio == 0.2
    for given in ({"variants": "ilr"}, {"profile": "paper"}):
        with pytest.raises(ConfigurationError, match=f"--{next(iter(given))}: .* holds a whole configuration"):
            ask(folder, **given)
    with pytest.raises(ConfigurationError, match="group of one answer"):
        ask(folder, ["sampling.samples=1"]).plan()


def test_a_trial_that_matches_anothers_tokens_brings_that_one_along(tmp_path: Path) -> None:
    first = ask(None, ["sampling.temperature=0.9,1.1"], variants="grpo_matched", seeds="1")
    folders = trial_folders(first, tmp_path)
    for place in (2, 3):
        plan = ask(folders[place]).plan()
        assert [trial.hash for trial in plan.trials] == [
            first.plan().trials[place].dependency, first.plan().trials[place].hash
        ]  # fmt: skip
        assert {trial.config.sampling.temperature for trial in plan.trials} == {(0.9, 1.1)[place - 2]}
    (folders[0] / "config.json").unlink()
    (folders[1] / "config.json").unlink()
    for number, damage in enumerate((b"[]", b"3", b'{"config": {}}', b"{torn", b"\xff\xfe", b"[" * 50_000)):
        (beside := folders[2].parent / f"{number}").mkdir()
        (beside / "config.json").write_bytes(damage)
    with pytest.raises(
        ConfigurationError, match=r"config\.json: the trial whose tokens it matches \(ilr\) is not beside"
    ):
        ask(folders[2])


def test_one_trial_is_asked_for_or_what_makes_several_is_said(tmp_path: Path) -> None:
    path = written(STUDY, tmp_path)
    with pytest.raises(
        ConfigurationError, match=r"several trials, by variants \(2\), models \(2\), seeds \(2\), training\.steps \(2\)"
    ):
        ask(path).one()
    asked = ask(path, ["training.steps=3"], variants="ilr", models=["A,B"], seeds="0").one()
    assert [trial.config.variant for trial in asked.plan().trials] == ["ilr", "base"]
    assert ask(None).one("grpo").plan() == plan_study("micro", ["grpo"], with_untrained=True)
    assert asked.command() == (
        "ilr-bench train --profile micro --variant ilr --models A,B --seed 0 --set evaluation.limit=5 "
        "--set evaluation.benchmarks=micro_code+micro_ood --set update.gradient_checkpointing=true "
        "--set training.steps=3 --out DIR"
    )


def test_the_defaults_of_a_file_are_those_of_the_command_line(tmp_path: Path) -> None:
    assert ask(written("", tmp_path)).spec == ask(None).spec
    assert ask(None).spec.profile == MICRO.profile
    assert ask(written("models = ['A', 'B']", tmp_path)).spec.models == (("A", "B"),)
    assert ask(written("models = []", tmp_path)).spec.models == ()


def test_the_untrained_models_of_a_coin_have_no_ratio_that_only_it_takes() -> None:
    asked = ask(None, ["interaction.cooperation_ratio=0.2"], variants="coin").one()
    plan = asked.plan()
    assert [entry.variant for entry in plan.entries] == ["base", "coin"]
    assert [plan.by_hash(entry.hash).config.interaction.cooperation_ratio for entry in plan.entries] == [None, 0.2]
