"""Was this person in the training table? A density ratio on the very marginals that the maker measured.

The attack of Golob et al. (MAMA-MIA, 2024) by somebody who knows the mechanism's specification: a generator that counts spends its budget
on these marginals and on nothing else, so what is left of a person in its rows is in the person's own cells of them. A target's score is
the sum over the marginals of log p_synthetic(cell) - log p_reference(cell).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from attacks.evidence import Evidence, Table
from attacks.membership import SMOOTHING, Codes, Coding, Floats
from attacks.scores import Scores, UnanswerableError
from attacks.targets import Score

Marginal = Collection[str]


def on_marginals(measured: Sequence[Marginal]) -> Score:
    """The attack on these marginals, each named by its columns. Raises `UnanswerableError` without either table."""

    def attack(evidence: Evidence, rng: np.random.Generator) -> Scores:
        if not len(evidence.reference) or not len(evidence.synthetic):
            raise UnanswerableError("underpowered", "needs reference rows and synthetic rows")
        coding = Coding.of(evidence.reference.then(evidence.synthetic))
        targets, synthetic, reference = (coding.encode(t) for t in (evidence.pool, evidence.synthetic, evidence.reference))
        cliques = sorted({tuple(sorted(map(evidence.names.index, m))) for m in measured})
        ratios = [_log_shares(targets, synthetic, c, coding.sizes) - _log_shares(targets, reference, c, coding.sizes) for c in cliques]
        return Scores.split(np.sum(ratios, axis=0), evidence)

    return attack


def members_themselves(evidence: Evidence, rng: np.random.Generator) -> Table:
    """The rows of those under attack: the leak is as large however large the table is."""
    return evidence.members


def _log_shares(targets: Codes, rows: Codes, clique: tuple[int, ...], sizes: tuple[int, ...]) -> Floats:
    """The logarithm of what share of the rows is in each target's cell, shape (targets,), drawn towards what the columns alone would make it by
    `SMOOTHING` rows' worth, and these towards uniform by half a row a cell."""
    alone = np.prod([_shares(targets[:, c], rows[:, c], sizes[c]) for c in clique], axis=0)
    cells = np.unique(np.concatenate([targets, rows])[:, clique], axis=0, return_inverse=True)[1].ravel()
    counts = np.bincount(cells[len(targets) :], minlength=cells.max() + 1)
    return np.asarray(np.log((counts[cells[: len(targets)]] + SMOOTHING * alone) / (len(rows) + SMOOTHING)))


def _shares(targets: Codes, rows: Codes, size: int) -> Floats:
    counts = np.bincount(rows, minlength=size)
    return np.asarray((counts[targets] + 0.5) / (len(rows) + 0.5 * size))
