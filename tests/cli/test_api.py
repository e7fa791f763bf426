"""The Python interface: studies as frames, tables and figures, and training by what the commands run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from matplotlib.figure import Figure
from synthetic_study import write_synthetic_study
from synthetic_training import HOSTILE, add_training
from tiny_models import tiny_model, tiny_tokenizer

import ilr_bench as ilr
from ilr_bench.cli.results import Study
from ilr_bench.core import extras
from ilr_bench.core.errors import ConfigurationError, IlrError, MissingInputError, StoreError
from ilr_bench.models.loading import save_prepared
from ilr_bench.storage.records import read_study, write_study
from ilr_bench.study import sweep as sweep_module
from ilr_bench.study.launch.scheduler import Failure
from ilr_bench.study.sweep import Outcome
from reports import Settings, get
from reports.frames import load
from reports.tables.report import TableReport


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = write_synthetic_study(
        tmp_path_factory.mktemp("api"), ("base", "grpo_matched", "ilr"), seeds=(0, 1), questions=10, steps=3,
        unfinished=[("grpo_matched", 1)],
    )  # fmt: skip
    return ilr.load(add_training(folder, HOSTILE, per_step=2))


@pytest.mark.parametrize("name", ["train", "evaluate", "load", "Study"])
def test_names_are_there_and_importing_the_package_loads_nothing_heavy(name: str) -> None:
    heavy = {"torch", "pandas", "numpy", "typer", "matplotlib"}
    code = f"""
import sys, time
start = time.perf_counter()
import ilr_bench
assert time.perf_counter() - start < 0.15 and not {heavy} & set(sys.modules)
assert {name!r} in ilr_bench.__all__ and callable(getattr(ilr_bench, {name!r}))
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_frames_hold_the_records_under_the_documented_columns(study: Study) -> None:
    page = (Path(__file__).parents[2] / "docs" / "python.md").read_text(encoding="utf-8")
    for name in ("trials", "samples", "dialogues"):
        frame = getattr(study, name)
        assert list(frame.columns[:4]) == ["variant", "models", "agent", "seed"]
        row = next(line for line in page.splitlines() if line.startswith(f"| `{name}` |"))
        assert [column for column in frame.columns[4:] if f"`{column}`" not in row] == []
    assert len(study.samples) == 5 * 2 * 6 * 10  # five finished trials of two agents
    assert set(study.steps["step"]) == {1, 2, 3}
    assert study.unfinished == ("grpo_matched, A+B, seed 1",)


def test_dialogues_have_a_row_per_turn_of_finished_trials(study: Study) -> None:
    turns = study.dialogues
    assert set(turns["turn"]) == {HOSTILE}
    assert set(zip(turns["variant"], turns["seed"], strict=True)) == {("grpo_matched", 0), ("ilr", 0), ("ilr", 1)}
    one = turns[(turns["variant"] == "ilr") & (turns["seed"] == 1)]
    assert one.groupby("step")["question"].nunique().to_dict() == {1: 2, 2: 2, 3: 2}
    assert set(one["stage"]) == {"sharing", "analysis", "fusion"}


def test_a_changed_frame_changes_neither_the_study_nor_its_tables(study: Study) -> None:
    frame, before = study.samples, study.table("table1").printed
    frame["correct"] = 0.0
    trials = study.trials
    trials["model"] = "other"
    assert study.samples["correct"].mean() > 0
    assert study.table("table1").printed.equals(before)


def test_tables_have_the_numbers_of_the_reports(study: Study) -> None:
    report = get("table2")
    assert isinstance(report, TableReport)
    made = report.table(load(study.folder), Settings())
    table = study.table("table2")
    assert tuple(table.printed.columns) == made.main.head
    assert tuple(table.printed.iloc[-1]) == made.main.texts(made.main.lines[-1])
    cell = table.frame.query("model == 'B' and variant == 'ilr' and column == 'Avg'").iloc[0]
    value = made.main.lines[-1].values[[column.name for column in made.main.columns].index("Avg")]
    assert value is not None
    assert (cell["value"], cell["low"], cell["high"]) == (value.value, value.facts["low"], value.facts["high"])
    assert str(table).startswith("# Table 2")
    assert table.notes == made.notes
    holm = study.table("table2", correction="holm")
    assert any("Holm" in note for note in holm.notes)


def test_figures_are_drawn_and_can_be_shown(study: Study) -> None:
    figure = study.figure("training_curves")
    assert isinstance(figure, Figure)
    assert figure._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]
    assert {axes.get_title("left") for axes in figure.axes} >= {"Model A", "Model B"}


def test_reports_are_written_where_they_are_wanted(study: Study, tmp_path: Path) -> None:
    assert "table2" in study.reports
    assert "figure3" not in study.reports
    assert study.report("table2", "page", out=tmp_path / "new") == tmp_path / "new"
    assert {path.name for path in (tmp_path / "new").glob("*.*")} == {
        "table2.md", "table2.csv", "table2.tex", "table2.json", "table2.png", "table2.svg", "table2.pdf",
        "table2.html", "report.html",
    }  # fmt: skip


def test_notebooks_show_names_of_models_as_text(tmp_path: Path) -> None:
    folder = write_synthetic_study(tmp_path, ("base", "ilr"), seeds=(0,), questions=4)
    found = read_study(folder)
    name = "ilr <img src=x>"
    trials = tuple(
        entry if entry.variant == "base" else type(entry)(**(vars(entry) | {"variant": name})) for entry in found.trials
    )
    write_study(folder, type(found)(found.profile, found.command, trials))
    shown = ilr.load(folder)._repr_html_()
    assert "<img" not in shown
    assert "&lt;img" in shown
    assert "<table" in shown
    assert repr(ilr.load(folder)) == f"Study {folder}: 2 trials; variant base, {name}; models A+B; seed 0"


def test_what_a_study_has_not_is_an_error_of_one_line(study: Study, tmp_path: Path) -> None:
    for ask, message in (
        (lambda: study.table("figure3"), "has no figure3: fewer than two cooperation ratios"),
        (lambda: study.table("ranking"), r"ranking is no table; see figure\('ranking'\)"),
        (lambda: study.figure("table2"), r"table2 is no figure; see table\('table2'\)"),
        (lambda: study.table("tabel2"), "did you mean table2"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            ask()
    with pytest.raises(StoreError, match="holds no study"):
        ilr.load(tmp_path)


def test_a_study_without_a_finished_trial_says_so_when_it_is_shown(tmp_path: Path) -> None:
    folder = write_synthetic_study(tmp_path, ("ilr",), seeds=(0,), questions=4, unfinished=[("ilr", 0)])
    empty = ilr.load(folder)
    assert "no trial of this study has finished" in repr(empty)
    assert "no trial of this study has finished" in empty._repr_html_()


class Sweep:
    """Stands in for `run_sweep`: notes what it was asked and leaves a study."""

    def __init__(self, failed: dict[str, Failure]) -> None:
        self.failed = failed

    def __call__(self, plan: Any, profile: str, out: Path, workers: int, command: str, **more: Any) -> Outcome:
        self.plan, self.command, self.more = plan, command, more
        write_synthetic_study(out, ("base", "ilr"), seeds=(0,), questions=4)
        return Outcome(self.failed, 1.0)


def test_training_runs_what_the_command_would_and_returns_the_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = Sweep({})
    monkeypatch.setattr(sweep_module, "run_sweep", sweep)
    made = ilr.train(
        "ilr", "A,C", seed=3, settings={"evaluation.limit": None, "evaluation.jail": False}, training={"steps": 7},
        evaluation={"benchmarks": ("micro_ood", "micro_code")}, out=tmp_path / "one",
    )  # fmt: skip
    config = next(trial.config for trial in sweep.plan.trials if trial.config.variant == "ilr")
    assert (config.models, config.seed, config.training.steps) == (("A", "C"), 3, 7)
    assert (config.evaluation.limit, config.evaluation.jail) == (None, False)
    assert config.evaluation.benchmarks == ("micro_ood", "micro_code")
    assert [entry.variant for entry in sweep.plan.entries] == ["base", "ilr"]
    assert sweep.command == (
        "ilr-bench train --profile micro --variant ilr --models A,C --seed 3 --set evaluation.limit=none "
        "--set evaluation.jail=false --set training.steps=7 --set evaluation.benchmarks=micro_ood+micro_code --out DIR"
    )
    assert isinstance(made.table("accuracy").frame, pd.DataFrame)


def test_a_failed_job_is_an_error_and_no_exit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_module, "run_sweep", Sweep({"A": Failure("no room", 6)}))
    with pytest.raises(IlrError, match="1 jobs failed") as caught:
        ilr.train(out=tmp_path / "one")
    assert caught.value.exit_status == 6


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"training": {"stesp": 3}}, "unknown setting training.stesp; did you mean training.steps"),
        ({"training": {"steps": "many"}}, "training.steps: 'many' is not an integer"),
        ({"settings": {"training.steps": 3}, "training": {"steps": 3}}, "training.steps is given twice"),
        ({"variant": "irl"}, "did you mean ilr"),
        ({"models": ["A", "Q"]}, "unknown model 'Q'"),
        ({"interaction": {"rule": "coin"}}, "interaction.rule: fixed by ilr|interaction.cooperation_ratio"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_runs(
    given: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        ilr.train(**given, out=tmp_path / "one")
    assert not (tmp_path / "one").exists()


def test_a_model_alone_has_accuracies_samples_and_a_table(tmp_path: Path) -> None:
    save_prepared(tiny_model(), tiny_tokenizer(), tmp_path / "model")
    found = ilr.evaluate(tmp_path / "model", "sums", limit=5, max_new_tokens=4, out=tmp_path / "out")
    assert found.accuracy == {"sums": 0.0}
    assert list(found.samples["benchmark"]) == ["sums"] * 5
    assert {"completion", "gold", "verdict", "correct"} <= set(found.samples.columns)
    assert found.table.iloc[0]["questions"] == "5"
    assert "<table" in found._repr_html_()
    assert repr(found) == f"Evaluation {tmp_path / 'out'}: sums 0.0%"
    with pytest.raises(ConfigurationError, match="2 samples at temperature 0"):
        ilr.evaluate(tmp_path / "model", ["sums"], samples=2, out=tmp_path / "other")


def test_a_readers_install_says_which_extra_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "is_installed", lambda name: name not in ("trl", "lm_eval"))
    with pytest.raises(MissingInputError, match=r"training needs .*trl.*ilr-bench\[train\]"):
        ilr.train("ilr", out=tmp_path / "trained")
    with pytest.raises(MissingInputError, match=r"an evaluation needs lm.eval.*ilr-bench\[eval\]"):
        ilr.evaluate("A", out=tmp_path / "evaluated")
