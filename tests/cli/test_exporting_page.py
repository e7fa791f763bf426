"""docs/exporting.md is run as it stands, in its order, in an empty folder; its push goes to a hub on this machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from exportable_trials import answers
from fake_hub import fake_hub
from transformers import AutoModelForCausalLM

from ilr_bench.models.export import weight_digests
from ilr_bench.models.loading import load_model, load_weights

PAGE = Path(__file__).parents[2] / "docs" / "exporting.md"
BLOCK = re.compile(r"^```(?P<kind>\w+)(?: (?P<tag>\w+))?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks() -> list[tuple[str, str | None, str]]:
    return [(one["kind"], one["tag"], one["text"]) for one in BLOCK.finditer(PAGE.read_text(encoding="utf-8"))]


def script() -> str:
    """All blocks but those that need the network, as one script for bash."""
    parts = ["set -euxo pipefail\n"]
    for kind, tag, text in blocks():
        if tag != "network":
            parts.append(f"python - <<'END'\n{text}END\n" if kind == "python" else text)
    return "".join(parts)


def test_every_block_of_the_page_is_run_but_one_that_needs_the_network() -> None:
    assert {kind for kind, _, _ in blocks()} == {"sh", "python"}
    assert [tag for _, tag, _ in blocks() if tag] == ["network", "hub"]
    assert script().count("ilr-bench ") == PAGE.read_text(encoding="utf-8").count("\nilr-bench ") > 8


@pytest.mark.slow
def test_the_page_from_training_to_the_hub(tmp_path: Path) -> None:
    with fake_hub() as hub:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-c", script()],
            cwd=tmp_path,
            env=os.environ | hub.environment | {"PATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stdout[-4000:]
    (trial,) = tmp_path.glob("runs/pair/trials/ilr-*")
    exported = AutoModelForCausalLM.from_pretrained(tmp_path / "exported/A")
    wanted = load_model("A", "cpu").model
    assert weight_digests(exported) != weight_digests(wanted)
    load_weights(wanted, trial / "checkpoints/step-00000002/A")
    assert weight_digests(exported) == weight_digests(wanted)
    records = sorted(path.name for path in (trial / "eval/A").glob("*.jsonl"))
    for name in records:
        then = answers(trial / "eval/A" / name)
        assert [answers(tmp_path / "runs" / place / name) for place in ("from_trial", "from_export")] == [then, then]
    assert len(records) == 6
    assert {name: model.private for name, model in hub.models.items()} == {
        "somebody/my-pair-A": True,
        "somebody/my-pair-B": True,
    }
