"""Reports as their readers see them: the page in a real browser, the tables in LaTeX (`nox -s reports_visual`)."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from answer_logs import add_logs, rewrite_answers
from browser import Browser, find_chromium
from synthetic_study import write_synthetic_study
from synthetic_training import HOSTILE, add_training

from reports import Settings, get, names
from reports.escaping import visible
from reports.frames import load

pytestmark = pytest.mark.visual
VARIANTS = (
    "base", "grpo", "grpo_matched", "di_only", "pc_only", "ilr", "random_matched", "cooperation_0.0", "cooperation_0.4",
    "cooperation_1.0", "agents_3", "twins", "infer_single", "infer_debate", "infer_idea3",
)  # fmt: skip
WIDTHS = (390, 768, 1280, 1920)
LARGEST = 2_000_000
DOCUMENT = """\\documentclass[a4paper,landscape]{article}
\\usepackage[margin=2cm]{geometry}
\\usepackage{booktabs}
\\usepackage{graphicx}
\\begin{document}
%s
\\end{document}
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All reports of a study whose models write hostile texts."""
    folder = tmp_path_factory.mktemp("study")
    study = add_training(write_synthetic_study(folder, VARIANTS, steps=12, questions=25), HOSTILE, per_step=6)
    frames = load(rewrite_answers(add_logs(study, lambda name: f"{name} {HOSTILE}"), HOSTILE))
    out = folder / "reports"
    out.mkdir()
    for name in names():
        if get(name).applies(frames) is None:
            get(name).write(frames, out, Settings())
    return out


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if find_chromium() is None:
        pytest.skip("no Chromium (Debian: chromium)")
    with Browser() as opened:
        yield opened


@pytest.fixture
def page(browser: Browser, written: Path) -> Browser:
    browser.open(written / "report.html")
    return browser


def test_latex_tables_compile_and_print_every_sign(written: Path, tmp_path: Path) -> None:
    if shutil.which("pdflatex") is None:
        pytest.skip("no pdflatex (Debian: texlive-latex-recommended)")
    tables = sorted(written.glob("*.tex"))
    assert {"table1.tex", "table2.tex", "variants.tex"} <= {path.name for path in tables}
    for table in tables:
        (tmp_path / "all.tex").write_text(DOCUMENT % table.read_text(encoding="utf-8"), encoding="utf-8")
        command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
        made = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False)
        assert made.returncode == 0, f"{table.name}: {made.stdout[-1500:]}"
        log = (tmp_path / "all.log").read_text(errors="replace")
        assert "Missing character" not in log, table.name
        assert not re.search(r"Overfull \\hbox \((\d{2,})", log), table.name


def test_page_is_small_and_asks_the_network_for_nothing(page: Browser, written: Path) -> None:
    assert (written / "report.html").stat().st_size < LARGEST
    assert page.requests == [(written / "report.html").as_uri()]
    assert page.complaints == []


def test_every_html_file_opens_without_complaint(browser: Browser, written: Path) -> None:
    for path in sorted(written.glob("*.html")):
        browser.open(path)
        assert browser.complaints == [], path.name
        assert [url for url in browser.requests if not url.startswith("data:")] == [path.as_uri()]


@pytest.mark.parametrize("dark", [False, True])
def test_nothing_sticks_out_sideways_at_any_width(page: Browser, dark: bool) -> None:
    page.media(dark)
    for width in WIDTHS:
        page.resize(width, 800)
        assert page.ask("document.documentElement.scrollWidth") == width


def test_page_follows_the_readers_colours(page: Browser) -> None:
    colours = {}
    for dark in (False, True):
        page.media(dark)
        colours[dark] = page.ask(
            "['body', 'h2', '.soft', 'figcaption', 'td', '#dialogue .earned', 'svg text'].map(name => {"
            "const style = getComputedStyle(document.querySelector(name));"
            "return name === 'svg text' ? style.fill : style.color})"
            ".concat(getComputedStyle(document.body).backgroundColor)"
        )
    for dark, found in colours.items():
        *texts, paper = map(_luminance, found)
        assert (paper < 0.1) is dark
        for text in texts:
            contrast = (max(text, paper) + 0.05) / (min(text, paper) + 0.05)
            assert contrast > 4.5, (dark, found)


def test_tables_sort_by_mouse_and_by_key(page: Browser) -> None:
    assert page.ask("document.querySelectorAll('#tables table.sortable').length") >= 3
    page.ask("window.table = document.querySelector('#table2 table'); window.heads = table.querySelectorAll('button')")
    values = "[...table.tBodies[0].rows].map(row => +row.cells[2].dataset.value)"
    before = page.ask(values)
    page.ask("heads[2].click()")
    assert page.ask("table.querySelector('[aria-sort]').ariaSort") == "descending"
    assert page.ask(values) == sorted(before, reverse=True)
    page.ask("heads[2].focus()")
    page.press("Enter")
    assert page.ask("table.querySelector('[aria-sort]').ariaSort") == "ascending"
    assert page.ask(values) == sorted(before) != before
    page.ask("heads[1].click()")
    labels = page.ask("[...table.tBodies[0].rows].map(row => row.cells[1].textContent.replace(' =', ''))")
    assert labels == sorted(labels)


def test_rows_without_a_number_stay_below(page: Browser) -> None:
    page.ask("window.table = document.querySelector('#table2 table')")
    page.ask("window.place = [...table.tHead.rows[0].cells].findIndex(head => head.textContent === 'vs base')")
    for _ in range(2):
        page.ask("table.querySelectorAll('button')[place].click()")
        assert page.ask("[...table.tBodies[0].rows].at(-1).cells[place].textContent") == "–"


def test_viewer_shows_a_whole_discussion_as_it_was_written(page: Browser) -> None:
    assert page.ask("document.getElementById('viewer').hidden") is False
    assert page.ask("document.getElementById('variant').value").startswith("ilr ")
    assert page.ask("[...document.querySelectorAll('#dialogue h3')].map(head => head.textContent)") == [
        "Ideas", "Analyses", "Answers after the discussion",
    ]  # fmt: skip
    turns = page.ask("[...document.querySelectorAll('#dialogue li .said')].map(turn => turn.textContent)")
    assert turns == [visible(HOSTILE)] * 10
    assert page.ask("document.querySelector('#dialogue .earned').textContent").startswith("wrongreward 0.00calibrated")
    assert page.ask("window.broken") is None
    assert page.ask("document.querySelectorAll('#dialogue img, #dialogue script').length") == 0


def test_viewer_goes_to_other_questions_and_variants(page: Browser) -> None:
    first = page.ask("document.querySelector('#dialogue .asked').textContent")
    page.ask("document.getElementById('next').focus()")
    page.press("Enter")
    second = page.ask("document.querySelector('#dialogue .asked').textContent")
    assert second != first
    page.ask("document.getElementById('previous').click()")
    assert page.ask("document.querySelector('#dialogue .asked').textContent") == first
    page.ask(
        "(select => {select.value = [...select.options].find(item => item.text.startsWith('grpo ')).value;"
        "select.dispatchEvent(new Event('change'))})(document.getElementById('variant'))"
    )
    assert page.ask("[...document.querySelectorAll('#dialogue h3')].map(head => head.textContent)") == ["Answers"]
    assert page.complaints == []


def test_every_figure_is_drawn_and_none_of_its_words_are_cut_off(page: Browser) -> None:
    figures = page.ask(
        "[...document.querySelectorAll('figure')].map(figure => {const svg = figure.querySelector('svg');"
        "const edge = svg.getBoundingClientRect(); return {name: figure.id, height: edge.height, cut:"
        "[...svg.querySelectorAll('text')].filter(text => {const box = text.getBoundingClientRect();"
        "return box.left < edge.left - 3 || box.right > edge.right + 3 || box.top < edge.top - 3"
        "|| box.bottom > edge.bottom + 3}).map(text => text.textContent)}})"
    )
    assert len(figures) == 9
    for figure in figures:
        assert figure["height"] > 150, figure
        assert figure["cut"] == [], figure


def test_everything_that_can_be_used_can_be_reached_by_key(page: Browser) -> None:
    page.ask("document.activeElement.blur()")
    page.press("Tab")
    assert page.ask("document.activeElement.className") == "skip"
    unreachable = page.ask(
        "[...document.querySelectorAll('a, button, select, summary, .scroll, .drawing')]"
        ".filter(part => part.tabIndex < 0).length"
    )
    assert unreachable == 0


def test_printing_opens_what_is_folded(page: Browser, tmp_path: Path) -> None:
    assert page.ask("[...document.querySelectorAll('details')].every(part => part.open)") is False
    printed = page.pdf(tmp_path / "report.pdf")
    assert printed.read_bytes().startswith(b"%PDF")
    assert page.ask("[...document.querySelectorAll('details')].every(part => part.open)") is True


def _luminance(colour: str) -> float:
    """Relative luminance of `rgb(r, g, b)` (WCAG 2)."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_answers_stand_side_by_side_and_can_be_filtered(page: Browser, written: Path) -> None:
    def choose(name: str, value: str) -> None:
        page.ask(f"{{const one = document.getElementById('answer-{name}'); one.value = {value!r};"
                 "one.dispatchEvent(new Event('change'))}")  # fmt: skip

    frames = load(written.parent)
    mine = frames.samples[(frames.samples["seed"] == 0) & (frames.samples["models"] == "A+B")]
    both = mine[(mine["agent"] == "A") & (mine["benchmark"] == "micro_ood")].pivot(
        index="question", columns="variant", values="correct"
    )
    won, lost = (both["ilr"] > both["base"]).sum(), (both["ilr"] < both["base"]).sum()
    sides = "['left', 'right'].map(side => document.getElementById(`answer-${side}`).selectedOptions[0].text)"
    assert page.ask(sides) == ["base (A+B)", "ilr (A+B)"]
    places = page.ask("[...document.getElementById('answer-test').options].map(option => [option.text, option.value])")
    choose("test", dict(places)["ood"])
    counts = page.ask("document.getElementById('answer-counts').textContent")
    assert counts.startswith(f"Of 25 questions: won {won}, lost {lost}, ")
    choose("filter", "won")
    here = page.ask("document.getElementById('answer-question').options.length")
    assert 0 < here <= won
    for _ in range(here):
        verdicts = page.ask("[...document.querySelectorAll('#answer .verdict')].map(one => one.textContent)")
        assert verdicts == ["wrong", "correct"]
        page.ask("document.getElementById('answer-next').click()")
    shown = page.ask("document.querySelector('#answer .turn .said').textContent")
    assert shown.startswith("</script><script>window.broken = 1")
    assert page.ask("window.broken") is None
    choose("filter", "lost")
    assert page.ask("document.getElementById('answer-question').options.length") <= lost
