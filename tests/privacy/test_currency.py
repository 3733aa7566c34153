"""What the two currencies have in common: promises kept at every edge, amounts that pay for what they buy, sums that fall short of nothing."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_samples import OPEN, PERSON, Silent, listed, schema_of
from mpmath import erfinv, exp, mp, mpf, tanh

from dpsynth.errors import BudgetExceeded
from dpsynth.privacy import GDP, ZCDP, Categories, Cost, Currency, Filter, Ledger, PrivateTable, Request, gdp
from dpsynth.privacy.cost import TICK
from dpsynth.privacy.currency import CURRENCIES
from dpsynth.privacy.table import single_use

mp.dps = 50
epsilons = st.floats(-6, 3).map(lambda power: 10**power)
deltas = st.floats(-300, -1.05).map(lambda power: 10**power)
each_currency = pytest.mark.parametrize("currency", [GDP, ZCDP], ids=lambda c: c.name)


@each_currency
@given(epsilons, deltas)
@settings(deadline=None, max_examples=60)
def test_what_was_promised_amounts_to_no_more(currency: Currency, epsilon: float, delta: float) -> None:
    amount = currency.capacity(epsilon, delta)
    assert currency.delta_of(epsilon, float(amount)) <= delta * (1 + 1e-11)
    assert currency.delta_of(epsilon, float(amount) * (1 + 1e-6)) > delta
    assert currency.epsilon_of(delta, float(amount)) <= epsilon * (1 + 1e-6)
    assert currency.capacity(currency.epsilon_of(delta, float(amount)), delta) == pytest.approx(amount, rel=1e-6)


@each_currency
@given(st.floats(-6, 2).map(lambda power: 10**power), st.floats(-20, -1.05).map(lambda power: 10**power))
@settings(deadline=None, max_examples=60)
def test_a_request_equal_to_the_capacity_fits_it_to_the_tick_and_nothing_more_does(currency: Currency, epsilon: float, delta: float) -> None:
    capacity = Cost.promised(currency, epsilon, delta)
    account = Filter(capacity)
    account.charge(Request(epsilon, delta, True, "all of it").cost_in(currency))
    assert account.left == Cost(currency=currency)
    for tick in (Cost(1, 0, currency), Cost(0, 1, currency)):
        with pytest.raises(BudgetExceeded):
            account.charge(tick)
    assert not Request(epsilon * (1 + 1e-6), delta, False, "more").cost_in(currency).fits(capacity)


def true_noise(currency: Currency, sigma: float, squared: int) -> mpf:
    """What discrete Gaussian noise costs, from its definition and not from our formula."""
    if currency is ZCDP:
        return squared / mpf(sigma) ** 2
    mass = 1 / (1 + 2 * sum(exp(-(mpf(x) ** 2) / (2 * mpf(sigma) ** 2)) for x in range(1, math.ceil(14 * sigma) + 3)))
    return squared * 8 * erfinv(mass) ** 2


def true_selection(currency: Currency, epsilon: float) -> mpf:
    return mpf(epsilon) ** 2 / 4 if currency is ZCDP else 8 * erfinv(tanh(mpf(epsilon) / 4)) ** 2


@each_currency
def test_a_million_tiny_charges_are_no_less_than_the_truth_and_hardly_more(currency: Currency) -> None:
    """Noise so wide, and choices so vague, that many a charge is a fraction of a tick; a thousand kinds, each a thousand times."""
    narrow = [(currency.noise_cost(s, q), true_noise(currency, s, q)) for s, q in ((0.5 + i / 20, 1 + i % 50) for i in range(300))]
    wide = [(currency.noise_cost(1e12 * i, i), i / mpf(1e12 * i) ** 2) for i in range(1, 401)]
    choices = [(currency.selection_cost(e), true_selection(currency, e)) for e in (1e-16 * 1.1**i for i in range(300))]
    for kinds in (narrow, wide, choices):
        charges = [Cost.measured(currency, amount, 1e-30) for amount, _ in kinds] * 1000
        truth = 1000 * sum(t for _, t in kinds) * 2**100
        assert truth <= sum(c.amount_ticks for c in charges) <= truth * (1 + mpf("1e-6")) + len(charges)
        truth = len(charges) * Fraction(1e-30) / TICK
        assert truth <= sum(c.delta_ticks for c in charges) <= truth + len(charges)


@each_currency
@given(st.floats(1e-18, 1e3), st.integers(1, 1000))
@settings(deadline=None, max_examples=200)
def test_an_amount_pays_for_what_it_buys(currency: Currency, amount: float, squared: int) -> None:
    sigma = currency.noise_sigma(amount, squared)
    if sigma > gdp.MIN_SIGMA * (1 + 1e-6):
        cost = currency.noise_cost(sigma, squared)
        assert amount * (1 - 1e-6) <= cost <= Fraction(amount)
    assert amount * (1 - 1e-6) <= currency.selection_cost(currency.selection_epsilon(amount)) <= Fraction(amount)


@each_currency
@pytest.mark.parametrize("amount", [0.0, 1e-300])
def test_next_to_nothing_buys_no_answer(currency: Currency, amount: float) -> None:
    assert currency.noise_cost(currency.noise_sigma(amount, 1), 1) > Fraction(amount)


@each_currency
@pytest.mark.parametrize("sigma", [0.49, 0.0, -1.0, math.nan, math.inf])
def test_too_little_noise_or_none_is_refused(currency: Currency, sigma: float) -> None:
    with pytest.raises(ValueError, match="at least"):
        currency.noise_cost(sigma, 1)


@given(st.floats(1e-4, 40), st.sampled_from((1e-20, 1e-15, 1e-9, 1e-6, 1e-3, 0.09)))
@settings(deadline=None, max_examples=60)
def test_gdp_is_the_tighter_currency(epsilon: float, delta: float) -> None:
    """mu-GDP is mu^2/2-zCDP, so an amount in GDP promises at least as much: the same (epsilon, delta) holds more of it."""
    assert ZCDP.capacity(epsilon, delta) < GDP.capacity(epsilon, delta)
    assert GDP.delta_of(epsilon, float(ZCDP.capacity(epsilon, delta))) <= delta


def test_gdp_needs_as_much_less_noise_as_the_design_says() -> None:
    for delta, gain in ((1e-9, 0.049), (1e-5, 0.078)):
        assert 1 - math.sqrt(ZCDP.capacity(1.0, delta) / GDP.capacity(1.0, delta)) == pytest.approx(gain, abs=0.001)


def test_the_noise_of_both_is_nearly_the_same_at_the_same_amount() -> None:
    for sigma, excess in ((1.0, 0.094), (30.0, 0.0001)):
        assert GDP.noise_cost(sigma, 9) / ZCDP.noise_cost(sigma, 9) - 1 == pytest.approx(excess, rel=0.1)


SCHEMA = schema_of({"a": listed("x", "y")})
A = Categories(SCHEMA.column("a"), ("x", "y"))
FRAME = pd.DataFrame({"a": ["x", "y"] * 50})


@each_currency
def test_a_table_is_metered_in_the_currency_of_its_grant(currency: Currency) -> None:
    table = single_use(FRAME, SCHEMA, currency=currency)
    table.grant(Request(1.0, 1e-6, False, "test"))
    assert table.currency == currency
    amount = table.left.amount / 2
    table.marginal([A], table.sigma(amount))
    table.select([[A]], [pd.Series([0, 0, 0]).to_numpy()], [1], [0], amount * (1 - 1e-9))
    assert table.spent.fits(table._open().grant)
    assert table.spent.amount_ticks >= (1 - 1e-7) * table._open().grant.amount_ticks
    with pytest.raises(BudgetExceeded):
        table.marginal([A], table.sigma(amount))


def test_each_question_costs_what_zcdp_says() -> None:
    schema = schema_of({"id": {"type": "id"}, "a": listed("x", "y"), "b": OPEN}, PERSON)
    table = PrivateTable(pd.DataFrame({"id": ["1"], "a": ["x"], "b": ["p"]}), schema, lambda r: Cost(2**110, 2**90, ZCDP), "x")
    table.grant(Request(1.0, 1e-6, True, "test"))
    table.marginal([A], 8.0)
    assert table.spent == Cost(9 * 2**94, 0, ZCDP)
    table.discover(schema.column("b"), 4.0, 2.0**-20)
    assert table.spent == Cost(9 * 2**94 + 3 * 2**96, 2**80, ZCDP)
    before = table.spent
    table.select([[A]], [pd.Series([0, 0, 0]).to_numpy()], [1], [0], 0.25)
    assert (table.spent - before).amount == pytest.approx(0.25)


@each_currency
def test_a_choice_is_no_sharper_than_is_charged_to_the_last_bit(currency: Currency) -> None:
    """Its bounded range is 2 w m / scale, in more digits than a scale has."""
    schema = schema_of({"id": {"type": "id"}, "a": listed("x", "y")}, PERSON)
    frame = pd.DataFrame({"id": ["1"], "a": ["x"]})
    scales: list[float] = []

    class Noting(Silent):
        def choose(self, scores: np.ndarray, scale: float) -> int:
            scales.append(scale)
            return 0

    for step in range(60):
        table = PrivateTable(frame, schema, lambda request: Cost(2**103, 0, currency), "x", noise=Noting())
        table.grant(Request(1.0, 1e-6, False, "test"))
        table.select([[A]], [np.zeros(3, int)], [step + 1], [0], 1.1**-step)
        charged = mpf(table.spent.amount_ticks) * mpf(TICK.numerator) / TICK.denominator
        assert true_selection(currency, mpf(2 * (step + 1) * 3) / mpf(scales[-1])) <= charged
    assert len(scales) == 60


def test_ledgers_of_two_currencies_refuse_each_others_grants(tmp_path) -> None:  # type: ignore[no-untyped-def]
    ledgers = {name: Ledger.create(tmp_path / name, "people", 1.0, 1e-6, currency) for name, currency in CURRENCIES.items()}
    granted = {name: ledger.grant(Request(0.5, 1e-6, False, "test"), "r").cost for name, ledger in ledgers.items()}
    for name, other in (("gdp", "zcdp"), ("zcdp", "gdp")):
        assert granted[name].fits(ledgers[name].capacity)
        with pytest.raises(TypeError):
            granted[other].fits(ledgers[name].left)
        table = PrivateTable(FRAME, SCHEMA, lambda request, cost=granted[name]: cost, "x")  # type: ignore[misc]
        table.grant(Request(0.5, 1e-6, False, "test"))
        with pytest.raises(TypeError):
            table._open().charge(Cost(1, 0, CURRENCIES[other]))
        assert table.spent == Cost(currency=CURRENCIES[name])
