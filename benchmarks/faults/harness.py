"""All cases, two at a time: worker processes are forked from this one when it is warm, and fork a child for each process of a case."""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from benchmarks.faults import tiny
from benchmarks.faults.case import Case
from benchmarks.faults.child import Strike, supervised
from benchmarks.faults.tally import Tally

MEMORY = Path("/dev/shm")


@contextmanager
def workplace() -> Iterator[Path]:
    """An empty folder, in memory where the system has such a place: a killed process loses nothing that its writes had reached."""
    with TemporaryDirectory(prefix="dpsynth-faults-", dir=MEMORY if os.access(MEMORY, os.W_OK) else None) as folder:
        yield Path(folder)


def warm(folder: Path) -> None:
    """Import and compile all that a case needs, and keep it out of the way of the collector: what is not touched is not copied by a fork."""
    tiny.warm(folder / "warm")
    gc.collect()
    gc.freeze()


def _nobody(row: str, tally: Tally) -> None:
    """For callers who wait for the end."""


def impossible(folder: Path) -> str | None:
    """Why durable actions cannot be watched on this machine, or None."""
    ending = supervised(lambda tell: None, folder, Strike())
    return None if ending.done else ending.last


def run(
    cases: Iterable[Case], folder: Path, jobs: int = 2, planted: Callable[[], None] | None = None, heard: Callable[[str, Tally], None] = _nobody
) -> dict[str, Tally]:
    """Do the cases and add up what came of them, row by row. `planted` is a bug that every child gets; `heard` is told of each case."""
    rows: dict[str, Tally] = {}
    with patch.object(tiny, "PLANTED", planted or tiny.PLANTED), get_context("fork").Pool(jobs) as pool:
        for row, tally in pool.imap(partial(_done, folder), list(enumerate(cases))):
            rows[row] = rows.get(row, Tally()) + tally
            heard(row, tally)
    return rows


def _done(folder: Path, numbered: tuple[int, Case]) -> tuple[str, Tally]:
    number, case = numbered
    place = folder / f"case-{number}"
    try:
        return case.row, case.run(place)
    finally:
        for left in folder.glob(f"case-{number}*"):
            shutil.rmtree(left, ignore_errors=True)
