"""Landlock: a second wall around the file system, where the kernel has it (Linux 5.13 and a build with it)."""

from __future__ import annotations

import ctypes
import os
import struct

from ilr_bench.grading.sandbox.kernel import syscall

_CREATE, _ADD_RULE, _RESTRICT = 444, 445, 446
_ASK_VERSION, _BENEATH = 1, 1
_READ_AND_RUN = 0b1101
_MAKE_DEVICES = 1 << 6 | 1 << 11
# Bits of the file rights that each version of the interface knows.
_RIGHTS = (0, 13, 14, 15, 15)
_NEWEST_RIGHTS = 16


def version() -> int:
    """Version of the kernel's Landlock; 0 where it has none."""
    try:
        return syscall(_CREATE, "Landlock", None, ctypes.c_size_t(0), _ASK_VERSION)
    except OSError:
        return 0


def restrict(writable: str) -> None:
    """From now on this process reads what it sees, writes beneath one folder only, and makes no device anywhere.

    Needs no_new_privs. Does nothing where the kernel has no Landlock; raises OSError where it refuses.
    """
    known = version()
    if not known:
        return
    every = (1 << (_RIGHTS[known] if known < len(_RIGHTS) else _NEWEST_RIGHTS)) - 1
    rules = syscall(_CREATE, "Landlock", struct.pack("=Q", every), ctypes.c_size_t(8), 0)
    for folder, rights in (("/", _READ_AND_RUN), (writable, every & ~_MAKE_DEVICES)):
        place = os.open(folder, os.O_PATH | os.O_DIRECTORY)
        syscall(_ADD_RULE, f"Landlock rule for {folder}", rules, _BENEATH, struct.pack("=Qi", rights, place), 0)
        os.close(place)
    syscall(_RESTRICT, "Landlock", rules, 0)
    os.close(rules)
