"""Isolation by the kernel: namespaces and a root file system, Landlock, and a filter of system calls.

Once per launcher: a root file system of nothing but Python's library, the system's shared libraries and the chosen
packages, all read-only. Once per program: namespaces of its own for users, processes, mounts, network, inter-process
communication, host name and control groups, and an empty folder in memory, the only one that can be written. Landlock
restricts the file system a second time, where the kernel has it (Linux 5.13 and a build with it).

The filter, which a process cannot take off again, refuses starting processes or programs (threads are allowed), sockets
other than Unix ones (AF_VSOCK knows no network namespace), memory that the address-space limit does not count, System V
and POSIX queues, kernel keys, watching or leasing files (the library's are the host's), the list of mounts, and
everything that has been a way out of a namespace before (new namespaces, mounts, ptrace, io_uring, bpf, userfaultfd,
modify_ldt, handles to files).
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import socket
import struct
from collections.abc import Sequence
from pathlib import Path

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
    """Mounts a file system or, with BIND, a folder at a second path; raises OSError."""
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


# Landlock

_CREATE, _ADD_RULE, _RESTRICT = 444, 445, 446
_ASK_VERSION, _BENEATH = 1, 1
_READ_AND_RUN = 0b1101
_MAKE_DEVICES = 1 << 6 | 1 << 11
# Bits of the file rights that each version of the interface knows.
_RIGHTS = (0, 13, 14, 15, 15)
_NEWEST_RIGHTS = 16
_SCOPES_SINCE, _SCOPES = 6, 0b11  # abstract Unix sockets and signals stay among the processes so restricted


def version() -> int:
    """Version of the kernel's Landlock; 0 where it has none."""
    try:
        return syscall(_CREATE, "Landlock", None, ctypes.c_size_t(0), _ASK_VERSION)
    except OSError:
        return 0


def restrict(writable: str) -> None:
    """From now on this process reads what it sees, writes beneath one folder only, and makes no device anywhere.

    Since Linux 6.12 it sends signals to none but its own threads either.

    Needs no_new_privs. Does nothing where the kernel has no Landlock; raises OSError where it refuses.
    """
    known = version()
    if not known:
        return
    every = (1 << (_RIGHTS[known] if known < len(_RIGHTS) else _NEWEST_RIGHTS)) - 1
    handled = struct.pack("=QQQ", every, 0, _SCOPES) if known >= _SCOPES_SINCE else struct.pack("=Q", every)
    rules = syscall(_CREATE, "Landlock", handled, ctypes.c_size_t(len(handled)), 0)
    for folder, rights in (("/", _READ_AND_RUN), (writable, every & ~_MAKE_DEVICES)):
        index = os.open(folder, os.O_PATH | os.O_DIRECTORY)
        syscall(_ADD_RULE, f"Landlock rule for {folder}", rules, _BENEATH, struct.pack("=Qi", rights, index), 0)
        os.close(index)
    syscall(_RESTRICT, "Landlock", rules, 0)
    os.close(rules)


# The filter of system calls

ARCHITECTURES = ("x86_64", "aarch64")

# name: number on x86_64, number on aarch64 (0: there is no such call)
_REFUSED = {
    "fork": (57, 0), "vfork": (58, 0), "execve": (59, 221), "execveat": (322, 281),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "pidfd_getfd": (438, 438), "unshare": (272, 97), "setns": (308, 268), "chroot": (161, 51),
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "open_tree": (428, 428),
    "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432),
    "fspick": (433, 433), "mount_setattr": (442, 442), "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265), "fanotify_init": (300, 262), "quotactl": (179, 60), "quotactl_fd": (443, 443),
    "inotify_init": (253, 0), "inotify_init1": (294, 26), "modify_ldt": (154, 0),
    "statmount": (457, 457), "listmount": (458, 458), "open_tree_attr": (467, 467),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "personality": (135, 92),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219), "syslog": (103, 116),
    "init_module": (175, 105), "finit_module": (313, 273),
    "memfd_create": (319, 279), "memfd_secret": (447, 447),
    "shmget": (29, 194), "semget": (64, 190), "msgget": (68, 186), "mq_open": (240, 180),
}  # fmt: skip
_CLONE, _CLONE3, _SECCOMP = (56, 220), (435, 435), (317, 277)
_SOCKET, _SOCKET_PAIR, _FILE_CONTROL = (41, 198), (53, 199), (72, 25)
_AUDIT = (0xC000003E, 0xC00000B7)
_THREAD, _UNIX = 0x10000, 1
_SET_LEASE, _NOTIFY = 1024, 1026  # commands of fcntl(2)
_OTHER_INTERFACE = 0x40000000  # x32, which numbers the same calls anew

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT, _SECOND_ARGUMENT = 0, 4, 16, 24
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
_SET_FILTER = 1


def install() -> None:
    """Puts the filter on this process, for good; raises OSError where the kernel has no seccomp."""
    index = ARCHITECTURES.index(os.uname().machine)
    program = _program(index)
    code = ctypes.create_string_buffer(program, len(program))
    header = ctypes.create_string_buffer(struct.pack("@HxxxxxxQ", len(program) // 8, ctypes.addressof(code)))
    syscall(_SECCOMP[index], "seccomp filter", _SET_FILTER, 0, ctypes.byref(header))


def _program(index: int) -> bytes:
    """Classic BPF: one instruction after the other, jumps counted from the next one."""
    refuse = _ERROR | errno.EPERM
    lines = [
        (_LOAD, 0, 0, _ARCHITECTURE), (_EQUAL, 1, 0, _AUDIT[index]), (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER), (_AT_LEAST, 0, 1, _OTHER_INTERFACE), (_RETURN, 0, 0, _KILL),
    ]  # fmt: skip
    for numbers in _REFUSED.values():
        if numbers[index]:
            lines += [(_EQUAL, 0, 1, numbers[index]), (_RETURN, 0, 0, refuse)]
    # glibc tries clone3 first, whose flags lie in memory where no filter sees them, and falls back to clone.
    lines += [(_EQUAL, 0, 1, _CLONE3[index]), (_RETURN, 0, 0, _ERROR | errno.ENOSYS)]
    lines += [(_EQUAL, 0, 4, _CLONE[index]), (_LOAD, 0, 0, _FIRST_ARGUMENT)]
    lines += [(_ANY_BIT, 0, 1, _THREAD), (_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, refuse)]
    lines += [(_EQUAL, 0, 5, _FILE_CONTROL[index]), (_LOAD, 0, 0, _SECOND_ARGUMENT)]
    lines += [(_EQUAL, 1, 0, _SET_LEASE), (_EQUAL, 0, 1, _NOTIFY), (_RETURN, 0, 0, refuse), (_RETURN, 0, 0, _ALLOW)]
    lines += [(_EQUAL, 1, 0, _SOCKET[index]), (_EQUAL, 0, 2, _SOCKET_PAIR[index]), (_LOAD, 0, 0, _FIRST_ARGUMENT)]
    lines += [(_EQUAL, 0, 1, _UNIX), (_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, refuse)]
    return b"".join(struct.pack("=HBBI", *line) for line in lines)


# Namespaces and the root file system

PACKAGES = "/packages"
"""Where packages that programs may import lie in the jail."""
FOLDER = "/tmp"
FOLDER_BYTES, FOLDER_FILES = 64 << 20, 1024
_NOBODY = 65534
_LAUNCHERS, _USERS = 1 << 16, 1 << 12
_FIRST_USER = 0x70000000
"""The last ids that a user can have, which nobody gives away: a block for each launcher, one for each program."""
_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64")
_LOCAL_LIBRARIES = "/usr/local/lib"
"""Of this folder, which holds whatever was installed by hand, only shared libraries are shown."""
_HOST_NAME = "jail"
_HIDDEN = ("python*/site-packages", "python*/dist-packages", "site-packages")
# Nothing that is shown lies under it, and every Linux has it: the new root is put together there.
_CONSTRUCTION = "/dev"


def require_readable(user: int, folders: list[str]) -> None:
    """Raises OSError where a program, which does not run as root, could not read the library that it is shown."""
    for folder in folders:
        if user != os.geteuid() and Path(folder).is_dir() and Path(folder).stat().st_mode & 0o5 != 0o5:
            raise OSError(f"programs run as another user, who cannot read {folder} (`chmod -R o+rX` on it would do)")


def separate() -> Sequence[int]:
    """Gives this process a mount namespace of its own; returns the user ids that programs are to take in turn.

    Of the superuser's programs each has an id of its own, or all are `nobody` where those ids do not exist (as in a
    container of fewer users). Any other user becomes the superuser of a user namespace, and programs keep the user's
    id. Raises OSError where the kernel allows neither.
    """
    if os.geteuid() == 0:
        try:
            unshare(NEW_MOUNT, "mount namespace")
            first = _FIRST_USER + os.getpid() % _LAUNCHERS * _USERS
            return range(first, first + _USERS) if _ids_exist() else (_NOBODY,)
        except PermissionError:
            pass  # root of a container without the right to mount: as any other user
    user, group = os.geteuid(), os.getegid()
    unshare(NEW_USER, "user namespace")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    unshare(NEW_MOUNT, "mount namespace")
    return (user,)


def _ids_exist() -> bool:
    """Whether all ids from `_FIRST_USER` on can be taken, as users and as groups."""
    maps = [Path("/proc/self", name).read_text().split() for name in ("uid_map", "gid_map")]
    return all(int(inside) == 0 and int(count) > _FIRST_USER + _LAUNCHERS * _USERS for inside, _, count, *_ in maps)


def build_root(library: list[str], packages: list[str]) -> None:
    """Makes a read-only root of Python's library, the system's libraries and the packages, and moves into it.

    Folders of installed packages inside the libraries are hidden: some hold the answers to benchmarks.
    """
    mount("none", "/", "", PRIVATE | RECURSIVE)
    mount("tmpfs", _CONSTRUCTION, "tmpfs", NO_SUID, "size=1m,mode=755")
    shown = [path for path in (*_LIBRARIES, *library) if Path(path).exists()]
    sources = sorted({os.path.realpath(path) for path in shown})
    for source in sources:
        if not any(Path(other) in Path(source).parents for other in sources):
            _show(source, source)
            _hide_packages(source)
    for local in sorted(Path(_LOCAL_LIBRARIES).glob("*.so*")):
        if local.is_file() and _LOCAL_LIBRARIES not in shown:
            _show(str(local), str(local))
    for path in shown:
        if os.path.realpath(path) != path:
            _make_link(path)
    for package in packages:
        _show(package, f"{PACKAGES}/{Path(package).name}")
    Path(_CONSTRUCTION + FOLDER).mkdir(exist_ok=True)
    make_root(_CONSTRUCTION)
    make_read_only("/")


def _show(source: str, target: str) -> None:
    place = Path(_CONSTRUCTION + target)
    (place if Path(source).is_dir() else place.parent).mkdir(parents=True, exist_ok=True)
    if not place.exists():
        place.touch()
    mount(source, str(place), "", BIND | RECURSIVE)


def _hide_packages(folder: str) -> None:
    for pattern in _HIDDEN:
        for hidden in Path(_CONSTRUCTION + folder).glob(pattern):
            if hidden.is_dir() and not hidden.is_symlink():
                mount("tmpfs", str(hidden), "tmpfs", NO_SUID, "size=4k,mode=755")


def _make_link(path: str) -> None:
    link = Path(_CONSTRUCTION + path)
    link.parent.mkdir(parents=True, exist_ok=True)
    if not os.path.lexists(link):
        link.symlink_to(os.path.realpath(path))


def leave_everything(user: int) -> None:
    """New namespaces for one program; its first child is the first process of the new process namespace."""
    unshare(NEW_MOUNT, "mount namespace")
    unshare(NEW_PROCESS, "process namespace")
    unshare(NEW_NETWORK, "network namespace")
    unshare(NEW_IPC | NEW_HOST_NAME | NEW_CONTROL_GROUP, "IPC, UTS and cgroup namespaces")
    socket.sethostname(_HOST_NAME)
    check(_LIBC.setdomainname(b"", ctypes.c_size_t(0)), "setdomainname")
    flags = NO_SUID | NO_DEVICES | NO_EXECUTION
    options = f"size={FOLDER_BYTES},nr_inodes={FOLDER_FILES},mode=700,uid={user}"
    mount("tmpfs", FOLDER, "tmpfs", flags, options)
    os.chdir(FOLDER)


def give_up_rights(user: int) -> None:
    """Another user without any capability, in a user namespace that maps no user; then Landlock and the filter."""
    if os.geteuid() != user:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    unshare(NEW_USER, "user namespace")
    drop_capabilities()
    die_with_parent(signal.SIGKILL)
    forbid_new_privileges()
    restrict(FOLDER)
    install()
