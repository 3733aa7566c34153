"""Events that nobody changed and that are not true: whoever may append to a ledger can spend from it, and refunds nothing."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from dpsynth.cli import main
from dpsynth.errors import BadInput, BudgetExceeded, VerificationFailed
from dpsynth.privacy import GDP, ZCDP, Currency, Ledger, Request
from dpsynth.privacy.chain import link

ONE = Request(1.0, 1e-9, False, "test")
WORTH = ONE.cost_in(GDP).amount_ticks
HONEST: dict[str, Any] = {"release": "forged", "unit": [], "epsilon": 1.0, "delta": 1e-9, "purpose": "", "amount_ticks": WORTH, "delta_ticks": 0}


def forged(ledger: Ledger, **changes: Any) -> None:
    """A grant put into the chain by hand, by who knows how to link it."""
    with ledger.store.writing() as session:
        session.append(link(ledger._sound(session), "grant", HONEST | changes))


def refuses(ledger: Ledger, words: str) -> None:
    with pytest.raises(VerificationFailed, match=words):
        Ledger.verify(ledger.store.address)
    for ask in (lambda: Ledger.open(ledger.store.address), lambda: ledger.grant(ONE)):
        with pytest.raises(BadInput, match=rf"not a sound ledger \(.*{words}.*\); restore it from a backup"):
            ask()


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger.create(tmp_path / "ledger.db", "people", 3.0, 1e-6)


@pytest.mark.parametrize(
    "changes",
    [
        {"amount_ticks": -12 * WORTH},
        {"amount_ticks": 0},
        {"amount_ticks": -1},
        {"amount_ticks": WORTH // 2},
        {"amount_ticks": WORTH - WORTH // 10**5},
        {"amount_ticks": 2 * WORTH},
        {"amount_ticks": float(WORTH)},
        {"amount_ticks": str(WORTH)},
        {"amount_ticks": None},
        {"delta_ticks": -(10**20)},
        {"delta_ticks": 1},
        {"delta_ticks": False},
        {"epsilon": 0.5},
        {"epsilon": -1.0},
        {"epsilon": float("nan")},
        {"epsilon": "1.0"},
        {"delta": 1e-12},
        {"delta": None},
        {"release": ["forged"]},
    ],
    ids=str,
)
def test_a_grant_is_worth_its_own_epsilon_and_delta(changes: dict[str, Any], ledger: Ledger) -> None:
    ledger.grant(ONE)
    forged(ledger, **changes)
    refuses(ledger, "event 3 does not charge what its epsilon and delta are worth")


@pytest.mark.parametrize("word", ["amount_ticks", "delta_ticks", "epsilon", "delta", "release"])
def test_a_grant_that_says_less_is_none(word: str, ledger: Ledger) -> None:
    with ledger.store.writing() as session:
        session.append(link(ledger._sound(session), "grant", {k: v for k, v in HONEST.items() if k != word}))
    refuses(ledger, "event 2 does not charge")


def test_a_release_is_charged_once(ledger: Ledger) -> None:
    ledger.grant(ONE, "forged")
    forged(ledger)
    refuses(ledger, "event 3 charges a release that was charged before")


def test_grants_that_do_not_fit_the_capacity_are_no_ledger(ledger: Ledger) -> None:
    while ledger.refusal(ONE) is None:
        ledger.grant(ONE)
    forged(ledger)
    refuses(ledger, "it is overspent")


@pytest.mark.parametrize("currency", [GDP, ZCDP], ids=lambda c: c.name)
def test_what_differs_in_the_last_digits_is_from_another_machine(currency: Currency, tmp_path: Path) -> None:
    """Of a grant, and of a capacity that it fills."""
    ledger = Ledger.create(tmp_path / "ledger.db", "people", 1.0, 1e-9, currency)
    worth = Request(1.0, 1e-9, True, "").cost_in(currency)
    assert worth == ledger.capacity
    forged(ledger, amount_ticks=worth.amount_ticks + worth.amount_ticks // 10**9, delta_ticks=worth.delta_ticks)
    assert ledger.spent.amount_ticks > ledger.capacity.amount_ticks and Ledger.verify(ledger.path)
    with pytest.raises(BudgetExceeded):
        ledger.grant(Request(1e-3, 1e-12, False, ""))


def test_a_grant_with_other_digits_buys_nothing(ledger: Ledger) -> None:
    forged(ledger, amount_ticks=WORTH - WORTH // 10**9)
    with pytest.raises(BudgetExceeded, match="was granted another amount"):
        ledger.grant(ONE, "forged")


def test_who_may_append_can_spend(ledger: Ledger) -> None:
    forged(ledger, epsilon=1)
    assert ledger.spent == ONE.cost_in(GDP) and Ledger.verify(ledger.path)


def test_of_a_team_a_member_refunds_nothing(member: str, ledger_of_a_team: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(12):
        ledger_of_a_team.grant(ONE)
    held = Ledger.open(member)
    forged(held, amount_ticks=-held.capacity.amount_ticks)
    refuses(held, "event 14 does not charge")
    refuses(ledger_of_a_team, "event 14 does not charge")
    assert main(["ledger", "verify", member]) == 6 and "restore it from a backup" in capsys.readouterr().err


@pytest.fixture
def ledger_of_a_team(database: str) -> Ledger:
    return Ledger.create(database, "people", 3.0, 1e-6)


@pytest.fixture
def member(server: Any, ledger_of_a_team: Ledger) -> Any:
    """The ledger's address for a role that has what `postgres.py` says that members need."""
    import psycopg

    from dpsynth.privacy import postgres

    name = str(psycopg.conninfo.conninfo_to_dict(ledger_of_a_team.store.address)["dbname"])
    needs = (Path(postgres.__file__).read_text().partition("Members of a team need less:")[2]).split("\n\n")[1].strip().split("\n")
    server.execute("postgres", "DROP ROLE IF EXISTS member", f"CREATE ROLE member LOGIN PASSWORD '{server.password}'")
    server.execute(name, *(line.strip() for line in needs))
    yield server.address(name, "member")
    server.take_back()
    server.execute("postgres", "DROP ROLE member")


def test_a_ledger_of_an_earlier_version_is_read_checked_and_charged(tmp_path: Path) -> None:
    """Made before grants were counted anew and before ends of fits and verdicts held their code."""
    path = tmp_path / "ledger.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(Path(__file__).with_name("earlier_ledger.sql").read_text())
    ledger = Ledger.open(path)
    kinds = [e.kind for e in ledger.events()]
    assert kinds == ["created", *["grant"] * 3, "version", "fitted", *["verdict"] * 3, "reopened"]
    assert Ledger.verify(path) == ledger.events()[-1].hash
    before = ledger.spent
    ledger.grant(ONE)
    assert ledger.spent == before + ONE.cost_in(GDP) and ledger.spent.fits(ledger.capacity)
