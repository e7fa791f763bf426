"""System calls that no test of a function needs: refused by a filter that the process cannot take off again.

What is refused: starting processes or programs (threads are allowed), sockets other than Unix ones (AF_VSOCK
knows no network namespace), memory that the address-space limit does not count, System V and POSIX queues,
kernel keys, and everything that has been a way out of a namespace before (new namespaces, mounts, ptrace,
io_uring, bpf, userfaultfd, handles to files).
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from ilr_bench.grading.sandbox.kernel import syscall

ARCHITECTURES = ("x86_64", "aarch64")

# name: number on x86_64, number on aarch64 (0: there is no such call)
_REFUSED = {
    "fork": (57, 0), "vfork": (58, 0), "execve": (59, 221), "execveat": (322, 281),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "pidfd_getfd": (438, 438), "unshare": (272, 97), "setns": (308, 268), "chroot": (161, 51),
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "open_tree": (428, 428),
    "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432),
    "fspick": (433, 433), "mount_setattr": (442, 442), "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265), "fanotify_init": (300, 262), "quotactl": (179, 60),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "personality": (135, 92),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219), "syslog": (103, 116),
    "init_module": (175, 105), "finit_module": (313, 273),
    "memfd_create": (319, 279), "memfd_secret": (447, 447),
    "shmget": (29, 194), "semget": (64, 190), "msgget": (68, 186), "mq_open": (240, 180),
}  # fmt: skip
_CLONE, _CLONE3, _SOCKET, _SECCOMP = (56, 220), (435, 435), (41, 198), (317, 277)
_AUDIT = (0xC000003E, 0xC00000B7)
_THREAD, _UNIX = 0x10000, 1
_OTHER_INTERFACE = 0x40000000  # x32, which numbers the same calls anew

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
_SET_FILTER = 1


def install() -> None:
    """Puts the filter on this process, for good; raises OSError where the kernel has no seccomp."""
    place = ARCHITECTURES.index(os.uname().machine)
    program = _program(place)
    code = ctypes.create_string_buffer(program, len(program))
    header = ctypes.create_string_buffer(struct.pack("@HxxxxxxQ", len(program) // 8, ctypes.addressof(code)))
    syscall(_SECCOMP[place], "seccomp filter", _SET_FILTER, 0, ctypes.byref(header))


def _program(place: int) -> bytes:
    """Classic BPF: one instruction after the other, jumps counted from the next one."""
    refuse = _ERROR | errno.EPERM
    lines = [
        (_LOAD, 0, 0, _ARCHITECTURE), (_EQUAL, 1, 0, _AUDIT[place]), (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER), (_AT_LEAST, 0, 1, _OTHER_INTERFACE), (_RETURN, 0, 0, _KILL),
    ]  # fmt: skip
    for numbers in _REFUSED.values():
        if numbers[place]:
            lines += [(_EQUAL, 0, 1, numbers[place]), (_RETURN, 0, 0, refuse)]
    # glibc asks for clone3, whose flags lie in memory where no filter sees them, and is content with clone.
    lines += [(_EQUAL, 0, 1, _CLONE3[place]), (_RETURN, 0, 0, _ERROR | errno.ENOSYS)]
    lines += [(_EQUAL, 0, 3, _CLONE[place]), (_LOAD, 0, 0, _FIRST_ARGUMENT)]
    lines += [(_ANY_BIT, 4, 0, _THREAD), (_RETURN, 0, 0, refuse)]
    lines += [(_EQUAL, 0, 2, _SOCKET[place]), (_LOAD, 0, 0, _FIRST_ARGUMENT)]
    lines += [(_EQUAL, 0, 1, _UNIX), (_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, refuse)]
    return b"".join(struct.pack("=HBBI", *line) for line in lines)
