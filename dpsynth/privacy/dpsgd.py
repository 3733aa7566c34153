"""DP-SGD of a fixed plan, as one charge.

Statement. A plan takes `steps` steps; each includes every unit with probability `rate`, independently, and adds Gaussian noise of
`sigma` clipping norms to the clipped sum of the included units' gradients. It costs mu_of(plan, delta)^2 and the event delta `delta`:
outside an event of probability at most delta, telling two neighbouring tables apart from all it leaves behind is no easier than
telling N(0, 1) from N(mu, 1). That is a charge in either currency, for what is mu-GDP is (mu^2 / 2)-zCDP.

Sensitivity. A unit moves a step's sum by at most the clipping norm, if the norm of the unit's *summed* gradient is clipped; the caller
sees to that, and to inclusion by unit. Then one step is dominated by the pair (1 - q) N(0, sigma^2) + q N(1, sigma^2) against
N(0, sigma^2) where a unit is removed, and by the same pair the other way round where one is added; adaptive composition is
dominated by the product of the pairs, whatever each step learnt from those before it (Zhu, Dong, Wang 2022, arXiv 2106.08567:
dominating pairs under Poisson sampling and under composition). Hence a fixed plan, and no other.

All epsilon at once. With the losses of a product rounded pessimistically to a grid (Doroshenko et al. 2022, arXiv 2207.04380), delta
is a convex function of e^epsilon, linear between the points of the grid: there it is power - e^epsilon error, the line of one test.
The promise, delta + (1 - delta) delta_G(epsilon; mu), is the upper envelope of its own tests' lines. So it is above the
plan's delta between two points if it has a test of the same error and no less power, and the mu for that is known in closed form; the
largest over the grid serves. Beyond the point where the plan's delta has fallen to the event's the promise is above it anyway, and
below 0 the delta of a pair is that of the reversed pair above 0. No mu is searched for, and no epsilon is left out.

Arithmetic. `ROUNDING` a step is added to the plan's delta, for that of a step is computed to a few 1e-16, and the transform that
composes them errs by less than that (measured against extended precision: tests/privacy/test_dpsgd.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtri

from dpsynth.privacy.cost import Cost
from dpsynth.privacy.currency import GDP, Currency
from dpsynth.privacy.gdp import SAFETY

LEAST_SIGMA, MOST_SIGMA = 0.2, 1024.0
ROUNDING = 2e-15
CLOSE = 1e-4
FINENESS, MOST_LOSSES, MOST_EPSILON = 64, 50_000, 500.0


@dataclass(frozen=True)
class Plan:
    """What is fixed before the first step.

    Args:
        rate: the probability q of each unit to be in a batch, independently of all others.
        sigma: the noise's scale in clipping norms.
        steps: how many there are; who stops earlier has paid for all.

    Raises:
        ValueError: no such plan, or noise of less than a fifth of the clipping norm.
    """

    rate: float
    sigma: float
    steps: int

    def __post_init__(self) -> None:
        if not (0 < self.rate <= 1 and LEAST_SIGMA <= self.sigma <= MOST_SIGMA and type(self.steps) is int and self.steps >= 1):
            raise ValueError(f"a plan has a rate in (0, 1], a sigma from {LEAST_SIGMA} to {MOST_SIGMA:g}, and a whole number of steps")


def cost_of(plan: Plan, delta: float, currency: Currency = GDP) -> Cost:
    """What the plan costs with event delta `delta`. Raises `ValueError` as `mu_of` does, and where no mu suffices."""
    mu = mu_of(plan, delta)
    if mu == math.inf:
        raise ValueError("no mu bounds this plan: take more noise, fewer steps, or a larger event delta")
    return Cost.measured(currency, Fraction(mu) ** 2, delta)


@lru_cache(maxsize=100)
def mu_of(plan: Plan, delta: float) -> float:
    """The least mu with delta_plan(e) <= delta + (1 - delta) delta_G(e; mu) for all e, rounded up; infinite where there is none.

    Raises:
        ValueError: `delta` is below what the arithmetic of so many steps resolves, 2e-15 each.
    """
    spare = delta - ROUNDING * plan.steps
    if not 0 < spare < delta < 1:
        raise ValueError(f"the event delta of {plan.steps} steps is above {ROUNDING * plan.steps:g} and below 1")
    losses = _losses(plan)
    last = losses.get_epsilon_for_delta(spare)
    if last > MOST_EPSILON:
        return math.inf
    interval = _interval(plan)
    epsilon = np.arange(math.ceil(last / interval) + 2) * interval
    return _least_mu(np.exp(epsilon), losses.get_delta_for_epsilon(epsilon) + ROUNDING * plan.steps, delta) * (1 + SAFETY)


def sigma_of(mu: float, rate: float, steps: int, delta: float) -> float:
    """The least noise, to a ten-thousandth, at which the plan's `mu_of` is at most `mu`; rounded up.

    Raises:
        ValueError: as `Plan` and `mu_of` do, and where no noise suffices.
    """

    def excess(log_sigma: float) -> float:
        return math.log(min(mu_of(Plan(rate, math.exp(log_sigma), steps), delta), 1e9) / mu)

    least, most, stride = math.log(LEAST_SIGMA) + SAFETY, math.log(MOST_SIGMA) - SAFETY, 0.1
    low = high = min(max(-math.log(math.log1p(mu**2 / (rate**2 * steps))) / 2, least), most)  # by the central limit, a little too low
    while excess(high) > 0:
        if high == most:
            raise ValueError("no noise makes so many steps so cheap: take fewer, or pay more")
        low, high = high, min(high + stride, most)
    while excess(low) <= 0:
        if low == least:
            return math.exp(least)
        low, high = max(low - stride, least), low
    sigma = math.exp(brentq(excess, low, high, xtol=CLOSE / 4))
    while mu_of(Plan(rate, sigma, steps), delta) > mu:
        sigma *= 1 + CLOSE / 2
    return sigma


def _least_mu(odds: Any, deltas: Any, delta: float) -> float:
    """The mu that gives the promise, at each error of the plan's tests, no less power than the plan has.

    Args:
        odds: e^epsilon at the points of the grid, from 1 to where `deltas` is below `delta`, shape (n,).
        deltas: the plan's delta there.
    """
    error = -np.diff(deltas) / np.diff(odds)
    power = deltas[:-1] + odds[:-1] * error
    told = power > delta
    with np.errstate(invalid="ignore"):
        needed = ndtri((power[told] - delta) / (1 - delta)) - ndtri(error[told] / (1 - delta))
    return float(np.max(np.nan_to_num(needed, nan=math.inf), initial=0.0))


def _losses(plan: Plan) -> Any:
    """The plan's privacy losses, pessimistic, both where a unit is removed and where one is added."""
    from dp_accounting.pld import privacy_loss_distribution

    one = privacy_loss_distribution.from_gaussian_mechanism(plan.sigma, sampling_prob=plan.rate, value_discretization_interval=_interval(plan))
    return one.self_compose(plan.steps)


def _interval(plan: Plan) -> float:
    """Between losses of the grid: a sixty-fourth of one step's spread, or so that one step has some 50,000 of them at most."""
    spread = min(plan.rate * math.sqrt(math.expm1(plan.sigma**-2)), 1 / plan.sigma)
    largest = math.log1p(plan.rate * math.expm1(10 / plan.sigma + plan.sigma**-2 / 2))
    return max(spread / FINENESS, largest / MOST_LOSSES)
