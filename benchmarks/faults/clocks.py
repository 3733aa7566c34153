"""Clocks that are wrong: whatever they say, the order of events is the ledger's own."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import partial
from itertools import count
from pathlib import Path
from unittest.mock import patch

from benchmarks.faults import tiny
from benchmarks.faults.case import Case
from benchmarks.faults.child import Deed, Ending, Strike, Tell
from benchmarks.faults.strikes import struck
from benchmarks.faults.tally import Tally

Clock = Callable[[], datetime]
HOUR, YEAR = timedelta(hours=1), timedelta(days=365)


def backwards() -> Clock:
    """An hour earlier each time it is looked at."""
    start, looks = datetime.now(UTC), count()
    return lambda: start - next(looks) * HOUR


def erratic() -> Clock:
    """Any time from 1970 to 2100."""
    draw = random.Random(0)
    return lambda: datetime(1970, 1, 1, tzinfo=UTC) + draw.random() * 130 * YEAR


def stopped() -> Clock:
    """The first moment of 1970: a machine whose battery is empty."""
    return lambda: datetime(1970, 1, 1, tzinfo=UTC)


def years_on() -> Clock:
    """A year later than it is."""
    return lambda: datetime.now(UTC) + YEAR


CLOCKS = {
    "clock an hour back at every look": (backwards, backwards),
    "clock anywhere from 1970 to 2100": (erratic, erratic),
    "clock set back to 1970 before the resume": (years_on, stopped),
}


def clocks(plain: Ending) -> Iterator[Case]:
    """Each clock, in releases that are killed before the first change of each step."""
    steps = plain.steps_of_changes
    for name, pair in CLOCKS.items():
        for number in (steps.index(step) + 1 for step in dict.fromkeys(steps)):
            yield Case(name, partial(_wrong, number, *pair))


def _wrong(number: int, first: Callable[[], Clock], second: Callable[[], Clock], folder: Path) -> Tally:
    tally, _ = struck(
        folder,
        Strike(number),
        lambda place: _by(first(), tiny.release(place, generator=tiny.STEADY)),
        resume=lambda place: _by(second(), tiny.resume(place)),
    )
    return tally


def _by(clock: Clock, deed: Deed) -> Deed:
    """The deed with `clock` in place of the system's, wherever dpsynth asks for the time."""

    class Time(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return clock().astimezone(tz)

    class Day(date):
        @classmethod
        def today(cls) -> date:
            return clock().date()

    def timed(tell: Tell) -> object:
        with ExitStack() as exchanged:
            for module in [m for name, m in sys.modules.items() if name.startswith("dpsynth.")]:
                for name, real, wrong in (("datetime", datetime, Time), ("date", date, Day)):
                    if getattr(module, name, None) is real:
                        exchanged.enter_context(patch.object(module, name, wrong))
            return deed(tell)

    return timed
