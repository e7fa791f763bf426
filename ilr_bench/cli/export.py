"""Trained agents as ordinary Hugging Face folders, and on the hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ilr_bench.cli.app import app
from ilr_bench.core.console import fail_in_one_line, note, say
from ilr_bench.core.errors import ConfigurationError, StoreError
from ilr_bench.models.catalogue import AcceptLicence, accept
from ilr_bench.storage.files import explained, replace_folder

if TYPE_CHECKING:
    from ilr_bench.study.trained import TrainedTrial

EXAMPLES = """Examples:

  ilr-bench export runs/one --out exported

  ilr-bench export runs/one/trials/ilr-A+B-0-0123456789ab --agent A --step 10 --out exported/A

  ilr-bench export runs/pair --agent smollm2.1 --merge --out exported/one --push my-model

docs/exporting.md shows how transformers, PEFT, vLLM and lm-eval load what is written."""


@app.command(epilog=EXAMPLES)
def export(
    trial: Annotated[Path, typer.Argument(help="Folder of a trial, of a checkpoint, or of a study with one trial.")],
    out: Annotated[Path, typer.Option(help="Folder to make; refused where it holds anything.")],
    agent: Annotated[
        str | None, typer.Option(help="Only this agent, into OUT itself (default: all, each into OUT/AGENT).")
    ] = None,
    step: Annotated[
        int | None, typer.Option(help="Checkpoint of this step (default: the last; 0: as the models came).", min=0)
    ] = None,
    merge: Annotated[bool, typer.Option("--merge", help="Add LoRA adapters to their base models' weights.")] = False,
    push: Annotated[
        str | None,
        typer.Option(help="Upload as this model of the hub, private where it is new; of several agents as NAME-AGENT."),
    ] = None,
    accept_licence: AcceptLicence = None,
) -> None:
    """Writes trained agents as model folders that transformers, PEFT, vLLM and lm-eval load."""
    from ilr_bench.models.export import check_push, push_folder
    from ilr_bench.study.trained import find_trained

    with fail_in_one_line():
        accept(accept_licence)
        target = out.resolve()
        _require_empty(target, out)
        found = find_trained(trial, step)
        if agent is not None:
            found.index(agent)
        places = {agent: target} if agent is not None else {name: target / name for name in found.config.agents}
        names = {name: push if agent is not None else f"{push}-{name}" for name in places} if push else {}
        if names:
            _require_public_bases(found, tuple(names), merge)
            check_push(tuple(names.values()))
        with explained(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            replace_folder(target, lambda folder: _fill(found, folder, agent, merge))
        for name, place in places.items():
            say(str(out / place.relative_to(target)))
            if (place / "adapter_config.json").exists() and found.published_base(name) is None:
                note(f"{place.name} is an adapter on a model that lies on this machine only; --merge makes it whole")
        for name, repository in names.items():
            say(push_folder(places[name], repository))


def _fill(trial: TrainedTrial, folder: Path, agent: str | None, merge: bool) -> None:
    from ilr_bench.cli.model_card import model_card
    from ilr_bench.study.trained import export_agent

    for name in (agent,) if agent is not None else trial.config.agents:
        place = folder if agent is not None else folder / name
        place.mkdir(exist_ok=True)
        export_agent(trial, name, place, merge)
        command = ["--agent", name, "--step", str(trial.step), *(["--merge"] if merge else []), "--out", "OUT"]
        (place / "README.md").write_text(model_card(trial, name, place, command), encoding="utf-8")


def _require_empty(folder: Path, named: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.exists():
        raise StoreError(
            f"{named} is there already and {'not empty' if folder.is_dir() else 'a file'}; name another --out"
        )


def _require_public_bases(trial: TrainedTrial, agents: tuple[str, ...], merge: bool) -> None:
    for name in agents:
        if trial.adapters and not merge and trial.published_base(name) is None:
            raise ConfigurationError(
                f"--push: {name} is an adapter on a model that lies on this machine only, so nobody else could load "
                "it; add --merge"
            )
