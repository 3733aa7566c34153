"""A generator's claim put to the test in one run, with many canaries: rows that are in the table or not by the toss of a coin each.

Each canary alone holds a category of the one column, so its own noised count says whether it is in. The auditor guesses the highest counts in
and the lowest out, and under (epsilon, delta)-DP is right no more often than `one_run_p` allows. One run can only see coarse faults, such as
noise that is missing; but it can do so at any budget, that of a release too, and takes less than a second.

Reference: Steinke, Nasr, Jagielski 2023 (arXiv 2305.08846), Theorem 5.2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from attacks.claim import SHARES, Claim, one_run_p
from dpsynth.privacy import gdp
from dpsynth.releasing.audited import ALPHA
from dpsynth.releasing.witness import Witness
from dpsynth.schema import Schema
from dpsynth.synthesizers import Generator

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
CANARIES = 1000
MOST_FACTOR = 50
EPSILON, DELTA = 1.0, 1e-6
NAMES = [f"c{i}" for i in range(CANARIES)]
SCHEMA = Schema.from_dict(
    {
        "name": "canaries",
        "privacy_unit": {"unit": "row"},
        "columns": [{"name": "canary", "type": "categorical", "categories": NAMES, "categories_basis": "publisher"}],
    }
)


@dataclass(frozen=True)
class Once:
    """What one run says of a claim of (epsilon, delta).

    Attributes:
        p: the p-value of the claim.
        detectable: the factor by which mu would have had to exceed that of the claim to be refuted (even odds).
        alpha: how often a sound generator may be refuted.
    """

    epsilon: float
    delta: float
    p: float
    detectable: float
    alpha: float

    @property
    def refuted(self) -> bool:
        return self.p < self.alpha

    @property
    def words(self) -> str:
        could = f"a factor of {self.detectable:.1f} in mu would have been" if self.detectable < math.inf else "at this budget it could not have been"
        verdict = "refuted" if self.refuted else f"not refuted; {could}"
        return f"one run with {CANARIES:,} canaries at ({self.epsilon:g}, {self.delta:g}): claim {verdict} (p = {self.p:.2g})"


def audit_once(kind: type[Generator], epsilon: float = EPSILON, delta: float = DELTA, alpha: float = ALPHA) -> Once:
    """Fit the generator once on a table that holds each canary with probability one half.

    Raises:
        BadInput: a budget that is none.
    """
    inside = np.random.default_rng().random(CANARIES) < 0.5
    witness = Witness(pd.DataFrame({"canary": np.array(NAMES, dtype=object)[inside]}), SCHEMA)
    kind(epsilon, delta).fit(witness)
    whole = [answer for answer in witness.counted if answer.values.size == CANARIES + 1]
    scores = np.sum([answer.values[:CANARIES] / answer.sigma**2 for answer in whole], axis=0)
    claim = Claim(epsilon, delta)
    return Once(epsilon, delta, _p(scores, inside, claim), _detectable(claim, alpha), alpha)


def _p(scores: Floats, inside: Bools, claim: Claim) -> float:
    """p-value of the claim: least over the numbers of guesses, times how many there were."""
    ranked = inside[np.argsort(-scores, kind="stable")]
    halves = [max(int(share * CANARIES / 2), 1) for share in SHARES]
    return min(1.0, len(halves) * min(one_run_p(CANARIES, 2 * h, int(ranked[:h].sum() + (~ranked[-h:]).sum()), claim) for h in halves))


def _detectable(claim: Claim, alpha: float) -> float:
    """The least factor at which the scores expected of Gaussian noise refute the claim."""
    mu = gdp.mu_of(claim.epsilon, claim.delta)
    inside = np.arange(CANARIES) % 2 == 1
    places = stats.norm.ppf((np.arange(CANARIES) // 2 + 0.5) / (CANARIES / 2))
    factors = np.arange(1, MOST_FACTOR, 0.1)
    return next((float(x) for x in factors if _p(places + inside * x * mu, inside, claim) < alpha), math.inf)
