"""Did rows, or rare values, of people come out again? Exact and near match, rare values, distance to the closest record.

Whether a row or a value is rare is judged among all targets, members and controls together, so it cannot
depend on who is a member: under no leak the hits are spread over both groups by chance alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from attacks.chance import most_met
from attacks.distances import neighbours, surroundings
from attacks.evidence import Evidence, Table
from attacks.grid import ways_of_writing
from attacks.scores import Scores, UnanswerableError

Bits = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

FEWEST_RARE = 20
FOUND = 0.05
FOUND_BY_CHANCE_TOO = 0.01
DIGITS = 5
ISOLATION_STEPS = 100
TIMES_CLOSER = 20


def exact_match(evidence: Evidence, rng: np.random.Generator) -> Scores:
    """1 where a synthetic row equals the target in every column, 0 where none does, NaN where the target is not rare (few: `_of_rare_rows`).

    Numbers are compared to five digits, so that a copy is a copy with a trace of noise on it. What chance could do is for where there are
    no controls: of all members, so of the rare ones more (`chance.py`).
    """
    by_chance = most_met(_keys(evidence.pool.rounded(DIGITS)), _keys(evidence.synthetic.rounded(DIGITS)))
    scores = _of_rare_rows(met(evidence), evidence)
    asked = max(1, np.count_nonzero(~np.isnan(scores.members)))
    return replace(scores, chance=min(1.0, by_chance * len(scores.members) / asked))


def near_match(evidence: Evidence, rng: np.random.Generator) -> Scores:
    """1 where a synthetic row is twenty times closer to the target than any other target is, 0 where none is.

    NaN where the target is not rare (few: `_of_rare_rows`).

    A copy whose numbers are off by a little is nobody else's. What chance brings so close is as close to controls as to members.

    Raises `UnanswerableError` without a rare control to compare rare members with.
    """
    synthetic, other = neighbours(evidence).near[:, 0], surroundings(evidence).to_others[:, 0]
    scores = _of_rare_rows(TIMES_CLOSER * synthetic < other, evidence)
    if np.isnan(scores.controls).all():
        raise UnanswerableError("underpowered", "no control stands alone, so that what chance brings so close is not known")
    return scores


def rare_value(evidence: Evidence, rng: np.random.Generator) -> Scores:
    """1 where some value that only this target holds, and no other comes near, appears in the synthetic table, else 0.

    Values are compared as they are and by the digits that the synthetic table has (`grid.py`), and are rare as they are compared.
    """
    scores = Scores.split(_shown_by(rare_cells, evidence), evidence)
    return replace(scores, judged_below=FOUND) if _hardly_any_value(evidence) else scores


def single_value(evidence: Evidence, rng: np.random.Generator) -> Scores:
    """1 where some value that only this target holds appears in the synthetic table, however near others' are, else 0.

    What `rare_value` is where values lie close: hours of work, a questionnaire's counts. Strangers meet such values as well, so a sound table
    shows many, of members and controls alike, and more of members than by chance has to be plain.

    Raises `UnanswerableError` where there are rare values enough to be bounded.
    """
    if not _hardly_any_value(evidence):
        raise UnanswerableError("not_applicable", "there are rare values enough, and rare_value bounds what came out of them")
    return replace(Scores.split(_shown_by(single_cells, evidence), evidence), judged_below=FOUND_BY_CHANCE_TOO)


def _of_rare_rows(hits: Flags, evidence: Evidence) -> Scores:
    """Hits among rare targets, NaN for the others. Of few rare targets they are a share of everybody: of five, nothing could be bounded."""
    rare = rare_rows(evidence)
    few = hardly_any(rare, evidence)
    scores = Scores.split(np.where(rare | few, hits & rare, np.nan), evidence)
    return replace(scores, judged_below=FOUND) if few else scores


def hardly_any(rare: Flags, evidence: Evidence) -> bool:
    """Whether fewer than 20 members are rare, by the share of all targets that are: this too cannot depend on who is a member."""
    return bool(rare.sum() * len(evidence.members) < FEWEST_RARE * max(1, len(rare)))


def _hardly_any_value(evidence: Evidence) -> bool:
    return all(hardly_any(rare_cells(way).any(axis=1), evidence) for way in ways_of_writing(evidence))


def _shown_by(cells: Callable[[Evidence], Flags], evidence: Evidence) -> Floats:
    """1 where a target has one of these cells that is in the synthetic table, in some way of writing."""
    shown = np.any([_shown(way, cells(way)) for way in ways_of_writing(evidence)], axis=0)
    return np.asarray(shown, dtype=np.float64)


def _shown(evidence: Evidence, rare: Flags) -> Flags:
    """Which targets hold a rare value that is in the synthetic table."""
    pool, synthetic = _cell_bits(evidence.pool), _cell_bits(evidence.synthetic)
    shown: Flags = np.any([rare[:, j] & np.isin(pool[:, j], synthetic[:, j]) for j in range(pool.shape[1])], axis=0)
    return shown


def distance(evidence: Evidence, rng: np.random.Generator) -> Scores:
    """How much closer the closest synthetic row is than the closest reference row.

    The reference tells how close a row comes to strangers; without one, minus the distance to the closest
    synthetic row.
    """
    closest = neighbours(evidence).near[:, 0]
    if len(evidence.reference):
        closest = closest - surroundings(evidence).to_reference[:, 0]
    return Scores.split(-closest, evidence)


def nndr(evidence: Evidence, rng: np.random.Generator) -> Scores:
    """Minus how far the closest synthetic row is, in parts of how far the next one is (NNDR).

    Two synthetic rows that both equal the target are no evidence: 0 in 0 parts counts as 1.
    """
    closest, next_one = neighbours(evidence).near[:, 0], neighbours(evidence).near[:, 1]
    return Scores.split(-np.divide(closest, next_one, out=np.ones_like(closest), where=next_one > 0), evidence)


def adversarial_accuracy(evidence: Evidence, rng: np.random.Generator) -> Scores:
    """1 where the closest synthetic row is closer than the closest other target, 0 where it is farther; a tie is decided by lot.

    One less these, averaged over members or controls, is the half over people of the nearest neighbour adversarial accuracy of Yale
    et al. (Neurocomputing 2020); members' mean less controls' is that of the control table less that of the training table, their
    privacy loss. What people are compared with is members and controls together, lest it tell who is what. The half over
    synthetic rows is `dcr_share`.
    """
    synthetic, other = neighbours(evidence).near[:, 0], surroundings(evidence).to_others[:, 0]
    lot = rng.integers(0, 2, len(synthetic))
    return Scores.split(np.where(synthetic == other, lot, synthetic < other), evidence)


def dcr_share(evidence: Evidence, rng: np.random.Generator) -> Scores:
    """How many synthetic rows have the target as the closest one among members and controls (DCR share).

    That the share of all votes that goes to members is more than theirs of the people is judged over people, not over synthetic
    rows: those are not independent, and by a binomial test one in ten fresh samples is a leak at a level of one in twenty.
    """
    return Scores.split(neighbours(evidence).votes, evidence)


def met(evidence: Evidence) -> Flags:
    """Which targets equal a synthetic row in every column, numbers to five digits; shape (members + controls,)."""
    return np.isin(_keys(evidence.pool.rounded(DIGITS)), _keys(evidence.synthetic.rounded(DIGITS)))


def rare_rows(evidence: Evidence) -> Flags:
    """Which targets differ from every other target in at least two columns; shape (members + controls,).

    A row that differs from another real row in one column only can be met by chance: a fresh sample of
    Adult holds one in a dozen of its unique rows. A row that stands alone is hardly ever met so.
    """
    cells = _cell_bits(evidence.pool.rounded(DIGITS))
    keys = cells.sum(axis=1, dtype=np.uint64)
    rare = _single(keys)
    for j in range(cells.shape[1]):
        rare &= _single(keys - cells[:, j])
    return rare


def rare_cells(evidence: Evidence) -> Flags:
    """Which cells hold a value of no other target; shape (targets, columns).

    A number has to lie a hundred steps of its column from every other target's as well: on the grid of a
    questionnaire or an instrument, small gaps between people's values are filled by chance. A step is the
    5 % quantile of the gaps between neighbouring values.
    """
    pool = evidence.pool
    numbers = [_lone(pool.numbers[:, j]) for j in range(pool.numbers.shape[1])]
    return np.column_stack([*numbers, _own(pool.codes, pool.codes >= 0)])


def single_cells(evidence: Evidence) -> Flags:
    """Which cells hold a value of no other target, wherever others' lie; shape (targets, columns)."""
    pool = evidence.pool
    return np.column_stack([_own(pool.numbers, ~np.isnan(pool.numbers)), _own(pool.codes, pool.codes >= 0)])


def _own(cells: npt.NDArray[np.generic], known: Flags) -> Flags:
    """Which known cells hold what no other in their column does."""
    return np.column_stack([np.zeros((len(cells), 0), dtype=bool), *(_single(column) for column in cells.T)]) & known


def _single(values: npt.NDArray[np.generic]) -> Flags:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray(counts[inverse] == 1)


def _lone(values: Floats) -> Flags:
    known, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    gaps = np.diff(known[~np.isnan(known)])
    if not len(gaps):
        return np.zeros(len(values), dtype=bool)
    step = np.quantile(gaps, 0.05)
    wide = np.concatenate([[True], gaps > ISOLATION_STEPS * step, [True]])
    lone = np.zeros(len(known), dtype=bool)
    lone[: len(gaps) + 1] = wide[:-1] & wide[1:] & (counts[: len(gaps) + 1] == 1)
    return lone[inverse]


def _cell_bits(table: Table) -> Bits:
    """A random-looking 64-bit number per cell, equal for equal cells of a column; shape (n, columns).

    Row keys are sums of these, so the key without one column is a subtraction.
    """
    numbers = np.where(np.isnan(table.numbers), np.nan, table.numbers).view(np.uint64)
    cells = np.concatenate([numbers, table.codes.astype(np.int64).view(np.uint64)], axis=1)
    return _mixed(cells + _mixed(np.arange(1, cells.shape[1] + 1, dtype=np.uint64)))


def lots(table: Table, rng: np.random.Generator) -> Bits:
    """A random number for each row, equal for equal rows: what decides ties then hangs neither on order nor on who is a member."""
    return _mixed(_keys(table) ^ np.uint64(rng.integers(2**63)))


def _keys(table: Table) -> Bits:
    return np.asarray(_cell_bits(table).sum(axis=1, dtype=np.uint64))


def _mixed(bits: Bits) -> Bits:
    """The finaliser of splitmix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(bits ^ (bits >> np.uint64(31)))
