"""An adapter that a server trained, brought home as one of ours: PEFT's names, all seven layers, our scale.

Servers name no layers in their exports, so that PEFT would load two of seven, and scale an adapter by 32 over its rank
where ours are scaled by 2: the difference goes into B.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save_file

from ilr_bench.core.errors import ServiceError, first_line
from ilr_bench.models.tinker import KEY, TinkerPolicy, settled
from ilr_bench.storage.files import explained

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
OUR_SCALE = 2.0
"""alpha / rank of the adapters made here (`models.lora`)."""
MOST = 8 * 2**30
"""Bytes that an archive may take."""


def bring_home(policy: TinkerPolicy, name: str, folder: Path) -> None:
    """Writes `adapter_model.safetensors` into a folder, as a checkpoint of ours holds it.

    Raises ServiceError where the server gives no adapter, or one of other layers or another rank.
    """
    files = _hosted_files(policy, name) if not policy.address.url else _own_files(policy, name)
    if WEIGHTS not in files or CONFIG not in files:
        found = ", ".join(files) or "nothing"
        raise ServiceError(f"{policy.where}: its export holds {found}, not {WEIGHTS} and {CONFIG}")
    tensors = rescaled(load(files[WEIGHTS]), json.loads(files[CONFIG]), policy)
    with explained(folder):
        save_file(tensors, folder / WEIGHTS)


def rescaled(
    tensors: Mapping[str, NDArray[Any]], config: Mapping[str, Any], policy: TinkerPolicy
) -> dict[str, NDArray[Any]]:
    """Tensors by name, B scaled so that the adapter computes the same under `OUR_SCALE`."""
    if config.get("r") != policy.rank:
        raise ServiceError(f"{policy.where}: its export has rank {config.get('r')}, not {policy.rank}")
    scale = np.float32(config["lora_alpha"] / config["r"] / OUR_SCALE)
    return {
        name: np.ascontiguousarray(values * scale if ".lora_B." in name else values, dtype=np.float32)
        for name, values in sorted(tensors.items())
    }


def _own_files(policy: TinkerPolicy, name: str) -> dict[str, bytes]:
    what = f"{policy.where}: export {name}"
    answer = settled(policy.training_client().save_weights_for_sampler(name), what)
    run, _, checkpoint = str(answer.path).removeprefix("tinker://").partition("/")
    place = f"training_runs/{run}/checkpoints/{checkpoint.rpartition('/')[2]}/download"
    url = f"{policy.address.url.rstrip('/')}/api/v1/{place}"
    request = urllib.request.Request(url, headers={"X-API-Key": os.environ.get(KEY, "tml-none")})
    return _unpacked(_fetched(request, what), what)


def _hosted_files(policy: TinkerPolicy, name: str) -> dict[str, bytes]:
    what = f"{policy.where}: export {name}"
    answer = settled(policy.training_client().save_weights_external(name), what)
    rest = policy.service.create_rest_client()
    urls: Mapping[str, str] = settled(rest.get_external_weights_urls(answer.path), what).urls
    return {Path(file).name: _fetched(urllib.request.Request(url), what) for file, url in urls.items()}


def _fetched(request: urllib.request.Request, what: str) -> bytes:
    if not request.full_url.startswith(("https://", "http://")):
        raise ServiceError(f"{what}: {request.full_url} is no address")
    try:
        with urllib.request.urlopen(request, timeout=600) as answer:
            found: bytes = answer.read(MOST)
    except OSError as error:
        raise ServiceError(f"{what}: {first_line(error)}") from error
    return found


def _unpacked(archive: bytes, what: str) -> dict[str, bytes]:
    """Name -> content of the plain files of an archive; nothing is written."""
    try:
        with tarfile.open(fileobj=io.BytesIO(archive)) as found:
            plain = [(member, found.extractfile(member)) for member in found.getmembers() if member.isfile()]
            return {Path(member.name).name: file.read() for member, file in plain if file is not None}
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ServiceError(f"{what}: no archive ({first_line(error)})") from error
