"""A case: one fault done to one folder of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.faults.tally import Tally


@dataclass(frozen=True)
class Case:
    """The row of the table it counts in, and what is done in a folder that is not there yet. Both travel to a worker process."""

    row: str
    run: Callable[[Path], Tally]
