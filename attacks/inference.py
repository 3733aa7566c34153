"""Who knows all of a person but one column: does the synthetic table tell that column better for those it was made from?

The guess is the cell of the synthetic row that is closest by all other columns, made for every target and every column, so that no guess
is left out: an attacker who guesses only where the closest row is very close is the second measure, over the tenth of members and of
controls that are closest. A table that describes the population well lets cells of anyone be guessed; members' cells beyond
controls' are what leaked. (Giomi et al. 2023, section 6.4, for whom a low share of right guesses among few could read as low risk:
Francis and Wagner 2025.)

A number is guessed if the guess is within a tenth of half a standard deviation. A tolerance relative to the number itself, as is often
taken, is met by any guess where numbers are negative, and by none at zero.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from attacks.distances import neighbours_by_parts, spread
from attacks.evidence import Evidence
from attacks.nearest import Bits, lots
from attacks.scores import Scores

Floats = npt.NDArray[np.float64]

NEAR = 0.1
CLOSEST = 0.1


def inference(evidence: Evidence, rng: np.random.Generator) -> Scores:
    """1 where the cell is guessed, else 0, by column; shape (targets, columns). Raises `UnanswerableError` without two columns or rows."""
    return Scores.by_column(_guessed(evidence), evidence)


def confident_inference(evidence: Evidence, rng: np.random.Generator) -> Scores:
    """The same among a tenth of the members and of the controls, column by column: those whose closest row by the other columns is closest.

    A tenth of each, not of all: where rows were copied all of the closest are members, and there would be nobody to compare with. So these scores
    enter no test that shuffles labels. Of those that are equally close some are drawn by lot: with all of them one side's tenth could be half of it.
    """
    far, lot, n = neighbours_by_parts(evidence).how_far_without, lots(evidence.pool, rng), len(evidence.members)
    close = np.concatenate([_closest(far[side], lot[side]) for side in (slice(n), slice(n, None))])
    return replace(Scores.by_column(np.where(close, _guessed(evidence), np.nan), evidence), blind=False)


def _closest(far: Floats, lot: Bits) -> npt.NDArray[np.bool_]:
    """The tenth that is closest, column by column, ties by `lot`, shape (n,); the shape of `far`, (n, columns)."""
    place = np.argsort(np.lexsort((np.broadcast_to(lot[:, None], far.shape), far), axis=0), axis=0)
    return np.asarray(place < math.ceil(CLOSEST * len(far)))


def _guessed(evidence: Evidence) -> Floats:
    """Whether each cell of each target is that of its closest row by the other columns; missing is guessed as missing."""
    rows, pool, synthetic = neighbours_by_parts(evidence).without, evidence.pool, evidence.synthetic
    numeric = pool.numbers.shape[1]
    guess = np.take_along_axis(synthetic.numbers, rows[:, :numeric], axis=0)
    near = np.abs(guess - pool.numbers) <= NEAR * spread(evidence)
    numbers = near | (np.isnan(guess) & np.isnan(pool.numbers))
    codes = np.take_along_axis(synthetic.codes, rows[:, numeric:], axis=0) == pool.codes
    return np.asarray(np.concatenate([numbers, codes], axis=1), dtype=np.float64)
