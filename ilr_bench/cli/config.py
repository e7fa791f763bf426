"""A configuration as a file that people read and edit, and what an editor needs to check one."""

from __future__ import annotations

import dataclasses
import json
import random
import textwrap
import tomllib
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ilr_bench.cli.app import app
from ilr_bench.core.config import RunConfig
from ilr_bench.core.console import fail_in_one_line, say
from ilr_bench.core.errors import ConfigurationError
from ilr_bench.core.settings import json_schema
from ilr_bench.study.spec import ABOVE, Profile, StudySpec, ask
from ilr_bench.tasks.sources.micro import TRAINING_FAMILIES, Split, question_stream

if TYPE_CHECKING:
    from ilr_bench.study.plan import PlannedTrial

Schema = dict[str, Any]
EXAMPLE = Path(__file__).parent / "example.toml"
WIDTH = 118
EXAMPLES = """Examples:

  ilr-bench config --variant coin --set interaction.cooperation_ratio=0.2 > coin.toml

  ilr-bench train --config coin.toml --out runs/coin

  ilr-bench config runs/first/trials/ilr-A+B-0-1a2b3c4d5e6f

  ilr-bench config --schema > study.schema.json
"""
BOUNDS = {"minimum": "at least", "exclusiveMinimum": "more than", "maximum": "at most", "exclusiveMaximum": "less than"}
"""Of a JSON schema -> in words."""


@app.command(epilog=EXAMPLES)
def config(
    file: Annotated[
        Path | None, typer.Argument(help="A trial's folder or config.json, or a study's TOML file.", show_default=False)
    ] = None,
    variant: Annotated[str | None, typer.Option(help="See `ilr-bench variants`.", show_default="ilr")] = None,
    models: Annotated[str | None, typer.Option(help="Models that learn together, with commas.")] = None,
    seed: Annotated[int | None, typer.Option(help="Training seed.", show_default="0")] = None,
    profile: Profile = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE; repeatable.")] = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="The JSON schema of what `--config` takes, for editors.")
    ] = False,
) -> None:
    """Prints one whole configuration as TOML, every setting with what it means; `--config` runs it as it stands."""
    with fail_in_one_line():
        if schema:
            say(json.dumps(study_schema(), indent=1))
            return
        asked = ask(
            file, settings, profile=profile, variants=variant, models=[models] if models else None,
            seeds=None if seed is None else str(seed),
        ).one("ilr")  # fmt: skip
        plan = dataclasses.replace(asked, with_untrained=False).plan()
        chosen = plan.by_hash(plan.entries[-1].hash)
        say(as_toml(chosen, None if chosen.dependency is None else plan.by_hash(chosen.dependency)))


@app.command()
def init(folder: Annotated[Path, typer.Argument(help="A new or empty folder.")]) -> None:
    """Writes a small study to begin with: its file, own questions, an own variant; it runs in about a minute."""
    with fail_in_one_line():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ConfigurationError(f"{folder} is no empty folder; name a new one, nothing is overwritten")
        folder.mkdir(parents=True, exist_ok=True)
        texts = tomllib.loads(EXAMPLE.read_text(encoding="utf-8"))
        texts |= {"questions.jsonl": _questions("training", 13), "test.jsonl": _questions("benchmark", 6)}
        for name, text in texts.items():
            (folder / name).write_text(text.lstrip("\n"), encoding="utf-8")
        say(f"{folder}: {', '.join(texts)}; next: cd {folder}, then the commands of README.md")


def _questions(split: Split, count: int) -> str:
    """Lines of JSON with `count` questions of each kind that the micro models know."""
    streams = [question_stream(family, split, random.Random(family)) for family in TRAINING_FAMILIES]
    found = [question for stream in streams for question in islice(stream, count)]
    return "".join(json.dumps({"question": one.text, "answer": one.answer}) + "\n" for one in found)


def as_toml(trial: PlannedTrial, matched: PlannedTrial | None = None) -> str:
    """A trial's whole configuration as a file for `--config`; `matched`: the trial whose tokens it matches."""
    named = f"variant {trial.config.variant} of profile {trial.config.profile}"
    lines = _comment(f"One whole configuration, {named}. It runs as it stands: ilr-bench train --config FILE --out DIR")
    schema = json_schema(RunConfig)
    for name, one in (("config", trial), ("matches", matched)):
        if one is not None:
            data = json.loads(json.dumps(dataclasses.asdict(one.config)))  # `to_dict` leaves out what says nothing
            lines += _table(name, data, schema, schema, name != "matches")
    return "\n".join(lines)


def study_schema() -> Schema:
    """The JSON schema of a study's file; where a name may stand it offers those that are known here."""
    whole = json_schema(StudySpec)
    run = whole["$defs"]["RunConfig"]
    for key, names in _known_names():
        group, _, field = key.rpartition(".")
        holder = _referred(run["properties"][group], whole) if group else run if field == "prompt_style" else whole
        _offer(holder["properties"][field], names)
    settings = {key: value for key, value in run["properties"].items() if key not in ABOVE}
    table = {key: run[key] for key in ("type", "additionalProperties")}
    properties = whole["properties"]
    properties["set"] |= table | {"properties": settings}
    properties["grid"] |= table | {
        "properties": {key: _lists(value, whole["$defs"]) for key, value in settings.items()}
    }
    properties["models"] = {
        "description": properties["models"]["description"],
        "anyOf": [properties["models"]["items"], {"type": "array", "items": properties["models"]["items"]}],
    }
    without_none: Schema = _none_as_text(whole)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **without_none}


def _known_names() -> Iterator[tuple[str, tuple[str, ...]]]:
    """Key of a study's file, or dotted key of a setting, -> what is registered under it; nothing is loaded for it."""
    from ilr_bench import ablations
    from ilr_bench.core.profiles import MODEL_GROUPS, PROFILES
    from ilr_bench.method.advantages import ESTIMATORS
    from ilr_bench.method.calibration import CALIBRATIONS
    from ilr_bench.method.interaction import RULES
    from ilr_bench.method.rewards import REWARDS
    from ilr_bench.method.stages import STAGES
    from ilr_bench.models.catalogue import MODELS
    from ilr_bench.prompts import STYLES
    from ilr_bench.tasks.benchmarks import BENCHMARKS
    from ilr_bench.tasks.sources import SOURCES
    from ilr_bench.tasks.types import GROUPS

    for mechanisms in (CALIBRATIONS, REWARDS, RULES, ESTIMATORS, STAGES):
        yield mechanisms.setting, mechanisms.names()
    yield "prompt_style", STYLES.names()
    yield "questions.source", SOURCES.names()
    yield "evaluation.benchmarks", (*GROUPS, *BENCHMARKS.names())
    yield "profile", tuple(PROFILES)
    yield "variants", ablations.names()
    yield "models", (*MODEL_GROUPS, *MODELS.names())


def _offer(schema: Schema, names: tuple[str, ...]) -> None:
    """Has editors offer names where any text may stand: a file's, a folder's or a hub's as well."""
    while schema.get("type") == "array":
        schema = schema["items"]
    schema["anyOf"] = [{"type": schema.pop("type"), "enum": list(names)}, {"type": "string"}]


def _table(name: str, data: Mapping[str, Any], schema: Schema, root: Schema, commented: bool) -> Iterator[str]:
    """A group of settings; its own settings come before its groups, as TOML wants it."""
    yield ""
    if commented and name != "config":
        yield from _comment(schema.get("description", ""))
    yield f"[{name}]"
    groups = {}
    for key, value in data.items():
        known = schema["properties"][key]
        if "$ref" in known:
            groups[key] = (value, _referred(known, root))
            continue
        if commented:
            yield from _comment(known.get("description", ""))
        yield f"{key} = {_written(value)}" + (_values(known) if commented else "")
    for key, (value, inner) in groups.items():
        yield from _table(f"{name}.{key}", value, inner, root, commented)


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(" ".join(text.split()), WIDTH)]


def _values(schema: Schema) -> str:
    """What a setting may be, as a comment behind its value."""
    parts = [part for part in schema.get("anyOf", [schema]) if part.get("type") != "null"]
    leaf = parts[0].get("items", parts[0])
    said = [f"{words} {leaf[bound]:g}" for bound, words in BOUNDS.items() if bound in leaf]
    if "enum" in leaf:
        said.append(" | ".join(leaf["enum"]))
    if len(parts) < len(schema.get("anyOf", [schema])):
        said.append("or none")
    return f"  # {', '.join(said)}" if said else ""


def _written(value: Any) -> str:
    """A value in TOML, which has nothing for None: settings take `none`."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_written(str(key))} = {_written(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_written, value)) + "]"
    if value is None or isinstance(value, str):
        return json.dumps("none" if value is None else value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)


def _lists(schema: Schema, groups: Mapping[str, Schema]) -> Schema:
    """Of a setting, a list of its values; of a group, its settings so."""
    if "$ref" in schema:
        group = groups[schema["$ref"].rpartition("/")[2]]
        inner = {key: _lists(value, groups) for key, value in group["properties"].items()}
        return {"type": "object", "additionalProperties": False, "properties": inner}
    if schema.get("type") == "object":
        return {"type": "object", "additionalProperties": {"type": "array", "minItems": 1}}
    return {"type": "array", "minItems": 1, "items": schema}


def _none_as_text(schema: Any) -> Any:
    """TOML has no null: where a setting may be nothing, the text `none` says so, and no default has to."""
    if isinstance(schema, list):
        return [_none_as_text(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if schema == {"type": "null"}:
        return {"const": "none"}
    return {key: _none_as_text(part) for key, part in schema.items() if not (key == "default" and part is None)}


def _referred(schema: Schema, root: Schema) -> Schema:
    found: Schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    return found
