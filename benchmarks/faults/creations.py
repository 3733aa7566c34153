"""Faults while a ledger is made: there is no ledger afterwards, or a whole one that nobody else may read."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.faults import tiny
from benchmarks.faults.case import Case
from benchmarks.faults.child import Deed, Strike, Tell, supervised
from benchmarks.faults.promises import look
from benchmarks.faults.strikes import broken
from benchmarks.faults.tally import Tally

STRIKES = (Strike(), Strike(of="takes_room", error=errno.ENOSPC, onwards=True))
OTHERS = 0o077


def creations(folder: Path) -> Iterator[Case]:
    folder.mkdir()
    plain = supervised(_creating(folder), folder, Strike(of="may_fail"))
    for strike in STRIKES:
        for number in range(1, sum(map(strike.counts, plain.actions)) + 1):
            yield Case("SIGKILL or full disk while a ledger is made", partial(_created, Strike(number, strike.of, strike.error, strike.onwards)))


def _creating(folder: Path) -> Deed:
    def deed(tell: Tell) -> str:
        tiny.PLANTED()
        tiny.create(folder)
        return "created"

    return deed


def _created(strike: Strike, folder: Path) -> Tally:
    """A second process makes the ledger if the first left none, and is refused if it left one; then it can be used either way."""
    folder.mkdir()
    first = supervised(_creating(folder), folder, strike)
    made = tiny.ledger_of(folder).exists()
    found = [*broken(first), *([] if not made or look(folder).unsound is None else ["half a ledger"])]
    found += [f"others may read {path.name}" for path in folder.iterdir() if path.stat().st_mode & OTHERS]
    second = supervised(_creating(folder), folder)
    if second.refused is not made or look(folder).unsound:
        found.append(f"the ledger was {'there' if made else 'not there'}, and then: {second.last}")
    return Tally(1, not made, made, second.done, second.refused, tuple(f"{strike} ({first.struck}): {violation}" for violation in found))
