"""Things that are named by where they are: `module:function`, or `file.py:function`.

A reference stands wherever a name may stand that a registry looks up. A file is executed once for every content that
it has had, so one that was edited is read anew, and what it defines counts by the content that was executed.
"""

from __future__ import annotations

import hashlib
import importlib
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

from ilr_bench.core.errors import ConfigurationError, IlrError, did_you_mean, first_line

_FILE = re.compile(r"(?P<file>.+\.py):(?P<name>[A-Za-z_]\w*)")
_MODULE = re.compile(r"(?P<module>[A-Za-z_]\w*(?:\.\w+)*):(?P<name>[A-Za-z_]\w*)")
_AGENT = re.compile(r"(?P<agent>[A-Za-z0-9][\w.-]*)=(?P<model>.+)")
RESERVED = ("lm_eval",)
"""Before a colon these are no modules: `lm_eval:gsm8k` is a task."""


def is_reference(name: str) -> bool:
    """Whether a name says where something is: `file.py:name` or `module:name`."""
    module = _MODULE.fullmatch(name)
    return _FILE.fullmatch(name) is not None or (module is not None and module["module"] not in RESERVED)


def located(name: str) -> str:
    """A name with the path of its file made absolute, so that every process finds it; others as they are.

    Names joined by `+` are taken one by one.
    """
    if not _FILE.fullmatch(name):
        return name
    if "+" in name and not Path(_FILE.fullmatch(name)["file"]).expanduser().exists():  # type: ignore[index]
        return "+".join(map(located, name.split("+")))
    file, _, attribute = name.rpartition(":")
    return f"{Path(file).expanduser().absolute()}:{attribute}"


class _Located:
    """Reads a name with `located`; pydantic asks for the schema, and is not imported for it."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(located, handler(source))


Name = Annotated[str, _Located()]
"""A setting that a registry looks up."""


def label_of(name: str) -> str:
    """A name for people, folders and hashes: of a file its own name only, `mine.py:shorter`."""
    if "+" in name:
        return "+".join(map(label_of, name.split("+")))
    found = _FILE.fullmatch(name)
    return f"{Path(found['file']).name}:{found['name']}" if found else name


def file_references(data: Any) -> Iterator[str]:
    """Every `file.py:name` in JSON data."""
    if isinstance(data, str):
        yield from (name for name in data.split("+") if _FILE.fullmatch(name))
    elif isinstance(data, Mapping | list | tuple):
        for inner in data.values() if isinstance(data, Mapping) else data:
            yield from file_references(inner)


def labelled(data: Any) -> Any:
    """JSON data with files under their labels: where a file lies decides no number."""
    if isinstance(data, Mapping):
        return {key: labelled(inner) for key, inner in data.items()}
    if isinstance(data, list | tuple):
        return [labelled(inner) for inner in data]
    return label_of(data) if isinstance(data, str) and any(file_references(data)) else data


def short_label(name: str) -> str:
    """What a reference names without where it is: `shorter`; other names as they are."""
    return name.rpartition(":")[2] if is_reference(name) else name


def model_source(model: str) -> str:
    """A model without the name of its agent: of `llama=meta-llama/Llama-3.1-8B` what follows the equals sign."""
    named = _AGENT.fullmatch(model)
    return named["model"] if named else model


def agent_name(model: str) -> str:
    """The name of a model's agent: the one given, else the model's without its folder."""
    named = _AGENT.fullmatch(model)
    return named["agent"] if named else short_label(model).rstrip("/").rsplit("/", 1)[-1]


def load_reference(reference: str) -> tuple[Any, str]:
    """What a reference names, and the name of its module in `sys.modules`.

    Raises ConfigurationError in one line, whatever goes wrong while the file or module is executed.
    """
    where, _, name = reference.rpartition(":")
    module = _execute(Path(where).expanduser()) if where.endswith(".py") else _import(where)
    if name not in vars(module) and not hasattr(module, name):
        known = [found for found in vars(module) if not found.startswith("_")]
        hint = did_you_mean(name, known, "")
        raise ConfigurationError(f"{where} defines no {name}{hint and f'; {hint}'}")
    return getattr(module, name), module.__name__


def reason_of(error: BaseException) -> str:
    """Why foreign code failed, in one line: what was raised, and where in its file."""
    if isinstance(error, IlrError):
        return first_line(error)
    what = type(error).__name__
    what += f": {first_line(error)}" if str(error).strip() else ""
    own = str(Path(__file__).parents[1])
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(own)]
    places = [frame for frame in frames if not frame.filename.startswith("<")]
    return f"{what} ({Path(places[-1].filename).name}, line {places[-1].lineno})" if places else what


def _import(module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except (Exception, SystemExit) as error:
        if (
            isinstance(error, ModuleNotFoundError)
            and error.name is not None
            and f"{module}.".startswith(f"{error.name}.")
        ):
            raise ConfigurationError(
                f"there is no module {error.name}; install it, put its folder on PYTHONPATH, or name the file: "
                f"{module.replace('.', '/')}.py:NAME"
            ) from error
        raise ConfigurationError(f"{module} cannot be imported: {reason_of(error)}") from error


def _execute(path: Path) -> ModuleType:
    try:
        source = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read ({error.strerror}); check the path") from error
    path = path.absolute()
    digest = hashlib.sha256(str(path).encode("utf-8", "surrogateescape") + b"\0" + source).hexdigest()[:12]
    name = re.sub(r"\W", "_", f"{path.stem}_{digest}")
    if name in sys.modules:
        return sys.modules[name]
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module  # first: dataclasses look up their own module while they are made
    try:
        # Not by an import: bytecode beside the file would go stale where it is edited twice in a second.
        exec(compile(source, str(path), "exec"), module.__dict__)
    except BaseException as error:
        del sys.modules[name]
        if not isinstance(error, (Exception, SystemExit)):
            raise
        raise ConfigurationError(f"{path} cannot be executed: {reason_of(error)}") from error
    return module
