"""The locks with hashes are requirements.lock for one build of torch each, and can be resolved."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BUILDS = {"cpu": "+cpu", "cuda": ""}
CUDA_ONLY = re.compile(r"nvidia-|triton$|cuda-")
HASH = re.compile(r" +--hash=sha256:[0-9a-f]{64}( \\)?")
UNREACHABLE = ("error sending request", "Failed to fetch", "dns error", "Could not connect")


def pins(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    named = (re.fullmatch(r"([\w.-]+)==(\S+)( ;.*)?( \\)?", line) for line in lines if not line.startswith((" ", "#")))
    return {found[1]: found[2] for found in named if found is not None}


@pytest.mark.parametrize("build", BUILDS)
def test_a_lock_with_hashes_names_what_requirements_lock_does(build: str) -> None:
    plain, locked = pins("requirements.lock"), pins(f"requirements-{build}.lock")
    added = {name: version for name, version in locked.items() if name not in plain}
    assert all(CUDA_ONLY.match(name) for name in added)
    assert bool(added) == (build == "cuda")
    expected = plain | {"torch": plain["torch"] + BUILDS[build]}
    assert {name: version for name, version in locked.items() if name in plain} == expected


@pytest.mark.parametrize("build", BUILDS)
def test_every_package_has_hashes_and_no_address_is_told(build: str) -> None:
    text = (ROOT / f"requirements-{build}.lock").read_text(encoding="utf-8")
    assert "://" not in text
    assert "--index" not in text
    for package in re.split(r"\n(?=\S)", text.strip()):
        head, *hashes = package.splitlines()
        assert head.endswith(" \\"), head
        assert hashes, head
        assert all(HASH.fullmatch(line) for line in hashes), head


@pytest.mark.slow
@pytest.mark.parametrize("build", BUILDS)
def test_a_lock_with_hashes_can_be_resolved(build: str, tmp_path: Path) -> None:
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("needs uv")
    wheels = os.environ.get("UV_FIND_LINKS") or os.environ.get("PIP_FIND_LINKS", "")
    if build == "cpu" and not wheels:
        pytest.skip("needs UV_FIND_LINKS, where torch's wheel for CPUs lies")
    lock = ROOT / f"requirements-{build}.lock"
    command = [uv, "pip", "install", "--dry-run", "--require-hashes", "--python", sys.executable]
    command += ["--target", str(tmp_path), "-r", str(lock)]
    # Among wheels for CPUs uv takes torch+cpu for the version that the other build is asked for by.
    environment = os.environ | {"UV_FIND_LINKS": wheels if build == "cpu" else ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, check=False)
    if any(sign in done.stderr for sign in UNREACHABLE):
        pytest.skip("needs an index of packages")
    assert done.returncode == 0, done.stderr
    assert f"Would install {len(pins(lock.name))} packages" in done.stderr
