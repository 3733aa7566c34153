"""Zero-concentrated differential privacy: what a mechanism costs and what a cost promises, as the papers we compare with count.

Statement. A mechanism is rho-zCDP if, for every alpha > 1, the Renyi divergence of order alpha between its outputs on two
neighbouring tables is at most alpha rho. Values of rho add up under composition, also when later mechanisms are chosen from
earlier answers. Each function here errs on the side of privacy: a promise is rounded down, a cost is exact or rounded up.

Sensitivity. The discrete Gaussian of scale sigma on integer counts that a unit moves by s in L2 is s^2 / (2 sigma^2)-zCDP, as the
continuous one is; a selection of bounded range epsilon is epsilon^2 / 8-zCDP.

References: Bun, Steinke 2016 (arXiv 1605.02065); Canonne, Kamath, Steinke 2020 (arXiv 2004.00010), Prop. 12 for delta, Thm. 4 for the
discrete Gaussian; Cesar, Rogers 2021 (arXiv 2004.07223) for selection; Whitehouse et al. 2023 (arXiv 2203.05481) for the filter.
"""

from __future__ import annotations

import math
from fractions import Fraction

from dpsynth.privacy.bisection import bracket
from dpsynth.privacy.gdp import MAX_SIGMA, MIN_SIGMA, SAFETY, require_sigma, rounded_up

LEAST_ORDER = 1e-300


def delta_of(epsilon: float, rho: float) -> float:
    """The least delta that Prop. 12 gives a rho-zCDP mechanism at `epsilon`, rounded up.

    With t = alpha - 1, log delta is the least value of t ((1 + t) rho - epsilon) - t log(1 + 1/t) - log(1 + t). Any t > 0 gives a valid
    delta, so that an inexact search costs accuracy and never privacy; the derivative, (1 + 2 t) rho - epsilon - log(1 + 1/t), rises.
    """
    if rho <= 0:
        return 0.0
    t, _ = bracket(lambda t: (1 + 2 * t) * rho - epsilon - math.log1p(1 / t) if t > LEAST_ORDER else -math.inf, 0.0, 1.0)
    if t <= LEAST_ORDER:  # so large a rho that order 1 itself, where delta is 1, is the best
        return 1.0
    exponent = t * ((1 + t) * rho - epsilon) - t * math.log1p(1 / t) - math.log1p(t)
    return min(rounded_up(math.exp(exponent)), 1.0)


def rho_of(epsilon: float, delta: float) -> float:
    """The largest rho whose rho-zCDP implies (epsilon, delta)-DP by Prop. 12, rounded down."""
    return bracket(lambda rho: delta_of(epsilon, rho) - delta, 0.0, 1.0)[0]


def epsilon_of(delta: float, rho: float) -> float:
    """The least epsilon >= 0 for which rho-zCDP implies (epsilon, delta)-DP by Prop. 12, rounded up."""
    if delta_of(0.0, rho) <= delta:
        return 0.0
    return bracket(lambda epsilon: delta - delta_of(epsilon, rho), 0.0, 1.0)[1]


def discrete_gaussian_rho(sigma: float) -> Fraction:
    """rho of one integer count with discrete Gaussian noise of scale `sigma`, when a unit moves it by 1; exact.

    Raises:
        ValueError: `sigma` is below the .5 that every currency asks for: the tail behind a threshold is established from there on.
    """
    require_sigma(sigma)
    return 1 / (2 * Fraction(sigma) ** 2)


def discrete_gaussian_sigma(rho: float) -> float:
    """The least noise scale whose `discrete_gaussian_rho` is at most `rho`, rounded up; `MAX_SIGMA` where `rho` is too little for any."""
    if rho <= 1 / (2 * MAX_SIGMA**2):
        return MAX_SIGMA
    return max(math.sqrt(1 / (2 * rho)) * (1 + SAFETY), MIN_SIGMA)


def selection_rho(epsilon: float) -> Fraction:
    """rho of a selection of bounded range `epsilon`; exact."""
    return Fraction(epsilon) ** 2 / 8


def selection_epsilon(rho: float) -> float:
    """The bounded range that costs `rho`, rounded down."""
    return math.sqrt(8 * rho) * (1 - SAFETY)
