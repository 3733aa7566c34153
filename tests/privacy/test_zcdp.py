"""zCDP against a slow twin in mpmath (another's accountant: test_gdp.py)."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from mpmath import exp, log, mp, mpf

from dpsynth.privacy import zcdp

mp.dps = 50
EPSILONS = (1e-6, 1e-3, 0.03, 0.3, 1.0, 3.0, 10.0, 100.0, 1e3)
RHOS = (1e-15, 1e-12, 1e-8, 1e-4, 1e-2, 0.1, 1.0, 5.0, 50.0)
DELTAS = (1e-300, 1e-100, 1e-20, 1e-9, 1e-6, 1e-3, 0.09)
CLOSE = 1 + mpf("1e-6")  # how far above the truth a cost may be, and how far below it a promise


def at_order(a: mpf, epsilon: float, rho: float) -> mpf:
    """Prop. 12 of arXiv 2004.00010 as it is printed: its delta at one order, as a logarithm."""
    return (a - 1) * (a * mpf(rho) - mpf(epsilon)) - log(a - 1) + a * log(1 - 1 / a)


def true_delta(epsilon: float, rho: float) -> mpf:
    """Its least value over the orders: a grid that is refined around its least point."""
    low, high = mpf(-14), mpf(14)
    for _ in range(60):
        grid = [low + (high - low) * i / 12 for i in range(13)]
        values = [at_order(1 + mpf(10) ** g, epsilon, rho) for g in grid]
        best = min(range(13), key=values.__getitem__)
        low, high = grid[max(best - 1, 0)], grid[min(best + 1, 12)]
    return min(exp(min(values)), mpf(1))


@pytest.mark.parametrize("rho", RHOS)
def test_delta_of_is_the_least_over_all_orders(rho: float) -> None:
    for epsilon in (0.0, *EPSILONS):
        truth = true_delta(epsilon, rho)
        assert truth <= mpf(zcdp.delta_of(epsilon, rho)) <= truth * CLOSE + mpf("1e-307"), (epsilon, rho)


@pytest.mark.parametrize("rho", [150.0, 1e6, 1e300])
def test_a_rho_beyond_all_bounds_promises_nothing(rho: float) -> None:
    assert [zcdp.delta_of(epsilon, rho) for epsilon in (0.0, 1.0)] == [1.0, 1.0]
    assert 0 < zcdp.delta_of(1e308, rho) <= (1e-300 if rho < 1e300 else 1.0)
    assert zcdp.epsilon_of(1e-9, 1e100) == math.inf


@pytest.mark.parametrize("epsilon", EPSILONS)
@pytest.mark.parametrize("delta", DELTAS)
def test_rho_of_promises_no_more_and_little_less(epsilon: float, delta: float) -> None:
    rho = zcdp.rho_of(epsilon, delta)
    assert rho > 0
    assert true_delta(epsilon, rho) <= delta
    assert true_delta(epsilon, mpf(rho) * CLOSE) > delta


@pytest.mark.parametrize("rho", RHOS)
@pytest.mark.parametrize("delta", DELTAS)
def test_epsilon_of_is_an_upper_bound_and_tight(rho: float, delta: float) -> None:
    epsilon = zcdp.epsilon_of(delta, rho)
    assert true_delta(epsilon, rho) <= delta
    if epsilon > 0:
        assert true_delta(epsilon / CLOSE, rho) > delta


@pytest.mark.parametrize("sigma", [0.5, 0.8, 1.0, 3.0, 30.0])
def test_the_discrete_gaussian_has_its_divergence_at_most(sigma: float) -> None:
    """Renyi divergence between the noise and itself shifted by one, summed cell by cell, at orders small and large."""
    reach = math.ceil(60 * sigma) + 60
    rho = zcdp.discrete_gaussian_rho(sigma)
    assert rho == Fraction(1) / (2 * Fraction(sigma) ** 2)
    mass = {x: exp(-(mpf(x) ** 2) / (2 * mpf(sigma) ** 2)) for x in range(-reach, reach + 1)}
    total = sum(mass.values())
    for order in (1.01, 1.5, 2.0, 5.0, 16.0):
        a = mpf(order)
        moment = sum(mass[x] ** a * mass[x - 1] ** (1 - a) for x in range(1 - reach, reach + 1)) / total
        assert log(moment) / (a - 1) <= a * mpf(rho.numerator) / rho.denominator * (1 + mpf("1e-12"))


@pytest.mark.parametrize("epsilon", [1e-4, 0.1, 1.0, 5.0])
def test_selection_costs_the_worst_pair_of_bounded_range(epsilon: float) -> None:
    """Two points with likelihood ratios e^t and e^(t - eps): no t and no order exceeds order * eps^2 / 8 (arXiv 2004.07223)."""
    e, rho = mpf(epsilon), mpf(epsilon) ** 2 / 8
    assert zcdp.selection_rho(epsilon) == Fraction(epsilon) ** 2 / 8
    worst = mpf(0)
    for i in range(1, 40):
        t = e * i / 40
        q = (1 - exp(t - e)) / (exp(t) - exp(t - e))
        for order in ("1.0001", "1.1", "2", "8", "100"):
            a = mpf(order)
            divergence = log(q * exp(a * t) + (1 - q) * exp(a * (t - e))) / (a - 1)
            worst = max(worst, divergence / (a * rho))
    assert 0.75 < worst <= 1 + mpf("1e-10")


@pytest.mark.parametrize("rho", [1e-25, 1e-12, 1e-3, 0.7, 1.99])
def test_sigma_and_epsilon_that_rho_buys_cost_no_more_and_little_less(rho: float) -> None:
    if rho > 1e-20:
        assert Fraction(rho) / (1 + Fraction("1e-6")) <= zcdp.discrete_gaussian_rho(zcdp.discrete_gaussian_sigma(rho)) <= rho
    assert Fraction(rho) / (1 + Fraction("1e-6")) <= zcdp.selection_rho(zcdp.selection_epsilon(rho)) <= rho
