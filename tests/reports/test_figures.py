"""Figures from synthetic studies whose numbers are known."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from synthetic_study import write_synthetic_study
from synthetic_training import add_training

from ilr_bench.core.errors import StoreError
from reports import Settings, get, names
from reports.figures import style
from reports.figures.report import FigureReport
from reports.figures.step_blocks import in_blocks
from reports.figures.style import figure_style, save, variant_styles
from reports.frames import StudyFrames, load

RATIOS = ("cooperation_0.0", "cooperation_0.4", "cooperation_1.0")
VARIANTS = ("base", "grpo", "grpo_matched", "ilr", "random_matched", *RATIOS, "agents_3", "twins")
FIGURES = (
    "training_curves", "figure3", "figure4", "ranking", "gain_tokens", "mode_shares", "calibration_effect",
    "solo_fusion", "number_of_agents",
)  # fmt: skip


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_synthetic_study(
        tmp_path_factory.mktemp("figures"), VARIANTS, seeds=(0, 1), questions=12, steps=6,
        benchmarks=("micro_short_chain", "micro_ood"),
    )  # fmt: skip
    return add_training(folder)


@pytest.fixture(scope="module")
def frames(study: Path) -> StudyFrames:
    return load(study)


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> StudyFrames:
    return load(write_synthetic_study(tmp_path_factory.mktemp("untrained"), ("base",), seeds=(0,), questions=5))


_KNOWN: dict[tuple[str, Path], pd.DataFrame] = {}


def numbers(name: str, frames: StudyFrames) -> pd.DataFrame:
    report = get(name)
    assert isinstance(report, FigureReport)
    key = (name, frames.folder)
    if key not in _KNOWN:
        assert report.applies(frames) is None
        _KNOWN[key] = report.numbers(frames)
    return _KNOWN[key]


def test_every_figure_is_registered_with_words_on_how_to_read_it() -> None:
    found = [report for name in names() if isinstance(report := get(name), FigureReport)]
    assert {report.name for report in found} == set(FIGURES)
    assert all(len(report.caption) > 80 for report in found)


def test_same_records_give_the_same_bytes_in_another_process(study: Path, frames: StudyFrames, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from reports import Settings, get; from reports.frames import load; "
        "get('figure4').write(load(Path(sys.argv[1])), Path(sys.argv[2]), Settings())"
    )
    (tmp_path / "other").mkdir()
    subprocess.run([sys.executable, "-c", code, str(study), str(tmp_path / "other")], check=True)
    get("figure4").write(frames, tmp_path, Settings())
    for suffix in ("csv", "png", "svg", "pdf"):
        file = f"figure4.{suffix}"
        assert (tmp_path / file).read_bytes() == (tmp_path / "other" / file).read_bytes(), file


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_draws_something(name: str, frames: StudyFrames) -> None:
    report = get(name)
    assert isinstance(report, FigureReport)
    with figure_style():
        file = io.BytesIO()
        report.draw(numbers(name, frames)).savefig(file, format="png", dpi=40)
    assert np.asarray(Image.open(file).convert("L")).std() > 5


def test_a_study_without_training_has_none_of_the_training_figures_and_says_why(untrained: StudyFrames) -> None:
    reasons = {name: get(name).applies(untrained) for name in FIGURES}
    assert reasons["training_curves"] == "no finished trial has training steps"
    assert "no difficulty artifact" in str(reasons["figure4"])
    assert "cooperation" in str(reasons["figure3"])
    assert all(reasons.values())


def test_figure3_puts_coins_at_their_probability_and_the_rule_at_its_counted_share(frames: StudyFrames) -> None:
    table = numbers("figure3", frames)
    a = table[table["panel"] == "A"].set_index("variant")
    assert a.loc[list(RATIOS), "share"].tolist() == [0.0, 0.4, 1.0]
    assert a.loc["ilr", "share"] == pytest.approx(0.35)  # what every synthetic step of A says
    assert a.loc["random_matched", "share"] == pytest.approx(0.35)
    assert table.loc[(table["panel"] == "B") & (table["variant"] == "ilr"), "share"].item() == pytest.approx(0.55)
    assert set(table["models"]) == {"A+B"}
    assert not {"twins", "agents_3", "grpo"} & set(table["variant"])


def test_figure3_shows_the_tables_averages(frames: StudyFrames) -> None:
    table = numbers("figure3", frames)
    mine = frames.samples[(frames.samples["variant"] == "ilr") & (frames.samples["agent"] == "A")]
    wanted = mine.groupby("benchmark")["correct"].mean().mean()
    assert table.loc[(table["panel"] == "A") & (table["variant"] == "ilr"), "mean"].item() == pytest.approx(wanted)
    assert (table["low"] < table["mean"]).all()
    assert (table["mean"] < table["high"]).all()


def test_figure4_counts_ranks_in_bins_of_a_hundredth(tmp_path: Path) -> None:
    folder = write_synthetic_study(tmp_path, ("base",), seeds=(0,), questions=5)
    ranks = [0.0, 0.29, 0.58, 1.0, 1.0]  # 0.29 * 100 and 0.58 * 100 lie just below the whole number
    table = numbers("figure4", load(add_training(folder, ranks=ranks)))
    mine = table[table["panel"] == "Ranked by A"].set_index("bin")["questions"]
    assert mine[mine > 0].to_dict() == {0.0: 1, 0.29: 1, 0.58: 1, 0.99: 2}
    assert len(mine) == 100
    joint = table[table["kind"] == "joint"].drop_duplicates("agent").set_index("agent")
    assert joint.loc["A", "ability"] == 0.41
    assert joint.loc["A", "cooperates"] == pytest.approx(3 / 5)
    assert joint.loc["B", "cooperates"] == pytest.approx(3 / 5)


def test_questions_without_a_valid_ranking_are_left_to_the_other_agents(tmp_path: Path) -> None:
    folder = write_synthetic_study(tmp_path, ("base",), seeds=(0,), questions=5)
    nan = float("nan")
    table = numbers("figure4", load(add_training(folder, ranks=[0.25, nan])))
    alone = table[table["panel"] == "Ranked by A"].set_index("bin")["questions"]
    assert alone[alone > 0].to_dict() == {0.25: 1}
    joint = table[(table["kind"] == "joint") & (table["agent"] == "A")].set_index("bin")["questions"]
    assert joint[joint > 0].to_dict() == {0.25: 1, 0.5: 1}


def test_torn_difficulty_artifact_names_the_file(tmp_path: Path) -> None:
    folder = add_training(write_synthetic_study(tmp_path, ("base",), seeds=(0,), questions=5))
    next((folder / "artifacts").rglob("rankings.json")).write_text("{")
    with pytest.raises(StoreError, match=r"rankings.json is torn"):
        get("figure4").applies(load(folder))


def test_training_curves_start_at_the_ability_before_training(frames: StudyFrames) -> None:
    table = numbers("training_curves", frames)
    start = table[(table["step"] == 0) & (table["measure"] == "validation_accuracy")]
    assert start.loc[(start["agent"] == "A") & (start["variant"] == "ilr"), "mean"].item() == pytest.approx(0.41)
    assert not ((table["step"] == 0) & (table["measure"] == "mean_reward")).any()


def test_variants_that_are_the_same_trials_are_drawn_once(tmp_path: Path) -> None:
    folder = write_synthetic_study(
        tmp_path, ("pure_competitive", "cooperation_0.0", "pure_cooperative"), seeds=(0,), questions=5
    )
    frames = load(folder)
    for name in ("training_curves", "figure3", "mode_shares"):
        assert set(numbers(name, frames)["variant"]) == {"pure_competitive", "pure_cooperative"}, name


def test_gain_against_tokens_is_the_paired_difference_from_base(frames: StudyFrames) -> None:
    table = numbers("gain_tokens", frames).set_index(["section", "variant"])
    means = frames.samples.groupby(["agent", "variant", "models", "benchmark"])["correct"].mean()
    for agent in "AB":
        gain = means[agent, "ilr", "A+B"].mean() - means[agent, "base", "A+B"].mean()
        assert table.loc[(agent, "ilr"), "gain"] == pytest.approx(gain)
    assert table.loc[("A", "grpo"), "sampled_tokens"] == pytest.approx(210_450)


def test_number_of_agents_tells_groups_from_twins(frames: StudyFrames) -> None:
    table = numbers("number_of_agents", frames)
    a = table[table["section"] == "A"]
    assert set(zip(a["variant"], a["agents"], a["kind"], strict=True)) == {
        ("base", 1, "base"), ("grpo", 1, "alone"), ("grpo_matched", 1, "alone"), ("ilr", 2, "group"),
        ("agents_3", 3, "group"), ("twins", 2, "twins"),
    }  # fmt: skip


def test_number_of_agents_needs_two_sizes_of_group(tmp_path: Path) -> None:
    frames = load(write_synthetic_study(tmp_path, ("base", "ilr"), seeds=(0,), questions=5))
    assert "only one size of group" in str(get("number_of_agents").applies(frames))


def test_ranking_is_best_first_within_each_model(frames: StudyFrames) -> None:
    for _, rows in numbers("ranking", frames).groupby("section"):
        assert rows["mean"].is_monotonic_decreasing
        assert {"untrained", "trained alone", "discussing"} >= set(rows["kind"])


def test_blocks_of_steps_weigh_steps_by_their_groups() -> None:
    steps = pd.DataFrame(
        {
            "models": "A+B", "agent": "A", "variant": "ilr", "seed": [0, 0, 0, 0, 1, 1, 1, 1], "step": [1, 2, 3, 4] * 2,
            "groups": [1, 3, 2, 2, 1, 1, 1, 1], "share": [1.0, 0.0, 0.5, None, 0.0, 0.0, 1.0, 1.0],
        }
    )  # fmt: skip
    table = in_blocks(steps, ["share"], most=2).set_index("first")
    assert table.loc[1, ["last", "low", "high", "seeds"]].tolist() == [2, 0.0, 0.25, 2]
    assert table.loc[3, ["last", "low", "high"]].tolist() == [4, 0.5, 1.0]
    assert in_blocks(steps, ["share"], most=10)["step"].tolist() == [1.0, 2.0, 3.0, 4.0]


def test_ten_variants_differ_in_dashes_and_markers_as_well_as_in_colour() -> None:
    found = variant_styles([f"v{number}" for number in range(10)]).values()
    assert len({look.dashes for look in found}) == len({look.marker for look in found}) == 10
    assert variant_styles(["ilr", "x"])["ilr"] == variant_styles(["y", "grpo", "ilr"])["ilr"]


def test_colours_keep_their_distance_from_paper_in_grey() -> None:
    for colour in style.PALETTE:
        red, green, blue = (int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5))
        assert 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.72, colour


def test_broken_lines_lie_upon_solid_ones(frames: StudyFrames) -> None:
    with figure_style():
        axes = get("training_curves").draw(numbers("training_curves", frames)).axes[0]
    solid = [line.get_zorder() for line in axes.get_lines() if not line.is_dashed()]
    broken = [line.get_zorder() for line in axes.get_lines() if line.is_dashed()]
    assert max(solid) < min(broken)


def test_names_are_no_formulas(frames: StudyFrames) -> None:
    table = numbers("ranking", frames)
    report = get("ranking")
    assert isinstance(report, FigureReport)
    with figure_style():
        figure = report.draw(table.assign(section="$\\x^$", variant="a$_$b"))
        text = style.inline_svg(figure)
    assert "Model $\\x^$" in text
    assert "a$_$b" in text


def test_pictures_are_written_whole_in_three_formats(frames: StudyFrames, tmp_path: Path) -> None:
    path = get("ranking").write(frames, tmp_path, Settings())
    assert path == tmp_path / "ranking.png"
    assert Image.open(path).size[0] > 800
    assert path.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
    assert path.with_suffix(".svg").read_text().startswith("<?xml")
    for suffix in (".svg", ".pdf", ".png"):
        assert b"20" + b"26-" not in path.with_suffix(suffix).read_bytes()  # no date


def test_full_disk_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StoreError, match="disk is full"):
        save(Figure(), tmp_path / "x.png")
    assert not list(tmp_path.iterdir())
