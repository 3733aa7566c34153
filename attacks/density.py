"""Was this person in the training table? Densities of the synthetic and of the reference table around a target, from distances alone.

The density of a table at x is the mean over its rows y of exp(-D(x, y) / WIDTH), D the sum over columns of the one distance of all
attacks: a product of one kernel a column, exp(-[x != y] / WIDTH) for categories (Aitchison and Aitken, Biometrika 1976) and
exp(-min(|x - y|, 1) / WIDTH) for numbers. It is one density for mixed columns, of no one-hot columns, singular nowhere, and its
normalising constant is the same for both tables, so it leaves every ratio. What lies beyond the CLOSE closest rows is left out.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

from attacks.distances import CLOSE, neighbours, surroundings
from attacks.evidence import Evidence
from attacks.scores import Scores, UnanswerableError

Floats = npt.NDArray[np.float64]

WIDTH = 0.3
FEW = 4


def density_ratio(evidence: Evidence, rng: np.random.Generator) -> Scores:
    """log p_synthetic(x) - log p_reference(x) of each target (DOMIAS; van Breugel et al., AISTATS 2023)."""
    _require_reference(evidence)
    synthetic = log_density(neighbours(evidence).near, len(evidence.synthetic), evidence)
    reference = log_density(surroundings(evidence).to_reference, len(evidence.reference), evidence)
    return Scores.split(synthetic - reference, evidence)


def gen_lra(evidence: Evidence, rng: np.random.Generator) -> Scores:
    """How much likelier the synthetic rows near a target are if it is added to the reference (Gen-LRA; Ward et al. 2025).

    The density of the reference and one more row x at s is (n p(s) + K(s, x)) / (n + 1), so the sum over the rows s near x of
    log(1 + K(s, x) / n p(s)) is the log likelihood ratio up to a constant: no density is fitted for a target.
    """
    _require_reference(evidence)
    near, at = neighbours(evidence).near, neighbours(evidence).near_at
    there = log_density(surroundings(evidence).from_rows(evidence.synthetic), 1, evidence)
    gain = np.log1p(np.exp(np.minimum(-near * evidence.pool.width / WIDTH - there[at], 700.0)))
    return Scores.split(np.where(at >= 0, gain, 0.0).sum(axis=1), evidence)


def plagiarism(evidence: Evidence, rng: np.random.Generator) -> Scores:
    """The share of synthetic rows among the closest of synthetic and reference rows together (DPI; Ward et al. 2024); ties by halves.

    The sides are made equal by weight, 1 in all for either table. As many rows are looked at as weigh what FEW of the larger table do.
    """
    _require_reference(evidence)
    near = neighbours(evidence).near, surroundings(evidence).to_reference
    weights = 1 / len(evidence.synthetic), 1 / len(evidence.reference)
    radius = _radius(np.concatenate(near, axis=1), np.repeat(weights, CLOSE), FEW * min(weights))
    synthetic, reference = (w * ((far < radius) + 0.5 * (far == radius)).sum(axis=1) for w, far in zip(weights, near, strict=True))
    return Scores.split(synthetic / (synthetic + reference), evidence)


def _radius(far: Floats, weight: Floats, enough: float) -> Floats:
    """How far out rows of these weights add up to `enough`, shape (targets, 1)."""
    order = np.argsort(far, axis=1)
    reached = np.argmax(np.cumsum(weight[order], axis=1) >= enough * (1 - 1e-9), axis=1)
    return np.take_along_axis(far, np.take_along_axis(order, reached[:, None], axis=1), axis=1)


def log_density(near: Floats, rows: int, evidence: Evidence) -> Floats:
    """Up to the kernel's constant, shape (targets,); -inf without any row."""
    return np.asarray(logsumexp(-near * evidence.pool.width / WIDTH, axis=1) - np.log(rows))


def _require_reference(evidence: Evidence) -> None:
    if not len(evidence.reference):
        raise UnanswerableError("underpowered", "needs reference rows")
