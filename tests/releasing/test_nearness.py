"""The AUC read off two noised histograms: what it is without noise, how often its interval covers, and what a certificate may say of it."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from release_samples import ACCURACY, certificate, released_schema, rows
from scipy import stats

from dpsynth.errors import VerificationFailed
from dpsynth.privacy import GDP, ZCDP, Cost, Currency, Request
from dpsynth.releasing.certificate import LIMITS, MEASURED_BESIDE, Certificate, Event, LedgerTotals
from dpsynth.releasing.nearness import KIND, Guarantee, Nearness, published, told_apart
from dpsynth.releasing.order import together
from dpsynth.releasing.report import PublicFacts, public_report

RUNS = 2_000
LEAST = stats.binom.ppf(1e-7, RUNS, 0.95) / RUNS


def test_without_noise_it_is_that_of_mann_and_whitney() -> None:
    rng = np.random.default_rng(1)
    near, far = rng.integers(0, 6, 300), rng.integers(1, 7, 80)
    train, control = (np.bincount(side, minlength=7) for side in (near, far))
    pairs = stats.mannwhitneyu(far, near).statistic / (300 * 80)
    auc, (low, high) = told_apart(train, control, 0.5)
    assert auc == pytest.approx(pairs)
    assert low < auc < high


def test_far_apart_and_the_same() -> None:
    assert told_apart([900, 0], [0, 900], 0.5)[0] == 1
    assert told_apart([0, 900], [900, 0], 0.5)[0] == 0
    assert told_apart([450, 450], [450, 450], 0.5)[0] == 0.5


@pytest.mark.parametrize("counts", [([-3, 1], [5, 5]), ([5, 5], [0, 0]), ([-3, 1], [-2, 0])])
def test_where_noise_leaves_nothing_of_a_side_nothing_is_said(counts: tuple[list[int], list[int]]) -> None:
    assert told_apart(*counts, 50.0) == (0.5, (0.0, 1.0))


SHAPES = {
    "alike": (np.ones(8) / 8, np.ones(8) / 8),
    "leaning": (np.linspace(1.5, 0.5, 8) / 8, np.ones(8) / 8),
    "copies": (np.array([0.97, *[0.03 / 7] * 7]), np.array([*[0.01 / 7] * 7, 0.99])),
    "rare": (np.array([0.0, 1.0]), np.array([0.002, 0.998])),
}
SIZES = {"few": (60, 30), "some": (700, 150), "many": (7_000, 1_500)}


def noise(rng: np.random.Generator, sigma: float, shape: tuple[int, ...]) -> np.ndarray:
    """Of the discrete Gaussian's own law."""
    support = np.arange(-math.ceil(12 * sigma), math.ceil(12 * sigma) + 1)
    mass = np.exp(-(support**2) / (2 * sigma**2))
    return rng.choice(support, shape, p=mass / mass.sum())


def noised(shape: str, size: str, sigma: float) -> tuple[float, np.ndarray, np.ndarray]:
    """The true AUC, and RUNS noised samples of train and of control, their numbers of units drawn too."""
    rng = np.random.default_rng([list(SHAPES).index(shape), list(SIZES).index(size), int(sigma)])
    sides = [
        rng.multinomial(rng.poisson(n, RUNS), law) + noise(rng, sigma, (RUNS, len(law))) for n, law in zip(SIZES[size], SHAPES[shape], strict=True)
    ]
    train, control = SHAPES[shape]
    auc = sum(train[i] * (control[i + 1 :].sum() + control[i] / 2) for i in range(len(train)))
    return float(auc), sides[0], sides[1]


def covered(auc: float, train: np.ndarray, control: np.ndarray, sigma: float) -> tuple[float, float]:
    """How often the interval holds the true AUC, and how wide it is in the middle."""
    found = np.array([told_apart(t, c, sigma)[1] for t, c in zip(train, control, strict=True)])
    return float(((found[:, 0] <= auc) & (auc <= found[:, 1])).mean()), float(np.median(found[:, 1] - found[:, 0]))


@pytest.mark.parametrize("sigma", [0.5, 5.0, 50.0])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_interval_covers_noise_and_sampling_as_stated(shape: str, size: str, sigma: float) -> None:
    """Seeded, so that it repeats; were it not, an interval that covers 95 times in 100 would fail here once in ten million."""
    share, _ = covered(*noised(shape, size, sigma), sigma)
    assert share >= LEAST


def rarely_covered(sigma: float) -> float:
    """The least share of intervals that hold the truth, where one side is known and of the other so many units are to be expected in bin 0 as suits
    it worst. Reckoned, not drawn: the sum over all noised counts. The other bin's 100,000 units make up for nothing."""
    others, noises = 100_000, np.arange(-math.ceil(10 * sigma), math.ceil(10 * sigma) + 1)
    law = np.exp(-(noises**2) / (2 * sigma**2)) / np.exp(-(noises**2) / (2 * sigma**2)).sum()
    counts = np.arange(noises[0], 101 + noises[-1])
    found = np.array([told_apart([0, 2**40], [int(k), others], sigma)[1] for k in counts])
    shares = []
    for expected in np.arange(0.25, 40, 0.25):
        auc = 0.5 * others / (others + expected)
        held = (found[:, 0] <= auc) & (auc <= found[:, 1])
        shares.append(np.convolve(stats.poisson.pmf(np.arange(101), expected), law)[held].sum())
    return float(min(shares))


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0, 3.0, 5.0, 15.0])
def test_a_few_units_in_a_bin_beside_a_side_that_is_known(sigma: float) -> None:
    assert 0.95 < rarely_covered(sigma) < 0.97


@pytest.mark.parametrize(("deviations", "added", "sigma"), [(2.0, 1, 0.5), (2.0, 3, 3.0), (2.1, 1, 0.5)])
def test_with_less_of_either_they_would_not_be_covered(monkeypatch: pytest.MonkeyPatch, deviations: float, added: int, sigma: float) -> None:
    monkeypatch.setattr("dpsynth.releasing.nearness.DEVIATIONS", deviations)
    monkeypatch.setattr("dpsynth.releasing.nearness.ADDED", added)
    assert rarely_covered(sigma) < 0.95


def test_the_interval_is_of_use_where_there_is_something_to_see() -> None:
    assert covered(*noised("alike", "many", 5.0), 5.0)[1] < 0.04
    assert covered(*noised("copies", "some", 5.0), 5.0)[1] < 0.1


def test_one_that_forgot_the_noise_would_not_cover() -> None:
    assert covered(*noised("alike", "many", 50.0), 0.5)[0] < 0.5


def nearness(currency: Currency = GDP, **changes: Any) -> Nearness:
    sigma = currency.noise_sigma(Request(0.1, 1e-9, False, "").cost_in(currency).amount * (1 - 1e-9), 1)
    made = published(Guarantee(1.0, 1e-9), Guarantee(0.1, 1e-9), 5, [0.0, 1.25, 3.0], sigma, [[40, 400, 200, 60], [5, 80, 45, -12]])
    return replace(made, **changes)


def with_nearness(currency: Currency = GDP, **changes: Any) -> Certificate:
    """Rows of (1, 1e-9), and histograms that add (0.1, 1e-9)."""
    rows, beside = (Request(e, 1e-9, False, "").cost_in(currency) for e in (1.0, 0.1))
    events = (Event("marginal", "age", rows.amount, 0.0), Event(KIND, "units", beside.amount, 0.0))
    held: dict[str, Any] = {
        "epsilon": together(1.0, 1e-9, [rows, beside]),
        "currency": currency.name,
        "amount": rows.amount + beside.amount,
        "events": events,
        "limits": (*LIMITS, MEASURED_BESIDE),
        "nearness": nearness(currency),
    }
    return certificate(**(held | changes))


@pytest.mark.parametrize("currency", [GDP, ZCDP], ids=lambda c: c.name)
def test_a_certificate_says_what_each_part_is_and_both_together(currency: Currency) -> None:
    whole = with_nearness(currency)
    assert list(whole.faults()) == []
    read = Certificate.from_bytes(whole.to_bytes())
    assert read == whole
    assert 1.0 < whole.epsilon < 1.1
    assert "by (1, 1e-09)" not in whole.statement and "themselves are (1, 1e-09)" in whole.statement
    assert "given the rows, what the histograms add is (0.1, 1e-09)-differentially private." in whole.statement
    assert "histograms by themselves" not in whole.statement


@pytest.mark.parametrize("currency", [GDP, ZCDP], ids=lambda c: c.name)
@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize(("epsilon", "added"), [(0.001, 9.5), (9.5, 0.001)])
def test_a_small_charge_beside_a_large_one_is_not_lost_in_rounding(currency: Currency, named: bool, epsilon: float, added: float) -> None:
    rows, beside = Request(epsilon, 1e-9, named, "").cost_in(currency), Request(added, 1e-9, False, "").cost_in(currency)
    sigma = currency.noise_sigma(beside.amount * (1 - 1e-9), 1)
    section = published(Guarantee(epsilon, 1e-9), Guarantee(added, 1e-9), 5, [0.0], sigma, [[400, 200], [80, 45]])
    whole = with_nearness(
        currency,
        nearness=section,
        epsilon=together(epsilon, 1e-9, [rows, beside]),
        amount=rows.amount + beside.amount,
        delta_event=rows.event_delta,
        events=(Event("marginal", "age", rows.amount, rows.event_delta), Event(KIND, "units", beside.amount, 0.0)),
        ledger=LedgerTotals("L1", "clinic", 30.0, 1e-6, "5f" * 32),
    )
    assert list(whole.faults()) == []


def test_the_page_says_what_the_histograms_add_and_gives_no_number_that_means_nothing() -> None:
    near, drowned = (
        published(Guarantee(1.0, 1e-9), Guarantee(0.1, 1e-9), 5, [0.0], 50.0, c) for c in ([[900, 9000], [100, 3000]], [[-3, 1], [5, 5]])
    )
    pages = (PublicFacts(replace(with_nearness(), nearness=n), released_schema(), rows(), ACCURACY) for n in (near, drowned))
    said, silent = map(public_report, pages)
    assert "given the rows, what the histograms add is (0.1, 1e-09)-differentially private." in said
    assert near.tells and f"AUC {near.auc:.3g}, between" in said and "nothing to tell.</strong>" not in said
    assert not drowned.tells and "No AUC: the noise leaves nothing to tell.</strong>" in silent and "AUC 0.5" not in silent


def test_both_together_are_at_least_what_their_amounts_are() -> None:
    costs = [Cost.promised(GDP, e, 1e-9) for e in (1.0, 0.1)]
    epsilon = together(1.0, 1e-9, costs)
    exact = (costs[0] + costs[1]).epsilon(1e-9)
    assert exact <= epsilon <= exact * 1.0001
    assert together(1.0, 1e-9, costs[:1]) == 1.0


def test_one_without_has_no_such_section() -> None:
    assert b"nearness" not in certificate().to_bytes()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"nearness": nearness(auc=0.5)}, "not the one that is written"),
        ({"nearness": nearness(interval=(0.49, 0.51))}, "not the one that is written"),
        ({"nearness": nearness(train=(400, 40, 200, 60))}, "not the one that is written"),
        ({"nearness": nearness(sigma=5.0)}, "not paid for"),
        ({"nearness": nearness(sigma=math.nan)}, "out of range"),
        ({"nearness": nearness(sigma=0.4)}, "out of range"),
        ({"nearness": nearness(sigma=1e154)}, "out of range"),
        ({"nearness": nearness(sigma=1e200)}, "out of range"),
        ({"nearness": nearness(control=(1, 2))}, "one count for each bin"),
        ({"nearness": nearness(edges=(0.0, 2.0, 2.0))}, "do not rise"),
        ({"nearness": nearness(edges=(-1.0, 2.0, 3.0))}, "do not rise"),
        ({"nearness": nearness(edges=(0.0, 2.0, 6.0))}, "do not rise"),
        ({"nearness": nearness(edges=(), train=(40,), control=(5,))}, "do not rise"),
        ({"nearness": nearness(train=(10**400, 40, 200, 60))}, "larger counts"),
        ({"nearness": nearness(rows=Guarantee(0.9, 1e-9))}, "rows were charged more"),
        ({"nearness": nearness(histograms=Guarantee(0.05, 1e-9))}, "histograms were charged more"),
        ({"nearness": nearness(histograms=Guarantee(5.0, 1e-9))}, "out of range"),
        ({"nearness": None}, "there are none"),
        ({"events": with_nearness().events[:1]}, "not paid for"),
        ({"limits": LIMITS}, "sentence on the histograms"),
        ({"epsilon": 1.0}, "more than 1e-09"),
    ],
)
def test_one_that_contradicts_its_histograms(change: dict[str, Any], words: str) -> None:
    assert any(words in fault for fault in replace(with_nearness(), **change).faults())


@pytest.mark.parametrize("key", sorted(with_nearness().document()["nearness"]))
def test_a_section_that_lacks_something_or_is_worded_otherwise_is_refused(key: str) -> None:
    document = with_nearness().document()
    section = document["nearness"]
    for wrong in ({k: v for k, v in section.items() if k != key}, section | {key: "?"}, section | {"more": 1}):
        with pytest.raises(VerificationFailed):
            Certificate.from_bytes((json.dumps(document | {"nearness": wrong}, sort_keys=True, indent=1, ensure_ascii=False) + "\n").encode())
