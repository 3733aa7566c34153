"""Files cut short: the ledger's database, what a killed process left of its journal, and the journal of answers.

A cut file is refused in words, or nothing that was told or charged is missing: whoever goes on hears the same answers as before and finds
all events that were there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from benchmarks.faults import tiny
from benchmarks.faults.case import Case
from benchmarks.faults.child import Deed, Ending, Strike, Tell, supervised
from benchmarks.faults.promises import look, second_answers, violations
from benchmarks.faults.releases import SECTOR
from benchmarks.faults.strikes import broken
from benchmarks.faults.tally import Tally
from benchmarks.faults.tiny import State
from dpsynth.errors import DpsynthError
from dpsynth.privacy import Ledger

COMMITTED = "unlink ledger.db-journal"


def truncations(folder: Path, plain: Ending) -> Iterator[Case]:
    """`folder` gets the states whose files are cut."""
    finished = _state(folder / "finished")
    midway = _state(folder / "midway", Strike(_changes(plain).index("rename model.npz") + 1))
    telling = _state(folder / "telling", Strike(_last_answer(plain)))
    for name, state in (("finished", finished), ("midway", midway)):
        for size in range(0, tiny.ledger_of(state.folder).stat().st_size, SECTOR):
            yield Case(f"database cut at each multiple of 512 bytes, {name} release", partial(_database, state, size))
    for name, state in (("all told", midway), ("the last one not yet told", telling)):
        for size in range(tiny.run_of(state.folder).answers.stat().st_size):
            yield Case(f"answers cut at each byte, {name}", partial(_answers, state, size))
    charge, answer = plain.steps_of_changes.index("charge") + 1, _last_answer(plain)
    for name, first in (("a charge", charge), ("an answer told", answer)):
        for number in range(first, _changes(plain).index(COMMITTED, first) + 2):
            yield Case(f"journal of {name}, after SIGKILL, cut at each multiple of 512 bytes", partial(_journals, Strike(number)))


def _changes(plain: Ending) -> list[str]:
    return [str(action) for action in plain.actions if action.changes]


def _last_answer(plain: Ending) -> int:
    """The change after the last line of the journal of answers: the line is there, the ledger does not know of it."""
    changes = _changes(plain)
    return len(changes) - changes[::-1].index("write answers.jsonl") + 1


def _state(folder: Path, strike: Strike | None = None) -> State:
    """What a release leaves behind, killed by `strike` or not."""
    tiny.prepare(folder)
    told = supervised(tiny.release(folder, generator=tiny.STEADY), folder, strike).told
    return State(folder, tuple(told), look(folder).events)


def _database(state: State, size: int, folder: Path) -> Tally:
    tiny.copied(state, folder)
    return _judged(state, folder, supervised(_everything(folder, size), folder), f"cut at {size}")


def _answers(state: State, size: int, folder: Path) -> Tally:
    """Only the steps up to the sample need the answers."""
    tiny.copied(state, folder)
    os.truncate(tiny.run_of(folder).answers, size)
    return _judged(state, folder, supervised(tiny.resume(folder, until="sample"), folder), f"cut at {size}")


def _journals(strike: Strike, folder: Path) -> Tally:
    """Every length of whatever file a process, killed by `strike`, left beside the ledger."""
    state, tally = _state(folder, strike), Tally()
    for journal in sorted(folder.glob(f"{tiny.ledger_of(folder).name}-*")):
        for size in range(0, journal.stat().st_size, SECTOR):
            place = folder.with_name(f"{folder.name}.{journal.name}.{size}")
            tiny.copied(state, place)
            os.truncate(place / journal.name, size)
            tally += _judged(state, place, supervised(_everything(place), place), f"{strike}, {journal.name} cut at {size}")
    return tally


def _everything(folder: Path, size: int | None = None) -> Deed:
    """Open, charge, record and resume: whatever can be done with a ledger. It was opened before its database is cut to `size`."""

    def deed(tell: Tell) -> str:
        tiny.PLANTED()
        path = tiny.ledger_of(folder)
        held = None
        if size is not None:
            held = Ledger.open(path)
            os.truncate(path, size)
        ways = {
            "open": lambda: Ledger.open(path),
            "grant": lambda: (held or Ledger.open(path)).grant(tiny.request(), "another"),
            "record": lambda: (held or Ledger.open(path)).record("note", {}),
            "resume": lambda: tiny.resume(folder, until="sample")(tell),
        }
        return " ".join(name for name, way in ways.items() if _goes(way, name, tell))

    return deed


def _goes(way: Callable[[], object], name: str, tell: Tell) -> bool:
    try:
        way()
    except DpsynthError as error:
        tell(f"refused {name}: {type(error).__name__}")
        return False
    return True


def _judged(state: State, folder: Path, ending: Ending, where: str) -> Tally:
    """An unsound ledger may be refused, and nothing else; a sound one has all that it had."""
    sight, told = look(folder), [*state.told, *ending.told]
    went = ending.done and ending.last != "done "
    found = broken(ending)
    found += second_answers(told) if sight.unsound and not went else violations(sight, told, state.events)
    charged = any(e.kind == "grant" for e in state.events)
    return Tally(1, not charged, charged, went, not went and not ending.broke, tuple(f"{where}: {violation}" for violation in found))
