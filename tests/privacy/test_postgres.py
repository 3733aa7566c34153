"""A ledger on a PostgreSQL server, a real one: what is granted survives a crash, members cannot rewrite it, no word names a password."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from dpsynth.cli import main
from dpsynth.errors import BadInput, BudgetExceeded, VerificationFailed
from dpsynth.privacy import GDP, Cost, Ledger, Request, postgres
from dpsynth.privacy.postgres import PostgresStore
from dpsynth.privacy.store import InDoubt

if TYPE_CHECKING:
    from postgres_server import Server

ONE = Request(1.0, 1e-9, False, "test")
COST = ONE.cost_in(GDP)


@pytest.fixture
def ledger(database: str) -> Ledger:
    return Ledger.create(database, "people", 3.0, 1e-6)


def owner(address: str, *statements: str) -> None:
    """What the owner of the tables can do, each statement on its own."""
    with psycopg.connect(address, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)  # type: ignore[call-overload]


REFUSED = [
    "UPDATE dpsynth.event SET body = replace(body, '1.0', '0.1') WHERE seq = 2",
    "DELETE FROM dpsynth.event WHERE seq = 3",
    "TRUNCATE dpsynth.event",
    "DELETE FROM dpsynth.told",
    "UPDATE dpsynth.told SET digest = ''",
    "UPDATE dpsynth.secret SET value = ''",
    "DELETE FROM dpsynth.secret",
    "UPDATE dpsynth.head SET length = length - 1",
    "UPDATE dpsynth.head SET length = length",
    "DELETE FROM dpsynth.head",
    "TRUNCATE dpsynth.head",
]


@pytest.mark.parametrize("statement", REFUSED)
def test_triggers_refuse_every_change(statement: str, ledger: Ledger) -> None:
    ledger.grant(ONE)
    ledger.grant(ONE)
    with ledger.store.writing() as session:
        session.tell("r", 0, "digest")
    with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
        owner(ledger.store.address, statement)
    assert Ledger.verify(ledger.store.address) == ledger.events()[-1].hash


SET_BACK = "ALTER TABLE dpsynth.{} DISABLE TRIGGER ALL"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE dpsynth.event SET body = replace(body, '\"epsilon\": 1.0', '\"epsilon\": 0.1') WHERE seq = 2",
        "UPDATE dpsynth.event SET at = '2020' WHERE seq = 3",
        "UPDATE dpsynth.event SET salt = '' WHERE seq = 3",
        "DELETE FROM dpsynth.event WHERE seq = 1",
        "DELETE FROM dpsynth.event WHERE seq = 2",
        "DELETE FROM dpsynth.event WHERE seq = 3",
        "TRUNCATE dpsynth.event",
        "UPDATE dpsynth.event SET seq = CASE seq WHEN 2 THEN 30 ELSE 2 END WHERE seq > 1",
        "UPDATE dpsynth.head SET length = 2",
        "DELETE FROM dpsynth.head",
    ],
)
def test_tampering_with_the_triggers_off_is_found(statement: str, ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    ledger.grant(ONE)
    ledger.grant(ONE)
    address = ledger.store.address
    owner(address, *(SET_BACK.format(table) for table in ("event", "head")), statement)
    with pytest.raises(VerificationFailed):
        Ledger.verify(address)
    assert main(["ledger", "verify", address]) == 6 and "restore it from a backup" in capsys.readouterr().err
    for ask in (lambda: Ledger.open(address), lambda: ledger.grant(ONE), lambda: ledger.record("verdict", {"release": "r", "verdict": "PASS"})):
        with pytest.raises(BadInput, match="not a sound ledger"):
            ask()


def test_what_a_fitted_release_was_told_cannot_be_untold(ledger: Ledger) -> None:
    with ledger.store.writing() as session:
        session.tell("r", 0, "digest")
    ledger.fitted("r")
    owner(ledger.store.address, SET_BACK.format("told"), "DELETE FROM dpsynth.told")
    with pytest.raises(VerificationFailed, match="answers told to release r"):
        Ledger.verify(ledger.store.address)


def test_a_grant_outlives_a_crash_of_the_server(server: Server, ledger: Ledger) -> None:
    """Though the owner's commits are set not to wait for the medium: a grant's do."""
    name = psycopg.conninfo.conninfo_to_dict(ledger.store.address)["dbname"]
    owner(ledger.store.address, f"ALTER DATABASE {name} SET synchronous_commit = off")
    try:
        ledger.grant(ONE, "r")
        server.stop(signal.SIGQUIT)
        server.start()
        assert Ledger.open(ledger.store.address).spent == COST
    finally:
        owner(ledger.store.address, f"ALTER DATABASE {name} RESET synchronous_commit")


def test_grants_queue_whatever_isolation_the_database_is_set_to(ledger: Ledger) -> None:
    name = psycopg.conninfo.conninfo_to_dict(ledger.store.address)["dbname"]
    owner(ledger.store.address, f"ALTER DATABASE {name} SET default_transaction_isolation = serializable")
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda number: ledger.grant(ONE, str(number)), range(12)))
        with pytest.raises(BudgetExceeded):
            ledger.grant(ONE)
    finally:
        owner(ledger.store.address, f"ALTER DATABASE {name} RESET default_transaction_isolation")


def test_a_server_that_does_not_sync_is_refused(server: Server, database: str, databases: Callable[[], str]) -> None:
    ledger = Ledger.create(database, "people", 3.0, 1e-6)
    other = databases()
    server.set("fsync", "off")
    try:
        with pytest.raises(BadInput, match="fsync off"):
            ledger.grant(ONE)
        with pytest.raises(BadInput, match="fsync off"):
            Ledger.create(other, "people", 3.0, 1e-6)
    finally:
        server.set("fsync", "on")
    assert ledger.spent == Cost()
    ledger.grant(ONE)


HOLDS = """
import sys, time
from dpsynth.privacy import Ledger
with Ledger.open(sys.argv[1]).store.writing() as session:
    session.tell("r", 0, "half")
    print("holds", flush=True)
    time.sleep(600)
"""


def test_a_client_killed_while_it_holds_the_ledger_leaves_it_to_the_next(ledger: Ledger) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDS, ledger.store.address], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == "holds\n"
    waiting = threading.Thread(target=ledger.grant, args=(ONE, "r"))
    waiting.start()
    waiting.join(0.3)
    assert waiting.is_alive() and ledger.spent == Cost()
    holder.kill()
    holder.wait()
    waiting.join(30)
    assert ledger.spent == COST
    with ledger.store.reading() as session:
        assert session.told("r", range(10)) == []


def test_who_waits_too_long_is_told_so_and_granted_nothing(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "_ALONE", postgres._ALONE.replace("lock_timeout = '60s'", "lock_timeout = '200ms'"))
    with ledger.store.writing(), pytest.raises(BadInput, match=r"cannot be written \(LockNotAvailable\)"):
        ledger.grant(ONE)
    assert ledger.spent == Cost()


def test_a_client_that_falls_silent_does_not_hold_the_ledger_for_ever(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "_ALONE", postgres._ALONE.replace("session_timeout = '60s'", "session_timeout = '200ms'"))
    with pytest.raises((BadInput, InDoubt)), ledger.store.writing() as session:
        session.tell("r", 0, "half")
        time.sleep(0.6)
    ledger.grant(ONE)
    with ledger.store.reading() as session:
        assert session.told("r", range(10)) == []


@pytest.mark.parametrize("stands", [True, False])
def test_a_connection_lost_at_the_commit_is_in_doubt_and_charges_once(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, stands: bool) -> None:
    commit = psycopg.Connection.commit

    def lost(self: psycopg.Connection[Any]) -> None:
        if stands:
            commit(self)
        raise psycopg.OperationalError("server closed the connection; user secret host secret")

    monkeypatch.setattr(psycopg.Connection, "commit", lost)
    with pytest.raises(InDoubt, match="a release is charged once") as raised:
        ledger.grant(ONE, "r")
    assert "secret" not in str(raised.value) and raised.value.exit_code == 1
    monkeypatch.undo()
    assert ledger.spent == (COST if stands else Cost())
    ledger.grant(ONE, "r")
    assert ledger.spent == COST


MEMBER = """
GRANT USAGE ON SCHEMA dpsynth TO member;
GRANT SELECT ON ALL TABLES IN SCHEMA dpsynth TO member;
GRANT INSERT ON dpsynth.event, dpsynth.told TO member;
GRANT UPDATE (length) ON dpsynth.head TO member;
"""
AUDITOR = "GRANT USAGE ON SCHEMA dpsynth TO auditor; GRANT SELECT ON dpsynth.event, dpsynth.told, dpsynth.head TO auditor"


@pytest.fixture
def people(server: Server, ledger: Ledger) -> Callable[[str], str]:
    """Addresses of the ledger for a member of the team, an auditor and somebody else of the server."""
    name = str(psycopg.conninfo.conninfo_to_dict(ledger.store.address)["dbname"])
    for role in ("member", "auditor", "stranger"):
        server.execute("postgres", f"DROP ROLE IF EXISTS {role}", f"CREATE ROLE {role} LOGIN PASSWORD '{server.password}'")
    owner(ledger.store.address, *MEMBER.strip().split("\n"), AUDITOR)
    return lambda role: server.address(name, role)


@pytest.fixture
def databases(databases: Callable[[], str], server: Server) -> Any:
    yield databases
    server.take_back()
    for role in ("member", "auditor", "stranger"):
        server.execute("postgres", f"DROP ROLE IF EXISTS {role}")


def test_a_member_grants_and_cannot_rewrite(people: Callable[[str], str], ledger: Ledger) -> None:
    documented = (Path(postgres.__file__).read_text().partition("Members of a team need less:")[2]).split("\n\n")[1]
    assert [line.strip() for line in documented.splitlines()] == MEMBER.strip().split("\n")
    address = people("member")
    member = Ledger.open(address)
    member.grant(ONE)
    member.saw("r", __import__("pandas").DataFrame({"a": ["x"]}), _schema())
    assert member.spent == ledger.spent == COST and member.split_key == ledger.split_key
    for statement in [*REFUSED, SET_BACK.format("event"), "DROP TABLE dpsynth.event", "INSERT INTO dpsynth.secret VALUES ('x', '')"]:
        with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.RaiseException)):
            owner(address, statement)
    Ledger.verify(address)


def _schema() -> Any:
    from kernel_samples import listed, schema_of

    return schema_of({"a": listed("x")})


def test_an_auditor_checks_and_sees_no_secret(people: Callable[[str], str], ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    ledger.grant(ONE)
    address = people("auditor")
    assert Ledger.verify(address) == ledger.events()[-1].hash and Ledger.open(address).spent == COST
    owner(ledger.store.address, SET_BACK.format("secret"), "DELETE FROM dpsynth.secret WHERE name = 'version'")
    for role, code, said in (("auditor", 0, "its secrets are not this role's to read"), ("member", 6, "its secret 'version' was changed or dropped")):
        assert main(["ledger", "verify", people(role)]) == code
        captured = capsys.readouterr()
        assert said in captured.out + captured.err
    auditor = Ledger.open(address)
    for ask in (lambda: auditor.split_key, lambda: auditor.grant(ONE)):
        with pytest.raises(BadInput, match="InsufficientPrivilege"):
            ask()


def test_a_stranger_sees_nothing(people: Callable[[str], str]) -> None:
    with pytest.raises(BadInput, match="InsufficientPrivilege"):
        Ledger.open(people("stranger"))


SECRET = "hunter2secret"


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://custodian:{secret}@/people_0?host={folder}",
        "postgresql://{secret}:{secret}@/people_0?host={folder}",
        "postgresql://custodian:{secret}@127.0.0.1:1/people",
        "postgresql://custodian:{secret}@{secret}.invalid/people",
        "postgresql://custodian:{secret}@[::1]:1/people",
        "postgres://custodian@/people?host=/nowhere/{secret}&password={secret}",
        "postgresql://custodian:{secret}/x@host/people",
        "postgresql://custodian:{secret}@host/people?no_such_word={secret}",
        "postgresql://custodian:{secret}@[half/people",
        "postgresql://{secret}",
        "postgresql://",
    ],
)
@pytest.mark.parametrize("words", [["show"], ["verify"], ["create", "--dataset", "d", "--epsilon", "1", "--delta", "1e-6"]], ids=lambda w: w[0])
def test_what_goes_wrong_is_said_in_one_line_without_secrets(
    words: list[str], address: str, server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCONNECT_TIMEOUT", "2")
    for name in ("PGHOST", "PGHOSTADDR"):
        monkeypatch.setenv(name, "127.0.0.1")
    monkeypatch.setenv("PGPORT", "1")
    code = main(["ledger", words[0], address.format(secret=SECRET, folder=server.folder), *words[1:]])
    captured = capsys.readouterr()
    assert code == 2 and captured.out == "" and captured.err.count("\n") == 1
    assert SECRET not in captured.err and "Traceback" not in captured.err and str(server.folder) not in captured.err
    assert "cannot be reached" in captured.err or "is no address of a database" in captured.err


def test_an_empty_database_has_no_ledger(database: str, capsys: pytest.CaptureFixture[str]) -> None:
    for ask in (Ledger.open, Ledger.verify):
        with pytest.raises(BadInput, match="no such ledger"):
            ask(database)


def test_without_the_driver_it_says_what_to_install(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(BadInput, match=r'needs psycopg; pip install "dpsynth\[team\]"'):
        Ledger.open(database)


def test_the_driver_is_not_loaded_for_a_file(tmp_path: Path) -> None:
    code = "import sys; from dpsynth import Ledger; Ledger.create(sys.argv[1], 'd', 1.0, 1e-6); sys.exit('psycopg' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path / "l.db")], check=False).returncode == 0


@pytest.mark.parametrize(
    ("address", "kept", "where"),
    [
        ("postgresql://u:p@h/people", "postgresql://u@h/people", "postgresql://.../people"),
        ("postgres://u:p@h:5433/people", "postgres://u@h:5433/people", "postgresql://.../people"),
        ("postgresql://h/people", "postgresql://h/people", "postgresql://.../people"),
        ("postgresql:///people", "postgresql:///people", "postgresql://.../people"),
        ("postgresql://u:p@[::1]:1/people", "postgresql://u@[::1]:1/people", "postgresql://.../people"),
        ("postgresql://u:p@a,b/people", "postgresql://u@a,b/people", "postgresql://.../people"),
        (
            "postgresql://u@h/people?password=p&sslmode=verify-full&sslpassword=p&options=-c%20a%3Db",
            "postgresql://u@h/people?sslmode=verify-full&options=-c%20a%3Db",
            "postgresql://.../people",
        ),
        ("postgresql://u:p@h", "postgresql://u@h", "postgresql://..."),
    ],
)
def test_what_is_written_down_and_said_of_an_address_holds_no_password(address: str, kept: str, where: str) -> None:
    store = PostgresStore(address)
    assert repr(store) == "PostgresStore()"
    assert (store.kept_address, store.where) == (kept, where)
    assert PostgresStore(store.kept_address).kept_address == kept


@pytest.mark.parametrize(
    ("address", "mode"),
    [
        ("postgresql://db.example/people", "require"),
        ("postgresql://10.0.0.7/people", "require"),
        ("postgresql:///people?hostaddr=10.0.0.7", "require"),
        ("postgresql://a.example,b.example/people", "require"),
        ("postgresql://db.example/people?sslmode=verify-full", "verify-full"),
        ("postgresql://localhost/people?hostaddr=10.0.0.7", "require"),
        ("postgresql:///people?service=team", "require"),
        ("postgresql://localhost/people", None),
        ("postgresql:///people", None),
        ("postgresql:///people?host=/run/postgresql", None),
    ],
)
def test_to_another_machine_the_connection_is_encrypted(address: str, mode: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGHOST", "PGHOSTADDR", "PGSERVICE", "PGSSLMODE"):
        monkeypatch.delenv(name, raising=False)
    assert PostgresStore(address)._parameters().get("sslmode") == mode


def test_commands_take_an_address_where_they_take_a_path(database: str, capsys: pytest.CaptureFixture[str]) -> None:
    import json

    def run(*words: str) -> dict[str, Any]:
        main([*words, "--json"])
        captured = capsys.readouterr()
        assert "@" not in captured.out + captured.err
        return dict(json.loads(captured.out))

    made = run("ledger", "create", database, "--dataset", "people", "--epsilon", "3", "--delta", "1e-6", "--currency", "zcdp")
    assert made["exit"] == 0 and made["path"].startswith("postgresql://.../people_")
    Ledger.open(database).grant(ONE)
    shown = run("ledger", "show", database)
    assert shown["currency"] == "zcdp" and [g["stands"] for g in shown["grants"]] == ["direct"] and shown["spent"]["epsilon"] > 0
    assert run("ledger", "reopen", database, "--reason", "board")["exit"] == 0
    assert run("ledger", "verify", database)["head"] == Ledger.verify(database)
    again = run("ledger", "create", database, "--dataset", "others", "--epsilon", "3", "--delta", "1e-6")
    assert again["exit"] == 2 and "exists already" in again["error"]
    with pytest.raises(BudgetExceeded):
        Ledger.open(database).grant(Request(3.0, 1e-6, False, "x"))
