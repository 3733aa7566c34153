"""Many processes and threads on one ledger, for the last charge that fits it, for one charge, and on one run."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Barrier

from benchmarks.faults import tiny
from benchmarks.faults.case import Case
from benchmarks.faults.child import Deed, Ending, Tell, supervised, together
from benchmarks.faults.promises import look, unfinished, violations
from benchmarks.faults.strikes import broken
from benchmarks.faults.tally import Tally
from benchmarks.faults.tiny import State
from dpsynth.errors import BudgetExceeded
from dpsynth.privacy import Ledger

PROCESSES, THREADS = 16, 64
ROUNDS = 10
LONGEST_HASTE = 0.05


def races(folder: Path, seed: int) -> Iterator[Case]:
    """`folder` gets the ledgers and the run that the races start from."""
    room, fits = almost_spent(folder / "almost-spent")
    begun = _begun(folder / "begun")
    for number in range(ROUNDS):
        yield Case("16 processes for the last charge", partial(_last_charge, room, fits))
        yield Case("64 threads for the last charge", partial(_threads, room, fits))
        yield Case("16 processes charge one release", _one_release)
        yield Case("16 processes spend a ledger, half of them killed", partial(_spending, fits, f"{seed}/{number}"))
        yield Case("16 processes resume one run", partial(_resumed, begun))


def almost_spent(folder: Path) -> tuple[Path, int]:
    """A folder whose ledger has room for one more charge; and how many fit it in all."""
    tiny.prepare(folder)
    ledger = Ledger.open(tiny.ledger_of(folder))
    fits = ledger.capacity.amount_ticks // tiny.request().cost_in(ledger.currency).amount_ticks
    for _ in range(fits - 1):
        ledger.grant(tiny.request())
    return folder, fits


def _begun(folder: Path) -> State:
    """A release that was told its answers and has no model yet."""
    tiny.prepare(folder)
    told = supervised(tiny.release(folder, until="sample"), folder).told
    tiny.run_of(folder).model.unlink()
    return State(folder, tuple(told), look(folder).events)


def _last_charge(room: Path, fits: int, folder: Path) -> Tally:
    shutil.copytree(room, folder)
    return _charged(folder, together([_asking(folder)] * PROCESSES, folder), fits, 1)


def _asking(folder: Path, release: str | None = None) -> Deed:
    def deed(tell: Tell) -> str:
        tiny.PLANTED()
        tell(f"granted {Ledger.open(tiny.ledger_of(folder)).grant(tiny.request(), release).release}")
        return "asking"

    return deed


def _threads(room: Path, fits: int, folder: Path) -> Tally:
    """All threads on one `Ledger`. Each thread is counted as a run."""
    shutil.copytree(room, folder)

    def deed(tell: Tell) -> str:
        tiny.PLANTED()
        ledger, start = Ledger.open(tiny.ledger_of(folder)), Barrier(THREADS)

        def ask(_: int) -> str:
            start.wait()
            try:
                return f"granted {ledger.grant(tiny.request()).release}"
            except BudgetExceeded as refusal:
                return f"refused {refusal}"

        with ThreadPoolExecutor(THREADS) as pool:
            for line in pool.map(ask, range(THREADS)):
                tell(line)
        return "asking"

    whole = supervised(deed, folder)
    lines = [line for line in whole.told if line.startswith(("granted", "refused"))]
    endings = [Ending([line, *(["done asking"] if line.startswith("granted") else [])]) for line in lines]
    return _charged(folder, endings or [whole], fits, 1) + Tally(notes=(whole.last,) if whole.broke else ())


def _one_release(folder: Path) -> Tally:
    """All ask for the same release: all are granted, and it is charged once."""
    tiny.prepare(folder)
    return _charged(folder, together([_asking(folder, "the-one")] * PROCESSES, folder), 1, PROCESSES)


def _spending(fits: int, seed: str, folder: Path) -> Tally:
    """Each asks until it is refused; every second one is killed at a random moment. What was granted is charged, and no more than fits."""
    tiny.prepare(folder)
    draw = random.Random(seed)
    moments = [draw.uniform(0, LONGEST_HASTE) if i % 2 else None for i in range(PROCESSES)]

    def deed(tell: Tell) -> str:
        tiny.PLANTED()
        ledger = Ledger.open(tiny.ledger_of(folder))
        while True:
            tell(f"granted {ledger.grant(tiny.request()).release}")

    return _charged(folder, together([deed] * PROCESSES, folder, moments), fits, None)


def _charged(folder: Path, endings: Sequence[Ending], charges: int, granted: int | None) -> Tally:
    """The tally of those who asked. In the end the ledger has `charges` grants, all that were told among them; `granted` is how many
    were told, None where some were killed and could not tell any more."""
    sight = look(folder)
    told = [line.split()[1] for ending in endings for line in ending.told if line.startswith("granted ")]
    found = [*violations(sight, ()), *(line for e in endings for line in broken(e))]
    if len(sight.grants) != charges or granted not in (None, len(told)):
        found.append(f"{len(sight.grants)} grants in the ledger where {charges} should be; {len(told)} were told")
    if not set(told) <= {e.body["release"] for e in sight.grants}:
        found.append("a grant was told that is not in the ledger")
    after = sum(any(line.startswith("granted ") for line in ending.told) for ending in endings)
    return Tally(len(endings), len(endings) - after, after, sum(e.done for e in endings), sum(e.refused for e in endings), tuple(found))


def _resumed(begun: State, folder: Path) -> Tally:
    """All go on with one run at once: each goes to the end or is told that another is at work; all hear the same answers."""
    tiny.copied(begun, folder)
    endings = together([tiny.resume(folder)] * PROCESSES, folder)
    sight, told = look(folder), [*begun.told, *(line for ending in endings for line in ending.told)]
    found = [*violations(sight, told, begun.events), *unfinished(sight, folder, "PASS"), *(line for e in endings for line in broken(e))]
    finished = sum(e.done for e in endings)
    if not finished:
        found.append("nobody went on to the end")
    return Tally(PROCESSES, 0, PROCESSES, finished, sum(e.refused for e in endings), tuple(dict.fromkeys(found)))
