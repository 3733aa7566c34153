"""A ledger in a file of its own, by SQLite: transactions begin with the lock on the file and end synced to the medium."""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from dpsynth.durable import sync_folder, write_new
from dpsynth.errors import BadInput, Fault, VerificationFailed
from dpsynth.privacy.chain import Row
from dpsynth.privacy.store import MAY_STAND, WAIT_SECONDS, InDoubt, Session, missing, taken

_TABLES = """
CREATE TABLE event (seq INTEGER PRIMARY KEY, at TEXT NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL, salt TEXT NOT NULL,
                    previous TEXT NOT NULL, hash TEXT NOT NULL UNIQUE);
CREATE TABLE told (release TEXT NOT NULL, step INTEGER NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (release, step));
CREATE TABLE secret (name TEXT PRIMARY KEY, value BLOB NOT NULL);
""" + "\n".join(
    f"CREATE TRIGGER {table}_{change} BEFORE {change} ON {table} BEGIN SELECT RAISE(ABORT, 'a ledger is append-only'); END;"
    for table in ("event", "told", "secret")
    for change in ("update", "delete")
)


@dataclass(frozen=True)
class FileStore:
    """A ledger's file. It is made mode 0600: it holds the population's secrets."""

    path: Path

    @property
    def address(self) -> str:
        return str(self.path)

    @property
    def kept_address(self) -> str:
        return str(self.path.absolute())

    @property
    def where(self) -> str:
        return str(self.path)

    @contextmanager
    def creating(self) -> Iterator[Session]:
        if self.path.exists():
            raise taken(self.where)
        aside = self.path.with_name(f".{self.path.name}-{secrets.token_hex(8)}")
        try:
            write_new(aside, b"", 0o600)
            with closing(_connect(aside)) as connection:
                connection.executescript(_TABLES)
                with _transaction(connection):
                    yield _FileSession(connection)
                connection.execute("COMMIT")
            os.link(aside, self.path)
            self._sync_entry()
        except FileExistsError:
            raise taken(self.where) from None
        except (OSError, sqlite3.Error) as error:
            raise BadInput(Fault(self.where, f"cannot be written ({type(error).__name__})", "give a path in a writable folder")) from None
        finally:
            with suppress(OSError):
                aside.unlink()

    def _sync_entry(self) -> None:
        try:
            sync_folder(self.path.absolute().parent)
        except OSError:
            raise InDoubt(f"{self.where}: was made, and the medium failed before its folder was written; see `dpsynth ledger verify`") from None

    @contextmanager
    def reading(self) -> Iterator[Session]:
        if not self.path.is_file():
            raise missing(self.where)
        try:
            with closing(_connect(self.path)) as connection:
                connection.execute("BEGIN")
                yield _FileSession(connection)
        except (sqlite3.Error, OSError) as error:
            raise VerificationFailed(f"cannot be read: {type(error).__name__}") from None

    @contextmanager
    def writing(self) -> Iterator[Session]:
        try:
            with closing(_connect(self.path)) as connection:
                with _transaction(connection):
                    yield _FileSession(connection)
                self._commit(connection)
        except sqlite3.Error as error:
            what = f"cannot be written ({type(error).__name__})"
            raise BadInput(Fault(self.where, what, "see that it is there, writable, with room, and not held by another process")) from None

    def _commit(self, connection: sqlite3.Connection) -> None:
        """Raises `InDoubt` if the medium failed: SQLite ends the transaction, and says not whether before or after its last sync."""
        try:
            connection.execute("COMMIT")
        except sqlite3.Error:
            if connection.in_transaction:
                raise
            raise InDoubt(f"{self.where}: the medium failed at the end of a write, {MAY_STAND}") from None


@dataclass(frozen=True)
class _FileSession:
    connection: sqlite3.Connection

    def first(self) -> str:
        found = self.connection.execute("SELECT body FROM event WHERE seq = 1").fetchone()
        return str(found[0]) if found else ""

    def rows(self) -> Iterator[Row]:
        if self.connection.execute("PRAGMA integrity_check").fetchone()[0] != "ok":
            raise VerificationFailed("the file is damaged")
        return map(Row._make, self.connection.execute("SELECT seq, at, kind, body, salt, previous, hash FROM event ORDER BY seq"))

    def length(self) -> int:
        return int(self.connection.execute("PRAGMA user_version").fetchone()[0])

    def append(self, row: Row) -> None:
        self.connection.execute("INSERT INTO event (seq, at, kind, body, salt, previous, hash) VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        self.connection.execute(f"PRAGMA user_version = {row.seq}")

    def told(self, release: str, steps: range) -> Sequence[str]:
        query = "SELECT digest FROM told WHERE release = ? AND step >= ? AND step < ? ORDER BY step"
        return [str(digest) for (digest,) in self.connection.execute(query, (release, steps.start, steps.stop))]

    def tell(self, release: str, step: int, digest: str) -> None:
        self.connection.execute("INSERT INTO told (release, step, digest) VALUES (?, ?, ?)", (release, step, digest))

    def shows_secrets(self) -> bool:
        return True

    def secret(self, name: str) -> bytes:
        found = self.connection.execute("SELECT CAST(value AS BLOB) FROM secret WHERE name = ?", (name,)).fetchone()
        return bytes(found[0]) if found else b""

    def keep(self, name: str, value: bytes) -> None:
        self.connection.execute("INSERT INTO secret (name, value) VALUES (?, ?)", (name, value))


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=WAIT_SECONDS, isolation_level=None)
    connection.execute("PRAGMA synchronous = EXTRA")
    return connection


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Alone on the file from the first statement; left open, to be committed, unless something was raised."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if connection.in_transaction:  # a full device has rolled back already
            connection.execute("ROLLBACK")
        raise
