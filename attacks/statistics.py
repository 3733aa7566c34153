"""Effects with one-sided bounds. Each estimate answers three questions at once.

How large is the effect, could it be as large as the tolerance (`upper`), is it surely larger (`p`)?
All bounds are one-sided; both ends of `[lower, upper]` hold at the stated confidence on their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize, special, stats

Floats = npt.NDArray[np.float64]

FPR = 0.01
POWER = 0.80


@dataclass(frozen=True)
class Estimate:
    """An effect.

    Attributes:
        effect: the point estimate.
        lower, upper: one-sided bounds.
        p: p-value of "the effect is at most the tolerance"; small proves it larger.
        p_null: p-value of "there is no effect"; small means detected.
        minimum_detectable: the least tolerance that the upper bound would stay below with 80 % power if
            there were no leak. A tolerance below it cannot be certified with this many targets.
        at: which of several effects decides: what is proved, or else what could be largest; None where there is one.
    """

    effect: float
    lower: float
    upper: float
    p: float
    p_null: float
    minimum_detectable: float
    at: int | None = None


def auc(members: Floats, controls: Floats, tolerance: float, confidence: float) -> Estimate:
    """Area under the ROC curve, P[member scores higher] + P[tie]/2; shapes (n,), (m,), both at least 2.

    Variance after DeLong, DeLong and Clarke-Pearson (Biometrics 1988), which allows for ties; bounds on the
    logit scale, where they cover (the plain lower bound covers 91 % for 95 % at an area of .92: simulated). `p` is at
    least `p_null`: two sides without overlap have no variance to estimate, and of few that is no proof.
    """
    n, m = len(members), len(controls)
    together = stats.rankdata(np.concatenate([members, controls]))
    wins = (together[:n] - stats.rankdata(members)) / m
    losses = 1.0 - (together[n:] - stats.rankdata(controls)) / n
    effect = float(wins.mean())
    error = math.sqrt(wins.var(ddof=1) / n + losses.var(ddof=1) / m)
    error /= max(effect * (1 - effect), 0.25 / (n + m))
    reach = _z(confidence) * error
    p_null = _upper_tail(effect - 0.5, _auc_error(n, m))
    return Estimate(
        effect=effect,
        lower=float(special.expit(special.logit(effect) - reach)),
        upper=float(special.expit(special.logit(effect) + reach)),
        p=max(p_null, _upper_tail(float(special.logit(effect) - special.logit(tolerance)), error)),
        p_null=p_null,
        minimum_detectable=least_auc(n, m, confidence),
    )


def least_auc(members: int, controls: int, confidence: float) -> float:
    """The least AUC tolerance that so many targets certify with 80 % power when nothing leaks."""
    return 0.5 + (_z(confidence) + _z(POWER)) * _auc_error(members, controls)


def least_tpr(members: int, controls: int, confidence: float, fpr: float = FPR) -> float:
    """The same for the true positive rate at `fpr`."""
    return fpr + (_z(confidence) + _z(POWER)) * math.sqrt(fpr * (1 - fpr) * (1 / members + 1 / controls))


def _auc_error(n: int, m: int) -> float:
    """Standard error of the AUC when nothing leaks (Mann and Whitney 1947)."""
    return math.sqrt((n + m + 1) / (12.0 * n * m))


def tpr_at_fpr(members: Floats, controls: Floats, tolerance: float, confidence: float, fpr: float = FPR) -> Estimate:
    """True positive rate at the threshold that a share `fpr` of all non-members passes.

    The threshold is not known: of m controls a Binomial(m, fpr) number K lies above it, so it falls between
    their K-th and (K+1)-th largest scores. Given K, the rate has the Clopper-Pearson (Beta) distribution of
    the members beyond. The bounds are quantiles of the mixture over K, each taken at the end of the gap that
    makes it wider. Ties are split as a coin would. (Generalised fiducial inference; Hannig, Stat. Sinica 2009.)
    """
    n, m = len(members), len(controls)
    beyond = _members_beyond(members, controls)
    k = np.arange(stats.binom.ppf(1 - 1e-9, m, fpr) + 1).astype(int)
    k = k[k <= m]
    weight = stats.binom.pmf(k, m, fpr)
    weight /= weight.sum()
    fewest, most = beyond[k], beyond[k + 1]

    def at_most(rate: float) -> float:
        return float(weight @ stats.beta.cdf(rate, most + 1e-9 + 1, np.maximum(n - most, 1e-9)))

    def at_most_low(rate: float) -> float:
        return float(weight @ stats.beta.cdf(rate, np.maximum(fewest, 1e-9), n - fewest + 1))

    return Estimate(
        effect=float(np.interp(fpr * (m + 1), np.arange(m + 2), beyond) / n),
        lower=_crossing(at_most_low, 1 - confidence),
        upper=_crossing(at_most, confidence),
        p=at_most_low(tolerance),
        p_null=at_most_low(fpr),
        minimum_detectable=least_tpr(n, m, confidence, fpr),
    )


def _members_beyond(members: Floats, controls: Floats) -> Floats:
    """How many members score above the j-th largest control, j = 0 ... m + 1; shape (m + 2,)."""
    n, m = len(members), len(controls)
    rising, ranked = np.sort(members), np.sort(controls)[::-1]
    above = n - np.searchsorted(rising, ranked, side="right")
    tied = n - np.searchsorted(rising, ranked, side="left") - above
    first = m - np.searchsorted(ranked[::-1], ranked, side="right")
    group = m - np.searchsorted(ranked[::-1], ranked, side="left") - first
    share = (np.arange(m) - first + 1) / (group + 1)
    return np.concatenate([[0.0], above + tied * share, [float(n)]])


def excess(members: Floats, controls: Floats, tolerance: float, confidence: float, chance: float = 0.0) -> Estimate:
    """Difference of two shares of hits (0 or 1), members minus controls; shapes (n,), (m,).

    Score bounds after Miettinen and Nurminen (Stat. Med. 1985), sane at 0 of n. Without controls (m = 0) the share
    itself: all of it could be a leak, and only what is beyond `chance`, the most that none explains, is proved to be one.
    """
    x, n, y, m = float(members.sum()), len(members), float(controls.sum()), len(controls)
    base = (y * (n + m) / m + 0.5) / (n + m + 1) if m else 0.5 / (n + 1)
    m, most = (m, y) if m else (10**9, chance * 10**9)
    null_error = math.sqrt(base * (1 - base) * (1 / n + 1 / m))
    z = _z(confidence)

    def score(delta: float, hits: float) -> float:
        return _difference_score(x, n, hits, m, delta)

    return Estimate(
        effect=x / n - y / m,
        lower=_root(lambda d: score(d, most) - z, -1.0, x / n - most / m),
        upper=_root(lambda d: score(d, y) + z, x / n - y / m, 1.0),
        p=float(stats.norm.sf(score(tolerance, most))),
        p_null=float(stats.norm.sf(score(0.0, most))),
        minimum_detectable=(z + _z(POWER)) * null_error,
    )


def least_excess(members: int, controls: int, confidence: float) -> float:
    """The least tolerance of an excess that so many targets certify with 80 % power when nothing leaks, whatever the share of hits."""
    return (_z(confidence) + _z(POWER)) * 0.5 * math.sqrt(1 / members + 1 / controls)


def worst(
    measure: Callable[[Floats, Floats, float, float], Estimate], pairs: Sequence[tuple[Floats, Floats]], tolerance: float, confidence: float
) -> Estimate:
    """The largest of k effects, each measured on members' and controls' scores, one pair for each.

    All k upper bounds hold where the largest is stated, without correction, if none of k effects is above the tolerance (intersection-union);
    the lower bound and both p-values are corrected for having looked at k (Bonferroni).
    """
    k = len(pairs)
    found = [measure(m, c, tolerance, confidence) for m, c in pairs]
    proved = k * min(e.p for e in found) < 1 - confidence
    at = int(np.argmin([e.p for e in found]) if proved else np.argmax([e.upper for e in found]))
    return Estimate(
        effect=found[at].effect,
        lower=max(measure(m, c, tolerance, 1 - (1 - confidence) / k).lower for m, c in pairs),
        upper=max(e.upper for e in found),
        p=min(1.0, k * min(e.p for e in found)),
        p_null=min(1.0, k * min(e.p_null for e in found)),
        minimum_detectable=max(e.minimum_detectable for e in found),
        at=at,
    )


def share(members: Floats, controls: Floats, tolerance: float, confidence: float) -> Estimate:
    """a / (a + b), a and b what a member and a control have on average of something counted (at least 0); shapes (n,), (m,).

    One half if membership does not matter, whatever the sizes of the two sides. Given what each unit has, whether it is a member's is one
    accident for all of it: the members' part of everything is a sum of as many bounded terms as there are units, and Hoeffding's inequality
    (J. Am. Stat. Assoc. 1963, theorem 2) bounds how far it strays from what is expected, also where one unit has nearly all.
    """
    n, m = len(members), len(controls)
    both = np.concatenate([members, controls])
    if not both.any():
        return Estimate(0.5, 0.0, 1.0, 1.0, 1.0, 1.0)
    part = float(members.sum() / both.sum())
    few = float(np.sqrt(np.square(both).sum()) / both.sum())  # 1 where one unit has all, 1 / sqrt(k) where k units have equal parts
    reach = few * math.sqrt(-math.log(1 - confidence) / 2)

    def p(share: float) -> float:
        return math.exp(-2 * (max(0.0, part - _part(share, n, m)) / few) ** 2)

    return Estimate(
        effect=_share(part, n, m),
        lower=_share(part - reach, n, m),
        upper=_share(part + reach, n, m),
        p=p(tolerance),
        p_null=p(0.5),
        minimum_detectable=_share(n / (n + m) + reach + _z(POWER) * few / 2, n, m),
    )


def _part(share: float, n: int, m: int) -> float:
    """What n members have of everything where a member has `share` of what he and one of m controls have."""
    return share * n / (share * n + (1 - share) * m)


def _share(part: float, n: int, m: int) -> float:
    """The other way round; a part beyond [0, 1] is the end of it."""
    part = min(max(part, 0.0), 1.0)
    return part * m / (part * m + (1 - part) * n)


def _difference_score(x: float, n: int, y: float, m: int, delta: float) -> float:
    """z of H0: p1 - p2 = delta, the variance at the likeliest pair under H0."""
    delta = min(max(delta, -1 + 1e-12), 1 - 1e-12)
    p2 = _restricted_base(x, n, y, m, delta)
    p1 = min(max(p2 + delta, 0.0), 1.0)
    variance = (p1 * (1 - p1) / n + p2 * (1 - p2) / m) * (n + m) / (n + m - 1)
    gap = x / n - y / m - delta
    return gap / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, gap) if gap else 0.0


def _restricted_base(x: float, n: int, y: float, m: int, delta: float) -> float:
    """The maximum likelihood p2 when p1 = p2 + delta: root of the concave log-likelihood's slope."""
    low, high = max(0.0, -delta), min(1.0, 1.0 - delta)

    def slope(p: float) -> float:
        q = p + delta
        return _pull(x, n, q) + _pull(y, m, p)

    edge = (high - low) * 1e-12
    return _root(lambda p: -slope(p), low + edge, high - edge)


def _pull(hits: float, n: int, p: float) -> float:
    """Slope of a binomial log-likelihood."""
    return hits / max(p, 1e-15) - (n - hits) / max(1 - p, 1e-15)


def residual_risk(members: Floats, controls: Floats, guesses: int, tolerance: float, confidence: float) -> Estimate:
    """(a - c)/(1 - c): the share a of guesses that isolate a member, corrected by the share c expected without a leak.

    `members` and `controls`, shapes (n,) and (m,), count for each unit the guesses that isolate it among all
    n + m; c is the controls' count scaled to n. The variance is that of the counts between units, because a unit
    isolated by many guesses is one accident and not many; one more success is added, so that none is not proof of
    none. The risk of Giomi et al. (PoPETs 2023), but not clipped at zero: a clipped zero reads as safety.
    """
    n, m, z = len(members), len(controls), _z(confidence)
    a, c = float(members.sum()) / guesses, min(float(controls.sum()) * n / m / guesses, 0.95)
    spread = n / guesses * math.sqrt((float(np.square(members).sum() + np.square(controls).sum()) + 1) / (n + m))
    risk = (a - c) / (1 - c)
    error = math.hypot(spread / math.sqrt(n), (1 - a) / (1 - c) * spread / math.sqrt(m)) / (1 - c)
    null_error = spread * math.sqrt(1 / n + 1 / m) / (1 - c)
    return Estimate(
        effect=risk,
        lower=risk - z * error,
        upper=min(risk + z * error, 1.0),
        p=_upper_tail(risk - tolerance, error),
        p_null=_upper_tail(risk, null_error),
        minimum_detectable=(z + _z(POWER)) * null_error,
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values (Scand. J. Stat. 1979), in the order given."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p)
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)) if len(p) else p
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(steps, 1.0)
    return [float(v) for v in adjusted]


def exchangeability(statistics: Floats, n_members: int, rng: np.random.Generator, permutations: int = 999) -> float:
    """Exact p-value of "membership labels are exchangeable given all scores"; 1 where all rows are constant.

    `statistics` has shape (k, targets), members first. Each row is standardised and summed over the members, one matrix of permuted labels
    serves all rows, and the largest of the k sums is compared with its own permutation distribution (max-T, Westfall and Young 1993), so
    correlation between attacks costs no power. (The least of k permutation p-values has a floor near k / permutations: one row alone
    could prove nothing where many are looked at.)
    """
    varied = statistics[np.ptp(statistics, axis=1) > 0]
    if not len(varied):
        return 1.0
    targets = varied.shape[1]
    labels = np.zeros((permutations + 1, targets))
    labels[:, :n_members] = 1.0
    labels[1:] = rng.permuted(labels[1:], axis=1)
    standard = (varied - varied.mean(axis=1, keepdims=True)) / varied.std(axis=1, keepdims=True)
    largest = np.round(standard @ labels.T, 9).max(axis=0)
    return float(np.mean(largest >= largest[0]))


def _z(confidence: float) -> float:
    return float(stats.norm.ppf(confidence))


def _upper_tail(gap: float, error: float) -> float:
    if error == 0:
        return 0.0 if gap > 0 else 1.0
    return float(stats.norm.sf(gap / error))


def _crossing(cumulative: Callable[[float], float], level: float) -> float:
    """Where a distribution function on [0, 1] reaches a level."""
    return _root(lambda rate: cumulative(rate) - level, 0.0, 1.0)


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """The root of a monotone function, or the end nearer to it when it has none inside."""
    at_low, at_high = function(low), function(high)
    if at_low == 0 or at_low * at_high > 0:
        return low if abs(at_low) <= abs(at_high) else high
    return float(optimize.brentq(function, low, high, xtol=1e-10))
