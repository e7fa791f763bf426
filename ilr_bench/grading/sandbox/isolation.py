"""The walls: what a program cannot see it can neither read nor change.

Once per launcher: a root file system of nothing but Python's library, the system's shared libraries and the
chosen packages, all read-only. Once per program: namespaces of its own for users, processes, mounts, network,
inter-process communication, host name and control groups, and an empty folder in memory, the only place that
can be written.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

from ilr_bench.grading.sandbox import kernel, landlock, seccomp

PACKAGES = "/packages"
"""Where packages that programs may import lie in the jail."""
FOLDER = "/tmp"
FOLDER_BYTES, FOLDER_FILES = 64 << 20, 1024
_NOBODY = 65534
_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib")
_HIDDEN = ("python*/site-packages", "python*/dist-packages", "site-packages")
# Nothing that is shown lies under it, and every Linux has it: the new root is put together there.
_CONSTRUCTION = "/dev"


def require_readable(user: int, folders: list[str]) -> None:
    """Raises OSError where a program, which does not run as root, could not read the library that it is shown."""
    for folder in folders:
        if user == _NOBODY and Path(folder).is_dir() and Path(folder).stat().st_mode & 0o5 != 0o5:
            raise OSError(f"programs run as nobody, who cannot read {folder} (`chmod -R o+rX` on it would do)")


def separate() -> int:
    """Gives this process file systems of its own to arrange; the user id that programs are to run under.

    The superuser is taken at its word; anybody else becomes one inside a user namespace. Raises OSError where
    the kernel allows neither.
    """
    if os.geteuid() == 0:
        try:
            kernel.unshare(kernel.NEW_MOUNT, "mount namespace")
            return _NOBODY
        except PermissionError:
            pass  # root of a container without the right to mount: as any other user
    user, group = os.geteuid(), os.getegid()
    kernel.unshare(kernel.NEW_USER, "user namespace")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    kernel.unshare(kernel.NEW_MOUNT, "mount namespace")
    return user


def build_root(library: list[str], packages: list[str]) -> None:
    """Makes a read-only root of Python's library, the system's libraries and the packages, and moves into it.

    Folders of installed packages inside the libraries are hidden: some hold the answers to benchmarks.
    """
    kernel.mount("none", "/", "", kernel.PRIVATE | kernel.RECURSIVE)
    kernel.mount("tmpfs", _CONSTRUCTION, "tmpfs", kernel.NO_SUID, "size=1m,mode=755")
    shown = [path for path in (*_LIBRARIES, *library) if Path(path).exists()]
    sources = sorted({os.path.realpath(path) for path in shown})
    for source in sources:
        if not any(Path(other) in Path(source).parents for other in sources):
            _show(source, source)
            _hide_packages(source)
    for path in shown:
        if os.path.realpath(path) != path:
            _make_link(path)
    for package in packages:
        _show(package, f"{PACKAGES}/{Path(package).name}")
    Path(_CONSTRUCTION + FOLDER).mkdir(exist_ok=True)
    kernel.make_root(_CONSTRUCTION)
    kernel.make_read_only("/")


def _show(source: str, target: str) -> None:
    place = Path(_CONSTRUCTION + target)
    place.mkdir(parents=True, exist_ok=True)
    kernel.mount(source, str(place), "", kernel.BIND | kernel.RECURSIVE)


def _hide_packages(folder: str) -> None:
    for pattern in _HIDDEN:
        for place in Path(_CONSTRUCTION + folder).glob(pattern):
            if place.is_dir() and not place.is_symlink():
                kernel.mount("tmpfs", str(place), "tmpfs", kernel.NO_SUID, "size=4k,mode=755")


def _make_link(path: str) -> None:
    link = Path(_CONSTRUCTION + path)
    link.parent.mkdir(parents=True, exist_ok=True)
    if not os.path.lexists(link):
        link.symlink_to(os.path.realpath(path))


def leave_everything(user: int) -> None:
    """New namespaces for one program; its first child is the first process of the new process namespace."""
    kernel.unshare(kernel.NEW_MOUNT, "mount namespace")
    kernel.unshare(kernel.NEW_PROCESS, "process namespace")
    kernel.unshare(kernel.NEW_NETWORK, "network namespace")
    kernel.unshare(kernel.NEW_IPC | kernel.NEW_HOST_NAME | kernel.NEW_CONTROL_GROUP, "IPC, UTS and cgroup namespaces")
    flags = kernel.NO_SUID | kernel.NO_DEVICES | kernel.NO_EXECUTION
    options = f"size={FOLDER_BYTES},nr_inodes={FOLDER_FILES},mode=700,uid={user}"
    kernel.mount("tmpfs", FOLDER, "tmpfs", flags, options)
    os.chdir(FOLDER)


def give_up_rights(user: int) -> None:
    """Another user without any capability, in a user namespace in which nobody has a name; then both filters."""
    if os.geteuid() != user:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    kernel.unshare(kernel.NEW_USER, "user namespace")
    kernel.drop_capabilities()
    kernel.die_with_parent(signal.SIGKILL)
    kernel.forbid_new_privileges()
    landlock.restrict(FOLDER)
    seccomp.install()
