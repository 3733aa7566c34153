"""The accounting against slow twins in mpmath, and against other people's accountants."""

from __future__ import annotations

import math
from itertools import accumulate, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import atanh, erf, erfinv, exp, mp, mpf, ncdf, sqrt, tanh

from dpsynth.privacy import gdp, zcdp

mp.dps = 60
EPSILONS = (1e-6, 1e-3, 0.03, 0.3, 1.0, 3.0, 10.0, 100.0, 1e3)
MUS = (1e-9, 1e-6, 1e-4, 1e-2, 0.1, 0.3, 0.499, 0.501, 1.0, 3.0, 8.0, 15.0, 44.0)
DELTAS = (1e-300, 1e-100, 1e-20, 1e-15, 1e-9, 1e-6, 1e-3, 0.09)
SIGMAS = (0.5, 0.55, 0.7, 1.0, 1.37, 2.0, 5.0, 30.0)
CLOSE = 1 + mpf("1e-6")  # how far above the truth a cost may be, and how far below it a promise


def true_delta(epsilon: float, mu: float) -> mpf:
    e, m = mpf(epsilon), mpf(mu)
    return ncdf(-e / m + m / 2) - exp(e) * ncdf(-e / m - m / 2)


def quantile(p: mpf) -> mpf:
    return sqrt(2) * erfinv(2 * p - 1)


@pytest.mark.parametrize("epsilon", (0.0, *EPSILONS))
def test_delta_of_is_above_the_curve_and_close(epsilon: float) -> None:
    for mu in MUS:
        truth, ours = true_delta(epsilon, mu), mpf(gdp.delta_of(epsilon, mu))
        assert truth <= ours, (epsilon, mu)
        assert ours <= truth * CLOSE + mpf("1e-307"), (epsilon, mu)


@pytest.mark.parametrize("epsilon", EPSILONS)
@pytest.mark.parametrize("delta", DELTAS)
def test_mu_of_promises_no_more_and_little_less(epsilon: float, delta: float) -> None:
    mu = gdp.mu_of(epsilon, delta)
    assert mu > 0
    assert true_delta(epsilon, mu) <= delta
    assert true_delta(epsilon, mpf(mu) * CLOSE) > delta


@pytest.mark.parametrize("mu", MUS)
@pytest.mark.parametrize("delta", DELTAS)
def test_epsilon_of_is_an_upper_bound_and_tight(mu: float, delta: float) -> None:
    epsilon = gdp.epsilon_of(delta, mu)
    assert true_delta(epsilon, mu) <= delta
    if epsilon > 0:
        assert true_delta(epsilon / CLOSE, mu) > delta


def test_a_mu_beyond_all_bounds_promises_nothing_and_none_nothing_to_fear() -> None:
    assert [gdp.delta_of(1.0, mu) for mu in (1e9, 1e300)] == [1.0, 1.0]
    assert gdp.epsilon_of(1e-9, 1e16) == math.inf
    assert [gdp.delta_of(1.0, 0.0), gdp.epsilon_of(1e-300, 0.0), gdp.mu_of(1.0, 0.0)] == [0.0, 0.0, 0.0]
    assert gdp.delta_of(1e3, 1e-9) > 0


tens = st.floats(-300, -1.05).map(lambda power: 10**power)


@given(st.floats(-6, 3).map(lambda power: 10**power), tens)
@settings(deadline=None, max_examples=200)
def test_mu_and_epsilon_are_inverse(epsilon: float, delta: float) -> None:
    mu = gdp.mu_of(epsilon, delta)
    assert true_delta(epsilon, mu) <= delta
    back = gdp.epsilon_of(delta, mu)
    assert true_delta(back, mu) <= delta
    assert epsilon * (1 - 1e-6) <= back <= epsilon * (1 + 1e-6)
    assert gdp.mu_of(back, delta) == pytest.approx(mu, rel=1e-6)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_discrete_gaussian_mu_bounds_every_vertex_of_the_tradeoff_curve(sigma: float) -> None:
    """Each vertex P[Y < k] needs the mu that takes its quantile from P[Y < k - 1]; these grow towards the centre, which is the dearest.

    By symmetry half of them suffice. A shift by a crosses |a| of them, so it needs no more than |a| times the dearest.
    """
    weight = [exp(-(mpf(x) ** 2) / (2 * mpf(sigma) ** 2)) for x in range(math.ceil(30 * sigma) + 5)]
    at = [quantile(below) for below in accumulate(w / (2 * sum(weight) - 1) for w in reversed(weight)) if below > mpf("1e-40")]
    needed = [b - a for a, b in pairwise(at)]
    assert len(needed) >= 6
    assert needed == sorted(needed)
    assert needed[-1] <= gdp.discrete_gaussian_mu(sigma) <= needed[-1] * CLOSE


def test_discrete_gaussian_mu_against_the_figures_of_the_design() -> None:
    excess = {1: 0.0458, 2: 0.0107, 5: 0.00167, 30: 0.000046}
    assert all(gdp.discrete_gaussian_mu(s) * s - 1 == pytest.approx(e, rel=0.02) for s, e in excess.items())


@pytest.mark.parametrize("sigma", [0.49, 0.0, -1.0, math.nan])
def test_too_little_noise_is_refused(sigma: float) -> None:
    with pytest.raises(ValueError, match="at least"):
        gdp.discrete_gaussian_mu(sigma)


@given(st.floats(1e-6, 2.0))
@settings(deadline=None)
def test_sigma_of_a_cost_is_paid_by_it(mu: float) -> None:
    sigma = gdp.discrete_gaussian_sigma(mu)
    assert gdp.discrete_gaussian_mu(sigma) <= mu or sigma == gdp.MIN_SIGMA
    if sigma > gdp.MIN_SIGMA:
        assert gdp.discrete_gaussian_mu(sigma) >= mu * (1 - 1e-6)


@pytest.mark.parametrize("epsilon", [1e-7, 1e-4, 0.01, 0.3, 0.999, 1.001, 3.0, 8.0])
def test_selection_costs_the_worst_pair_of_bounded_range(epsilon: float) -> None:
    """Any pair with likelihood ratios in [e^(t - eps), e^t]: the two-point pair dominates; its vertex decides."""
    e = mpf(epsilon)

    def needed(t: mpf) -> mpf:
        q = (1 - exp(t - e)) / (exp(t) - exp(t - e))
        return quantile(q * exp(t)) - quantile(q)

    truth = max(needed(e * i / 40) for i in range(1, 40))
    assert truth <= gdp.selection_mu(epsilon)
    assert gdp.selection_mu(epsilon) <= truth * (1 + mpf("1e-6"))


@pytest.mark.parametrize("mu", [1e-9, 1e-6, 1e-3, 0.1, 0.999, 1.001, 3.0, 8.0])
def test_selection_epsilon_is_paid_by_mu(mu: float) -> None:
    truth = 4 * atanh(erf(mpf(mu) / sqrt(8)))
    epsilon = gdp.selection_epsilon(mu)
    assert epsilon <= truth <= epsilon * (1 + mpf("1e-6"))
    assert 2 * sqrt(2) * erfinv(tanh(mpf(epsilon) / 4)) <= gdp.selection_mu(epsilon) <= mu


def true_tail(sigma: float, at: int) -> mpf:
    """P[Y >= at], term by term; where that were too many, by Euler and Maclaurin's formula, whose next term is the error."""
    s = mpf(sigma)
    if sigma <= 100:
        weight = [exp(-(mpf(x) ** 2) / (2 * s**2)) for x in range(at + math.ceil(14 * sigma) + 10)]
        return sum(weight[at:]) / (2 * sum(weight) - 1)
    x, bell = mpf(at), exp(-(mpf(at) ** 2) / (2 * s**2))
    derivatives = (-x / s**2, (3 * x / s**4 - x**3 / s**6))
    return ncdf(-x / s) + bell * (mpf(1) / 2 - derivatives[0] / 12 + derivatives[1] / 720) / (s * sqrt(2 * mp.pi))


@pytest.mark.parametrize("sigma", [0.5, 1.0, 3.0, 40.0, 100.0, 101.0, 700.0, 5000.0, 1e5, 1e7])
@pytest.mark.parametrize("at", [1 / 8, 1, 2, 4, 8])
def test_tail_is_above_the_truth_and_close(sigma: float, at: float) -> None:
    place = max(1, math.ceil(at * sigma))
    truth, ours = true_tail(sigma, place), gdp.discrete_gaussian_tail(sigma, place)
    assert truth <= ours <= truth * (CLOSE if at >= 1 else 1.01)


def test_the_two_true_tails_agree() -> None:
    for at in (10, 100, 400):
        whole = [exp(-(mpf(x) ** 2) / (2 * mpf(101) ** 2)) for x in range(1600)]
        assert abs(sum(whole[at:]) / (2 * sum(whole) - 1) / true_tail(101.0, at) - 1) < 1e-9


@pytest.mark.parametrize("sigma", [0.5, 2.0, 30.0, 1e5])
@pytest.mark.parametrize("units", [1, 5])
def test_threshold_hides_a_value_of_one_unit_and_is_the_least(sigma: float, units: int) -> None:
    for delta in (1e-300, 1e-20, 1e-10, 1e-4):
        least = gdp.threshold(sigma, delta, units)
        assert units * gdp.discrete_gaussian_tail(sigma, least - 1) <= delta
        assert least == 2 or units * gdp.discrete_gaussian_tail(sigma, least - 2) > delta
    for wrong in (0.0, -1e-9):
        with pytest.raises(ValueError, match="above 0"):
            gdp.threshold(sigma, wrong, units)


def test_dp_accounting_agrees_on_the_gaussian_and_stays_below_on_the_discrete_one() -> None:
    from dp_accounting.pld import privacy_loss_distribution as pld

    for mu in (0.2, 1.0, 2.0):
        theirs = pld.from_gaussian_mechanism(1 / mu, value_discretization_interval=1e-3)
        for epsilon in (0.0, 0.5, 2.0):
            assert theirs.get_delta_for_epsilon(epsilon) == pytest.approx(gdp.delta_of(epsilon, mu), rel=0.02, abs=1e-12)
    for sigma in (0.5, 1.0, 3.0):
        mu = gdp.discrete_gaussian_mu(sigma)
        for count in (1, 8):
            optimistic = pld.from_discrete_gaussian_mechanism(sigma, value_discretization_interval=1e-3, pessimistic_estimate=False)
            optimistic = optimistic.self_compose(count)
            for epsilon in (0.1, 1.0, 4.0):
                assert optimistic.get_delta_for_epsilon(epsilon) <= gdp.delta_of(epsilon, mu * math.sqrt(count)) * (1 + 1e-6) + 1e-12


def test_diffprivlib_composes_pure_selections_to_no_less() -> None:
    """k selections of bounded range e are each e-DP: their accountant's total bounds what our curve claims at delta 1e-6."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from diffprivlib.accountant import BudgetAccountant

    for epsilon, count in ((0.02, 50), (0.1, 10), (0.005, 200)):
        accountant = BudgetAccountant(slack=1e-6)
        for _ in range(count):
            accountant.spend(epsilon, 0)
        theirs = accountant.total()[0]
        ours = gdp.epsilon_of(1e-6, gdp.selection_mu(epsilon) * math.sqrt(count))
        assert ours <= theirs
        assert ours > theirs / 20


@pytest.mark.parametrize(("epsilon", "count"), [(0.02, 50), (0.1, 10), (0.005, 200), (0.3, 1), (2.0, 1), (1.0, 7)])
def test_dp_accounting_composes_selections_to_no_more(epsilon: float, count: int) -> None:
    """A randomised response of e / 2 is a selection of bounded range e: what k of them tell, our curve has to admit."""
    from dp_accounting.pld import privacy_loss_distribution as pld

    one = pld.from_randomized_response(2 / (1 + math.exp(epsilon / 2)), 2, pessimistic_estimate=False, value_discretization_interval=1e-5)
    theirs, mu = one.self_compose(count), gdp.selection_mu(epsilon) * math.sqrt(count)
    for asked in (0.0, *(epsilon * math.sqrt(count) * share for share in (0.1, 0.3, 1.0))):
        assert theirs.get_delta_for_epsilon(asked) <= gdp.delta_of(asked, mu)


@pytest.mark.parametrize("rho", [1e-4, 0.01, 0.3, 2.0])
def test_dp_accounting_on_zcdp_finds_no_less_and_little_more(rho: float) -> None:
    """Their accountant looks at the orders it is given: ours is the least over all, so theirs is above ours, by the grid's coarseness."""
    from dp_accounting import dp_event
    from dp_accounting.rdp import RdpAccountant

    orders = [1 + 10 ** (i / 500) for i in range(-1000, 2500)]
    for count in (1, 20):
        accountant = RdpAccountant(orders)
        accountant.compose(dp_event.ZCDpEvent(rho / count), count)
        for delta in (1e-9, 1e-5, 1e-2):
            theirs, ours = accountant.get_epsilon(delta), zcdp.epsilon_of(delta, rho)
            assert theirs * (1 - 1e-8) - 1e-12 <= ours * (1 + 1e-4) + 1e-9
            assert ours <= theirs * (1 + 1e-8) + 1e-12
        for epsilon in (0.3, 2.0):
            theirs, ours = accountant.get_delta(epsilon), zcdp.delta_of(epsilon, rho)
            assert theirs * (1 - 1e-3) <= ours <= theirs * (1 + 1e-8) + 1e-300
