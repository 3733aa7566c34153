"""Positive controls: leaks of a known size, planted in this very data. An attack that misses its own is void.

Each takes the evidence and gives a synthetic table with the leak.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from attacks.distances import spread
from attacks.evidence import Codes, Evidence, Floats, Index, Table
from attacks.grid import ways_of_writing
from attacks.membership import Coding, Tree
from attacks.nearest import Flags, hardly_any, rare_cells, rare_rows, single_cells

Cells = TypeVar("Cells", Floats, Codes)

COPIED = 0.02
REDRAWN = 0.5
NOISE = 0.01


def full_copy(evidence: Evidence, rng: np.random.Generator) -> Table:
    """The training table itself."""
    return evidence.train


def copies_of_rare_rows(evidence: Evidence, rng: np.random.Generator) -> Table:
    """2 % of the synthetic rows replaced by copies of members that stand alone."""
    return _with_copies(evidence, rare_rows(evidence), rng, evidence.members)


def near_copies_of_rare_rows(evidence: Evidence, rng: np.random.Generator) -> Table:
    """The same with a little noise on their numbers: up to a hundredth of half a standard deviation of each."""
    off = NOISE * spread(evidence) * rng.uniform(-1, 1, evidence.members.numbers.shape)
    noisy = Table(evidence.members.numbers + off, evidence.members.codes)
    return _with_copies(evidence, rare_rows(evidence), rng, noisy)


def copies_of_rare_values(evidence: Evidence, rng: np.random.Generator) -> Table:
    """2 % of the synthetic rows replaced by copies of members with a value of their own, written as the synthetic table is unless nearly
    nobody has one so."""
    ways = [(way, rare_cells(way).any(axis=1)) for way in ways_of_writing(evidence)]
    written, rare = ([(w, r) for w, r in ways if not hardly_any(r, evidence)] or ways)[-1]
    return _with_copies(evidence, rare, rng, written.members)


def copies_of_single_values(evidence: Evidence, rng: np.random.Generator) -> Table:
    """The same of members with a value of their own, however near others' are."""
    return _with_copies(evidence, single_cells(evidence).any(axis=1), rng, evidence.members)


def noisy_copies(evidence: Evidence, rng: np.random.Generator) -> Table:
    """Training rows of which half the cells are redrawn from the synthetic table's columns."""
    rows = len(evidence.synthetic)
    copies = evidence.train.take(rng.integers(len(evidence.train), size=rows))
    return Table(_redrawn(copies.numbers, evidence.synthetic.numbers, rng), _redrawn(copies.codes, evidence.synthetic.codes, rng))


def unnoised_tree(evidence: Evidence, rng: np.random.Generator) -> Table:
    """Rows sampled from the two-way marginals of the members under attack, without noise.

    Of those alone, for marginals of more people tell less of each: the leak is as large however large the table is.
    """
    members = evidence.members
    coding = Coding.of(members)
    codes = coding.encode(members)
    drawn = Tree.fit(codes, coding.sizes, smoothing=0.0).sample(len(evidence.synthetic), rng)
    rows = np.column_stack([_row_with_code(codes[:, j], drawn[:, j], rng) for j in range(codes.shape[1])])
    numeric = members.numbers.shape[1]
    return Table(np.take_along_axis(members.numbers, rows[:, :numeric], axis=0), np.take_along_axis(members.codes, rows[:, numeric:], axis=0))


def _with_copies(evidence: Evidence, rare: Flags, rng: np.random.Generator, members: Table) -> Table:
    chosen = rng.permutation(np.flatnonzero(rare[: len(evidence.members)]))
    chosen = chosen[: max(1, round(COPIED * len(evidence.synthetic)))]
    kept = rng.permutation(len(evidence.synthetic))[len(chosen) :]
    return evidence.synthetic.take(kept).then(members.take(chosen))


def _redrawn(cells: Cells, source: Cells, rng: np.random.Generator) -> Cells:
    other = np.take_along_axis(source, rng.integers(len(source), size=cells.shape), axis=0)
    return np.where(rng.random(cells.shape) < REDRAWN, other, cells)


def _row_with_code(codes: Index, wanted: Index, rng: np.random.Generator) -> Index:
    """For each wanted code a random row that has it, or any row if none has."""
    order = np.argsort(codes, kind="stable")
    start = np.searchsorted(codes[order], wanted, side="left")
    end = np.searchsorted(codes[order], wanted, side="right")
    place = start + (rng.random(len(wanted)) * (end - start)).astype(np.int64)
    return np.asarray(order[np.minimum(place, len(codes) - 1)])
