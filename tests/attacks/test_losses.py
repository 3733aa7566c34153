"""Likelihood ratios from losses, against the analytic ones of losses that are normal."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from attacks.losses import likelihood_ratio, robust_likelihood_ratio
from attacks.scores import UnanswerableError

PEOPLE = 400


def losses(seed: int, runs: int, gap: float, inner: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Normal losses: a record's own mean, lower by `gap` where trained on, spread `inner` there and 1 elsewhere.

    Gives the target model's losses, shadow losses, who is inside, the records' means and who is a member of the target model.
    """
    rng = np.random.default_rng(seed)
    hard = rng.normal(0, 5, PEOPLE)
    inside = rng.permuted(np.arange(runs)[:, None].repeat(PEOPLE, axis=1) < runs // 2, axis=0)
    member = rng.random(PEOPLE) < 0.5
    shadow = hard + np.where(inside, rng.normal(-gap, inner, inside.shape), rng.normal(size=inside.shape))
    own = hard + np.where(member, rng.normal(-gap, inner, PEOPLE), rng.normal(size=PEOPLE))
    return own, shadow, inside, hard, member


def area(scores: np.ndarray, member: np.ndarray) -> float:
    return float(stats.mannwhitneyu(scores[member], scores[~member]).statistic / (member.sum() * (~member).sum()))


@pytest.mark.parametrize(("gap", "inner"), [(1.0, 1.0), (2.0, 0.5)])
def test_many_shadow_models_give_the_analytic_ratio(gap: float, inner: float) -> None:
    own, shadow, inside, hard, member = losses(1, 6_000, gap, inner)
    analytic = stats.norm.logpdf(own, hard - gap, inner) - stats.norm.logpdf(own, hard, 1)
    found = likelihood_ratio(own, shadow, inside)
    assert np.allclose(found, analytic, atol=0.25 + 0.05 * np.abs(analytic).max())
    assert np.corrcoef(found, analytic)[0, 1] > 0.999
    assert area(found, member) == pytest.approx(area(analytic, member), abs=0.005)


@pytest.mark.parametrize("runs", [8, 200])
@pytest.mark.parametrize("robust", [False, True])
def test_members_score_higher_as_the_gap_says(robust: bool, runs: int) -> None:
    """With equal spreads no attack has a larger area than Phi(gap / sqrt 2): .921 at a gap of 2. The loss alone sees hardly any of it."""
    own, shadow, inside, _, member = losses(2, runs, 2.0)
    others, shadow_others, *_ = losses(3, runs, 0.0)
    scores = robust_likelihood_ratio(own, shadow, inside, others, shadow_others) if robust else likelihood_ratio(own, shadow, inside)
    assert area(-own, member) < 0.7
    assert 0.8 < area(scores, member) < float(stats.norm.cdf(2 / np.sqrt(2))) + 0.06


@pytest.mark.parametrize("robust", [False, True])
def test_models_without_the_records_suffice_for_less(robust: bool) -> None:
    own, shadow, inside, hard, member = losses(4, 64, 2.0)
    outside = hard + np.random.default_rng(5).normal(size=shadow.shape)
    others, shadow_others, *_ = losses(6, 64, 0.0)
    none = np.zeros_like(inside)
    scores = robust_likelihood_ratio(own, outside, none, others, shadow_others) if robust else likelihood_ratio(own, outside, none)
    assert area(scores, member) > 0.8


@pytest.mark.parametrize("robust", [False, True])
def test_a_model_that_learned_nothing_of_anyone_tells_nothing(robust: bool) -> None:
    own, shadow, inside, _, member = losses(7, 16, 0.0)
    others, shadow_others, *_ = losses(8, 16, 0.0)
    scores = robust_likelihood_ratio(own, shadow, inside, others, shadow_others) if robust else likelihood_ratio(own, shadow, inside)
    assert abs(area(scores, member) - 0.5) < 5 * np.sqrt((PEOPLE + 1) / 12 / (PEOPLE / 2) ** 2)


def test_the_robust_ratio_is_its_definition() -> None:
    own, shadow, inside, *_ = losses(9, 6, 1.0)
    others, shadow_others, *_ = losses(10, 6, 0.0)
    found = robust_likelihood_ratio(own, shadow, inside, others, shadow_others, gamma=1.5)
    likelihood, strangers = np.exp(-shadow), np.exp(-others) / np.exp(-shadow_others).mean(axis=0)
    for i in range(0, PEOPLE, 40):
        usual = (likelihood[inside[:, i], i].mean() + likelihood[~inside[:, i], i].mean()) / 2
        ratio = np.exp(-own[i]) / usual
        assert found[i] == pytest.approx(np.mean(ratio / strangers >= 1.5))


def test_large_losses_do_not_underflow() -> None:
    own, shadow, inside, _, member = losses(11, 64, 2.0)
    others, shadow_others, *_ = losses(12, 64, 0.0)
    far = robust_likelihood_ratio(own + 5_000, shadow + 5_000, inside, others + 5_000, shadow_others + 5_000)
    assert np.array_equal(far, robust_likelihood_ratio(own, shadow, inside, others, shadow_others)) and area(far, member) > 0.8


def test_losses_that_never_vary_give_numbers() -> None:
    inside = np.tile(np.arange(8)[:, None] < 4, (1, 5))
    same = likelihood_ratio(np.ones(5), np.ones((8, 5)), inside)
    assert np.array_equal(same, np.zeros(5))
    told = likelihood_ratio(np.where(np.arange(5) < 2, 0.0, 1.0), np.where(inside, 0.0, 1.0), inside)
    assert (told[:2] > 1e6).all() and (told[2:] < -1e6).all()


@pytest.mark.parametrize("runs", [0, 1, 3])
def test_too_few_shadow_models_are_said_so(runs: int) -> None:
    with pytest.raises(UnanswerableError):
        likelihood_ratio(np.zeros(4), np.zeros((runs, 4)), np.zeros((runs, 4), dtype=bool) | (np.arange(runs)[:, None] == 0))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_loss_that_is_no_number_is_not_dropped(bad: float) -> None:
    own, shadow, inside, *_ = losses(13, 8, 1.0)
    own[3] = bad
    with pytest.raises(UnanswerableError, match="no finite number"):
        likelihood_ratio(own, shadow, inside)
    with pytest.raises(UnanswerableError, match="no finite number"):
        robust_likelihood_ratio(shadow[0], shadow, inside, own, shadow)
