"""What an attack says about each target, before anyone asks how well it did."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from attacks.evidence import Evidence

Floats = npt.NDArray[np.float64]


class UnanswerableError(Exception):
    """An attack has nothing to attack, or not enough. `status` is what its endpoints become."""

    def __init__(self, status: str, words: str):
        self.status = status
        super().__init__(words)


@dataclass(frozen=True)
class Scores:
    """A score per target, higher = more likely trained on; NaN = not a target of this attack.

    Attributes:
        members: shape (members,), or (members, columns) for an attack on each column by itself.
        controls: shape (controls,), or (controls, columns).
        guesses: how many guesses the scores count, for attacks that guess.
        columns: the names of the columns, for an attack on each.
    """

    members: Floats
    controls: Floats
    guesses: int = 0
    columns: tuple[str, ...] = ()

    @classmethod
    def split(cls, pooled: Floats, evidence: Evidence, guesses: int = 0) -> Scores:
        """Cut the scores of the pool, shape (members + controls,), into the two groups."""
        n = len(evidence.members)
        return cls(pooled[:n].astype(np.float64), pooled[n:].astype(np.float64), guesses)

    @classmethod
    def by_column(cls, pooled: Floats, evidence: Evidence) -> Scores:
        """The same of scores of shape (members + controls, columns), an attack on each column."""
        n = len(evidence.members)
        return cls(pooled[:n], pooled[n:], columns=evidence.names)

    @property
    def overall(self) -> Scores:
        """One score a target: the mean over its columns, of those that are targets."""
        if not self.columns:
            return self
        return Scores(*(np.where(np.isnan(s), 0.0, s).sum(axis=1) / np.maximum((~np.isnan(s)).sum(axis=1), 1) for s in (self.members, self.controls)))

    @property
    def pooled(self) -> Floats:
        return np.concatenate([self.members, self.controls])

    def targets(self) -> tuple[Floats, Floats]:
        """Members' and controls' scores without the rows that are no targets."""
        return self.members[~np.isnan(self.members)], self.controls[~np.isnan(self.controls)]
