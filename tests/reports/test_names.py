"""Names that people choose, and paths of models: short in tables, and no markup, formula or code in any format."""

from __future__ import annotations

import csv
import io
import json
import re
import warnings
from pathlib import Path

import pytest
from synthetic_study import write_synthetic_study
from typer.testing import CliRunner

import reports
from ilr_bench.cli import app
from reports import escaping
from reports.frames import load, short_names
from reports.tables.writer import csv_text

FIRST, SECOND = "/home/someone/run-1/=A|<b>`x`*[y](z)&amp;", "/srv/@sum(1) $HOME_\\_50%"
TABLES = ("table2", "variants")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reports of two models with hostile names, given by their paths."""
    study = tmp_path_factory.mktemp("study")
    write_synthetic_study(study, ("base", "ilr"), (FIRST, SECOND), seeds=(0, 1), questions=4, steps=2)
    path = study / "study.json"
    data = json.loads(path.read_text())
    del data["sha256"]
    path.write_text(json.dumps(data | {"command": f"sweep --models '{FIRST},{SECOND}' `touch x` <script>"}))
    frames, out = load(study), study / "reports"
    for name in (*TABLES, "page", "ranking"):
        reports.get(name).write(frames, out, reports.Settings("holm"))
    return out


def test_no_folder_of_a_model_is_in_any_report(written: Path) -> None:
    for path in written.iterdir():
        if path.suffix in (".md", ".csv", ".tex", ".json", ".html"):
            text = path.read_text()
            assert "someone" not in text, path
            assert "/srv/" not in text, path
    assert json.loads((written / "table2.json").read_text())["rows"][0]["model"] == FIRST.rpartition("/")[2]


def test_no_cell_of_a_csv_file_is_a_formula(written: Path) -> None:
    seen = 0
    for path in written.glob("*.csv"):
        for row in csv.reader(io.StringIO(path.read_text())):
            for cell in row:
                assert not cell.startswith(("=", "@", "\t", "\r")), (path, cell)
                if cell.startswith(("+", "-")):
                    float(cell)
                seen += cell.startswith(("'=A", "'@sum"))
    assert seen > 4


def test_nothing_in_a_markdown_table_is_markup(written: Path) -> None:
    text = (written / "table2.md").read_text()
    assert "\\|&lt;b>\\`x\\`\\*[y]\\(z)&amp;amp;" in text
    assert "@sum(1) \\$HOME\\_\\\\\\_50%" in text
    assert "`` sweep --models" in text
    for table in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
        assert len({len(re.split(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def test_the_page_holds_no_tag_of_a_name(written: Path) -> None:
    for path in (written / "report.html", written / "table2.html"):
        text = path.read_text()
        assert "=A|<b>" not in text
        assert "=A|&lt;b&gt;" in text
        assert "<script>'" not in text


def test_latex_has_every_sign_of_a_name_in_order(written: Path) -> None:
    text = (written / "table2.tex").read_text()
    assert "=A|$<$b$>$\\textasciigrave{}x\\textasciigrave{}*[y](z)\\&amp;" in text
    assert "@sum(1) \\$HOME\\_\\textbackslash{}\\_50\\%" in text


@pytest.mark.parametrize(
    "text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "-", "+x"]
)
def test_text_that_begins_like_a_formula_gets_an_apostrophe(text: str) -> None:
    shown = "'" + (" " + text[1:] if text[0].isspace() else text)
    assert escaping.csv_cell(text) == shown
    assert next(csv.reader(io.StringIO(csv_text([text, f"x{text}"], []), newline="")))[0] == shown


@pytest.mark.parametrize("text", ["x;=1+1", "x; -2", 'x;"=1+1', "x;＝1", "x;y;@SUM(A1)", ";+1"])
def test_no_cell_begins_like_a_formula_where_semicolons_part_cells(text: str) -> None:
    shown = next(csv.reader(io.StringIO(csv_text(["name", "1"], [[text, "2"]])), delimiter=";"))
    cells = [*shown, *next(csv.reader(io.StringIO(escaping.csv_cell(text)), delimiter=";"))]
    assert [cell for cell in cells if cell.strip(' "').startswith(("=", "+", "-", "@", "＝"))] == []


@pytest.mark.parametrize(
    "value", ["-0.25", "+3", "-1e-05", "-inf", -3, -0.5, None, True, "a=b", "", "1-2", "'x", " =1", "a;b", "a; 1"]
)
def test_numbers_and_other_text_stay_in_a_csv_file(value: object) -> None:
    assert escaping.csv_cell(value) == value


def test_markdown_keeps_what_is_no_markup() -> None:
    for text in (
        "grpo_matched",
        "p<.001",
        "a < b & c",
        "1 [2, 3] (4)",
        "x_1 y2",
        "50 % ±3 †",
        "A & B;",
        "a\\b",
        "äöü 数",
    ):
        assert escaping.markdown(text) == text
    assert escaping.markdown("_a_ **b** ~~c~~ \\* <img src=x> &lt; [a][b] <!-- -->") == (
        "\\_a\\_ \\*\\*b\\*\\* \\~\\~c\\~\\~ \\\\\\* &lt;img src=x> &amp;lt; [a]\\[b] &lt;!-- -->"
    )
    assert escaping.markdown("two\nlines\r\t\x1b[31m\u202e") == "two lines  \ufffd[31m\ufffd"


@pytest.mark.parametrize(("text", "code"), [("a", "`a`"), ("a`b", "`` a`b ``"), ("```", "```` ``` ````"), ("", "`  `")])
def test_code_ends_where_the_text_does(text: str, code: str) -> None:
    assert escaping.markdown_code(text) == code


def test_latex_is_asked_for_no_letter_that_it_lacks_and_no_option() -> None:
    assert escaping.tex("[1pt] ä 数") == "{[}1pt] ä \\texttt{U+6570}"
    assert escaping.tex("*") == "{*}"
    assert escaping.tex("a\n\\input{x}") == "a \\textbackslash{}input\\{x\\}"


def test_models_are_named_by_as_little_of_their_path_as_tells_them_apart() -> None:
    names = short_names(["/a/x/ckpt", "/b/x/ckpt", "x/ckpt", "owner/other", "A", "./m", "m", "n/", "/"])
    assert names == {
        "/a/x/ckpt": "a/x/ckpt", "/b/x/ckpt": "b/x/ckpt", "x/ckpt": "x/ckpt", "owner/other": "other", "A": "A",
        "./m": "./m", "m": "m", "n/": "n", "/": "/",
    }  # fmt: skip
    assert len(set(names.values())) == len(names)


def test_signs_that_steer_a_terminal_or_reverse_a_line_reach_no_page(tmp_path: Path) -> None:
    write_synthetic_study(tmp_path, ("base", "ilr"), ("/x/\u202eA\x1b[2J", "/x/B"), seeds=(0, 1), questions=4, steps=2)
    for name in ("table2", "page"):
        reports.get(name).write(load(tmp_path), tmp_path / "reports", reports.Settings("holm"))
    for page in (tmp_path / "reports").glob("*.html"):
        text = page.read_text()
        assert "\N{REPLACEMENT CHARACTER}A\N{REPLACEMENT CHARACTER}[2J" in text
        assert not set("\u202e\x1b") & set(text)


def test_a_name_of_any_length_and_beginning_is_drawn_and_traced(tmp_path: Path) -> None:
    long = "L" * 180
    write_synthetic_study(tmp_path, ("base", "ilr"), ("/x/-1$x$", f"/y/{long}"), seeds=(0, 1), questions=4, steps=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns where a text leaves no room for the panels
        reports.get("table2").write(load(tmp_path), tmp_path / "reports", reports.Settings("holm"))
    drawn = (tmp_path / "reports" / "table2.png").stat().st_size
    assert drawn > 10_000
    traced = CliRunner().invoke(app, ["why", str(tmp_path), "table2", "-1$x$/ilr", "Avg"])
    assert traced.exit_code == 0, traced.output
    assert "Unrounded" in traced.output
