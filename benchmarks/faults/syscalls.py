"""Every durable action of a process, seen before it happens: the supervisor lets it pass, fails it, or kills the process.

A durable action is a system call that changes a file or a folder's names: opening for writing, writing, syncing, cutting, renaming,
linking, unlinking, making folders, changing modes. The kernel stops the process at each of them (a seccomp filter with user
notification, Linux 5.5 on x86-64, no privilege needed), whoever makes the call: Python, SQLite or Arrow. So nothing of the
code under test is patched, and a sweep over all actions has no gaps.

References: seccomp_unotify(2), seccomp(2).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import platform
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

WRITES = os.O_WRONLY | os.O_RDWR
MAKES = os.O_CREAT | os.O_TRUNC

_NO_NEW_PRIVILEGES, _SET_FILTER, _NEW_LISTENER = 38, 1, 1 << 3
_SECCOMP = 317
_LOAD, _JUMP_IF_EQUAL, _JUMP_IF_ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_NUMBER_AT, _ARGUMENTS_AT = 0, 16
_ALLOW, _NOTIFY = 0x7FFF0000, 0x7FC00000
_RECEIVE, _SEND, _CONTINUE = 0xC0502100, 0xC0182101, 1
_NOTICE, _REPLY = struct.Struct("=QIIiIQ6Q"), struct.Struct("=QqiI")
_AT_CWD = 2**32 - 100
_LONGEST_PATH = 4096


@dataclass(frozen=True)
class Call:
    """A system call: its number on x86-64, and which arguments hold the descriptor, the path, the path's folder and the flags."""

    number: int
    descriptor: int | None = None
    path: int | None = None
    folder: int | None = None
    flags: int | None = None


CALLS = {
    "write": Call(1, descriptor=0),
    "pwrite64": Call(18, descriptor=0),
    "writev": Call(20, descriptor=0),
    "sendfile": Call(40, descriptor=0),
    "pwritev": Call(296, descriptor=0),
    "copy_file_range": Call(326, descriptor=2),
    "fallocate": Call(285, descriptor=0),
    "ftruncate": Call(77, descriptor=0),
    "truncate": Call(76, path=0),
    "fsync": Call(74, descriptor=0),
    "fdatasync": Call(75, descriptor=0),
    "open": Call(2, path=0, flags=1),
    "openat": Call(257, path=1, folder=0, flags=2),
    "creat": Call(85, path=0),
    "rename": Call(82, path=1),
    "renameat": Call(264, path=3, folder=2),
    "renameat2": Call(316, path=3, folder=2),
    "link": Call(86, path=1),
    "linkat": Call(265, path=3, folder=2),
    "symlink": Call(88, path=1),
    "symlinkat": Call(266, path=2, folder=1),
    "unlink": Call(87, path=0),
    "unlinkat": Call(263, path=1, folder=0),
    "mkdir": Call(83, path=0),
    "mkdirat": Call(258, path=1, folder=0),
    "rmdir": Call(84, path=0),
    "chmod": Call(90, path=0),
    "fchmod": Call(91, descriptor=0),
    "fchmodat": Call(268, path=1, folder=0),
}
_NAMES = {call.number: name for name, call in CALLS.items()}
SYNCS = frozenset({"fsync", "fdatasync"})
TAKES_NO_ROOM = frozenset({"unlink", "unlinkat", "rmdir", "chmod", "fchmod", "fchmodat", "truncate", "ftruncate"})


@dataclass(frozen=True)
class Action:
    """A durable action about to happen: the call's name, the file or folder it is about, and whether it changes anything by itself
    (opening a file that is there does not, nor does a sync: whoever looks from outside sees the same before and after)."""

    call: str
    path: str
    changes: bool

    @property
    def takes_room(self) -> bool:
        """Whether a full disk may fail it. A sync may: some file systems find room only then."""
        return (self.changes or self.call in SYNCS) and self.call not in TAKES_NO_ROOM

    @property
    def needs_leave(self) -> bool:
        """Whether a read-only medium fails it: all but a sync."""
        return self.call not in SYNCS

    @property
    def may_fail(self) -> bool:
        """Whether a failing device may fail it."""
        return True

    def __str__(self) -> str:
        return f"{self.call} {Path(self.path).name}"


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_ushort), ("true", ctypes.c_ubyte), ("false", ctypes.c_ubyte), ("k", ctypes.c_uint))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.POINTER(_Instruction)))


def listen() -> int:
    """Stop this process and its threads at every durable action from now on; the descriptor that hears of them, for the supervisor.

    Raises `OSError` where the system cannot do that.
    """
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        raise OSError(errno.ENOSYS, "faults at durable actions need Linux on x86-64")
    libc = ctypes.CDLL(None, use_errno=True)
    lines = _filter()
    program = _Program(len(lines), (_Instruction * len(lines))(*(_Instruction(*line) for line in lines)))
    libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    listener = int(libc.syscall(_SECCOMP, _SET_FILTER, _NEW_LISTENER, ctypes.byref(program)))
    if listener < 0:
        raise OSError(ctypes.get_errno(), f"seccomp: {os.strerror(ctypes.get_errno())}")
    return listener


def _filter() -> list[tuple[int, int, int, int]]:
    """The kernel's part, as instructions (code, jump if true, jump if false, operand): stop at these calls, opening only if it is for
    more than reading."""
    lines = [(_LOAD, 0, 0, _NUMBER_AT)]
    for call in CALLS.values():
        if call.flags is None:
            lines += [(_JUMP_IF_EQUAL, 0, 1, call.number), (_RETURN, 0, 0, _NOTIFY)]
        else:
            flags = (_LOAD, 0, 0, _ARGUMENTS_AT + 8 * call.flags)
            lines += [(_JUMP_IF_EQUAL, 0, 4, call.number), flags, (_JUMP_IF_ANY_BIT, 0, 1, WRITES | MAKES)]
            lines += [(_RETURN, 0, 0, _NOTIFY), (_RETURN, 0, 0, _ALLOW)]
    return [*lines, (_RETURN, 0, 0, _ALLOW)]


@dataclass(frozen=True)
class Notice:
    """A system call that waits for an answer. `action` is None if it is not about the folder that is watched, or what is below it."""

    id: int
    action: Action | None


def receive(listener: int, below: Path) -> Notice | None:
    """The next call that waits; None if there is none, since its process has come to its end."""
    notice = bytearray(_NOTICE.size)
    try:
        fcntl.ioctl(listener, _RECEIVE, notice)
    except FileNotFoundError:
        return None
    ident, process, _, number, _, _, *arguments = _NOTICE.unpack(notice)
    action = None
    with suppress(OSError):  # a descriptor that is not open, or a process killed meanwhile
        action = _action(process, _NAMES[number], arguments, below)
    return Notice(ident, action)


def let_pass(listener: int, notice: Notice) -> None:
    _reply(listener, _REPLY.pack(notice.id, 0, 0, _CONTINUE))


def fail(listener: int, notice: Notice, error: int) -> None:
    """The call is not made; the process sees `error`."""
    _reply(listener, _REPLY.pack(notice.id, 0, -error, 0))


def _reply(listener: int, reply: bytes) -> None:
    with suppress(FileNotFoundError):  # killed meanwhile
        fcntl.ioctl(listener, _SEND, bytearray(reply))


def _action(process: int, name: str, arguments: list[int], below: Path) -> Action | None:
    call = CALLS[name]
    flags = MAKES if call.flags is None else arguments[call.flags]
    path = _path(process, call, arguments)
    return Action(name, path, name not in SYNCS and bool(flags & MAKES)) if f"{path}/".startswith(f"{below}/") else None


def _path(process: int, call: Call, arguments: list[int]) -> str:
    if call.path is None:
        return _of_descriptor(process, arguments[call.descriptor or 0])
    text = _text(process, arguments[call.path])
    folder = _AT_CWD if call.folder is None else arguments[call.folder] & 0xFFFFFFFF
    start = _linked(f"/proc/{process}/cwd") if folder == _AT_CWD else _of_descriptor(process, folder)
    return os.path.normpath(f"{start}/{text}" if not text.startswith("/") else text)


def _of_descriptor(process: int, descriptor: int) -> str:
    return _linked(f"/proc/{process}/fd/{descriptor & 0xFFFFFFFF}")


def _linked(path: str) -> str:
    return os.readlink(path)  # noqa: PTH115  (what it points to may be gone, and is no path for a pipe)


def _text(process: int, address: int) -> str:
    """The text at an address of the process; read by pages, since what follows the text may not be mapped."""
    with open(f"/proc/{process}/mem", "rb", buffering=0) as memory:
        memory.seek(address)
        text = memory.read(_LONGEST_PATH - address % _LONGEST_PATH)
        if b"\0" not in text:
            text += memory.read(_LONGEST_PATH)
    return text.partition(b"\0")[0].decode("utf-8", "surrogateescape")
