"""Whom to look at beside everybody: those of whom a table that is harmless on average may still tell.

Who is a target is judged among all targets, members and controls together, and without the synthetic table: it can depend neither on who is
a member nor on what leaked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from attacks.distances import surroundings
from attacks.evidence import Evidence
from attacks.scores import Scores, UnanswerableError

Flags = npt.NDArray[np.bool_]
Score = Callable[[Evidence, np.random.Generator], Scores]
Targets = Callable[[Evidence], Flags]

TENTH = 0.1
FEWEST = 20


def among(targets: Targets, score: Score) -> Score:
    """The attack on some of the people only: NaN for the others."""

    def attack(evidence: Evidence, rng: np.random.Generator) -> Scores:
        found, n = score(evidence, rng), len(evidence.members)
        chosen = np.where(targets(evidence), found.pooled, np.nan)
        return replace(found, members=chosen[:n], controls=chosen[n:])

    return attack


def outliers(evidence: Evidence) -> Flags:
    """The tenth that is on average farthest from the five closest others (Meeus et al., ESORICS 2023)."""
    far = surroundings(evidence).to_others
    return _most(np.where(np.isfinite(far), far, 1.0).mean(axis=1))


def holders_of_rare_categories(evidence: Evidence) -> Flags:
    """The tenth whose rarest category the fewest others hold; nobody without categories."""
    held = np.column_stack([np.zeros((len(evidence.pool), 0)), *(holders(codes) for codes in evidence.pool.codes.T)])
    return _most(-held.min(axis=1)) if held.shape[1] else np.zeros(len(held), dtype=bool)


def holders(cells: npt.NDArray[np.generic]) -> npt.NDArray[np.int64]:
    """How many hold what each one holds, shape (n,)."""
    _, value, count = np.unique(cells, return_inverse=True, return_counts=True)
    return np.asarray(count[value])


def _most(amounts: npt.NDArray[np.float64]) -> Flags:
    """The tenth with the largest amounts, and who is tied with the last of them."""
    return np.asarray(amounts >= np.quantile(amounts, 1 - TENTH, method="higher"))


def by_group(columns: Sequence[str], score: Score) -> Score:
    """The attack on each group by itself, the holders of a value of a categorical column: a column of scores a group, NaN for the others.

    Groups with fewer than 20 members or controls are left out. Raises `UnanswerableError` if none is left.
    """

    def attack(evidence: Evidence, rng: np.random.Generator) -> Scores:
        pooled, n = score(evidence, rng).pooled, len(evidence.members)
        groups = [(name, holds) for name in columns for holds in _groups(evidence, name) if min(holds[:n].sum(), holds[n:].sum()) >= FEWEST]
        if not groups:
            raise UnanswerableError("underpowered", f"no group with {FEWEST} members and {FEWEST} controls")
        grouped = np.column_stack([np.where(holds, pooled, np.nan) for _, holds in groups])
        return Scores(grouped[:n], grouped[n:], columns=tuple(name for name, _ in groups))

    return attack


def _groups(evidence: Evidence, column: str) -> Iterator[Flags]:
    codes = evidence.pool.codes[:, evidence.names.index(column) - evidence.pool.numbers.shape[1]]
    return (codes == value for value in np.unique(codes))
