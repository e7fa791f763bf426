"""System calls that Python has no function for."""

from __future__ import annotations

import ctypes
import errno
import os

_LIBC = ctypes.CDLL(None, use_errno=True)

NEW_USER, NEW_MOUNT, NEW_PROCESS, NEW_NETWORK = 0x10000000, 0x00020000, 0x20000000, 0x40000000
NEW_IPC, NEW_HOST_NAME, NEW_CONTROL_GROUP = 0x08000000, 0x04000000, 0x02000000
NO_SUID, NO_DEVICES, NO_EXECUTION = 2, 4, 8
RECURSIVE, BIND, PRIVATE = 0x4000, 0x1000, 0x40000
_DETACH = 2

_HERE, _RECURSIVELY = -100, 0x8000
_READ_ONLY, _ATTRIBUTE_NO_SUID, _ATTRIBUTE_NO_DEVICES = 1, 2, 4
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_MOUNT_SETATTR = 442

_SET_DEATH_SIGNAL, _SET_NO_NEW_PRIVILEGES = 1, 38
_CAPABILITIES_VERSION_3 = 0x20080522


def check(result: int, what: str) -> int:
    """The result of a C call; raises OSError about `what` where it failed."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)} ({errno.errorcode.get(number, number)})")
    return result


def syscall(number: int, what: str, *arguments: object) -> int:
    """A system call by its number; raises OSError about `what`."""
    return check(_LIBC.syscall(ctypes.c_long(number), *arguments), what)


def unshare(flags: int, what: str) -> None:
    """Leaves the namespaces named by `flags` for new ones."""
    check(_LIBC.unshare(flags), what)


def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    """Mounts a file system or, with BIND, a folder in a second place; raises OSError."""
    arguments = (source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode() or None)
    check(_LIBC.mount(*arguments), f"mount of {kind or source} on {target}")


def make_root(folder: str) -> None:
    """Makes a mount point the root of the file system; everything outside it is gone."""
    os.chdir(folder)
    syscall(_PIVOT_ROOT[os.uname().machine], "pivot_root", b".", b".")
    check(_LIBC.umount2(b".", _DETACH), "umount of the old root")
    os.chdir("/")


def make_read_only(folder: str) -> None:
    """Every mount at and below a folder becomes read-only, without devices and set-user-id programs."""
    attributes = (ctypes.c_uint64 * 4)(_READ_ONLY | _ATTRIBUTE_NO_SUID | _ATTRIBUTE_NO_DEVICES, 0, 0, 0)
    arguments = (folder.encode(), _RECURSIVELY, ctypes.byref(attributes), ctypes.c_size_t(ctypes.sizeof(attributes)))
    syscall(_MOUNT_SETATTR, "mount_setattr (Linux 5.12)", _HERE, *arguments)


def die_with_parent(signal_number: int) -> None:
    """The kernel sends this signal when the parent dies."""
    control_process(_SET_DEATH_SIGNAL, signal_number, "the parent's death signal")


def forbid_new_privileges() -> None:
    """No program that this process starts gains rights; wanted by Landlock and seccomp."""
    control_process(_SET_NO_NEW_PRIVILEGES, 1, "no_new_privs")


def control_process(option: int, value: int, what: str) -> None:
    """prctl(2) with one value."""
    zero = ctypes.c_ulong(0)
    check(_LIBC.prctl(option, ctypes.c_ulong(value), zero, zero, zero), what)


def drop_capabilities() -> None:
    """Gives up every capability, in this user namespace too."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES_VERSION_3, 0)
    check(_LIBC.capset(ctypes.byref(header), ctypes.byref((ctypes.c_uint32 * 6)())), "capset")
