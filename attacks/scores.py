"""What an attack says about each target, before anyone asks how well it did."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

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
        chance: the largest share of members that could be hit without a leak, for what is asked where there are no controls.
        columns: the names of the columns, for an attack on each.
        judged_below: the scores are judged where the p-value of "nothing came out" is below this, and else do not apply; infinite: always.
        blind: whether who is a target was decided without knowing who is a member. Where not, labels are not exchangeable given the scores.
    """

    members: Floats
    controls: Floats
    guesses: int = 0
    chance: float = 0.0
    columns: tuple[str, ...] = ()
    judged_below: float = math.inf
    blind: bool = True

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
        """One score a target: the mean over the columns in which it is one, NaN where it is one in none."""
        return replace(self, members=_mean(self.members), controls=_mean(self.controls), columns=()) if self.columns else self

    @property
    def pooled(self) -> Floats:
        return np.concatenate([self.members, self.controls])

    def targets(self) -> tuple[Floats, Floats]:
        """Members' and controls' scores without the rows that are no targets."""
        return self.members[~np.isnan(self.members)], self.controls[~np.isnan(self.controls)]


def _mean(scores: Floats) -> Floats:
    known = ~np.isnan(scores)
    return np.where(known.any(axis=1), np.where(known, scores, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1), np.nan)
