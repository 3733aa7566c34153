"""A second ledger for a known population is not made by mistake."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from dpsynth.cli import main
from dpsynth.errors import BadInput
from dpsynth.privacy import Ledger
from dpsynth.privacy.store import InDoubt
from dpsynth.releasing.populations import Populations

BUDGET = ("--epsilon", "3", "--delta", "1e-6")


def create(capsys: pytest.CaptureFixture[str], path: object, dataset: str, *words: str) -> dict[str, Any]:
    main(["ledger", "create", str(path), "--dataset", dataset, *BUDGET, *words, "--json"])
    return dict(json.loads(capsys.readouterr().out))


def test_a_second_ledger_is_refused_in_words_and_a_reason_lets_it_be_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = tmp_path / "a.db", tmp_path / "b.db"
    assert create(capsys, first, "people")["exit"] == 0
    refused = create(capsys, second, "people")
    assert refused["exit"] == 2 and not second.exists()
    assert refused["error"].startswith(f"people: has a ledger already: {first}; use that one") and '--another "REASON"' in refused["error"]
    assert create(capsys, second, "people", "--another", " ")["exit"] == 2 and not second.exists()
    assert create(capsys, second, "people", "--another", "a trial on made-up rows")["exit"] == 0
    assert Ledger.open(second).events()[0].body["another"] == "a trial on made-up rows"
    assert "another" not in Ledger.open(first).events()[0].body
    assert create(capsys, tmp_path / "c.db", "other people")["exit"] == 0


def test_a_lost_ledger_is_a_spent_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    create(capsys, tmp_path / "a.db", "people")
    (tmp_path / "a.db").unlink()
    assert "a lost ledger is a spent one" in create(capsys, tmp_path / "a.db", "people")["error"]


def test_a_ledger_made_for_a_reason_claims_what_nobody_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = tmp_path / "a.db"
    assert create(capsys, tmp_path / "no folder" / "a.db", "people", "--another", "a trial")["exit"] == 2
    for path in (first, tmp_path / "b.db"):
        assert create(capsys, path, "people", "--another", "a trial")["exit"] == 0
    assert create(capsys, first, "people", "--another", "a trial")["exit"] == 2, "it is there"
    refused = create(capsys, tmp_path / "c.db", "people")
    assert refused["exit"] == 2 and refused["error"].startswith(f"people: has a ledger already: {first};")


@pytest.mark.parametrize("words", [("--epsilon", "nan"), ("--currency", "rdp"), ()])
def test_a_ledger_that_was_not_made_claims_nothing(words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "no folder" / "a.db" if not words else tmp_path / "a.db"
    assert create(capsys, target, "people", *words)["exit"] == 2
    assert create(capsys, tmp_path / "a.db", "people")["exit"] == 0


def test_a_crash_before_the_ledger_was_made_refuses_too_much_not_too_little(home: Path) -> None:
    class Crash(BaseException):
        pass

    with pytest.raises(Crash), Populations(home).claimed("people", "/here"):
        raise Crash
    with pytest.raises(BadInput, match="has a ledger already: /here"), Populations(home).claimed("people", "/there"):
        pytest.fail("claimed twice")


def test_of_many_at_once_one_claims(home: Path) -> None:
    def claim(number: int) -> bool:
        try:
            with Populations(home).claimed("people", str(number)):
                return True
        except BadInput:
            return False

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(claim, range(16))) == 1


@pytest.mark.parametrize("name", ["../../people", "a/b", "\u00fc" * 300, "\ud800", "."])
def test_any_name_is_a_file_in_the_home(name: str, home: Path) -> None:
    with Populations(home).claimed(name, "/here"):
        pass
    assert [p.parent for p in home.rglob("*") if p.is_file()] == [home / "populations"]


def test_a_home_that_cannot_be_written(home: Path) -> None:
    (home / "populations").write_text("")
    with pytest.raises(BadInput, match="DPSYNTH_HOME"), Populations(home).claimed("people", "/here"):
        pytest.fail("claimed")


def test_a_claim_on_a_database_holds_no_password(database: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from psycopg.conninfo import conninfo_to_dict

    password = str(conninfo_to_dict(database)["password"])
    assert create(capsys, database, "people")["exit"] == 0
    refused = create(capsys, database, "people")
    assert refused["exit"] == 2 and "postgresql://custodian@/people_" in refused["error"]
    assert not any(password in text for text in (refused["error"], *(p.read_text() for p in home.rglob("*.json"))))


def test_a_ledger_whose_folder_could_not_be_synced_stands_and_keeps_its_claim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(folder: Path) -> None:
        raise OSError(5, "EIO")

    path = tmp_path / "people.db"
    with monkeypatch.context() as medium:
        medium.setattr("dpsynth.privacy.file_store.sync_folder", broken)
        with pytest.raises(InDoubt), Populations.default().claimed("people", str(path)):
            Ledger.create(path, "people", 3.0, 1e-6)
    assert Ledger.open(path).dataset == "people"
    with pytest.raises(BadInput, match="has a ledger already"), Populations.default().claimed("people", str(tmp_path / "second.db")):
        pass
