"""docs/sweeps.md is run as it stands: all commands of its blocks, in their order, in an empty folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "sweeps.md"
BLOCK = re.compile(r"^```sh(?: (?P<tag>\w+))?\n(?P<commands>.*?)^```$", re.MULTILINE | re.DOTALL)
"""Blocks tagged `ray` need Ray and come last, those tagged `slurm` are not run; all others make one script."""
COMMAND = re.compile(r"^\s*(?:ilr-bench|python|accelerate|nox|timeout) ", re.MULTILINE)


def script(page: str, tag: str | None = None) -> str:
    """The commands of all blocks without a tag, or of the first block (which names what the others use) and of those
    with the tag."""
    blocks = list(BLOCK.finditer(page))
    chosen = [block["commands"] for block in blocks if block["tag"] == tag]
    first = [] if tag is None else [blocks[0]["commands"]]
    return "".join(["set -euxo pipefail\n", *first, *chosen])


def run(commands: str, folder: Path) -> str:
    """What the commands print; fails with the end of it where one of them does."""
    (folder / "configs").symlink_to(ROOT / "configs")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", commands],
        cwd=folder,
        env=os.environ | {"PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


def test_every_command_of_the_page_stands_in_a_block_that_is_run_or_needs_slurm() -> None:
    page = PAGE.read_text(encoding="utf-8")
    inside = "".join(block["commands"] for block in BLOCK.finditer(page))
    assert len(COMMAND.findall(inside)) == len(COMMAND.findall(page)) > 8
    assert {block["tag"] for block in BLOCK.finditer(page)} == {None, "ray", "slurm"}


@pytest.mark.slow
def test_the_walk_from_a_plan_to_a_search(tmp_path: Path) -> None:
    printed = run(script(PAGE.read_text(encoding="utf-8")), tmp_path)
    assert "GPU-hours" in printed
    assert (tmp_path / "runs" / "grid" / "reports" / "variants.md").exists()
    assert (tmp_path / "runs" / "search" / "reports" / "search.md").exists()


@pytest.mark.cluster
def test_the_walk_on_ray(tmp_path: Path) -> None:
    run(script(PAGE.read_text(encoding="utf-8"), "ray"), tmp_path)
    assert len(list(tmp_path.glob("runs/ray/trials/*/result.json"))) == 2
