"""An audit of a mechanism's own code: many runs on two neighbouring tables, and how far apart their outputs are at least.

Statement. With `without` and `with_unit` the statistics of independent runs on two neighbouring tables, a mu-GDP mechanism keeps
Phi^-1(P[with_unit > t]) - Phi^-1(P[without > t]) at or below mu for every threshold t and either sign; where an event of probability
delta was charged apart, P[with_unit > t] less delta does. The threshold is chosen on the first half of the runs; the bound is
Clopper-Pearson's on the other half, so it is one-sided valid at `alpha`, which all statistics share.

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
        mu_stated: what its steps are worth by their own account, at least; 0 where nobody added that up.
        detectable: the factor by which the mechanism's mu would have had to exceed its charge to be proved (even odds), by a statistic of `runs`.
        runs: on each table, of the statistics that have most.
    """

    mu_charged: float
    mu_low: float
    by: str
    detectable: float
    runs: int
    alpha: float
    mu_stated: float = 0.0

    @property
    def violated(self) -> bool:
        return max(self.mu_low, self.mu_stated) > self.mu_charged

    @property
    def words(self) -> str:
        if self.mu_stated > self.mu_charged:
            return (
                f"violation proved by its steps' own noise scales: together they are worth {self.mu_stated:.3f}, charged were {self.mu_charged:.3f}"
            )
        if self.violated:
            return f"violation proved by {self.by}: mu is at least {self.mu_low:.3f}, charged were {self.mu_charged:.3f}"
        seen = f"a factor of {self.detectable:.1f} would have been seen" if self.detectable < math.inf else "too few runs to have seen any factor"
        return f"no violation found (mu at least {self.mu_low:.3f} of {self.mu_charged:.3f}); {seen}"


def audit(
    without: Mapping[str, Floats],
    with_unit: Mapping[str, Floats],
    mu_charged: float,
    alpha: float = 1e-3,
    event_delta: float = 0.0,
    mu_stated: float = 0.0,
) -> Audit:
    """Bound mu from below by each statistic (arrays of one number a run, the same names in both), corrected for their number.

    Args:
        event_delta: the probability of an event that mu does not cover, which was charged apart.
        mu_stated: what the mechanism's steps are worth by their own account.
    """
    share = alpha / (2 * len(without))
    bounds = {name: _either_side(a, with_unit[name], share, event_delta) for name, a in without.items()}
    by = max(bounds, key=lambda name: bounds[name])
    runs = max(min(len(a), len(with_unit[name])) for name, a in without.items())
    return Audit(mu_charged, max(bounds[by], 0.0), by, _detectable(mu_charged, runs // 2, share, event_delta), runs, alpha, mu_stated)


def _either_side(without: Floats, with_unit: Floats, alpha: float, delta: float) -> float:
    return max(_one_sided(without, with_unit, alpha, delta), _one_sided(-without, -with_unit, alpha, delta))


def _one_sided(without: Floats, with_unit: Floats, alpha: float, delta: float) -> float:
    """mu from below by the share of runs above the threshold that looked best on the first half."""
    (seen0, test0), (seen1, test1) = (np.array_split(a, 2) for a in (without, with_unit))
    cuts = np.unique(np.quantile(np.concatenate([seen0, seen1]), np.linspace(0, 1, MOST_THRESHOLDS)))
    best = max(cuts, key=lambda cut: mu_from_counts(*_above(seen0, cut), *_above(seen1, cut), alpha, delta))
    return mu_from_counts(*_above(test0, best), *_above(test1, best), alpha, delta)


def _above(numbers: Floats, cut: float) -> tuple[int, int]:
    return int((numbers > cut).sum()), len(numbers)


def mu_from_counts(false: int, runs0: int, true: int, runs1: int, alpha: float, delta: float = 0.0) -> float:
    """Phi^-1(lower bound of the true positive rate, less delta) - Phi^-1(upper bound of the false one), each at alpha / 2."""
    fpr = 1.0 if false == runs0 else float(stats.beta.ppf(1 - alpha / 2, false + 1, runs0 - false))
    tpr = 0.0 if true == 0 else float(stats.beta.ppf(alpha / 2, true, runs1 - true + 1)) - delta
    return float(stats.norm.ppf(tpr) - stats.norm.ppf(fpr)) if tpr > 0 and fpr < 1 else -math.inf


def _detectable(mu: float, runs: int, alpha: float, delta: float) -> float:
    """The least factor x at which expected counts of an x mu-GDP pair, cut in its middle, prove more than mu."""
    for factor in np.arange(1.05, 50, 0.05):
        tpr = stats.norm.cdf(factor * mu / 2)
        if mu_from_counts(round((1 - tpr) * runs), runs, round(tpr * runs), runs, alpha, delta) > mu:
            return float(factor)
    return math.inf
