"""A copy of a ledger, an older one, or one that was cut is not spent from at a desk that has seen more of it."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Barrier

import pandas as pd
import pytest

import dpsynth
from dpsynth.cli import main
from dpsynth.errors import BadInput, BudgetExceeded, Fault
from dpsynth.privacy import Ledger, PrivateTable, Request
from dpsynth.privacy.store import InDoubt
from dpsynth.releasing.seen import Seen
from dpsynth.schema import Schema
from dpsynth.tables import FrameTable

ONE = Request(1.0, 1e-9, False, "test")
SCHEMA = {
    "name": "people",
    "privacy_unit": {"unit": "row"},
    "columns": [{"name": "a", "type": "categorical", "categories": ["x", "y"], "categories_basis": "publisher"}],
}


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger.create(tmp_path / "ledger.db", "people", 3.0, 1e-6)


def charge(ledger: Ledger) -> None:
    with Seen.default().followed(ledger):
        ledger.grant(ONE)


def copied(ledger: Ledger) -> Ledger:
    return Ledger.open(shutil.copy(ledger.path, ledger.path.with_name("copy.db")))


def cut(path: Path) -> None:
    last = Ledger.open(path).events()[-1].seq
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DROP TRIGGER event_delete")
        connection.execute(f"DELETE FROM event WHERE seq = {last}")
        connection.execute(f"PRAGMA user_version = {last - 1}")


def test_a_copy_is_not_spent_from_beside_its_original(ledger: Ledger) -> None:
    charge(ledger)
    copy = copied(ledger)
    charge(copy)
    charge(copy)
    with pytest.raises(BadInput, match="lacks events that this desk has seen in it"):
        charge(ledger)
    assert len(ledger.events()) == 2
    charge(copy)


def test_what_a_desk_has_seen_may_move_and_may_grow_elsewhere(ledger: Ledger, tmp_path: Path) -> None:
    charge(ledger)
    ledger.grant(ONE)
    shutil.move(ledger.path, tmp_path / "moved.db")
    charge(Ledger.open(tmp_path / "moved.db"))
    charge(Ledger.create(tmp_path / "another.db", "people", 3.0, 1e-6))


def test_of_two_copies_charged_at_once_one_is_refused(ledger: Ledger) -> None:
    charge(ledger)
    both, together = [ledger, copied(ledger)], Barrier(2)

    def charged(one: Ledger) -> bool:
        together.wait()
        try:
            charge(one)
        except BadInput:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(charged, both)) == [False, True]


def test_a_charge_that_is_refused_is_not_remembered(ledger: Ledger) -> None:
    with pytest.raises(BudgetExceeded), Seen.default().followed(ledger):
        ledger.grant(Request(9.0, 1e-9, False, "too much"))
    assert not list(Seen.default().home.rglob("*.json"))


def test_a_desk_that_cannot_remember_charges_nothing(ledger: Ledger, home: Path) -> None:
    (home / "ledgers").write_text("")
    with pytest.raises(BadInput, match="DPSYNTH_HOME"):
        charge(ledger)
    assert len(ledger.events()) == 1


@pytest.mark.parametrize("damage", [cut, lambda p: shutil.copy(p.with_name("older.db"), p)], ids=["cut", "older copy"])
def test_every_command_that_spends_refuses_and_verify_finds_it(
    damage: Callable[[Path], object], ledger: Ledger, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = ledger.path, tmp_path / "out"
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    pd.DataFrame({"a": ["x", "y"] * 30}).to_csv(tmp_path / "people.csv", index=False)
    table = [str(tmp_path / "people.csv"), "--schema", str(tmp_path / "schema.json"), "--ledger", str(path), "--epsilon", "0.1"]
    shutil.copy(path, tmp_path / "older.db")
    charge(ledger)
    assert main(["ledger", "verify", str(path)]) == 0
    damage(path)
    capsys.readouterr()
    before = path.read_bytes()
    release = ["release", *table, "--delta", "1e-9", "--out", str(out)]
    for words in (["profile", *table], release, [*release, "--dry-run"], ["ledger", "reopen", str(path), "--reason", "x"]):
        assert main(words) == 2
        assert "lacks events that this desk has seen in it" in capsys.readouterr().err
    assert main(["ledger", "verify", str(path)]) == 6
    assert path.read_bytes() == before and not out.exists()


def test_a_ledger_that_cannot_be_read_after_its_charge_leaves_the_release_in_doubt_not_undone(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(self: Ledger) -> None:
        raise BadInput(Fault(self.where, "cannot be reached", "see that the server runs"))

    with monkeypatch.context() as broken, pytest.raises(InDoubt, match="which may stand"), Seen.default().followed(ledger):
        ledger.grant(ONE)
        broken.setattr(Ledger, "events", unreachable)
    assert ledger.spent == ONE.cost_in(ledger.currency)


FRAME = pd.DataFrame({"a": ["x", "y"] * 30})


class Stop(BaseException):
    """A release is killed."""


def begun(ledger: Ledger, out: Path, monkeypatch: pytest.MonkeyPatch, killed_at: str = "") -> None:
    """A release that was killed when it had been told one answer, or at the step `killed_at`; a backup was made after its charge."""

    def progress(step: str) -> None:
        if step == killed_at:
            raise Stop
        if step == "fit" and "://" not in ledger.where:
            shutil.copy(ledger.path, ledger.path.with_name("older.db"))

    def one(table: PrivateTable, *question: object) -> None:
        real(table, *question)  # type: ignore[arg-type]
        raise Stop

    real = PrivateTable.marginal
    with monkeypatch.context() as patched, pytest.raises(Stop):
        patched.setattr("dpsynth.privacy.fingerprint.COST", 2**10)
        if not killed_at:
            patched.setattr(PrivateTable, "marginal", one)
        dpsynth.release(FRAME, Schema.from_dict(SCHEMA), ledger, epsilon=0.1, delta=1e-9, out=out, generator="independent", progress=progress)
    (out / "custodian" / "answers.jsonl").unlink()


def edited(*statements: str) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            for trigger in ("event_delete", "told_delete", "told_update"):
                connection.execute(f"DROP TRIGGER {trigger}")
            for statement in statements:
                connection.execute(statement)

    return edit


def restored(path: Path) -> None:
    shutil.copy(path.with_name("older.db"), path)


def is_not_answered_anew(ledger: Ledger, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unread(table: FrameTable) -> pd.DataFrame:
        raise AssertionError("rows were read")

    with monkeypatch.context() as patched:
        patched.setattr(FrameTable, "rows", unread)
        with pytest.raises(BadInput, match=r"lacks (events|answers) that"):
            dpsynth.resume(out, FRAME)
    assert main(["ledger", "verify", str(ledger.store.address)]) == 6


@pytest.mark.parametrize(
    "damage",
    [edited("DELETE FROM told"), edited("UPDATE told SET digest = 'x'"), edited("UPDATE told SET step = step + 1"), restored],
    ids=["told dropped", "told edited", "told moved", "backup"],
)
def test_a_release_under_way_is_not_told_anew_from_a_ledger_set_back(
    damage: Callable[[Path], object], ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though its journal is lost too, so that nothing else knows of the answer."""
    begun(ledger, tmp_path / "out", monkeypatch)
    assert main(["ledger", "verify", str(ledger.path)]) == 0
    damage(ledger.path)
    is_not_answered_anew(ledger, tmp_path / "out", monkeypatch)


CUT = [
    "DELETE FROM event WHERE kind = 'fitted'",
    "DELETE FROM told",
    "PRAGMA user_version = 3",
]


@pytest.mark.parametrize("damage", [edited(*CUT), restored], ids=["end of the fit dropped", "backup"])
def test_a_release_whose_fit_has_ended_is_not_told_anew_either(
    damage: Callable[[Path], object], ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(ledger, tmp_path / "out", monkeypatch, killed_at="sample")
    (tmp_path / "out" / "custodian" / "model.npz").unlink()
    damage(ledger.path)
    is_not_answered_anew(ledger, tmp_path / "out", monkeypatch)


def test_nor_from_a_database_whose_owner_dropped_what_was_told(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import psycopg

    ledger = Ledger.create(database, "people", 3.0, 1e-6)
    begun(ledger, tmp_path / "out", monkeypatch)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("ALTER TABLE dpsynth.told DISABLE TRIGGER ALL")
        connection.execute("DELETE FROM dpsynth.told")
    monkeypatch.setenv("PGPASSWORD", str(psycopg.conninfo.conninfo_to_dict(database)["password"]))
    is_not_answered_anew(ledger, tmp_path / "out", monkeypatch)


def test_what_was_told_is_remembered_until_an_event_holds_it(ledger: Ledger, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def told() -> list[int]:
        return [steps for steps, _ in json.loads((home / "ledgers" / f"{ledger.id}.json").read_text())["told"].values()]

    begun(ledger, tmp_path / "killed", monkeypatch)
    charge(ledger)
    assert told() == [1]
    begun(ledger, tmp_path / "ended", monkeypatch, killed_at="sample")
    memory = Seen.default().memory(ledger)
    assert memory is not None and memory.head == ledger.events()[-1].hash
    assert told() == [1] and [e.body["steps"] for e in ledger.events() if e.kind == "fitted"] == [1]


def test_a_memory_from_before_told_steps_were_kept_is_read(ledger: Ledger, home: Path) -> None:
    charge(ledger)
    entry = home / "ledgers" / f"{ledger.id}.json"
    entry.write_text(json.dumps({"ledger": "somewhere", "head": ledger.events()[-1].hash}))
    charge(ledger)
    assert json.loads(entry.read_text())["told"] == {}


def test_verify_says_whether_this_desk_remembers_anything(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    for words in ("this desk remembers nothing of it", "it holds all that this desk remembers of it"):
        assert main(["ledger", "verify", str(ledger.path)]) == 0
        assert words in capsys.readouterr().out
        charge(ledger)


@pytest.mark.parametrize("content", ["", "[]", "{}", "{", '{"head": "x", "told": []}', '{"head": "x", "told": {"r": 1}}'])
def test_a_damaged_memory_is_refused_in_words(content: str, ledger: Ledger, home: Path) -> None:
    charge(ledger)
    (home / "ledgers" / f"{ledger.id}.json").write_text(content)
    with pytest.raises(BadInput, match="is damaged"):
        charge(ledger)
