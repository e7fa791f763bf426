"""`--push` by huggingface_hub's own client, to a hub on this machine: what arrives, and what is never sent."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from exportable_trials import base_models, run_study
from fake_hub import TOKEN, FakeHub, fake_hub
from huggingface_hub import ModelCard
from typer.testing import CliRunner

from ilr_bench.cli import app
from ilr_bench.core.errors import ConfigurationError, StoreError
from ilr_bench.models import export as models_export
from ilr_bench.models.export import check_push
from ilr_bench.study import trained


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of one model twice, with an adapter each."""
    first, _ = base_models(tmp_path_factory.mktemp("models"))
    lora = {"update__adapter": "lora", "update__lora_rank": "4", "evaluation__benchmarks": "micro_ood"}
    return run_study((first, first), tmp_path_factory.mktemp("study"), **lora)


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with fake_hub() as listening:
        yield listening


def push(trial: Path, out: Path, hub: FakeHub, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ilr_bench", "export", str(trial), "--out", str(out), *arguments]
    variables = os.environ | hub.environment | environment
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=False)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_all_agents_arrive_as_private_models_of_their_own_byte_for_byte(
    trial: Path, hub: FakeHub, tmp_path: Path
) -> None:
    done = push(trial, tmp_path / "out", hub, "--merge", "--push", "somebody/pair")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[2:] == [f"{hub.address}/somebody/pair-{agent}" for agent in ("first.1", "first.2")]
    assert set(hub.models) == {"somebody/pair-first.1", "somebody/pair-first.2"}
    for agent in ("first.1", "first.2"):
        model = hub.models[f"somebody/pair-{agent}"]
        assert model.private
        assert model.files == files(tmp_path / "out" / agent)
        assert model.commits == ["Upload by ilr-bench export"]
    assert model.files["model.safetensors"] != hub.models["somebody/pair-first.1"].files["model.safetensors"]


def test_a_refused_upload_leaves_the_folder_and_says_how_to_go_on(trial: Path, hub: FakeHub, tmp_path: Path) -> None:
    hub.refuses = "commit/main"
    done = push(trial, tmp_path / "out", hub, "--agent", "first.1", "--merge", "--push", "mine")
    assert done.returncode == 3
    assert "You may not do that here." in done.stderr
    assert f"`hf upload mine {tmp_path / 'out'} --private` tries again" in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "out/model.safetensors").exists()
    assert hub.models["somebody/mine"].files == {}


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"HF_TOKEN": "", "HF_HOME": "/nowhere"}, "set HF_TOKEN, or run `hf auth login`"),
        ({"HF_TOKEN": f"{TOKEN}x"}, "Invalid user token"),
        ({"HF_HUB_OFFLINE": "1"}, "unset HF_HUB_OFFLINE"),
    ],
    ids=["no token", "another token", "offline"],
)
def test_who_cannot_push_is_told_before_anything_is_written(
    environment: dict[str, str], said: str, trial: Path, hub: FakeHub, tmp_path: Path
) -> None:
    done = push(trial, tmp_path / "out", hub, "--merge", "--push", "mine", **environment)
    assert done.returncode == 3
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
    assert hub.models == {}
    assert all(request == "GET /api/whoami-v2" for request in hub.asked)


def test_an_adapter_whose_base_is_on_this_machine_only_is_not_pushed(trial: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["export", str(trial), "--out", str(tmp_path / "out"), "--push", "mine"])
    assert done.exit_code == 2
    assert "nobody else could load it; add --merge" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_fails_when_it_is_read_back_is_never_pushed(
    trial: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed: list[Path] = []

    def fails(*_: object) -> None:
        raise StoreError("not what was written")

    monkeypatch.setattr(models_export, "check_push", lambda names: None)
    monkeypatch.setattr(models_export, "push_folder", lambda folder, name: pushed.append(folder) or name)
    given = ["export", str(trial), "--agent", "first.2", "--merge", "--push", "mine", "--out"]
    assert CliRunner().invoke(app, [*given, str(tmp_path / "good")]).exit_code == 0
    monkeypatch.setattr(trained, "check_folder", fails)
    assert CliRunner().invoke(app, [*given, str(tmp_path / "bad")]).exit_code == 4
    assert pushed == [tmp_path / "good"]


TRAIN_AND_PUSH = """
import sys
from pathlib import Path
from exportable_trials import run_study
from ilr_bench.cli import app
trial = run_study(("owner/tiny",), Path(sys.argv[1]) / "study", "grpo", update__adapter="lora")
app(["export", str(trial), "--agent", "tiny", "--out", sys.argv[1] + "/out", "--push", "mine"])
"""


def test_an_adapter_on_a_model_of_the_hub_names_it_its_revision_and_its_licence(hub: FakeHub, tmp_path: Path) -> None:
    revision = "0123456789" * 4
    cached = tmp_path / "cache/models--owner--tiny"
    first, _ = base_models(tmp_path / "made")
    (cached / "refs").mkdir(parents=True)
    (cached / "refs/main").write_text(revision)
    shutil.copytree(first, cached / "snapshots" / revision)
    variables = hub.environment | {"HF_HUB_CACHE": str(tmp_path / "cache"), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", TRAIN_AND_PUSH, str(tmp_path)],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    pushed = hub.models["somebody/mine"].files
    config = json.loads(pushed["adapter_config.json"])
    assert (config["base_model_name_or_path"], config["revision"]) == ("owner/tiny", revision)
    card = ModelCard(pushed["README.md"].decode()).data.to_dict()
    assert (card["base_model"], card["license"], card["library_name"]) == ("owner/tiny", "mit", "peft")
    assert not [name for name, data in pushed.items() if str(tmp_path).encode() in data]


@pytest.mark.parametrize("name", ["my model", "owner/my/model", "owner/model--b", ""])
def test_names_that_no_repository_can_have_are_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^--push: "):
        check_push([name])
