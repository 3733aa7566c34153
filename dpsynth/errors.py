"""Errors that say what, where, and what to write instead; never a value from the data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """One thing wrong with what the user gave: `where` it is, `what` is wrong, what to write `instead`."""

    where: str
    what: str
    instead: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}; {self.instead}"


class DpsynthError(Exception):
    """Root of all errors raised on purpose; `exit_code` is the command line's."""

    exit_code = 1


class BadInput(DpsynthError):
    """Bad usage or bad input. Holds every fault found, not only the first. Nothing was spent."""

    exit_code = 2

    def __init__(self, faults: Fault | Iterable[Fault]):
        self.faults: tuple[Fault, ...] = (faults,) if isinstance(faults, Fault) else tuple(faults)
        super().__init__("\n".join(map(str, self.faults)))


class BudgetExceeded(DpsynthError):
    """The budget refuses. No row was read."""

    exit_code = 5


class Diverged(DpsynthError):
    """A training run ended in parameters that are no numbers. Its charge stays; there is no model."""


class RunDry(DpsynthError):
    """Too few of the rows that a model draws keep to the schema's rules. Its charge stays, and so does the model."""

    exit_code = 4


class VerificationFailed(DpsynthError):
    """A bundle, a ledger or a signature is not what it says it is."""

    exit_code = 6


def refuse(faults: Iterable[Fault]) -> None:
    """Raise `BadInput` with all the faults, if there are any."""
    found = tuple(faults)
    if found:
        raise BadInput(found)
