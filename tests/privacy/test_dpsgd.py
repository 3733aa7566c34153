"""DP-SGD of a fixed plan: the promised curve is above the plan's everywhere, and no lower one is."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from dp_accounting.pld import common
from dp_accounting.pld import privacy_loss_distribution as pld
from scipy import fft
from scipy.special import ndtr, ndtri

from dpsynth.privacy import GDP, ZCDP, Cost, Currency, dpsgd, gdp
from dpsynth.privacy.dpsgd import Plan, cost_of, mu_of, sigma_of

SURVEYED = Plan(256 / 30_000, 1.1, 5_859)
PLANS = [(SURVEYED, 1e-7), (Plan(0.5, 5.0, 100), 1e-9), (Plan(0.01, 0.5, 1), 1e-8), (Plan(1.0, 3.0, 5), 1e-6), (Plan(0.01, 20.0, 1_000), 1e-10)]


def promise(epsilon: float, mu: float, delta: float) -> float:
    return delta + (1 - delta) * gdp.delta_of(epsilon, mu)


def needed(power: Any, error: Any, delta: float) -> float:
    """The mu at which the promise has no less power than any of these tests."""
    told = (power > delta) & (power < 1 - 1e-9) & (error > 0)  # beyond that the doubles of a twin say nothing
    return float(np.max(ndtri((power[told] - delta) / (1 - delta)) - ndtri(error[told] / (1 - delta)), initial=0.0))


def test_the_figures_of_the_design() -> None:
    mu = mu_of(SURVEYED, 1e-7)
    assert mu == pytest.approx(0.7657, abs=5e-5)
    assert gdp.epsilon_of((1e-5 - 1e-7) / (1 - 1e-7), mu) == pytest.approx(3.224, abs=5e-4)
    alone = pld.from_gaussian_mechanism(SURVEYED.sigma, sampling_prob=SURVEYED.rate).self_compose(SURVEYED.steps)
    assert alone.get_epsilon_for_delta(1e-5) == pytest.approx(3.215, abs=5e-4)


@pytest.mark.parametrize(("plan", "delta"), PLANS)
def test_the_promise_holds_at_any_epsilon_and_a_lower_one_does_not(plan: Plan, delta: float) -> None:
    """At epsilons that lie on nobody's grid, by losses on another grid; those of `pessimistic_estimate=False` are too low, if anything."""
    mu = mu_of(plan, delta)
    interval = dpsgd._interval(plan)
    upper = pld.from_gaussian_mechanism(plan.sigma, sampling_prob=plan.rate, value_discretization_interval=interval).self_compose(plan.steps)
    lower = pld.from_gaussian_mechanism(
        plan.sigma, sampling_prob=plan.rate, value_discretization_interval=interval, pessimistic_estimate=False, use_connect_dots=False
    ).self_compose(plan.steps)
    rng = np.random.default_rng(1)
    broken = 0
    for epsilon in np.concatenate([[0.0], rng.uniform(0, 1, 150) * mu * 8, rng.uniform(0, 1, 50) * 50]):
        assert upper.get_delta_for_epsilon(epsilon) <= promise(epsilon, mu, delta)
        assert lower.get_delta_for_epsilon(epsilon) <= promise(epsilon, mu, delta)
        broken += upper.get_delta_for_epsilon(epsilon) > promise(epsilon, mu * (1 - 2e-3), delta)
    assert broken


@pytest.mark.parametrize("rate", [0.01, 0.3, 0.9, 1.0])
@pytest.mark.parametrize("sigma", [0.4, 1.0, 6.0])
def test_one_step_is_the_mixture_itself(rate: float, sigma: float) -> None:
    """Against the trade-off of (1 - q) N(0, 1) + q N(1 / sigma, 1) and N(0, 1), in both directions, cut by cut."""
    delta = 1e-7
    far = np.linspace(0, 9, 200_001)
    high, low = 1 / (2 * sigma) + far, 1 / (2 * sigma) - far  # beyond the point where both are as likely, on either side
    removed = needed((1 - rate) * ndtr(-high) + rate * ndtr(1 / sigma - high), ndtr(-high), delta)
    added = needed(ndtr(low), (1 - rate) * ndtr(low) + rate * ndtr(low - 1 / sigma), delta)
    truth = max(removed, added)
    assert truth * (1 - 1e-9) <= mu_of(Plan(rate, sigma, 1), delta) <= truth * 1.001


def test_two_steps_are_the_square_by_plain_summation() -> None:
    """No transform, no grid of losses: every pair of cells of two fine partitions of the line."""
    plan, delta = Plan(0.2, 0.9, 2), 1e-6
    edges = np.linspace(-9, 11, 4_001)
    zero, one = np.diff(ndtr(edges)), np.diff(ndtr(edges - 1 / plan.sigma))
    mixed = (1 - plan.rate) * zero + plan.rate * one
    worst = 0.0
    for first, second in ((mixed, zero), (zero, mixed)):
        kept = (first > 0) & (second > 0)
        loss = np.log(first[kept] / second[kept])
        order = np.argsort(loss)
        loss, p, q = loss[order], first[kept][order], second[kept][order]
        tails = [np.append(np.cumsum(w[::-1])[::-1], 0.0) for w in (p, q)]
        for epsilon in np.linspace(0, 7, 300):
            rest = np.searchsorted(loss, epsilon - loss, side="right")
            worst = max(worst, needed(np.array([p @ tails[0][rest]]), np.array([q @ tails[1][rest]]), delta))
    assert worst <= mu_of(plan, delta) <= worst * 1.002


@pytest.mark.parametrize(("sigma", "steps"), [(1.0, 1), (30.0, 400), (2.0, 9)])
def test_without_sampling_it_is_the_gaussian_of_all_steps(sigma: float, steps: int) -> None:
    mu = mu_of(Plan(1.0, sigma, steps), 1e-9)
    assert mu == pytest.approx(math.sqrt(steps) / sigma, rel=1e-4)


@pytest.mark.parametrize(("plan", "delta"), PLANS)
def test_the_central_limit_is_no_bound(plan: Plan, delta: float) -> None:
    if plan.rate < 1:
        assert mu_of(plan, delta) > plan.rate * math.sqrt(plan.steps * math.expm1(plan.sigma**-2))


def test_more_steps_more_units_less_noise_and_a_rarer_event_cost_more() -> None:
    base = mu_of(Plan(0.05, 2.0, 200), 1e-8)
    for dearer in (Plan(0.05, 2.0, 210), Plan(0.051, 2.0, 200), Plan(0.05, 1.9, 200)):
        assert mu_of(dearer, 1e-8) > base * 1.001
    assert mu_of(Plan(0.05, 2.0, 200), 1e-9) > base > mu_of(Plan(0.05, 2.0, 200), 1e-4)


def test_plan_and_gaussian_answers_add_up() -> None:
    """Composed exactly by the other accountant, what the ledger adds up is no less; two plans and one answer, at several epsilon."""
    one, other, delta = Plan(0.05, 2.0, 200), Plan(0.2, 4.0, 50), 1e-8
    answer = 0.4
    total = math.sqrt(mu_of(one, delta) ** 2 + mu_of(other, delta) ** 2 + answer**2)
    exact = pld.from_gaussian_mechanism(1 / answer, value_discretization_interval=1e-3)
    for plan in (one, other):
        exact = exact.compose(
            pld.from_gaussian_mechanism(plan.sigma, sampling_prob=plan.rate, value_discretization_interval=1e-3).self_compose(plan.steps)
        )
    for epsilon in (0.0, 0.3, 1.0, 2.0, 3.0, 4.5):
        assert exact.get_delta_for_epsilon(epsilon) <= 2 * delta + gdp.delta_of(epsilon, total) * (1 + 1e-3)


@pytest.mark.parametrize(("rate", "sigma", "steps"), [(256 / 30_000, 1.1, 5_859), (0.001, 0.6, 100_000), (0.5, 5.0, 100)])
def test_the_transform_errs_by_less_than_is_set_aside(rate: float, sigma: float, steps: int) -> None:
    one = pld.from_gaussian_mechanism(sigma, sampling_prob=rate, value_discretization_interval=dpsgd._interval(Plan(rate, sigma, steps)))
    for pair in (one._pmf_remove, one._pmf_add):
        probabilities = pair.to_dense_pmf()._probs
        start, ours = common.self_convolve(probabilities, steps, 1e-15)
        size = fft.next_fast_len(max(len(ours), len(probabilities)))
        fine = np.real(fft.ifft(fft.fft(probabilities.astype(np.longdouble), size) ** steps))
        errors = np.asarray(ours - np.roll(fine, -start)[: len(ours)], dtype=float)
        assert max(abs(np.array(list(itertools.accumulate(errors[::-1]))))[: len(errors) // 2]) <= dpsgd.ROUNDING * steps / 4


@pytest.mark.parametrize(("mu", "rate", "steps", "delta"), [(0.5, 0.3, 50, 1e-8), (2.5, 1.0, 4, 1e-9), (0.02, 0.1, 20, 1e-10)])
def test_the_noise_for_a_mu_costs_no_more_and_less_noise_does(mu: float, rate: float, steps: int, delta: float) -> None:
    sigma = sigma_of(mu, rate, steps, delta)
    assert mu * (1 - 5e-4) <= mu_of(Plan(rate, sigma, steps), delta) <= mu
    assert mu_of(Plan(rate, sigma * (1 - 2e-4), steps), delta) > mu


def test_little_noise_suffices_for_a_large_mu_and_none_for_a_tiny_one() -> None:
    assert sigma_of(50.0, 1e-4, 1, 1e-6) == pytest.approx(dpsgd.LEAST_SIGMA)
    with pytest.raises(ValueError, match="no noise"):
        sigma_of(1e-6, 1.0, 10, 1e-9)


@pytest.mark.parametrize("currency", [GDP, ZCDP], ids=lambda c: c.name)
def test_a_plan_is_one_charge_in_either_currency(currency: Currency) -> None:
    plan = Plan(0.05, 2.0, 200)
    cost = cost_of(plan, 1e-8, currency)
    assert cost == Cost.measured(currency, Fraction(mu_of(plan, 1e-8)) ** 2, 1e-8)
    assert cost.amount == pytest.approx(mu_of(plan, 1e-8) ** 2)
    assert cost.event_delta == pytest.approx(1e-8)


@pytest.mark.parametrize(
    ("rate", "sigma", "steps"),
    [(0.0, 1.0, 1), (1.1, 1.0, 1), (0.1, 0.1, 1), (0.1, math.inf, 1), (0.1, math.nan, 1), (0.1, 1.0, 0), (0.1, 1.0, 1.5), (0.1, 1.0, True)],
)
def test_what_is_no_plan_is_refused(rate: float, sigma: float, steps: int) -> None:
    with pytest.raises(ValueError, match="a plan has"):
        Plan(rate, sigma, steps)


@pytest.mark.parametrize("delta", [0.0, -1e-9, 1.0, math.nan, 1e-12])
def test_an_event_delta_that_is_none_or_finer_than_the_arithmetic_is_refused(delta: float) -> None:
    with pytest.raises(ValueError, match="event delta"):
        mu_of(Plan(0.01, 5.0, 1_000), delta)


def test_a_plan_that_no_mu_bounds_is_not_charged() -> None:
    plan = Plan(1.0, 0.2, 100)
    assert mu_of(plan, 1e-9) == math.inf
    with pytest.raises(ValueError, match="no mu"):
        cost_of(plan, 1e-9)
