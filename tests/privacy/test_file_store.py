"""A ledger in a file: no edit goes unseen, no damage is read, and where it cannot be written nothing is granted."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dpsynth.cli import main
from dpsynth.errors import BadInput, VerificationFailed
from dpsynth.privacy import GDP, Cost, Ledger, Request, chain
from dpsynth.privacy.store import InDoubt

ONE = Request(1.0, 1e-9, False, "test")


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger.create(tmp_path / "ledger.db", "people", 3.0, 1e-6)


def edit(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


FREE = [f"DROP TRIGGER {table}_{change}" for table in ("event", "told", "secret") for change in ("update", "delete")]


def reworded(path: Path, **changes: object) -> None:
    """Rewrite the first event, hash and all."""
    edit(path, *FREE)
    with closing(sqlite3.connect(path)) as connection, connection:
        row = chain.Row._make(connection.execute("SELECT seq, at, kind, body, salt, previous, hash FROM event").fetchone())
        text = json.dumps(json.loads(row.text) | changes, sort_keys=True)
        rehashed = chain._hash(row.seq, row.at, row.kind, text, row.salt, row.previous)
        connection.execute("UPDATE event SET body = ?, hash = ?", (text, rehashed))


@pytest.mark.parametrize("word", ["rdp", "", None, 3, "GDP"])
def test_a_ledger_in_an_unknown_currency_is_not_sound(ledger: Ledger, word: object) -> None:
    reworded(ledger.path, currency=word)
    with pytest.raises(BadInput, match="not a ledger of this version"):
        Ledger.open(ledger.path)


OLD = """
CREATE TABLE event (seq INTEGER PRIMARY KEY, at TEXT NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL,
                    previous TEXT NOT NULL, hash TEXT NOT NULL UNIQUE);
INSERT INTO event VALUES (1, '2026-01-01', 'created', '{"format": "dpsynth-ledger/2", "currency": "gdp"}', '', 'x');
PRAGMA user_version = 1;
"""


def test_a_ledger_of_an_older_version_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(OLD)
    for ask in (Ledger.open, Ledger.verify):
        with pytest.raises(BadInput, match=r"is a ledger of another version \(dpsynth-ledger/2\); use it with the dpsynth that made it"):
            ask(path)


def test_a_ledger_of_a_newer_version_grants_nothing(ledger: Ledger) -> None:
    reworded(ledger.path, format="dpsynth-ledger/99")
    with pytest.raises(BadInput, match=r"another version \(dpsynth-ledger/99\)"):
        ledger.grant(ONE)


@pytest.mark.parametrize("said", ["x", "dpsynth-ledger/2\n", "dpsynth-ledger/" + "9" * 99, None, 3, ["dpsynth-ledger/2"]])
def test_what_is_no_format_is_not_repeated(ledger: Ledger, said: object) -> None:
    reworded(ledger.path, format=said)
    with pytest.raises(BadInput, match=r"not a sound ledger \(not a ledger of this version\)"):
        Ledger.open(ledger.path)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE event SET body = replace(body, '\"epsilon\": 1.0', '\"epsilon\": 0.1') WHERE seq = 2",
        "UPDATE event SET at = '2020' WHERE seq = 3",
        "UPDATE event SET kind = 'note' WHERE seq = 2",
        "UPDATE event SET salt = '' WHERE seq = 2",
        "UPDATE event SET previous = '' WHERE seq = 2",
        "DELETE FROM event WHERE seq = 1",
        "DELETE FROM event WHERE seq = 2",
        "DELETE FROM event WHERE seq = 3",
        "DELETE FROM event WHERE seq > 1",
        "DELETE FROM event",
        "UPDATE event SET seq = CASE seq WHEN 2 THEN 30 ELSE 2 END WHERE seq > 1",
        "INSERT INTO event SELECT seq + 3, at, kind, body, salt, previous, hash || '0' FROM event WHERE seq = 3",
        "DROP TABLE event",
    ],
)
def test_tampering_is_found(ledger: Ledger, statement: str) -> None:
    ledger.grant(ONE)
    ledger.grant(ONE)
    guarded = statement.startswith(("UPDATE", "DELETE"))
    if guarded:
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            edit(ledger.path, statement)
        Ledger.verify(ledger.path)
    edit(ledger.path, *FREE if guarded else (), statement)
    with pytest.raises(VerificationFailed):
        Ledger.verify(ledger.path)
    with pytest.raises(BadInput, match="not a sound ledger"):
        Ledger.open(ledger.path)
    with pytest.raises(BadInput):
        ledger.grant(ONE)
    with pytest.raises(BadInput):
        ledger.record("verdict", {"release": "r", "verdict": "PASS"})


@pytest.mark.parametrize("statement", ["DELETE FROM told WHERE step = 1", "UPDATE told SET digest = 'y' WHERE step = 0", "DELETE FROM told"])
def test_what_a_fitted_release_was_told_cannot_be_untold(ledger: Ledger, statement: str) -> None:
    with ledger.store.writing() as session:
        for step in range(3):
            session.tell("r", step, f"digest {step}")
    ledger.fitted("r")
    ledger.fitted("r")
    assert [e.body["steps"] for e in ledger.events() if e.kind == "fitted"] == [3]
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        edit(ledger.path, statement)
    edit(ledger.path, *FREE, statement)
    with pytest.raises(VerificationFailed, match="answers told to release r were changed or dropped"):
        Ledger.verify(ledger.path)


@pytest.mark.parametrize(
    "spoil", [lambda b: b[: len(b) // 2], lambda b: b[:100], lambda b: b"", lambda b: b"not sqlite" * 500, lambda b: bytes(len(b))]
)
def test_a_damaged_file_is_refused(ledger: Ledger, spoil: Callable[[bytes], bytes]) -> None:
    ledger.grant(ONE)
    ledger.path.write_bytes(spoil(ledger.path.read_bytes()))
    with pytest.raises(BadInput):
        Ledger.open(ledger.path)
    with pytest.raises(VerificationFailed):
        Ledger.verify(ledger.path)
    with pytest.raises(BadInput):
        ledger.grant(ONE)


def test_a_ledger_that_is_gone_is_not_made_again(ledger: Ledger) -> None:
    ledger.path.unlink()
    with pytest.raises(BadInput):
        ledger.grant(ONE)
    assert not ledger.path.exists()


def test_creation_says_what_is_wrong_and_leaves_nothing(ledger: Ledger, tmp_path: Path) -> None:
    dangling = tmp_path / "dangling.db"
    dangling.symlink_to(tmp_path / "nowhere")
    for path in (dangling, tmp_path / "no folder" / "l.db", tmp_path, ledger.path / "under a file"):
        with pytest.raises((BadInput, NotADirectoryError)) as raised:
            Ledger.create(path, "people", 3.0, 1e-6)
        assert raised.type is BadInput
    with pytest.raises(BadInput, match="name"):
        Ledger.create(tmp_path / "n.db", "", 3.0, 1e-6)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["dangling.db", "ledger.db"]


def test_nobody_else_may_read_it_at_any_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[int] = []
    link = os.link

    def noting(source: Path, target: Path) -> None:
        modes.append(source.stat().st_mode & 0o777)
        link(source, target)

    monkeypatch.setattr(os, "link", noting)
    made = Ledger.create(tmp_path / "l.db", "people", 3.0, 1e-6)
    assert [*modes, made.path.stat().st_mode & 0o777] == [0o600, 0o600]


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_no_permission_to_write_grants_nothing(ledger: Ledger) -> None:
    ledger.path.chmod(0o400)
    with pytest.raises(BadInput, match="cannot be written"):
        ledger.grant(ONE)


def test_a_full_device_grants_nothing(ledger: Ledger) -> None:
    """A limit on file size stands for the full device: the write fails in the child, and the charge is not there."""
    child = multiprocessing.get_context("fork").Process(target=_grant_without_room, args=(ledger,))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert Ledger.open(ledger.path).spent == Cost()


def _grant_without_room(ledger: Ledger) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (512, 512))
    try:
        ledger.grant(ONE)
    except BadInput:
        os._exit(0)
    os._exit(1)


def test_events_go_to_the_chain_in_the_order_of_the_file(ledger: Ledger) -> None:
    ledger.grant(ONE)
    created, grant = ledger.events()
    assert (created.seq, created.previous, grant.seq, grant.previous) == (1, "", 2, created.hash)
    assert Ledger.verify(ledger.path) == grant.hash and ledger.spent == ONE.cost_in(GDP)


@pytest.mark.parametrize(
    "statement", ["UPDATE secret SET value = zeroblob(32) WHERE name = 'split'", "DELETE FROM secret", "UPDATE secret SET value = ''"]
)
def test_an_exchanged_secret_is_found_before_it_is_used(ledger: Ledger, statement: str) -> None:
    """Under another split key a control of one release would be trained on in the next."""
    edit(ledger.path, *FREE, statement)
    with pytest.raises(BadInput, match="its secret 'split' was changed or dropped"):
        ledger.split_key  # noqa: B018


@pytest.mark.parametrize("name", ["split", "version"])
@pytest.mark.parametrize("statement", ["UPDATE secret SET value = zeroblob(32)", "DELETE FROM secret"])
def test_verify_finds_an_exchanged_secret(ledger: Ledger, statement: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ledger", "verify", str(ledger.path)]) == 0 and "secrets" not in capsys.readouterr().out
    edit(ledger.path, *FREE, f"{statement} WHERE name = '{name}'")
    with pytest.raises(VerificationFailed, match=f"its secret '{name}' was changed or dropped"):
        Ledger.verify(ledger.path)
    assert main(["ledger", "verify", str(ledger.path)]) == 6


@pytest.mark.parametrize("stands", [True, False])
def test_a_medium_that_fails_at_the_commit_leaves_it_in_doubt_and_charges_once(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, stands: bool) -> None:
    class Failing(sqlite3.Connection):
        def execute(self, statement: str, *words: Any) -> sqlite3.Cursor:
            if statement != "COMMIT":
                return super().execute(statement, *words)
            super().execute("COMMIT" if stands else "ROLLBACK")
            raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patched:
        patched.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Failing))
        with pytest.raises(InDoubt, match="may stand; go on with --resume: a release is charged once"):
            ledger.grant(ONE, "r")
    assert len(ledger.events()) == 1 + stands
    ledger.grant(ONE, "r")
    assert ledger.spent == ONE.cost_in(GDP)
