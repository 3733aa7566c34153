"""Bounds cover, tests keep their level, and both are sane at the edges. Coverage by simulation, fixed seeds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from attacks import statistics as s
from attacks.claim import Claim, claim_p, one_run_p
from attacks.scores import Scores

RUNS = 2_000


def covered(true: float, draw: object, estimate: object, runs: int = RUNS) -> tuple[float, float]:
    """Shares of runs with true <= upper and with lower <= true."""
    rng = np.random.default_rng(7)
    found = [estimate(*draw(rng)) for _ in range(runs)]  # type: ignore[operator]
    return float(np.mean([true <= e.upper for e in found])), float(np.mean([e.lower <= true for e in found]))


@pytest.mark.parametrize("shift", [0.0, 0.3, 1.0])
def test_auc_bounds_cover(shift: float) -> None:
    def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return np.round(rng.normal(shift, 1, 300), 1), np.round(rng.normal(0, 1, 120), 1)

    true = float(stats.norm.cdf(shift / np.sqrt(2)))
    assert all(0.93 < c < 0.97 for c in covered(true, draw, lambda a, b: s.auc(a, b, 0.57, 0.95)))


@pytest.mark.parametrize("shift", [0.0, 0.05, 0.5])
@pytest.mark.parametrize(("n", "m"), [(5856, 1255), (500, 500)])
def test_tpr_bounds_cover(shift: float, n: int, m: int) -> None:
    def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return rng.normal(shift, 1, n), rng.normal(0, 1, m)

    true = float(stats.norm.sf(stats.norm.isf(0.01) - shift))
    upper, lower = covered(true, draw, lambda a, b: s.tpr_at_fpr(a, b, 0.03, 0.95), 500)
    assert upper > 0.935 and lower > 0.935


def test_tpr_bound_of_a_correct_generator_stays_below_the_tolerance() -> None:
    rng = np.random.default_rng(1)
    shift = float(stats.norm.ppf(0.515) * np.sqrt(2))
    below = [s.tpr_at_fpr(rng.normal(shift, 1, 5856), rng.normal(0, 1, 1255), 0.03, 0.95).upper < 0.03 for _ in range(300)]
    assert np.mean(below) >= 0.98


def test_ties_are_split_as_a_coin_would() -> None:
    constant = s.tpr_at_fpr(np.zeros(2000), np.zeros(1000), 0.03, 0.95)
    assert constant.effect == pytest.approx(0.01, abs=2e-4) and constant.lower < 0.01 < constant.upper < 0.03
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 4, 2000), rng.integers(0, 4, 1000)
    broken = [s.tpr_at_fpr(coarse[0] + rng.random(2000) / 2, coarse[1] + rng.random(1000) / 2, 0.03, 0.95).effect for _ in range(200)]
    assert s.tpr_at_fpr(*coarse, 0.03, 0.95).effect == pytest.approx(np.mean(broken), abs=1e-3)


@pytest.mark.parametrize(("p", "q"), [(0.005, 0.0), (0.006, 0.001), (0.05, 0.05), (0.3, 0.2)])
def test_excess_bounds_cover(p: float, q: float) -> None:
    def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return (rng.random(3000) < p).astype(float), (rng.random(800) < q).astype(float)

    upper, lower = covered(p - q, draw, lambda a, b: s.excess(a, b, 0.005, 0.95), 1000)
    assert upper > 0.93 and lower > 0.93


def test_excess_at_the_edges() -> None:
    none = s.excess(np.zeros(5856), np.zeros(1255), 0.005, 0.95)
    assert none.effect == 0 and 0 < none.upper < 0.001 and none.lower < 0 and none.p > 0.5
    every = s.excess(np.ones(500), np.zeros(500), 0.005, 0.95)
    assert every.lower > 0.98 and every.upper == pytest.approx(1) and every.p < 1e-9
    alone = s.excess(np.ones(50), np.zeros(0), 0.005, 0.95)
    assert alone.lower > 0.9


def test_residual_risk_covers_though_one_unit_takes_many_guesses() -> None:
    def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        counts = (rng.random(7000) < 0.03) * rng.poisson(2.0, 7000)
        return counts[:5800].astype(float), counts[5800:].astype(float)

    upper, lower = covered(0.0, draw, lambda a, b: s.residual_risk(a, b, 2000, 0.1, 0.95))
    assert upper > 0.93 and lower > 0.93


def test_residual_risk_is_not_clipped_and_few_guesses_are_wide() -> None:
    worse = s.residual_risk(np.zeros(1000), np.repeat([1.0, 0.0], [50, 950]), 2000, 0.1, 0.95)
    assert worse.effect < 0 and worse.upper < 0.1
    few = s.residual_risk(np.zeros(1000), np.zeros(200), 10, 0.1, 0.95)
    assert few.upper > 0.1 and few.minimum_detectable > 0.1


def test_holm() -> None:
    assert s.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert s.holm([]) == []


def test_exchangeability_keeps_its_level_and_sees_a_leak() -> None:
    rng = np.random.default_rng(3)
    null = [s.exchangeability(rng.normal(size=(5, 120)), 80, rng, 199) for _ in range(400)]
    assert np.mean(np.array(null) <= 0.05) < 0.08
    hits = np.zeros((2, 400))
    hits[0, :10] = 1
    assert s.exchangeability(hits, 200, rng) < 0.01


def test_exchangeability_has_no_floor_though_many_attacks_are_looked_at_and_one_alone_sees_the_leak() -> None:
    rng = np.random.default_rng(4)
    scores = rng.normal(size=(42, 400))
    scores[0, :200] += 2
    assert s.exchangeability(scores, 200, rng) == 0.001


def test_attacks_that_score_everybody_alike_do_not_disturb_the_joint_test() -> None:
    rng = np.random.default_rng(5)
    scores = np.concatenate([np.full((3, 120), [[0.0], [0.1], [1e9]]), rng.normal(size=(1, 120))])
    alone = s.exchangeability(scores[3:], 80, np.random.default_rng(6))
    assert s.exchangeability(scores, 80, np.random.default_rng(6)) == alone
    assert s.exchangeability(scores[:3], 80, rng) == 1.0


def test_one_run_bound_keeps_its_level_and_refutes() -> None:
    claim, rng = Claim(1.0, 1e-6), np.random.default_rng(0)
    accuracy = 1 / (1 + np.exp(-1.0))
    p = [one_run_p(1000, 100, int(v), claim) for v in rng.binomial(100, accuracy, 2000)]
    assert np.mean(np.array(p) <= 0.05) <= 0.06
    assert one_run_p(1000, 100, 100, claim) < 1e-3
    assert one_run_p(1000, 100, 100, Claim(1.0, 0.5)) == 1.0
    assert one_run_p(10, 10, 0, claim) == 1.0


def test_a_true_claim_is_refuted_no_more_often_than_said_though_eight_ways_to_guess_are_tried() -> None:
    """Of 300 tables 30 are accused at .05 once in a thousand at most; by the least of the eight about 60 are."""
    rng = np.random.default_rng(9)
    p = [claim_p([Scores(*rng.normal(size=(2, 60))) for _ in range(2)], Claim(0.01, 0.0), rng) for _ in range(300)]
    assert sum(each <= 0.05 for each in p) < 30 and min(p) < 0.2


def test_a_share_of_what_units_have_covers_though_few_units_have_most_of_it() -> None:
    """2,000 tables in which a unit has a geometric number of votes, three in four none: the bounds miss at most as often as they say."""
    rng = np.random.default_rng(8)

    def votes(n: int) -> np.ndarray:
        return (rng.random(n) < 0.25) * rng.geometric(0.1, n).astype(float)

    found = [s.share(votes(600), votes(200), 0.57, 0.95) for _ in range(RUNS)]
    missed_above, missed_below, alarms = (sum(f) for f in zip(*((e.upper < 0.5, e.lower > 0.5, e.p_null < 0.05) for e in found), strict=True))
    assert max(missed_above, missed_below, alarms) < RUNS * 0.05 + 5.5 * (RUNS * 0.05 * 0.95) ** 0.5
    assert s.share(votes(2400) * 4, votes(800), 0.57, 0.95).lower > 0.57


@pytest.mark.parametrize("heads", [1, 2, 5, 8, 12, 30])
@pytest.mark.parametrize("controls", [2000, 429])
def test_a_share_is_no_surer_than_the_toss_of_as_many_coins_as_have_all_votes(heads: int, controls: int) -> None:
    members = np.zeros(2000)
    members[:heads] = 2000 / heads
    found = s.share(members, np.zeros(controls), 0.57, 0.95)
    tossed = [2000 * t / (2000 * t + controls * (1 - t)) for t in (0.57, 0.5)]
    assert found.p >= tossed[0] ** heads and found.p_null >= tossed[1] ** heads
    few = s.share(np.zeros(2000), np.r_[members[:heads], np.zeros(controls - heads)], 0.57, 0.95)
    assert few.p == few.p_null == 1.0


@pytest.mark.parametrize("units", [2, 3, 5])
def test_an_area_of_one_between_few_units_is_no_proof(units: int) -> None:
    found = s.auc(np.ones(units) + np.arange(units), -np.arange(units) - 1.0, 0.57, 0.95)
    by_lot = 1 / math.comb(2 * units, units)
    assert found.effect == 1 and found.p >= by_lot / 3 and s.holm([found.p] * 10)[0] > 0.04


def test_a_share_of_nothing_bounds_nothing() -> None:
    nothing = s.share(np.zeros(50), np.zeros(20), 0.57, 0.95)
    assert (nothing.lower, nothing.upper) == (0, 1) and nothing.p > 0.05 and nothing.minimum_detectable == 1
    alone = s.share(np.r_[40.0, np.zeros(49)], np.zeros(20), 0.57, 0.95)
    assert alone.lower < 0.57 < alone.upper and alone.p > 0.05
