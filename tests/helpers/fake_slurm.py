"""Four commands of SLURM, as far as submitit calls them, on this machine; which one, its name says.

The folder FAKE_SLURM holds a file `ID.state` per job, `ID.sh`, `ID.pid` of its process group, and `ID.ends` where a
test wants another state at its end. With `hold` in it jobs wait for ever, with `refuse` none is taken.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

COMMANDS = ("sbatch", "srun", "sacct", "scancel")


def install(folder: Path) -> None:
    """Writes the commands into a folder for PATH."""
    folder.mkdir(parents=True)
    for name in COMMANDS:
        (folder / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "{__file__}" {name} "$@"\n')
        (folder / name).chmod(0o755)


def sbatch(books: Path, arguments: list[str]) -> None:
    if (books / "refuse").exists():
        sys.exit("sbatch: error: invalid partition specified: moon")
    job = str(1 + len(list(books.glob("*.sh"))))
    (books / f"{job}.sh").write_text(Path(arguments[0]).read_text())
    if (books / "hold").exists():
        (books / f"{job}.state").write_text("PENDING")
    else:
        (books / f"{job}.state").write_text("RUNNING")
        subprocess.Popen(
            [sys.executable, "-S", __file__, "node", job], env=os.environ | {"SLURM_JOB_ID": job},
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    sys.stdout.write(f"Submitted batch job {job}\n")


def node(books: Path, arguments: list[str]) -> None:
    [job] = arguments
    script = subprocess.Popen(["bash", str(books / f"{job}.sh")], start_new_session=True)
    (books / f"{job}.pid").write_text(str(script.pid))
    state = "FAILED" if script.wait() else "COMPLETED"
    wanted = books / f"{job}.ends"
    (books / f"{job}.state").write_text(wanted.read_text() if wanted.exists() else state)


def srun(books: Path, arguments: list[str]) -> None:
    paths = {}
    while arguments[0].startswith("--"):
        if arguments[0] == "--unbuffered":
            arguments = arguments[1:]
        else:
            paths[arguments[0]] = arguments[1].replace("%j", os.environ["SLURM_JOB_ID"]).replace("%t", "0")
            arguments = arguments[2:]
    for descriptor, name in ((1, "--output"), (2, "--error")):
        os.dup2(os.open(paths[name], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666), descriptor)
    os.execvp(arguments[0], arguments)


def sacct(books: Path, arguments: list[str]) -> None:
    sys.stdout.write("JobID|State|NodeList\n")
    for path in sorted(books.glob("*.state")):
        sys.stdout.write(f"{path.stem}|{path.read_text()}|here\n{path.stem}.batch|{path.read_text()}|here\n")


def scancel(books: Path, arguments: list[str]) -> None:
    [job] = arguments
    (books / f"{job}.ends").write_text("CANCELLED by 1000")
    if (books / f"{job}.pid").exists():
        with suppress(ProcessLookupError):
            os.killpg(int((books / f"{job}.pid").read_text()), signal.SIGKILL)
    else:
        (books / f"{job}.state").write_text("CANCELLED by 1000")


if __name__ == "__main__":
    {"sbatch": sbatch, "node": node, "srun": srun, "sacct": sacct, "scancel": scancel}[sys.argv[1]](
        Path(os.environ["FAKE_SLURM"]), sys.argv[2:]
    )
