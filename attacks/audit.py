"""An audit of a mechanism's own code: many runs on two neighbouring tables, and how far apart their outputs are at least.

Statement. With `without` and `with_unit` the statistics of independent runs on two neighbouring tables, a mu-GDP mechanism keeps
Phi^-1(P[with_unit > t]) - Phi^-1(P[without > t]) at or below mu for every threshold t and either sign. The threshold
is chosen on the first half of the runs; the bound is Clopper-Pearson's on the other half, so it is one-sided valid at `alpha`.

References: Nasr et al. 2023 (arXiv 2302.07956) for mu from error rates; Jagielski et al. 2020 (arXiv 2006.07709).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

Floats = npt.NDArray[np.float64]
MOST_THRESHOLDS = 64


@dataclass(frozen=True)
class Audit:
    """What many runs prove of a mechanism that charged `mu_charged`.

    Attributes:
        mu_low: the largest lower bound over all statistics, at one minus `alpha` jointly.
        by: the statistic that gave it.
        detectable: the factor by which the mechanism's mu would have had to exceed its charge to be proved (even odds).
    """

    mu_charged: float
    mu_low: float
    by: str
    detectable: float
    runs: int
    alpha: float

    @property
    def violated(self) -> bool:
        return self.mu_low > self.mu_charged

    @property
    def words(self) -> str:
        if self.violated:
            return f"violation proved by {self.by}: mu is at least {self.mu_low:.3f}, charged were {self.mu_charged:.3f}"
        return f"no violation found (mu at least {self.mu_low:.3f} of {self.mu_charged:.3f}); a factor of {self.detectable:.1f} would have been seen"


def audit(without: Mapping[str, Floats], with_unit: Mapping[str, Floats], mu_charged: float, alpha: float = 1e-3) -> Audit:
    """Bound mu from below by each statistic (arrays of one number a run, the same names in both), corrected for their number."""
    share = alpha / (2 * len(without))
    bounds = {name: max(_one_sided(a, with_unit[name], share), _one_sided(-a, -with_unit[name], share)) for name, a in without.items()}
    by = max(bounds, key=lambda name: bounds[name])
    runs = min(len(a) for a in (*without.values(), *with_unit.values()))
    return Audit(mu_charged, max(bounds[by], 0.0), by, _detectable(mu_charged, runs // 2, share), runs, alpha)


def _one_sided(without: Floats, with_unit: Floats, alpha: float) -> float:
    """mu from below by the share of runs above the threshold that looked best on the first half."""
    (seen0, test0), (seen1, test1) = (np.array_split(a, 2) for a in (without, with_unit))
    cuts = np.unique(np.quantile(np.concatenate([seen0, seen1]), np.linspace(0, 1, MOST_THRESHOLDS)))
    best = max(cuts, key=lambda cut: mu_from_counts(int((seen0 > cut).sum()), len(seen0), int((seen1 > cut).sum()), len(seen1), alpha))
    return mu_from_counts(int((test0 > best).sum()), len(test0), int((test1 > best).sum()), len(test1), alpha)


def mu_from_counts(false: int, runs0: int, true: int, runs1: int, alpha: float) -> float:
    """Phi^-1(lower bound of the true positive rate) - Phi^-1(upper bound of the false one), each at alpha / 2."""
    fpr = 1.0 if false == runs0 else float(stats.beta.ppf(1 - alpha / 2, false + 1, runs0 - false))
    tpr = 0.0 if true == 0 else float(stats.beta.ppf(alpha / 2, true, runs1 - true + 1))
    return float(stats.norm.ppf(tpr) - stats.norm.ppf(fpr)) if tpr > 0 and fpr < 1 else -math.inf


def _detectable(mu: float, runs: int, alpha: float) -> float:
    """The least factor x at which expected counts of an x mu-GDP pair, cut in its middle, prove more than mu."""
    for factor in np.arange(1.05, 50, 0.05):
        tpr = stats.norm.cdf(factor * mu / 2)
        if mu_from_counts(round((1 - tpr) * runs), runs, round(tpr * runs), runs, alpha) > mu:
            return float(factor)
    return math.inf
