"""Durable files: what was written is on disk, whole, before its name appears."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dpsynth.errors import BadInput, Fault


def write_new(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Create the file `path`, which must not exist, and flush it to disk.

    `mode` is exact: the umask does not narrow it, so that equal bundles have equal permissions.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Flush a folder's list of names to disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def refusing(path: Path, action: str, instead: str) -> Iterator[None]:
    """Turn an operating system's error into `BadInput` that names the path and what could not be done."""
    try:
        yield
    except OSError as error:
        raise BadInput(Fault(str(path), f"cannot {action} ({error.strerror or type(error).__name__})", instead)) from None
