"""The chain of events: a ledger's history, so linked that no part of it can be changed and still fit the rest.

Statement. Each event is kept with the SHA-256 of itself and of the hash before it. Whoever reads the chain from its start finds
an event that was edited, dropped, added between or moved. A cut at its end is found against the length that the store keeps
beside the events and, should that have been set back too, against the hash of an event that was cut, if it was kept elsewhere:
each certificate carries one (`releasing/verify.py`).

Why a hash may be shown to anyone. An event holds 64 random bytes, its salt, which never leave the ledger. If SHA-256
behaves as a random function, then to whoever lacks the salt the hash is within 2^-128 of a uniform draw, whatever the event and all
events before it say (512 random bits into 256: half of 2^-((512 - 256)/2)). So no guess of a history can be checked against it:
not how many attempts there were, nor what was spent, nor when, nor on which version of the table. A sequence number
would tell some of that, so none is shown. No two certificates carry one hash, since each carries that of its own verdict.

Why there is no key. The store that holds the events would hold the key: who can rewrite the one can read the other. Without a
key, whoever may read the events can check them, an auditor of the team too, and needs none of the ledger's secrets.

What is not found. Who holds the store and rewrites all of it from some event on, or puts back an older copy, is found only by
who remembers a later hash: a certificate given after that event, or the desk that charged after it (`releasing/seen.py`). If there is
neither, it is not found. Nor does the chain say that what was appended is true: of grants that is looked at when they are read (`history.py`).
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from dpsynth.errors import VerificationFailed

FORMAT = "dpsynth-ledger/3"
SALT_BYTES = 64


class Row(NamedTuple):
    """An event as it is stored; `text` is its body as JSON."""

    seq: int
    at: str
    kind: str
    text: str
    salt: str
    previous: str
    hash: str


@dataclass(frozen=True)
class Event:
    """One line of the ledger's history."""

    seq: int
    at: str
    kind: str
    body: dict[str, Any]
    previous: str
    hash: str


def link(events: Sequence[Event], kind: str, body: dict[str, Any]) -> Row:
    """The row of a new event after `events`."""
    seq, previous = len(events) + 1, events[-1].hash if events else ""
    at, text, salt = datetime.now(UTC).isoformat(timespec="seconds"), json.dumps(body, sort_keys=True), secrets.token_hex(SALT_BYTES)
    return Row(seq, at, kind, text, salt, previous, _hash(seq, at, kind, text, salt, previous))


def checked(rows: Iterable[Row], length: int) -> list[Event]:
    """The events of a chain that is to have `length` of them. Raises `VerificationFailed` naming the first that does not fit."""
    events: list[Event] = []
    for row in rows:
        previous = events[-1].hash if events else ""
        if row.seq != len(events) + 1 or row.previous != previous or row.hash != _hash(*row[:-1]):
            raise VerificationFailed(f"event {len(events) + 1} was changed, dropped or moved")
        events.append(event_of(row))
    if length != len(events) or not events:
        raise VerificationFailed("its last events were dropped")
    return events


def format_of(text: str) -> str:
    """The format that a ledger's first event states; empty where that is none of ours."""
    try:
        said = json.loads(text)["format"]
    except (ValueError, KeyError, TypeError):
        return ""
    return said if isinstance(said, str) and re.fullmatch(r"dpsynth-ledger/\d{1,9}", said) else ""


def event_of(row: Row) -> Event:
    """Raises `VerificationFailed` if its body is not JSON."""
    try:
        return Event(row.seq, row.at, row.kind, json.loads(row.text), row.previous, row.hash)
    except ValueError:
        raise VerificationFailed(f"event {row.seq} is not JSON") from None


def _hash(seq: int, at: str, kind: str, text: str, salt: str, previous: str) -> str:
    return hashlib.sha256(json.dumps([seq, at, kind, text, salt, previous]).encode()).hexdigest()
