"""The ledger: all that may be spent through it on one population, on the medium, charged before rows are touched.

Statement. The sum of all grants never exceeds the capacity fixed at creation, whatever the processes and machines do that share the
ledger: a grant is checked and written in one transaction, alone on the ledger and on the medium before it returns (`file_store.py`,
`postgres.py`), and nothing refunds it. A grant counts from then on, whether its release was finished, blocked, killed or never begun.

History. Everything that happens is an event in a chain (`chain.py`, which says what it finds and what it does not):

    created     the population, its budget and currency, a hash of each secret; why, if it was made although the population had a ledger
    grant       what was charged: release, unit, budget, ticks, code version; of a release also its attempt, policy, shares, audited code
    version     which version of the table a release read, by a keyed fingerprint; written after the charge, refuses nothing
    fitted      a release was told its last answer, and a digest of all; the code that it ended under, which may be another where it was resumed
    verdict     the gate's, and the code that gave it; an attempt is a release, however often its verdict changed as evidence came in
    reopened    a person let releases go on after three blocked ones, and why

An event that is in the chain was not changed; that it is true, the chain does not say. Grants are therefore counted anew whenever a
ledger is read (`history.py`): who may append to it can spend, and can not refund.

Closing. After three blocked releases without a PASS under their own policy no further one is charged until a person reopens the ledger. It is
a brake on trying until something passes, no guarantee: those charged before it closed go on to their verdicts, when resumed too.

Population. A ledger serves every table whose schema has its name: tables that share people share a population, hence a `name`, a ledger
and a split key, and differ in `title`. A person's charges then add up over all of them, and a control of one is a control in
all. Their unit must be the same columns. What no program can see is that two names stand for the same people: that is for the custodian
to know.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dpsynth.errors import BadInput, BudgetExceeded, Fault, VerificationFailed
from dpsynth.privacy import history
from dpsynth.privacy.answers import Answers
from dpsynth.privacy.chain import FORMAT, Event, checked, event_of, format_of, link
from dpsynth.privacy.cost import EVENT_SHARE, Cost, Request, require_budget
from dpsynth.privacy.currency import CURRENCIES, GDP, Currency
from dpsynth.privacy.fingerprint import fingerprint
from dpsynth.privacy.store import Session, Store, is_server, store_at
from dpsynth.privacy.unit import new_key
from dpsynth.schema.schema import Schema
from dpsynth.version import __version__

if TYPE_CHECKING:
    import pandas as pd

    from dpsynth.privacy.table import PrivateTable

BLOCKED_IN_A_ROW = 3
ITS_OWN = ("created", "grant", "version", "fitted")
EVERY_STEP = range(2**62)
SECRETS = ("split", "version")


@dataclass(frozen=True)
class Attempt:
    """What a release goes out with, beside its budget: the SHA-256 of its policy's text and of the code that audits vouch for, and the
    shares of its split (train, control, reference), None where the unit is the row."""

    policy: str
    code: str
    shares: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Grant:
    """A durable charge: `cost` was taken from the ledger for `release` and is gone."""

    release: str
    cost: Cost
    body: dict[str, Any]


class Ledger:
    """A population's budget of (epsilon, delta), counted in one currency, kept in a file or in a team's database.

    Open one with `Ledger.open` or `Ledger.create`; `where` names it in words.
    """

    def __init__(self, store: Store, head: dict[str, Any]):
        self.store = store
        self.where = store.where
        self.id: str = head["id"]
        self.dataset: str = head["dataset"]
        self.epsilon: float = head["epsilon"]
        self.delta: float = head["delta"]
        self.currency = CURRENCIES[head["currency"]]
        self.capacity = Cost.promised(self.currency, self.epsilon, self.delta)

    @classmethod
    def create(cls, path: str | Path, dataset: str, epsilon: float, delta: float, currency: Currency = GDP, another: str = "") -> Ledger:
        """Make a new ledger in a file, or in the database at a PostgreSQL address; its currency is fixed with it.

        `another` says why, if the population may have a ledger already: that is for the caller to know (`dpsynth ledger create` does).
        Raises `BadInput` if there is one already, it cannot be written, or the budget is no budget.
        """
        require_budget(epsilon, delta)
        if currency not in CURRENCIES.values():
            raise BadInput(Fault("currency", "is none", "pass dpsynth.privacy.GDP or dpsynth.privacy.ZCDP"))
        if not dataset:
            raise BadInput(Fault("dataset", "no name", "name the population, as the schema does"))
        head = {"format": FORMAT, "id": str(uuid.uuid4()), "dataset": dataset, "currency": currency.name, "epsilon": epsilon, "delta": delta}
        store, secrets = store_at(path), {name: new_key() for name in SECRETS}
        said = {"dpsynth": __version__, "secrets": {name: _mark(value) for name, value in secrets.items()}}
        with store.creating() as session:
            for name, value in secrets.items():
                session.keep(name, value)
            _append(session, [], "created", head | said | ({"another": another} if another else {}))
        return cls(store, head)

    @classmethod
    def open(cls, path: str | Path) -> Ledger:
        """Open a ledger and check its whole chain. Raises `BadInput` if it is missing, out of reach or not a sound ledger."""
        store = store_at(path)
        try:
            return cls(store, _read(store)[0].body)
        except VerificationFailed as error:
            raise _unsound(store, error) from None

    @staticmethod
    def verify(path: str | Path) -> str:
        """Check store, chain, grants and, where this role may read them, secrets; the hash of the last event.

        Raises:
            BadInput: it is missing or out of reach, or a ledger of another version.
            VerificationFailed: saying which event is wrong, or which secret.
        """
        store = store_at(path)
        with store.reading() as session:
            events = _history(store, session)
            for name in SECRETS if session.shows_secrets() else ():
                _secret(session, events, name)
            return events[-1].hash

    @property
    def path(self) -> Path:
        """The ledger's file. Raises `BadInput` for a ledger in a database."""
        if is_server(self.store.address):
            raise BadInput(Fault(self.where, "is in a database, not in a file", "open it by its address"))
        return Path(self.store.address)

    def events(self) -> list[Event]:
        return _read(self.store)

    @property
    def spent(self) -> Cost:
        return history.spent(self.events())

    @property
    def pending(self) -> Cost:
        """What was spent on releases that have neither ended their fit nor had a verdict. It stays spent; they may be resumed."""
        return history.pending(self.events())

    @property
    def left(self) -> Cost:
        return self.capacity - self.spent

    @property
    def shows_secrets(self) -> bool:
        """Whether whoever opened it may read its secrets; an auditor of a team may not."""
        with self.store.reading() as session:
            return session.shows_secrets()

    @property
    def split_key(self) -> bytes:
        """The secret that decides each unit's side of a split, fixed for the population."""
        return self._secret("split")

    @property
    def shares(self) -> tuple[float, ...] | None:
        """The shares of the first release's split, which are all others' too; None if units are not known again, or none was released."""
        return history.shares(self.events())

    def _secret(self, name: str) -> bytes:
        """Raises `BadInput` if it is not the one that the ledger was made with."""
        with self.store.reading() as session:
            try:
                return _secret(session, self._sound(session), name)
            except VerificationFailed as error:
                raise _unsound(self.store, error) from None

    def _sound(self, session: Session) -> list[Event]:
        """All events of this very ledger. Raises `BadInput` if they are not sound, or another ledger was put in its place."""
        try:
            events = _history(self.store, session)
        except VerificationFailed as error:
            raise _unsound(self.store, error) from None
        if events[0].body["id"] != self.id:
            raise BadInput(Fault(self.where, "is another ledger by now", "open it anew"))
        return events

    def largest_epsilon(self, delta: float) -> float:
        """The largest epsilon that a single further release at `delta` could still ask for; 0 if none."""
        left = self.left
        epsilon = self.currency.epsilon_of(delta * (1 - EVENT_SHARE), left.amount) if left.amount > 0 else 0.0
        while epsilon > 0 and not Request(epsilon, delta, False, "").cost_in(self.currency).fits(left):
            epsilon = epsilon * (1 - 1e-9) - 1e-12
        return max(epsilon, 0.0)

    def refusal(self, *requests: Request) -> str | None:
        """Why the ledger would refuse `requests`, all together, now; or None. Reads no row and spends nothing."""
        events = self.events()
        left = self.capacity - history.spent(events)
        for request in requests:
            require_budget(request.epsilon, request.delta)
            refusal = _refusal(self, events, request, left)
            if refusal:
                return refusal
            left = left - request.cost_in(self.currency)
        return None

    def grant(self, request: Request, release: str | None = None, attempt: Attempt | None = None, *beside: tuple[Request, str]) -> Grant:
        """Charge `request` durably, in full, before any row is read; the same `release` is charged once.

        Args:
            beside: further requests, each with the name that it is charged under, in the same transaction: all are granted, or none; and an
                attempt that was charged has those beside it that it was charged with, no more and no fewer.

        Raises:
            BudgetExceeded: they do not fit, or the ledger is closed; nothing was spent.
            BadInput: the ledger protects another unit, splits in other shares or cannot be written, or the release was charged with others
                beside it; nothing was spent.
        """
        for one in (request, *(other for other, _ in beside)):
            require_budget(one.epsilon, one.delta)
        release, names = release or str(uuid.uuid4()), [name for _, name in beside]
        if len({release, *names}) <= len(names):
            raise ValueError("each request needs a name of its own")
        with self.store.writing() as session:
            granted = self._granted(session, request, release, attempt, {"beside": names} if names else {})
            if attempt is not None and granted.body.get("beside", []) != names:
                raise BadInput(Fault(release, "was charged with other requests beside it", "resume it as it was begun"))
            for other, name in beside:
                self._granted(session, other, name, None, {"of": release})
            return granted

    def _granted(self, session: Session, request: Request, release: str, attempt: Attempt | None, tied: dict[str, Any]) -> Grant:
        """One grant, in a transaction that ends well only if all of its grants do."""
        events = self._sound(session)
        known = next((e for e in events if e.kind == "grant" and e.body["release"] == release), None)
        _require_unit(self.where, events, request.unit)
        if known is None:
            _require_shares(events, attempt)
            refusal = _refusal(self, events, request, self.capacity - history.spent(events))
            if refusal:
                raise BudgetExceeded(refusal)
            known = _append(session, events, "grant", _grant_body(self.currency, events, request, release, attempt) | tied)
        granted = Grant(release, history.granted(known, self.currency), known.body)
        if granted.cost != request.cost_in(self.currency):
            raise BudgetExceeded(f"release {release} was granted another amount; resume it with its own epsilon and delta")
        return granted

    def record(self, kind: str, body: dict[str, Any]) -> Event:
        """Append an event that costs nothing (an attempt's verdict, a re-opening). Grants, and what follows them, the ledger writes itself."""
        if kind in ITS_OWN:
            raise ValueError(f"{kind} is not recorded by hand")
        with self.store.writing() as session:
            return _append(session, self._sound(session), kind, body)

    def reopen(self, reason: str) -> None:
        """Let releases go on after three blocked ones. Raises `BadInput` without a reason."""
        if not reason.strip():
            raise BadInput(Fault("reason", "empty", 'say why: --reason "looser policy agreed with the board on 3 May"'))
        self.record("reopened", {"reason": reason})

    def table(self, rows: pd.DataFrame | Callable[[], pd.DataFrame], schema: Schema) -> PrivateTable:
        """The rows behind the one door, paid for by this ledger; each table is charged on its own.

        Raises:
            BadInput: the ledger is another population's.
        """
        from dpsynth.privacy.table import PrivateTable

        require_population(self, schema)
        release = str(uuid.uuid4())

        def fetched() -> pd.DataFrame:
            frame = rows() if callable(rows) else rows
            self.saw(release, frame, schema)
            return frame

        return PrivateTable(fetched, schema, lambda request: self.grant(request, release).cost, "ledgered", key=self.split_key)

    def resumable_table(
        self,
        rows: Callable[[], pd.DataFrame],
        schema: Schema,
        release: str,
        journal: Path,
        followed: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> PrivateTable:
        """The same for a release that may be killed: charged once, each step told once, its answers kept in `journal`.

        `rows` are a part of the table, so who fetches the whole says which version it `saw`. Each new step is written to the ledger inside
        `followed()`, and returned after it has ended: whoever remembers the ledger elsewhere does so there.
        """
        from dpsynth.privacy.table import PrivateTable

        require_population(self, schema)
        answers = Answers(journal, _Told(self, release, followed))
        return PrivateTable(rows, schema, lambda request: self.grant(request, release).cost, "ledgered", key=self.split_key, answers=answers)

    def saw(self, release: str, frame: pd.DataFrame, schema: Schema) -> None:
        """Write down which version of the table a release reads, once it was charged. Whatever the rows are, nothing is refused."""
        mark = fingerprint(frame, schema, self._secret("version"))
        with self.store.writing() as session:
            events = self._sound(session)
            versions = [e.body for e in events if e.kind == "version"]
            if next((v["fingerprint"] for v in reversed(versions) if v["release"] == release), None) != mark:
                marks = [*dict.fromkeys(v["fingerprint"] for v in versions), mark]
                _append(session, events, "version", {"release": release, "version": marks.index(mark) + 1, "fingerprint": mark})

    def fitted(self, release: str, code: str = "") -> None:
        """Write down, once, that a release was told its last answer, under which `code` if that is given; the digest of all answers told to
        it is in the chain from then on."""
        with self.store.writing() as session:
            events = self._sound(session)
            if not any(e.kind == "fitted" and e.body["release"] == release for e in events):
                told = session.told(release, EVERY_STEP)
                body = {"release": release, "steps": len(told), "told": _digest(told)}
                _append(session, events, "fitted", body | ({"code": code} if code else {}))

    def told(self, release: str, steps: range = EVERY_STEP) -> tuple[int, str]:
        """How many of these `steps` a release was told, and the digest of all those, as `fitted` has it."""
        with self.store.reading() as session:
            told = session.told(release, steps)
        return len(told), _digest(told)


@dataclass(frozen=True)
class _Told:
    """The steps of a release that were told, kept beside the events so that no copy of a journal can tell them otherwise."""

    ledger: Ledger
    release: str
    followed: Callable[[], AbstractContextManager[None]]

    def told(self, step: int) -> str | None:
        with self.ledger.store.reading() as session:
            return self._digest(session, step)

    def tell(self, step: int, digest: str) -> None:
        if self.told(step) == digest:
            return
        with self.followed(), self.ledger.store.writing() as session:
            known = self._digest(session, step)
            if known is None:
                session.tell(self.release, step, digest)
            elif known != digest:
                raise BudgetExceeded(f"release {self.release} was told another answer at step {step + 1}; go on in the folder that holds it")

    def _digest(self, session: Session, step: int) -> str | None:
        return next(iter(session.told(self.release, range(step, step + 1))), None)


def require_population(ledger: Ledger, schema: Schema) -> None:
    """Raises `BadInput` if the ledger keeps the budget of another population than the schema's, or of another unit of it."""
    if ledger.dataset != schema.name:
        what = f"is the ledger of {ledger.dataset!r}, the schema is of {schema.name!r}"
        raise BadInput(Fault(ledger.where, what, "give that population's own ledger"))
    _require_unit(ledger.where, ledger.events(), schema.unit.columns)


def _require_unit(where: str, events: Sequence[Event], unit: tuple[str, ...]) -> None:
    """A ledger protects one unit, its first grant's: spending on rows and on persons do not add up."""
    first = next((e.body["unit"] for e in events if e.kind == "grant"), None)
    if first is not None and list(unit) != first:
        protected, asked = (", ".join(u) or "row" for u in (first, unit))
        raise BadInput(Fault(where, f"protects each {protected}, the schema's unit is {asked}", "keep the unit of the ledger's first release"))


def _require_shares(events: Sequence[Event], attempt: Attempt | None) -> None:
    """All releases of a ledger split in its first one's shares: else a control of one is trained on in another."""
    first = history.shares(events)
    if attempt and attempt.shares and first not in (None, attempt.shares):
        raise BadInput(Fault("policy", "splits otherwise than this ledger's first release", f"use one that splits {list(first or ())}"))


def _refusal(ledger: Ledger, events: Sequence[Event], request: Request, left: Cost) -> str | None:
    if history.blocked_in_a_row(events) >= BLOCKED_IN_A_ROW:
        return (
            f"{ledger.where}: closed after {BLOCKED_IN_A_ROW} blocked releases without a PASS under their own policy; "
            f'look at their reports, then: dpsynth ledger reopen {ledger.where} --reason "..."'
        )
    if request.delta > ledger.delta:
        return f"{ledger.where}: delta {request.delta:g} is above the ledger's {ledger.delta:g}; ask for at most that"
    if not request.cost_in(ledger.currency).fits(left):
        return (
            f"{ledger.where}: epsilon {request.epsilon:g} at delta {request.delta:g} does not fit; no row was read; "
            f"`dpsynth ledger show {ledger.where}` says what still does"
        )
    return None


def _grant_body(currency: Currency, events: Sequence[Event], request: Request, release: str, attempt: Attempt | None) -> dict[str, Any]:
    cost = request.cost_in(currency)
    body = {
        "release": release,
        "unit": list(request.unit),
        "epsilon": request.epsilon,
        "delta": request.delta,
        "purpose": request.purpose,
        "amount_ticks": cost.amount_ticks,
        "delta_ticks": cost.delta_ticks,
        "dpsynth": __version__,
    }
    if attempt is None:
        return body
    number = 1 + sum("attempt" in e.body for e in events if e.kind == "grant")
    body |= {"attempt": number, "policy": attempt.policy, "code": attempt.code}
    return body | ({"shares": list(attempt.shares)} if attempt.shares else {})


def _append(session: Session, events: Sequence[Event], kind: str, body: dict[str, Any]) -> Event:
    """Write an event after `events`, which are all there are."""
    row = link(events, kind, body)
    session.append(row)
    return event_of(row)


def _read(store: Store) -> list[Event]:
    with store.reading() as session:
        return _history(store, session)


def _history(store: Store, session: Session) -> list[Event]:
    """All events; checked are the chain, what grants charge, and the answers told to releases that were told all of theirs."""
    said = format_of(session.first())
    if said not in ("", FORMAT):
        raise BadInput(Fault(store.where, f"is a ledger of another version ({said})", "use it with the dpsynth that made it"))
    events = checked(session.rows(), session.length())
    if said != FORMAT or events[0].kind != "created" or events[0].body.get("currency") not in CURRENCIES:
        raise VerificationFailed("not a ledger of this version")
    for body in (e.body for e in events if e.kind == "fitted"):
        if _digest(session.told(body["release"], range(body["steps"]))) != body["told"]:
            raise VerificationFailed(f"answers told to release {body['release']} were changed or dropped")
    history.require_grants(events)
    return events


def _secret(session: Session, events: Sequence[Event], name: str) -> bytes:
    """Raises `VerificationFailed` if it is not the one that the ledger was made with."""
    value = session.secret(name)
    if _mark(value) != events[0].body["secrets"][name]:
        raise VerificationFailed(f"its secret {name!r} was changed or dropped")
    return value


def _mark(secret: bytes) -> str:
    """What the chain holds of a secret: a hash of 32 random bytes, which tells nobody what they are."""
    return hashlib.sha256(secret).hexdigest()


def _digest(told: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(list(told)).encode()).hexdigest()


def _unsound(store: Store, error: VerificationFailed) -> BadInput:
    return BadInput(Fault(store.where, f"not a sound ledger ({error})", "restore it from a backup; see `dpsynth ledger verify`"))
