"""Table 2 from synthetic studies whose effects are known."""

from __future__ import annotations

import csv
import json
import pickle
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from synthetic_study import MATHS, write_synthetic_study

from ilr_bench.core.errors import ConfigurationError, StoreError
from ilr_bench.storage.records import SampleRecord, Verdict, read
from reports import Settings, get, names
from reports.frames import load
from reports.rows import AVERAGE, find_columns
from reports.statistics import estimates
from reports.tables.comparison import Numbers, build
from reports.tables.printing import printed
from reports.tables.report import RANKING
from reports.tables.table2 import SPEC
from reports.tables.training_effects import equal_by_theorem
from reports.tables.writer import markdown

FORMATS = ("md", "csv", "tex", "html", "json", "png")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_synthetic_study(tmp_path_factory.mktemp("study"), questions=60)


@pytest.fixture(scope="module")
def written(study: Path) -> Path:
    return write(study, "table2", study / "reports").parent


def write(study: Path, name: str, out: Path) -> Path:
    out.mkdir(exist_ok=True)
    return get(name).write(load(study), out, Settings())


def differences(rows: Iterable[dict]) -> list[dict]:
    return [cell for row in rows for cell in row["cells"].values() if cell["kind"] == "difference"]


def _text(study: Path) -> str:
    return markdown(printed(table2(study)))


def table2(study: Path) -> Numbers:
    return build(load(study), SPEC)


def ranking(study: Path) -> Numbers:
    return build(load(study), RANKING)


def _rows(folder: Path) -> dict[tuple[str, str], dict]:
    data = json.loads((folder / "table2.json").read_text())
    return {(row["model"], row["label"]): row for row in data["rows"]}


def test_all_formats_are_written_beside_the_study(study: Path, written: Path) -> None:
    assert written == study / "reports"
    assert {path.name for path in written.iterdir()} >= {f"table2.{suffix}" for suffix in FORMATS}


def test_same_records_give_the_same_bytes_in_another_process(study: Path, written: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from reports import Settings, get; from reports.frames import load; "
        "get('table2').write(load(Path(sys.argv[1])), Path(sys.argv[2]), Settings())"
    )
    subprocess.run([sys.executable, "-c", code, str(study), str(tmp_path)], check=True)
    for suffix in FORMATS:
        assert (tmp_path / f"table2.{suffix}").read_bytes() == (written / f"table2.{suffix}").read_bytes(), suffix


def test_rows_follow_the_paper_and_columns_the_benchmarks(written: Path) -> None:
    lines = [line for line in (written / "table2.md").read_text().splitlines() if line.startswith("|")]
    head = [text.strip() for text in lines[0].strip("|").split("|")]
    assert head == [
        "Model", "Variant", "short chain", "word problem", "two step", "long chain", "ood", "Avg", "code", "Tokens (k)",
        "vs base", "vs matched GRPO",
    ]  # fmt: skip
    variants = [line.split("|")[2].strip() for line in lines[2:14]]
    assert variants == ["base", "grpo", "grpo_matched", "di_only", "pc_only", "ilr"] * 2


def test_every_cell_is_the_share_of_right_answers_in_its_record_files(study: Path, written: Path) -> None:
    for row in _rows(written).values():
        for column, cell in row["cells"].items():
            if cell["kind"] != "accuracy":
                continue
            records = [record for file in cell["files"] for record in read(study / file, SampleRecord)]
            assert {record.agent for record in records} == {row["agent"]}
            assert len(records) == cell["n"]
            by_name = {
                name: np.mean([record.verdict is Verdict.CORRECT for record in records if record.benchmark == name])
                for name in {record.benchmark for record in records}
            }
            assert set(by_name) == (set(MATHS) if column == "Avg" else {column})
            assert cell["mean"] == pytest.approx(np.mean(list(by_name.values())), abs=1e-8)
            assert cell["low"] < cell["mean"] < cell["high"]


def test_known_effects_are_found_and_their_absence_is_not_called_a_gain(written: Path) -> None:
    for (_, label), row in _rows(written).items():
        if label != "base":
            assert row["cells"]["vs base"]["pvalue_corrected"] < 0.05
            assert row["cells"]["vs base"]["value"] == pytest.approx(0.15, abs=0.12)
        if label == "di_only":
            assert row["cells"]["vs grpo_matched"]["low"] < 0.03 < row["cells"]["vs grpo_matched"]["high"]


def test_family_is_corrected_by_permuting_training_runs(study: Path, written: Path) -> None:
    data = json.loads((written / "table2.json").read_text())
    found = differences(data["rows"])
    assert data["family"]["comparisons"] == len(found) == 18
    assert data["family"]["correction"] == "max_t"
    assert all(item["pvalue_corrected"] >= item["pvalue_permutation"] for item in found)
    assert {item["test"] for item in found} == {"t, question and run variance (runs pooled)"}
    assert "max-T permutation test over training runs" in (written / "table2.md").read_text()


@pytest.mark.parametrize(("correction", "adjust"), [("holm", estimates.holm), ("bh", estimates.benjamini_hochberg)])
def test_other_corrections_cover_the_whole_family(study: Path, correction: str, adjust: Callable) -> None:
    family = build(load(study), SPEC, correction).family
    expected = adjust([item.result.pvalue for item in family.comparisons])
    np.testing.assert_allclose([item.adjusted for item in family.comparisons], expected)
    assert family.method == correction


def test_few_training_runs_are_corrected_by_holm(tmp_path: Path) -> None:
    study = write_synthetic_study(tmp_path, questions=20, variants=("base", "grpo", "ilr"), seeds=(0, 1), steps=2)
    assert table2(study).family.method == "holm"


def test_only_significant_differences_are_marked(written: Path) -> None:
    rows = _rows(written)
    text = (written / "table2.md").read_text().replace("\\*", "*")
    marked = sum(item["pvalue_corrected"] < 0.05 for item in differences(rows.values()))
    table = text.split("\n\n")[2]
    assert table.count(" * |") == marked > 0


def test_foot_states_test_family_seeds_and_detectable_difference(written: Path) -> None:
    text = (written / "table2.md").read_text()
    for part in (
        "family of 18 comparisons",
        "3 seeds (0, 1, 2)",
        "Smallest detectable difference",
        "shared by all",
    ):
        assert part in text
    each = r"\d+\.\d vs base, \d+\.\d vs grpo_matched"
    family = r"in the family \d+\.\d and \d+\.\d"
    assert re.search(rf"Avg {each} \(300 questions; {family}\); code {each} \(60 questions\)", text)


def test_no_detectable_difference_is_larger_than_there_can_be(tmp_path: Path) -> None:
    study = write_synthetic_study(tmp_path, ("base", "grpo_matched", "ilr"), seeds=(0, 1), questions=1, steps=1)
    foot = next(line for line in _text(study).splitlines() if "Smallest detectable" in line)
    assert "over 100" in foot
    assert all(float(number) <= 100 for number in re.findall(r"\d+\.\d", foot))


def test_detectable_differences_in_the_family_are_those_of_the_permutation_test(written: Path) -> None:
    numbers = get("table2").numbers(load(written.parent), Settings())
    assert numbers.family.method == "max_t"
    assert numbers.family.critical is not None
    for item in numbers.detectable:
        if item.column != AVERAGE:
            assert item.family is None
            continue
        results = [found.result for found in numbers.family.comparisons if found.against.stem == item.reference]
        found = [estimates.detectable_difference(result, critical=numbers.family.critical) for result in results]
        assert item.family == pytest.approx(median(found))
        assert item.single is not None
        assert item.family > item.single


def test_csv_and_json_hold_the_same_numbers(written: Path) -> None:
    rows = _rows(written)
    with (written / "table2.csv").open() as file:
        for line in csv.DictReader(file):
            cell = rows[line["model"], line["variant"]]["cells"][line["column"]]
            assert float(line["value"]) == pytest.approx(cell["value"], rel=1e-5)
            if line["high"]:
                assert float(line["high"]) == pytest.approx(cell["high"], rel=1e-5)


def test_sampled_tokens_are_means_over_runs(written: Path) -> None:
    rows = _rows(written)
    assert rows["A", "base"]["training"]["sampled_tokens"] == 0
    assert rows["A", "ilr"]["training"]["sampled_tokens"] == pytest.approx(419_900)


def test_training_effects_of_calibrated_rows_are_printed(written: Path) -> None:
    training = _rows(written)["B", "ilr"]["training"]
    assert (training["clipped"], training["changed"]) == pytest.approx((0.06, 0.11))
    assert training["flat"] == pytest.approx(5 / 32)
    assert training["cooperation"] == pytest.approx(0.55)
    assert _rows(written)["B", "di_only"]["training"]["clipped"] is None


def test_rows_equal_by_theorem_are_marked_and_checked_on_the_answers(tmp_path: Path) -> None:
    study = write_synthetic_study(
        tmp_path, questions=20, unclipped=("ilr", "pc_only"), twins={"ilr": "di_only"}, steps=2
    )
    table = table2(study)
    equal = equal_by_theorem(table.frames, table.rows)
    pairs = {(item.row.section, item.row.label, item.other.label): item for item in equal}
    assert set(pairs) == {(model, *pair) for model in "AB" for pair in (("ilr", "di_only"), ("pc_only", "grpo"))}
    assert pairs["A", "ilr", "di_only"].different == 0
    assert pairs["A", "pc_only", "grpo"].different > 0
    text = _text(study)
    assert "ilr =" in text
    assert "ilr equals di_only by theorem (no advantage of any group was changed), and all 360 answers" in text
    assert re.search(r"pc_only equals grpo by theorem .* yet \d+ of 360 answers differ", text)


def test_calibration_that_acted_leaves_no_row_equal(written: Path) -> None:
    assert "No row is equal to another one by theorem" in (written / "table2.md").read_text()


def test_partly_finished_study_is_reported_with_what_is_missing(tmp_path: Path) -> None:
    study = write_synthetic_study(
        tmp_path, questions=20, seeds=(0, 1), variants=("base", "grpo", "ilr"), unfinished=[("grpo", 0), ("ilr", 1)]
    )
    text = _text(study)
    assert "Not finished, and left out here: grpo, A+B, seed 0; ilr, A+B, seed 1." in text
    assert "One run only, so without the variance between runs: A grpo, A ilr, B grpo, B ilr." in text
    assert {row.seeds for row in table2(study).rows if row.variant == "grpo"} == {(1,)}


def test_missing_benchmark_is_an_empty_cell_named_in_the_foot(tmp_path: Path) -> None:
    study = write_synthetic_study(tmp_path, questions=20, variants=("base", "grpo"), seeds=(0,))
    entry = load(study).study.trials[1]
    (study / entry.folder / "eval" / "A" / "micro_ood.jsonl").unlink()
    text = _text(study)
    assert "Without answers (printed as –): A grpo ood; A grpo Avg." in text


def test_study_without_reference_rows_has_no_comparison(tmp_path: Path) -> None:
    study = write_synthetic_study(tmp_path, questions=20, variants=("ilr",), seeds=(0,))
    text = _text(study)
    assert "No comparison" in text
    assert "vs base" not in text


def test_one_seed_and_one_column_uses_the_exact_test(tmp_path: Path) -> None:
    study = write_synthetic_study(
        tmp_path, questions=40, variants=("base", "grpo"), seeds=(0,), benchmarks=("micro_code",)
    )
    table = table2(study)
    assert table.headline == "micro_code"
    assert {item.result.test for item in table.family.comparisons} == {"exact McNemar"}
    assert "One seed" in _text(study)


def test_twins_and_larger_groups_join_the_section_of_their_model(tmp_path: Path) -> None:
    study = write_synthetic_study(
        tmp_path, questions=20, variants=("base", "ilr", "twins", "agents_3"), seeds=(0, 1), steps=2
    )
    labels = [(row.section, row.label) for row in ranking(study).rows]
    assert ("A", "twins (A.1 in A+A)") in labels
    assert ("A", "twins (A.2 in A+A)") in labels
    assert ("B", "agents_3 (A+B+C)") in labels
    assert [section for section, _ in labels if section == "C"] == ["C"]


def test_same_trials_under_two_names_count_once(tmp_path: Path) -> None:
    study = write_synthetic_study(
        tmp_path, questions=20, variants=("base", "pure_cooperative", "cooperation_1.0"), seeds=(0, 1), steps=2
    )
    table = ranking(study)
    assert sorted(str(row.same_as) for row in table.rows) == ["None"] * 4 + ["pure_cooperative"] * 2
    assert "family of 2 comparisons" in markdown(printed(table))


def test_benchmarks_of_earlier_versions_are_sorted_by_name_and_others_by_what_they_state(study: Path) -> None:
    frames = load(study)
    assert find_columns(frames).code == ("micro_code",)
    stated = replace(frames, subjects={"micro_ood": "code", "micro_two_step": "general"})
    assert find_columns(stated).code == ("micro_ood", "micro_code")
    assert find_columns(stated).other == ("micro_two_step",)
    assert "micro_two_step" not in find_columns(stated).maths


def test_html_is_one_page_without_outside_resources(written: Path) -> None:
    page = (written / "table2.html").read_text()
    assert "prefers-color-scheme: dark" in page
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert len(page) < 2_000_000


def test_latex_escapes_names_and_uses_booktabs(written: Path) -> None:
    text = (written / "table2.tex").read_text()
    assert text.count("\\midrule") == 2
    assert not re.search(r"(?<!\\)_|(?<![\\{])%", text.split("\n", 1)[1])


def test_folder_without_a_finished_trial_says_what_to_do(tmp_path: Path) -> None:
    study = write_synthetic_study(tmp_path / "a", variants=("base",), seeds=(0,), questions=5, unfinished=[("base", 0)])
    with pytest.raises(StoreError, match="no trial of this study has finished"):
        load(study)
    with pytest.raises(StoreError, match="holds no study"):
        load(tmp_path)


def test_damaged_answers_name_file_and_line(tmp_path: Path) -> None:
    study = write_synthetic_study(tmp_path, variants=("base",), seeds=(0,), questions=5)
    path = next(study.glob("trials/*/eval/A/micro_ood.jsonl"))
    path.write_text(path.read_text()[:-30])
    with pytest.raises(StoreError, match=r"micro_ood\.jsonl, line 5"):
        load(study)


def test_finished_trial_without_answers_is_named(tmp_path: Path) -> None:
    study = write_synthetic_study(tmp_path, variants=("base",), seeds=(0,), questions=5)
    for path in study.glob("trials/*/eval/B/*.jsonl"):
        path.unlink()
    with pytest.raises(StoreError, match="no answers; delete trials/base"):
        load(study)


def test_reports_are_found_by_name() -> None:
    assert names()[:5] == ("accuracy", "table1", "table2", "table4", "variants")
    assert get("table2").title
    with pytest.raises(ConfigurationError, match="did you mean table2"):
        get("tabel2")


def test_training_curves_hold_mean_and_range_over_seeds(study: Path, tmp_path: Path) -> None:
    path = write(study, "training_curves", tmp_path)
    assert path.read_bytes()[:4] == b"\x89PNG"
    with (tmp_path / "training_curves.csv").open() as file:
        lines = list(csv.DictReader(file))
    steps = load(study).steps
    line = next(item for item in lines if (item["agent"], item["variant"], item["step"]) == ("B", "ilr", "4"))
    mine = steps[(steps["agent"] == "B") & (steps["variant"] == "ilr") & (steps["step"] == 4)][line["measure"]]
    assert float(line["mean"]) == pytest.approx(float(mine.astype(float).mean()), rel=1e-5)
    assert float(line["low"]) == pytest.approx(float(mine.astype(float).min()), rel=1e-5)
    assert line["seeds"] == "3"


def test_study_without_training_has_no_curves(tmp_path: Path) -> None:
    study = write_synthetic_study(tmp_path, variants=("base",), seeds=(0,), questions=5)
    assert get("training_curves").applies(load(study)) == "no finished trial has training steps"


def test_statistics_import_neither_torch_nor_matplotlib() -> None:
    code = "import sys, reports.statistics.estimates; assert not {'torch', 'matplotlib', 'seaborn'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_statistics_leave_the_global_generator_alone() -> None:
    before = pickle.dumps(np.random.get_state())
    rng = np.random.default_rng(0)
    a, b = rng.random(50), rng.random(50)
    estimates.paired_difference(a, b, np.arange(50))
    estimates.interval(a)
    assert pickle.dumps(np.random.get_state()) == before
