"""A ledger in a PostgreSQL database, for a team: one ledger a database, in its schema `dpsynth`.

Statement. A writing transaction locks the one row of `dpsynth.head` before it looks at anything, so grants of all clients of the
server are checked and written one after another; it commits with synchronous_commit on, so what was granted is on the server's
medium before a row of people is read. A client that dies, or is cut off, leaves nothing behind but a rollback, after `WAIT_SECONDS` at
the latest. Triggers refuse every change and removal, and let the head's length grow by one only.

Roles. The role that creates the ledger owns it, and may drop the triggers. Members of a team need less:

    GRANT USAGE ON SCHEMA dpsynth TO member;
    GRANT SELECT ON ALL TABLES IN SCHEMA dpsynth TO member;
    GRANT INSERT ON dpsynth.event, dpsynth.told TO member;
    GRANT UPDATE (length) ON dpsynth.head TO member;

What a member can append is not thereby true. A grant is counted anew whenever the ledger is read (`history.py`), so nobody refunds it, and
who appends one that charges something else than its epsilon and delta, or any event that does not fit the chain, leaves a ledger that
is refused from then on: to be undone by its owner, from a backup. What the ledger can not tell from its own writing is a re-opening, a
verdict, a version, the end of a fit, a charge that nobody used, or a step marked as told: a member may write these, and so reopen a ledger that was
closed, or keep a release from going on. They stay in the chain; who wrote them the server's own log knows (log_statement = mod), the ledger
does not.

An auditor needs SELECT on `dpsynth.event`, `dpsynth.told` and `dpsynth.head` only; the secrets (`dpsynth.secret`) stay with who releases.

An address is libpq's, so the password is best left to ~/.pgpass or PGPASSWORD. To another machine the connection is encrypted, whatever
the server would settle for; for proof of who it is, write ?sslmode=verify-full into the address.

Reference: PostgreSQL's manual, 13.3 (explicit locking), 20.5 (write-ahead log), 34.1 (connection strings).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlencode

from dpsynth.errors import BadInput, Fault
from dpsynth.privacy.chain import Row
from dpsynth.privacy.store import MAY_STAND, WAIT_SECONDS, InDoubt, Session, missing, taken

if TYPE_CHECKING:
    import psycopg

SECONDS_TO_CONNECT = 10
SECRET_WORDS = ("password", "sslpassword")
HERE = ("", "localhost", "127.0.0.1", "::1")
WRITE_IT = "write postgresql://USER@HOST/DATABASE, the password in ~/.pgpass or PGPASSWORD"
LOOK = "see that the server runs, and that this role may do it and is not kept waiting by another"
USUAL = re.compile(r"postgres(?:ql)?://(?:[^/@]*@)?(?:\[[0-9a-f:]+\]|[^/@:\[\]]*)(?::\d*)?/([\w.-]+)(?:\?.*)?")

_TABLES = """
CREATE SCHEMA dpsynth;
CREATE TABLE dpsynth.event (seq bigint PRIMARY KEY, at text NOT NULL, kind text NOT NULL, body text NOT NULL, salt text NOT NULL,
                            previous text NOT NULL, hash text NOT NULL UNIQUE);
CREATE TABLE dpsynth.told (release text NOT NULL, step bigint NOT NULL, digest text NOT NULL, PRIMARY KEY (release, step));
CREATE TABLE dpsynth.secret (name text PRIMARY KEY, value bytea NOT NULL);
CREATE TABLE dpsynth.head (one boolean PRIMARY KEY DEFAULT true CHECK (one), length bigint NOT NULL);
INSERT INTO dpsynth.head (length) VALUES (0);
CREATE FUNCTION dpsynth.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'a ledger is append-only'; END $$;
CREATE TRIGGER grows BEFORE UPDATE ON dpsynth.head FOR EACH ROW WHEN (NEW.length <> OLD.length + 1) EXECUTE FUNCTION dpsynth.refuse();
CREATE TRIGGER kept BEFORE INSERT OR DELETE OR TRUNCATE ON dpsynth.head FOR EACH STATEMENT EXECUTE FUNCTION dpsynth.refuse();
""" + "\n".join(
    f"CREATE TRIGGER kept BEFORE UPDATE OR DELETE OR TRUNCATE ON dpsynth.{table} FOR EACH STATEMENT EXECUTE FUNCTION dpsynth.refuse();"
    for table in ("event", "told", "secret")
)
_ALONE = f"""
SET TRANSACTION ISOLATION LEVEL READ COMMITTED READ WRITE;
SET LOCAL synchronous_commit = on;
SET LOCAL lock_timeout = '{WAIT_SECONDS}s';
SET LOCAL idle_in_transaction_session_timeout = '{WAIT_SECONDS}s';
SELECT length FROM dpsynth.head FOR UPDATE
"""
_VIEW = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"


@dataclass(frozen=True)
class PostgresStore:
    """A database on a server. Each transaction has a connection of its own, so forks and threads share none."""

    address: str = field(repr=False)

    @property
    def kept_address(self) -> str:
        start, mark, query = self.address.partition("?")
        words = [(k, v) for k, v in parse_qsl(query) if k not in SECRET_WORDS]
        return re.sub("(://[^/@:]*):[^/@]*@", r"\1@", start) + (mark + urlencode(words, quote_via=quote) if words else "")

    @property
    def where(self) -> str:
        """The database's name; not who connects to which machine. An address of another shape may hold a password anywhere."""
        usual = USUAL.fullmatch(self.address)
        return f"postgresql://.../{usual[1]}" if usual else "postgresql://..."

    @contextmanager
    def creating(self) -> Iterator[Session]:
        with closing(self._connected()) as connection, self._refusing("cannot be written"):
            _require_durable(connection, self.where)
            connection.execute("SET LOCAL synchronous_commit = on")
            self._make_tables(connection)
            yield _PostgresSession(connection)
            self._commit(connection)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        with closing(self._connected()) as connection, self._refusing("cannot be read"):
            connection.execute(_VIEW)
            yield _PostgresSession(connection)

    @contextmanager
    def writing(self) -> Iterator[Session]:
        with closing(self._connected()) as connection, self._refusing("cannot be written"):
            connection.execute(_ALONE)
            _require_durable(connection, self.where)
            yield _PostgresSession(connection)
            self._commit(connection)

    def _connected(self) -> psycopg.Connection[Any]:
        """Raises `BadInput` that holds none of the driver's words: they name users and machines."""
        parameters = self._parameters()
        import psycopg

        try:
            return psycopg.connect(**parameters)
        except psycopg.Error:
            instead = "see that the server runs, that the database and the user are there, and that ~/.pgpass or PGPASSWORD has the password"
            raise BadInput(Fault(self.where, "cannot be reached", instead)) from None

    def _parameters(self) -> dict[str, Any]:
        try:
            from psycopg import ProgrammingError
            from psycopg.conninfo import conninfo_to_dict
        except ImportError:
            raise BadInput(Fault(self.where, "needs psycopg", 'pip install "dpsynth[team]"')) from None
        try:
            found = conninfo_to_dict(self.address)
        except ProgrammingError:
            raise BadInput(Fault(self.where, "is no address of a database", WRITE_IT)) from None
        said = [str(found.get(word) or os.environ.get(f"PG{word.upper()}", "")) for word in ("host", "hostaddr")]
        elsewhere = found.get("service") or "PGSERVICE" in os.environ or not all(h in HERE or h.startswith("/") for h in said)
        encrypted = {"sslmode": "require"} if elsewhere and "PGSSLMODE" not in os.environ else {}
        return {"connect_timeout": SECONDS_TO_CONNECT, "application_name": "dpsynth"} | encrypted | found

    @contextmanager
    def _refusing(self, what: str) -> Iterator[None]:
        """Turns what the server refuses into words of ours."""
        import psycopg
        from psycopg import errors

        try:
            yield
        except (errors.UndefinedTable, errors.InvalidSchemaName):
            raise missing(self.where) from None
        except psycopg.Error as error:
            raise BadInput(Fault(self.where, f"{what} ({type(error).__name__})", LOOK)) from None

    def _make_tables(self, connection: psycopg.Connection[Any]) -> None:
        from psycopg import errors

        try:
            connection.execute(_TABLES)
        except (errors.DuplicateSchema, errors.UniqueViolation):
            raise taken(self.where) from None

    def _commit(self, connection: psycopg.Connection[Any]) -> None:
        """Raises `InDoubt` if the connection broke before the server's answer."""
        import psycopg

        try:
            connection.commit()
        except psycopg.OperationalError:
            raise InDoubt(f"{self.where}: the connection broke at the end of a write, {MAY_STAND}") from None


@dataclass(frozen=True)
class _PostgresSession:
    connection: psycopg.Connection[Any]

    def first(self) -> str:
        found = self.connection.execute("SELECT body FROM dpsynth.event WHERE seq = 1").fetchone()
        return str(found[0]) if found else ""

    def rows(self) -> Iterator[Row]:
        return map(Row._make, self.connection.execute("SELECT seq, at, kind, body, salt, previous, hash FROM dpsynth.event ORDER BY seq"))

    def length(self) -> int:
        found = self.connection.execute("SELECT length FROM dpsynth.head").fetchone()
        return int(found[0]) if found else -1

    def append(self, row: Row) -> None:
        added = "INSERT INTO dpsynth.event (seq, at, kind, body, salt, previous, hash) VALUES (%s, %s, %s, %s, %s, %s, %s)"
        self.connection.execute(added, row)
        self.connection.execute("UPDATE dpsynth.head SET length = %s", (row.seq,))

    def told(self, release: str, steps: range) -> Sequence[str]:
        query = "SELECT digest FROM dpsynth.told WHERE release = %s AND step >= %s AND step < %s ORDER BY step"
        return [str(digest) for (digest,) in self.connection.execute(query, (release, steps.start, steps.stop))]

    def tell(self, release: str, step: int, digest: str) -> None:
        self.connection.execute("INSERT INTO dpsynth.told (release, step, digest) VALUES (%s, %s, %s)", (release, step, digest))

    def shows_secrets(self) -> bool:
        return self.connection.execute("SELECT has_table_privilege('dpsynth.secret', 'SELECT')").fetchone() == (True,)

    def secret(self, name: str) -> bytes:
        found = self.connection.execute("SELECT value FROM dpsynth.secret WHERE name = %s", (name,)).fetchone()
        return bytes(found[0]) if found else b""

    def keep(self, name: str, value: bytes) -> None:
        self.connection.execute("INSERT INTO dpsynth.secret (name, value) VALUES (%s, %s)", (name, value))


def _require_durable(connection: psycopg.Connection[Any], where: str) -> None:
    """Raises `BadInput` if a power cut could take back what the server said it had kept."""
    found = connection.execute("SELECT current_setting('fsync')").fetchone()
    if found != ("on",):
        raise BadInput(Fault(where, "its server runs with fsync off, so a charge could be lost", "set fsync = on in postgresql.conf"))
