"""Where a ledger is kept: what any keeper of ledgers has to do, and which one serves an address.

A store is a file (`file_store.py`) or a PostgreSQL database (`postgres.py`). The rules of a ledger are written once, above it
(`ledger.py`); a store gives them transactions, in which events, told answers and secrets are read and appended, and nothing is ever
changed or removed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from dpsynth.errors import BadInput, DpsynthError, Fault
from dpsynth.privacy.chain import Row

WAIT_SECONDS = 60
SERVERS = ("postgresql://", "postgres://")
OTHER_SERVERS = re.compile(r"[\w+.-]+:/|.*\bpassword\s*=", re.IGNORECASE | re.DOTALL)
MAY_STAND = "which may stand; go on with --resume: a release is charged once"


class InDoubt(DpsynthError):
    """Connection or medium failed while a transaction was being ended: it stands or it does not. To ask again for the same release finds out,
    and charges it once."""


class Session(Protocol):
    """One transaction on a ledger's tables."""

    def first(self) -> str:
        """The body of the first event, as text; empty if there is none. To be read in ledgers of any version."""
        ...

    def rows(self) -> Iterator[Row]:
        """All events, in the order of their numbers."""
        ...

    def length(self) -> int:
        """How many events there are, as kept beside them."""
        ...

    def append(self, row: Row) -> None: ...

    def told(self, release: str, steps: range) -> Sequence[str]:
        """The digests of what was told in those steps of a release, in order; fewer where fewer were told."""
        ...

    def tell(self, release: str, step: int, digest: str) -> None: ...

    def shows_secrets(self) -> bool:
        """Whether whoever asks may read them."""
        ...

    def secret(self, name: str) -> bytes:
        """Empty if there is none."""
        ...

    def keep(self, name: str, value: bytes) -> None: ...


class Store(Protocol):
    """A keeper of one ledger.

    `address` opens it again; `where` names it in words, and `kept_address` may be written down: neither holds a password.
    """

    @property
    def address(self) -> str: ...

    @property
    def kept_address(self) -> str: ...

    @property
    def where(self) -> str: ...

    def creating(self) -> AbstractContextManager[Session]:
        """A new ledger's first transaction; it is there whole when that has ended well, else not at all. Raises `BadInput`."""
        ...

    def reading(self) -> AbstractContextManager[Session]:
        """One view of the ledger, whatever others write meanwhile.

        Raises:
            BadInput: it is not there, or cannot be reached.
            VerificationFailed: it is there and cannot be read.
        """
        ...

    def writing(self) -> AbstractContextManager[Session]:
        """A transaction alone on the ledger from its first statement; all of it is on the medium at its end, or nothing.

        Raises:
            BadInput: it cannot be written; nothing was.
            InDoubt: whether it was written is not known.
        """
        ...


def store_at(address: str | Path) -> Store:
    """The store that serves an address: a file's path, or postgresql://... Raises `BadInput` for an address that is none."""
    if is_server(address):
        from dpsynth.privacy.postgres import PostgresStore

        return PostgresStore(str(address))
    if OTHER_SERVERS.match(str(address)):  # not repeated: it may hold a password
        raise BadInput(Fault("ledger", "is an address, and none of ours", "give a file's path, or postgresql://USER@HOST/DATABASE"))
    from dpsynth.privacy.file_store import FileStore

    return FileStore(Path(address))


def is_server(address: str | Path) -> bool:
    return str(address).startswith(SERVERS)


def missing(where: str) -> BadInput:
    return BadInput(Fault(where, "no such ledger", f"make one: dpsynth ledger create {where} --dataset NAME --epsilon 3 --delta 1e-6"))


def taken(where: str) -> BadInput:
    return BadInput(Fault(where, "exists already", "open it, or give another path or database; one population has one ledger"))
