"""The ledger's rules, the same in a file and on a server: grant first, once a release, never more than the capacity, all of it remembered."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest
from kernel_samples import PERSON, SpyFrame, listed, schema_of, spied

from dpsynth.errors import BadInput, BudgetExceeded
from dpsynth.privacy import GDP, ZCDP, Cost, Currency, Ledger, Request
from dpsynth.privacy.history import standing
from dpsynth.privacy.ledger import Attempt
from dpsynth.version import __version__

ONE = Request(1.0, 1e-9, False, "test")
COST = ONE.cost_in(GDP)
ATTEMPT = Attempt("policy's hash", "code's hash")

Address = Callable[[], str | Path]


@pytest.fixture(params=["file", "server"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Address:
    """New addresses, where nothing is yet."""
    if request.param == "file":
        return lambda: tmp_path / f"{len(list(tmp_path.iterdir()))}.db"
    found: Address = request.getfixturevalue("databases")
    return found


@pytest.fixture(autouse=True)
def cheap_fingerprints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dpsynth.privacy.fingerprint.COST", 2**10)


@pytest.fixture
def ledger(address: Address) -> Ledger:
    return Ledger.create(address(), "people", 3.0, 1e-6)


def again(ledger: Ledger) -> Ledger:
    """The same, opened anew."""
    return Ledger.open(ledger.store.address)


@pytest.mark.parametrize("currency", [GDP, ZCDP], ids=lambda c: c.name)
def test_a_request_equal_to_the_capacity_fits_exactly(currency: Currency, address: Address) -> None:
    for epsilon, delta in ((1.0, 1e-9), (3.0, 1e-6), (0.1, 1e-12), (99.9, 0.05), (1, 1e-5)):
        ledger = Ledger.create(address(), "people", epsilon, delta, currency)
        grant = ledger.grant(Request(epsilon, delta, True, "all"))
        assert grant.cost == ledger.capacity == ledger.spent
        assert ledger.left == Cost(currency=currency)
        with pytest.raises(BudgetExceeded):
            ledger.grant(Request(1e-3, delta, False, "more"))


def test_it_holds_twelve_releases_and_not_thirteen_and_says_what_still_fits(ledger: Ledger) -> None:
    for _ in range(12):
        assert ledger.refusal(ONE) is None
        ledger.grant(ONE)
    assert "does not fit" in str(ledger.refusal(ONE))
    with pytest.raises(BudgetExceeded, match="no row was read"):
        ledger.grant(ONE)
    last = ledger.largest_epsilon(1e-9)
    assert 0 < last < 1
    ledger.grant(Request(last, 1e-9, False, "the rest"))
    assert ledger.largest_epsilon(1e-9) < 1e-3


def test_the_currency_is_kept_for_good(address: Address) -> None:
    made = Ledger.create(address(), "people", 3.0, 1e-6, ZCDP)
    assert made.currency == again(made).currency == ZCDP
    assert made.events()[0].body["currency"] == "zcdp"
    made.grant(ONE)
    assert made.spent == ONE.cost_in(ZCDP) != COST
    last = made.largest_epsilon(1e-6)
    assert made.refusal(Request(last, 1e-6, False, "")) is None
    assert made.refusal(Request(last * (1 + 1e-6), 1e-6, False, "")) is not None


def test_a_currency_is_one_of_the_two(tmp_path: Path) -> None:
    for wrong in ("zcdp", None):
        with pytest.raises(BadInput, match="currency"):
            Ledger.create(tmp_path / "l.db", "people", 3.0, 1e-6, wrong)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_a_release_is_charged_once_and_only_with_its_own_amount(ledger: Ledger) -> None:
    first = ledger.grant(ONE, "r1")
    assert ledger.grant(ONE, "r1") == first
    assert ledger.spent == COST
    with pytest.raises(BudgetExceeded, match="another amount"):
        ledger.grant(Request(2.0, 1e-9, False, "test"), "r1")
    assert ledger.spent == again(ledger).spent == COST


def test_requests_beside_each_other_are_granted_together_or_not_at_all(ledger: Ledger) -> None:
    small = Request(0.3, 1e-9, False, "beside")
    for _ in range(2):  # charged once, as a release is
        assert ledger.grant(ONE, "r1", ATTEMPT, (small, "r1 beside")).cost == COST
        assert ledger.spent == COST + small.cost_in(GDP)
    assert [(e.body["release"], e.body["purpose"]) for e in ledger.events() if e.kind == "grant"] == [("r1", "test"), ("r1 beside", "beside")]
    with pytest.raises(BudgetExceeded, match="another amount"):
        ledger.grant(ONE, "r2", ATTEMPT, (ONE, "r1 beside"))
    while ledger.refusal(ONE) is None:
        ledger.grant(ONE)
    last = Request(ledger.largest_epsilon(1e-9), 1e-9, False, "last")
    assert ledger.refusal(last) is None and "does not fit" in str(ledger.refusal(last, small)) and "does not fit" in str(ledger.refusal(small, last))
    spent, events = ledger.spent, ledger.events()
    for pair in ((last, "a", None, (small, "b")), (small, "a", None, (last, "b"))):
        with pytest.raises(BudgetExceeded, match="no row was read"):
            ledger.grant(*pair)
    with pytest.raises(BadInput):
        ledger.grant(last, "a", None, (Request(0.0, 1e-9, False, ""), "b"))
    assert ledger.spent == spent and ledger.events() == again(ledger).events() == events


def test_two_tables_of_one_ledger_are_two_charges(ledger: Ledger) -> None:
    schema = schema_of({"a": listed("x")})
    frame = pd.DataFrame({"a": ["x"]})
    for _ in range(2):
        ledger.table(frame, schema).grant(ONE)
    assert ledger.spent == COST + COST


def test_a_delta_above_the_ledgers_is_refused(ledger: Ledger) -> None:
    with pytest.raises(BudgetExceeded, match="delta"):
        ledger.grant(Request(0.1, 2e-6, False, "x"))


@pytest.mark.parametrize(("epsilon", "delta"), [(-1.0, 1e-9), (1.0, -5.0), (float("nan"), 1e-9), (0, 1e-9), (1.0, 0.0), (True, 1e-9)])
def test_a_request_that_is_no_budget_refunds_nothing(ledger: Ledger, epsilon: float, delta: float) -> None:
    for ask in (ledger.grant, ledger.refusal):
        with pytest.raises(BadInput):
            ask(Request(epsilon, delta, True, "x"))  # type: ignore[operator]
    assert ledger.spent == Cost()


@pytest.mark.parametrize("kind", ["grant", "created", "version", "fitted"])
def test_what_the_ledger_writes_itself_is_not_recorded_by_hand(kind: str, ledger: Ledger) -> None:
    with pytest.raises(ValueError, match="by hand"):
        ledger.record(kind, {"release": "x", "amount_ticks": -(10**40), "delta_ticks": 0})


def test_another_population_is_refused(ledger: Ledger) -> None:
    schema = schema_of({"a": listed("x")}, name="others")
    with pytest.raises(BadInput, match="others"):
        ledger.table(pd.DataFrame({"a": ["x"]}), schema)
    assert ledger.spent == Cost()


def test_tables_that_share_a_population_share_its_budget_and_its_split_key(ledger: Ledger) -> None:
    visits = schema_of({"id": {"type": "id"}, "ward": listed("x")}, PERSON, title="visits")
    tests = schema_of({"id": {"type": "id"}, "result": listed("y")}, PERSON, title="laboratory tests")
    ledger.table(pd.DataFrame({"id": ["1"], "ward": ["x"]}), visits).grant(ONE)
    ledger.table(pd.DataFrame({"id": ["1"], "result": ["y"]}), tests).grant(ONE)
    assert ledger.spent == COST + COST


def judged(ledger: Ledger, *verdicts: tuple[str, str]) -> None:
    for release, verdict in verdicts:
        ledger.record("verdict", {"release": release, "verdict": verdict})


def test_three_blocked_releases_close_it_until_a_person_reopens_it(ledger: Ledger) -> None:
    judged(ledger, ("a", "FAIL"), ("b", "INCONCLUSIVE"), ("c", "PASS"), ("d", "FAIL"), ("e", "FAIL"))
    ledger.grant(ONE)
    judged(ledger, ("f", "INCONCLUSIVE"))
    with pytest.raises(BudgetExceeded, match="reopen"):
        ledger.grant(ONE)
    with pytest.raises(BadInput, match="reason"):
        ledger.reopen("  ")
    ledger.reopen("agreed with the board")
    ledger.grant(ONE)


@pytest.mark.parametrize(
    ("verdicts", "closed"),
    [
        ([("a", "INCONCLUSIVE"), ("a", "FAIL"), ("b", "FAIL")], False),
        ([("a", "INCONCLUSIVE"), ("a", "FAIL"), ("b", "FAIL"), ("c", "FAIL")], True),
        ([("a", "INCONCLUSIVE"), ("b", "FAIL"), ("a", "PASS"), ("c", "FAIL"), ("d", "FAIL")], False),
        ([("a", "INCONCLUSIVE"), ("b", "PASS"), ("a", "FAIL"), ("c", "FAIL")], False),
        ([("a", "INCONCLUSIVE"), ("b", "PASS"), ("a", "FAIL"), ("c", "FAIL"), ("d", "FAIL")], True),
    ],
)
def test_a_release_is_one_attempt_however_often_its_verdict_changes(verdicts: list[tuple[str, str]], closed: bool, tmp_path: Path) -> None:
    ledger = Ledger.create(tmp_path / "l.db", "people", 3.0, 1e-6)
    judged(ledger, *verdicts)
    assert ("closed after 3" in str(ledger.refusal(ONE))) == closed


@pytest.mark.parametrize(
    ("verdicts", "closed"),
    [
        ([("strict", "FAIL"), ("strict", "FAIL"), ("loose", "PASS"), ("strict", "FAIL")], True),
        ([("strict", "FAIL"), ("strict", "FAIL"), ("strict", "PASS"), ("strict", "FAIL")], False),
        ([("strict", "FAIL"), ("loose", "FAIL"), ("other", "INCONCLUSIVE")], True),
        ([("strict", "FAIL"), ("loose", "FAIL"), ("loose", "PASS"), ("other", "FAIL")], False),
        ([("strict", "FAIL"), ("strict", "FAIL"), ("loose", "FAIL"), ("strict", "PASS")], False),
    ],
)
def test_only_a_pass_under_their_own_policy_answers_blocked_releases(verdicts: list[tuple[str, str]], closed: bool, tmp_path: Path) -> None:
    ledger = Ledger.create(tmp_path / "l.db", "people", 3.0, 1e-6)
    for number, (policy, _) in enumerate(verdicts):
        ledger.grant(Request(0.1, 1e-9, False, ""), str(number), Attempt(policy, "code"))
    judged(ledger, *((str(number), verdict) for number, (_, verdict) in enumerate(verdicts)))
    assert ("closed after 3" in str(ledger.refusal(ONE))) == closed
    ledger.reopen("agreed with the board")
    assert ledger.refusal(ONE) is None


def test_a_grant_says_what_it_was_for(ledger: Ledger) -> None:
    ledger.grant(ONE)
    ledger.grant(Request(0.5, 1e-9, True, "mst", ()), "r1", ATTEMPT)
    ledger.grant(Request(0.5, 1e-9, True, "mst", ()), "r2", ATTEMPT)
    ledger.grant(Request(0.5, 1e-9, True, "mst", ()), "r1", ATTEMPT)
    created, direct, first, second = (e.body for e in ledger.events())
    assert created["dataset"] == "people" and created["dpsynth"] == direct["dpsynth"] == __version__
    assert (
        first | {"policy": ATTEMPT.policy, "code": ATTEMPT.code, "release": "r1", "epsilon": 0.5, "delta": 1e-9, "unit": [], "purpose": "mst"}
        == first
    )
    assert "attempt" not in direct and (first["attempt"], second["attempt"]) == (1, 2)


def test_the_first_releases_shares_are_all_others(ledger: Ledger) -> None:
    assert ledger.shares is None
    ledger.grant(ONE, "by row", ATTEMPT)
    ledger.grant(ONE, "r1", Attempt("p", "c", (0.7, 0.15, 0.15)))
    ledger.grant(ONE, "r2", Attempt("p", "c", (0.7, 0.15, 0.15)))
    spent = ledger.spent
    with pytest.raises(BadInput, match=r"splits otherwise than this ledger's first release; use one that splits \[0.7, 0.15, 0.15\]"):
        ledger.grant(ONE, "r3", Attempt("p", "c", (0.8, 0.1, 0.1)))
    assert ledger.shares == again(ledger).shares == (0.7, 0.15, 0.15) and ledger.spent == spent


def test_what_is_granted_beside_a_release_stands_and_falls_with_it(ledger: Ledger) -> None:
    def stands() -> list[str]:
        events = ledger.events()
        return [standing(events, e) for e in events if e.kind == "grant"]

    ledger.grant(ONE, "release", ATTEMPT, (ONE, "release beside"))
    assert stands() == ["open", "open"] and ledger.pending == COST + COST
    ledger.fitted("release")
    assert stands() == ["fitted", "open"] and ledger.pending == COST
    judged(ledger, ("release", "FAIL"))
    assert stands() == ["FAIL", "FAIL"] and ledger.pending == Cost()


@pytest.mark.parametrize(("first", "then"), [(("beside",), ()), ((), ("beside",)), (("beside",), ("other",))])
def test_nothing_is_added_beside_a_release_that_was_charged_nor_dropped(first: tuple[str, ...], then: tuple[str, ...], ledger: Ledger) -> None:
    """Who has seen its answers, or its verdict, could choose by them."""
    ledger.grant(ONE, "release", ATTEMPT, *((ONE, name) for name in first))
    spent = ledger.spent
    with pytest.raises(BadInput, match="beside"):
        ledger.grant(ONE, "release", ATTEMPT, *((ONE, name) for name in then))
    assert ledger.spent == spent and ledger.grant(ONE, "release", ATTEMPT, *((ONE, name) for name in first)).release == "release"


def test_each_request_has_a_name_of_its_own(ledger: Ledger) -> None:
    """Else one charge would pay for two."""
    for names in (("release",), ("beside", "beside")):
        with pytest.raises(ValueError, match="name"):
            ledger.grant(ONE, "release", ATTEMPT, *((ONE, name) for name in names))
    assert ledger.spent == Cost()


def test_an_open_grant_is_spent_and_stands_as_open_until_its_fit_has_ended(ledger: Ledger) -> None:
    def stands() -> list[str]:
        events = ledger.events()
        return [standing(events, e) for e in events if e.kind == "grant"]

    ledger.grant(ONE)
    for release in ("killed", "fitted", "judged"):
        ledger.grant(ONE, release, ATTEMPT)
    ledger.fitted("fitted")
    judged(ledger, ("judged", "INCONCLUSIVE"), ("judged", "PASS"))
    assert stands() == ["direct", "open", "fitted", "PASS"]
    assert ledger.pending == COST and ledger.spent == COST + COST + COST + COST
    ledger.fitted("killed")
    assert ledger.pending == Cost() and ledger.spent == COST + COST + COST + COST


SCHEMA = schema_of({"a": listed("x", "y")})
FRAME = pd.DataFrame({"a": ["x", "y"]})


def versions(ledger: Ledger) -> list[tuple[str, int]]:
    return [(e.body["release"], e.body["version"]) for e in ledger.events() if e.kind == "version"]


def test_each_release_says_which_version_of_the_table_it_read(ledger: Ledger) -> None:
    changed = pd.DataFrame({"a": ["x", "x"]})
    for release, frame in (("r1", FRAME), ("r1", FRAME.copy()), ("r2", FRAME), ("r3", changed), ("r1", changed), ("r4", FRAME.iloc[:0])):
        ledger.saw(release, frame, SCHEMA)
    assert versions(ledger) == [("r1", 1), ("r2", 1), ("r3", 2), ("r1", 2), ("r4", 3)]


def test_a_version_is_written_after_the_charge_and_refuses_nothing(ledger: Ledger) -> None:
    from dpsynth.privacy.attribute import Categories

    spy: SpyFrame = spied(pd.DataFrame({"a": ["\ud800", object(), None, 1e999]}))
    table, clique = ledger.table(spy, SCHEMA), [Categories(SCHEMA.column("a"), ("x", "y"))]
    with pytest.raises(BudgetExceeded):
        table.marginal(clique, 50.0)
    table.grant(ONE)
    assert not spy.seen and not versions(ledger)
    table.marginal(clique, 50.0)
    assert spy.seen
    kinds = [e.kind for e in ledger.events()]
    assert kinds == ["created", "grant", "version"] and ledger.events()[1].body["release"] == versions(ledger)[0][0]


def test_two_ledgers_have_nothing_to_compare(address: Address) -> None:
    one, two = (Ledger.create(address(), "people", 3.0, 1e-6) for _ in range(2))
    for ledger in (one, two):
        ledger.saw("r", FRAME, SCHEMA)
    assert one.events()[-1].body["fingerprint"] != two.events()[-1].body["fingerprint"]
    assert one.split_key != two.split_key


def test_secrets_are_fixed_and_in_no_event(ledger: Ledger) -> None:
    assert len(ledger.split_key) == 32
    assert again(ledger).split_key == ledger.split_key
    for name in ("split", "version"):
        assert ledger._secret(name).hex() not in repr(vars(ledger)) + repr(ledger.events())


def test_creation_never_overwrites(ledger: Ledger) -> None:
    ledger.grant(ONE)
    with pytest.raises(BadInput, match="exists already"):
        Ledger.create(ledger.store.address, "people", 3.0, 1e-6)
    assert again(ledger).spent == COST


def test_of_many_who_create_one_ledger_one_does(address: Address) -> None:
    target = address()

    def create(number: int) -> str | None:
        try:
            return Ledger.create(target, f"people {number}", 3.0, 1e-6).id
        except BadInput as error:
            assert "exists already" in str(error)
            return None

    with ThreadPoolExecutor(8) as pool:
        made = [found for found in pool.map(create, range(8)) if found]
    assert made == [Ledger.open(target).id]


def test_a_missing_ledger_is_no_empty_one(address: Address) -> None:
    target = address()
    for ask in (Ledger.open, Ledger.verify):
        with pytest.raises(BadInput, match="no such ledger; make one: dpsynth ledger create"):
            ask(target)


SMALL = Request(0.5, 1e-9, False, "hammer")
PROCESSES, THREADS, EACH = 16, 2, 8


def _hammer(address: str, done: multiprocessing.Queue) -> None:  # type: ignore[type-arg]
    ledger = Ledger.open(address)

    def ask(_: int) -> int:
        try:
            ledger.grant(SMALL)
        except BudgetExceeded:
            return 0
        return 1

    with ThreadPoolExecutor(THREADS) as pool:
        done.put(sum(pool.map(ask, range(EACH))))


def test_sixteen_processes_with_threads_race_for_what_is_left_and_never_overspend(ledger: Ledger) -> None:
    fits = ledger.capacity.amount_ticks // SMALL.cost_in(GDP).amount_ticks
    context = multiprocessing.get_context("fork")
    done = context.Queue()
    workers = [context.Process(target=_hammer, args=(ledger.store.address, done)) for _ in range(PROCESSES)]
    for worker in workers:
        worker.start()
    granted = sum(done.get(timeout=60) for _ in workers)
    for worker in workers:
        worker.join()
    assert granted == fits < PROCESSES * EACH
    assert ledger.spent.fits(ledger.capacity) and len(ledger.events()) == 1 + fits


KILLED = """
import os, signal, sys
from dpsynth.privacy import ledger as room
from dpsynth.privacy import Ledger, Request
real = room._append
def append(*arguments):
    real(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)
opened = Ledger.open(sys.argv[1])
room._append = append
opened.grant(Request(1.0, 1e-9, False, "killed"), "r")
"""


def test_a_kill_before_commit_grants_nothing_and_leaves_a_sound_ledger(ledger: Ledger) -> None:
    code = subprocess.run([sys.executable, "-c", KILLED, ledger.store.address], check=False).returncode
    assert code == -signal.SIGKILL
    assert again(ledger).spent == Cost()
    ledger.grant(ONE, "r")
    assert ledger.spent == COST


def test_a_fork_in_the_middle_of_a_transaction_shares_nothing(ledger: Ledger) -> None:
    """A child forked while its parent writes goes on its own way, with a connection of its own."""
    with ledger.store.reading() as session:
        before = list(session.rows())
        child = os.fork()
        if child == 0:
            try:
                os._exit(0 if again(ledger).spent == Cost() else 1)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert list(session.rows()) == before
    ledger.grant(ONE)


def test_a_ledger_put_in_the_place_of_an_open_one_is_not_charged(tmp_path: Path) -> None:
    ledger = Ledger.create(tmp_path / "ledger.db", "people", 3.0, 1e-6)
    other = Ledger.create(tmp_path / "other.db", "people", 9.0, 1e-6)
    os.replace(other.path, ledger.path)
    for ask in (lambda: ledger.grant(ONE), lambda: ledger.record("reopened", {}), lambda: ledger.split_key):
        with pytest.raises(BadInput, match="is another ledger by now"):
            ask()
    assert Ledger.open(ledger.path).spent == Cost()
