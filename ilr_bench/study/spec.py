"""A study as it is asked for: by options of the command line, by a file, or by a file and options that replace parts.

A file is TOML with the fields of `StudySpec`, or the `config.json` that a trial leaves: that trial once more.
"""

from __future__ import annotations

import csv
import io
import json
import shlex
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ilr_bench.core.config import RunConfig, are_options, change, from_dict
from ilr_bench.core.console import note
from ilr_bench.core.errors import ConfigurationError
from ilr_bench.core.profiles import profile
from ilr_bench.core.settings import Count, Options, read
from ilr_bench.storage.files import parse_json

if TYPE_CHECKING:
    from ilr_bench.study.plan import Plan

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config", help="A study's TOML file, or a trial's folder or config.json: the options beside it win."
    ),
]
Profile = Annotated[str | None, typer.Option(help="micro, small or paper.", show_default="micro")]
Variants = Annotated[
    str | None, typer.Option(help="Variants to compare, with commas (see `ilr-bench variants`).", show_default=False)
]
Models = Annotated[
    list[str] | None, typer.Option(help="Models that learn together, with commas; repeat for other groups.")
]
Seeds = Annotated[str | None, typer.Option(help="Training seeds, with commas.", show_default="0")]
Workers = Annotated[int | None, typer.Option(help="Jobs at a time, one thread each.", min=1, show_default="2")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="KEY=V1,V2: a setting, or a grid over its values; repeatable.")
]
ABOVE = {
    "profile": 'profile = "micro"', "variant": 'variants = ["ilr"]', "models": 'models = [["A", "B"]]',
    "seed": "seeds = [0]",
}  # fmt: skip
"""Settings that a study has fields of its own for -> how they are written there."""


@dataclass(frozen=True)
class StudySpec:
    """What is run: variants x groups of models x seeds x settings, or one whole configuration."""

    profile: str = "micro"
    """micro, small or paper: where every setting that is not named here comes from."""
    variants: tuple[str, ...] = ()
    """Variants to compare (`ilr-bench variants`)."""
    models: tuple[tuple[str, ...], ...] = ()
    """Models that learn together, ["A", "B"], or groups of them, [["A", "B"], ["A", "C"]]; else the profile's."""
    seeds: tuple[int, ...] = (0,)
    """Training seeds."""
    workers: Count = 2
    """Jobs at a time, one thread each."""
    executor: str = "local"
    """What runs the jobs, as `--executor`."""
    slurm: Options = field(default_factory=Options)
    """What a SLURM job asks for, as `--slurm`."""
    log: tuple[str, ...] = ()
    """Where curves go as well, as `--log`."""
    allow_overlap: bool = False
    """Whether training questions may stand in a benchmark or validate, as `--allow-overlap`."""
    set: dict[str, Any] = field(default_factory=dict)
    """Settings of every trial."""
    grid: dict[str, Any] = field(default_factory=dict)
    """Settings with a list of values each: every combination is tried."""
    config: RunConfig | None = None
    """A whole configuration, run as it stands; profile, variants, set and grid are left out then."""
    matches: RunConfig | None = None
    """The whole configuration of the trial whose tokens `config` matches (`sampling.match_tokens_of`)."""

    @property
    def overrides(self) -> dict[str, tuple[Any, ...]]:
        """Dotted key -> its values."""
        return {key: (value,) for key, value in self.set.items()} | {
            key: tuple(values) for key, values in self.grid.items()
        }


@dataclass(frozen=True)
class Request:
    """A study as asked for, and where that was said."""

    spec: StudySpec
    file: Path | None = None
    replaced: tuple[str, ...] = ()
    """Options that took the place of what the file says."""
    with_untrained: bool = False
    """Whether its models are asked before training as well."""

    def plan(self) -> Plan:
        """Its trials; raises ConfigurationError that names the file, if there is one."""
        from ilr_bench.study.plan import plan_again, plan_study

        spec = self.spec
        try:
            if spec.config is not None:
                return plan_again(
                    spec.config, spec.matches, spec.models, spec.seeds, spec.overrides, self.with_untrained
                )
            return plan_study(spec.profile, spec.variants, spec.models, spec.seeds, spec.overrides, self.with_untrained)
        except ConfigurationError as error:
            if self.file is None:
                raise
            said = f" with {', '.join(self.replaced)}" if self.replaced else ""
            raise ConfigurationError(f"{self.file}{said}: {error}") from error

    def command(self) -> str:
        """The command that runs it again. Folder and workers change no number and are left out."""
        spec = self.spec
        alone, program = self.with_untrained, ["python", "-m", "ilr_bench.sweep"]
        program = ["ilr-bench", "train"] if alone else program
        options = [("--profile", spec.profile), ("--variant" if alone else "--variants", ",".join(spec.variants))]
        if spec.config is not None:
            options = [("--config", str(self.file))]
        options += [("--models", ",".join(group)) for group in spec.models]
        options += [("--seed" if alone else "--seeds", ",".join(map(str, spec.seeds)))]
        options += [("--set", f"{key}={joined(key, values)}") for key, values in spec.overrides.items()]
        words = [part for option in (*options, ("--out", "DIR")) for part in option]
        flags = ["--allow-overlap"] if spec.allow_overlap else []
        return shlex.join([*program, *words, *flags])

    def one(self, variant: str = "ilr") -> Request:
        """The same where it is of one trial, `variant` where none is named, and with its models before training.

        Raises ConfigurationError for several.
        """
        spec = self.spec
        found = {"variants": spec.variants, "models": spec.models, "seeds": spec.seeds, **spec.overrides}
        several = [f"{key} ({len(values)})" for key, values in found.items() if len(values) > 1]
        if several:
            raise ConfigurationError(
                f"{self.file or '--set'}: several trials, by {', '.join(several)}; name one of each on the command "
                "line, or run a sweep"
            )
        return replace(self, spec=replace(spec, variants=spec.variants or (variant,)), with_untrained=True)


def ask(file: Path | None, settings: Sequence[str] | None = None, **given: Any) -> Request:
    """What options ask for, beside a file or alone.

    `settings`: as of `--set`. `given`: other fields of `StudySpec` as the command line has them (lists with commas, for
    `models` one text per group), None where nothing was said.
    Options take the place of what the file says, which is noted on the terminal. Raises ConfigurationError.
    """
    from ilr_bench.study.plan import parse_overrides

    given = {name: PARSE[name](value) if name in PARSE else value for name, value in given.items() if value is not None}
    overrides = parse_overrides(settings or ())
    spec, data = (StudySpec(), {}) if file is None else read_spec(file)
    if spec.config is not None:
        for name in ("profile", "variants"):
            if name in given:
                raise ConfigurationError(
                    f"--{name}: {file} holds a whole configuration; use --set KEY=VALUE to change it"
                )
    said = data.keys() | (set() if spec.config is None else {"models", "seeds"})
    replaced = [f"--{name.replace('_', '-')}" for name in given if name in said]
    replaced += [f"--set {key}" for key in overrides if key in spec.overrides]
    for option in replaced:
        note(f"{option} takes the place of what {file} says")
    kept: dict[str, Any] = {
        name: {key: value for key, value in getattr(spec, name).items() if key not in overrides}
        for name in ("set", "grid")
    }
    kept["grid"] |= overrides
    return Request(replace(spec, **given, **kept), file, tuple(replaced))


def read_spec(path: Path) -> tuple[StudySpec, Mapping[str, Any]]:
    """The study in a file, and which fields it names; raises ConfigurationError that names the file and the key."""
    path = path / "config.json" if path.is_dir() else path
    try:
        text = path.read_text(encoding="utf-8")
        data: dict[str, Any] = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
        if path.suffix == ".toml":
            data |= _located({key: data[key] for key in data.keys() - {"config", "matches"}}, path.parent)
            for name in data.keys() & {"set", "grid"}:
                data[name] = flat(data[name]) if isinstance(data[name], Mapping) else data[name]
            if isinstance(data.get("models"), list) and all(isinstance(model, str) for model in data["models"]):
                data["models"] = [data["models"]] if data["models"] else []  # one group
            spec = read(StudySpec, data)
            _check(spec, data)
        elif isinstance(data, dict) and {"hash", "config"} <= data.keys():
            spec, data = _trial(path, data), {}
        else:
            raise ConfigurationError("no configuration of a trial; name a study's .toml, or a trial's config.json")
    except (OSError, ValueError, RecursionError) as error:
        kind = "TOML" if path.suffix == ".toml" else "JSON"
        raise ConfigurationError(f"--config {path}: not a {kind} file that can be read ({error})") from error
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from error
    if spec.config is not None:
        spec = replace(spec, profile=spec.config.profile, seeds=spec.seeds if "seeds" in data else (spec.config.seed,))
    return spec, data


def split(text: str) -> tuple[str, ...]:
    """`a,b` -> ("a", "b")."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def integers(text: str) -> tuple[int, ...]:
    """`0,1` -> (0, 1); raises ConfigurationError on anything else."""
    try:
        return tuple(int(part) for part in split(text))
    except ValueError as error:
        raise ConfigurationError(f"--seeds {text}: write whole numbers with commas, such as 0,1,2") from error


def slurm_options(text: str) -> Options:
    """`partition=gpu,time=60` -> its pairs; raises ConfigurationError on anything else."""
    pairs = [part.partition("=") for part in split(text)]
    if not all(key and equals and value for key, equals, value in pairs):
        raise ConfigurationError(f"--slurm {text}: write KEY=VALUE with commas, such as partition=gpu,time=60")
    return Options((key.strip(), value.strip()) for key, _, value in pairs)


PARSE: Mapping[str, Callable[[Any], Any]] = {
    "variants": split, "models": lambda texts: tuple(map(split, texts)), "seeds": integers, "log": split,
    "slurm": slurm_options,
}  # fmt: skip
"""Field of a study -> its value from that of the option."""


def as_text(key: str, value: Any) -> str:
    """A value of a setting as `change` takes it from `--set`."""
    if are_options(key.rpartition(".")[0]) and not isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "+".join(as_text(key, part) for part in value)
    return "none" if value is None else str(value)


def joined(key: str, values: Sequence[Any]) -> str:
    """Values of a setting as `--set` takes them; in quotes where they hold a comma."""
    written = io.StringIO()
    csv.writer(written, lineterminator="").writerow([as_text(key, value) for value in values])
    return written.getvalue()


def _check(spec: StudySpec, data: Mapping[str, Any]) -> None:
    """Every setting by itself; raises ConfigurationError that names the table and the key."""
    if spec.config is not None:
        beside = sorted(data.keys() & {"profile", "variants", "set", "grid"})
        if beside:
            raise ConfigurationError(f"{beside[0]}: [config] is a whole configuration; leave one of the two out")
    elif spec.matches is not None:
        raise ConfigurationError("matches: stands beside [config] only")
    try:
        start = profile(spec.profile)
    except ConfigurationError as error:
        raise ConfigurationError(f"profile: {error}") from error
    for key, values in spec.grid.items():
        if not isinstance(values, list | tuple) or not values:
            raise ConfigurationError(f"[grid] {key}: write a list of at least one value")
        if key in spec.set:
            raise ConfigurationError(f"{key}: stands in [set] and in [grid]; leave one out")
    for name, table in (("set", {key: (value,) for key, value in spec.set.items()}), ("grid", spec.grid)):
        for key, values in table.items():
            for value in values:
                try:
                    if key in ABOVE:
                        raise ConfigurationError(f"{key}: stands above the tables, as {ABOVE[key]}")
                    change(start, {key: value})
                except ConfigurationError as error:
                    raise ConfigurationError(f"[{name}] {error}") from error


def flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables to dotted keys, down to settings and to single options."""
    found: dict[str, Any] = {}
    for name, value in table.items():
        key = prefix + name
        deeper = isinstance(value, Mapping) and not are_options(prefix.removesuffix("."))
        found |= flat(value, f"{key}.") if deeper else {key: value}
    return found


def _located(value: Any, folder: Path) -> Any:
    """Data in which names that begin with `./` or `../` start at the file's folder, wherever the command runs."""
    if isinstance(value, Mapping):
        return {key: _located(inner, folder) for key, inner in value.items()}
    if isinstance(value, list):
        return [_located(inner, folder) for inner in value]
    if not isinstance(value, str) or not value.startswith(("./", "../")):
        return value
    path, here = (folder / value).resolve(), Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _trial(path: Path, data: Mapping[str, Any]) -> StudySpec:
    """The study of a trial's own configuration, and of the one in its study whose tokens it matches."""
    from ilr_bench.study.plan import hash_of

    config = from_dict(data["config"])
    if config.sampling.match_tokens_of is None:
        return StudySpec(config=config)
    for other in sorted(path.absolute().parents[1].glob("*/config.json")):
        try:
            beside = parse_json(other.read_bytes())
        except (OSError, ValueError):  # another trial's damage
            continue
        known = isinstance(beside, dict) and isinstance(beside.get("hash"), str)
        if known and hash_of(config, beside["hash"]) == data["hash"]:
            return StudySpec(config=config, matches=from_dict(beside["config"]))
    raise ConfigurationError(f"the trial whose tokens it matches ({config.sampling.match_tokens_of}) is not beside it")
