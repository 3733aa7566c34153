"""One release under one strike: it is struck, looked at, resumed without a fault, and looked at again."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.faults import tiny
from benchmarks.faults.child import Deed, Ending, Strike, supervised
from benchmarks.faults.promises import look, unfinished, violations
from benchmarks.faults.tally import Tally

Started = Callable[[Path], Deed]


def struck(folder: Path, strike: Strike | None, release: Started, verdict: str = "PASS", resume: Started | None = None) -> tuple[Tally, Ending]:
    """The tally of one run, empty if the release ended before the strike came; and how the struck process ended."""
    tiny.prepare(folder)
    first = supervised(release(folder), folder, strike)
    if strike and strike.missed(first):
        return Tally(), first
    then = look(folder)
    found = [*violations(then, first.told), *broken(first)]
    second = supervised((resume or partial(tiny.resume, verdict=verdict))(folder), folder)
    now = look(folder)
    found += [*violations(now, [*first.told, *second.told], then.events), *broken(second)]
    if second.done:
        found += unfinished(now, folder, verdict)
    elif then.grants:
        found.append(f"paid for, and cannot go on: {second.last}")
    where = f"{strike or 'it'}, in {first.step}{f' ({first.struck})' if first.struck else ''}"
    notes = tuple(f"{where}: {violation}" for violation in dict.fromkeys(found))
    return Tally(1, not then.grants, bool(then.grants), second.done, second.refused, notes), first


def broken(ending: Ending) -> list[str]:
    """How a process ended that neither did its deed nor refused it in words nor was killed."""
    return [ending.last or "told nothing"] if ending.broke else []
