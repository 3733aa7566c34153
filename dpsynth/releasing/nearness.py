"""How near units come to the synthetic rows: train beside control, as two noised histograms, and the AUC that is read off them.

Statement. All here is post-processing of the noised counts (`yardstick.py` measures them). The interval is for the AUC that there would be without
noise and with ever more units, given these synthetic rows and these bins: were the units of each side independent draws, it would cover the noise
and their sampling at least 95 times in 100. That is no theorem: `tests/releasing/test_nearness.py` draws thousands, and reckons the
worst case that we know, few units in a bin beside a side that is known, where it covers .954. Units held back are such draws; those trained on
are not, given rows that were fitted to them. It does not cover other synthetic rows, other splits or other bins.

How. With t and c the noised counts, n_t and n_c their sums and A[i, j] = [i < j] + [i = j] / 2 - theta, t' A c has mean 0 where theta is the AUC; its
variance is about sum_i (sigma^2 + t_i) (A c)_i^2 + sum_j (sigma^2 + c_j) (A' t)_j^2. The interval is of those theta at which t' A c is within 2.1
deviations of 0: no ratio of noisy numbers is taken, so little data give a wide interval, at worst that from 0 to 1. Three is added to each count in
the variance, and 2.1 stands for the 1.96 of normal noise, for a count of a few units is skewed and tells little of its own variance: with one
added and 2.0 the interval covered .88 where two or three units were to be expected.

References: Mann, Whitney 1947 (the AUC as a count of pairs, ties by half); Fieller 1954 (intervals for ratios); Sen 1967 (the variance).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

KIND = "nearness"
DEVIATIONS, ADDED = 2.1, 3
MOST_BINS, MOST_UNITS = 1_000, 2**53
CLOSE = 1e-6
NEARER = (
    "How often a unit that was trained on is in a nearer one of these bins than one that was held back, the same bin counted half; 0.5 is chance, or "
    "bins too coarse to tell. Read off the noised histograms. Were the units of each side independent draws, the interval would hold 95 times in "
    "100, over the noise and their sampling; those trained on are not, for the synthetic rows were fitted to them. It does not cover other synthetic "
    "rows, nor the choice to publish only what passed. From 0 to 1, it says that the noise leaves nothing to tell, and the number means nothing."
)


@dataclass(frozen=True)
class Guarantee:
    """(epsilon, delta) of one part of a bundle."""

    epsilon: float
    delta: float


@dataclass(frozen=True)
class Nearness:
    """What is published of it.

    Attributes:
        rows: what the synthetic rows guarantee by themselves.
        histograms: what the question of the two histograms guarantees, given the synthetic rows. They hang on these rows, so by
            themselves no more is promised of them than of both together.
        columns: how many columns a distance is summed over; each adds 1 at most.
        edges: rising, in columns: bin 0 holds distances up to the first, bin i those above edge i - 1 and up to edge i, the last one all above.
        sigma: the noise scale of each count.
        train, control: noised numbers of units in each bin.
        auc, interval: of train nearer than control.
    """

    rows: Guarantee
    histograms: Guarantee
    columns: int
    edges: tuple[float, ...]
    sigma: float
    train: tuple[int, ...]
    control: tuple[int, ...]
    auc: float
    interval: tuple[float, float]

    @property
    def tells(self) -> bool:
        """Whether any AUC can be ruled out."""
        return self.interval != (0.0, 1.0)

    def faults(self) -> Iterator[str]:
        """What in it contradicts the rest of it."""
        from dpsynth.privacy.gdp import MAX_SIGMA, MIN_SIGMA

        figures = (self.sigma, self.auc, *self.edges, *self.interval)
        if not all(map(math.isfinite, figures)) or not MIN_SIGMA <= self.sigma <= MAX_SIGMA or len(self.interval) != 2:
            yield "a figure of the histograms is out of range"
        elif not len(self.train) == len(self.control) == len(self.edges) + 1:
            yield "the histograms have not one count for each bin"
        elif len(self.train) > MOST_BINS or any(abs(n) > MOST_UNITS for n in (*self.train, *self.control)):
            yield "the histograms have more bins or larger counts than any of ours"
        elif not (self.edges and self.edges[0] >= 0 and self.edges[-1] <= self.columns and all(a < b for a, b in pairwise(self.edges))):
            yield "the bins' edges do not rise from 0 to the number of columns"
        else:
            auc, interval = told_apart(self.train, self.control, self.sigma)
            if any(abs(a - b) > CLOSE for a, b in zip((self.auc, *self.interval), (auc, *interval), strict=True)):
                yield f"the histograms have an AUC of {auc:.4f} ({interval[0]:.4f} to {interval[1]:.4f}), not the one that is written"


def published(
    rows: Guarantee, histograms: Guarantee, columns: int, edges: Sequence[float], sigma: float, counts: Sequence[Sequence[int]]
) -> Nearness:
    """What is published of noised counts: of train and of control, in bins with these edges."""
    train, control = (tuple(map(int, side)) for side in counts)
    auc, interval = told_apart(train, control, sigma)
    return Nearness(rows, histograms, columns, tuple(map(float, edges)), sigma, train, control, auc, interval)


def told_apart(train: Sequence[int], control: Sequence[int], sigma: float) -> tuple[float, tuple[float, float]]:
    """The AUC of two noised histograms over the same rising bins, train's nearer than control's, and its interval; in [0, 1].

    One half, and all from 0 to 1, where noise leaves nothing of a side.
    """
    t, c = np.array(train, dtype=np.float64), np.array(control, dtype=np.float64)
    pairs = t.sum() * c.sum()
    if t.sum() <= 0 or c.sum() <= 0:
        return 0.5, (0.0, 1.0)
    nearer = np.triu(np.ones((len(t), len(t))), 1) + np.eye(len(t)) / 2
    from_train, from_control = nearer @ c, nearer.T @ t
    won = float(t @ from_train)
    of_train, of_control = (sigma**2 + np.maximum(n, 0) + ADDED for n in (t, c))
    # The variance as a polynomial of theta, then that of (won - theta pairs)^2 - DEVIATIONS^2 variance.
    constant = float(of_train @ from_train**2 + of_control @ from_control**2)
    linear = float(-2 * (c.sum() * (of_train @ from_train) + t.sum() * (of_control @ from_control)))
    square = c.sum() ** 2 * of_train.sum() + t.sum() ** 2 * of_control.sum()
    low, high = _roots(pairs**2 - DEVIATIONS**2 * square, -2 * won * pairs - DEVIATIONS**2 * linear, won**2 - DEVIATIONS**2 * constant)
    return _share(won / pairs), (_share(low), _share(high))


def _roots(a: float, b: float, c: float) -> tuple[float, float]:
    """Between which a x^2 + b x + c is at most 0; everywhere, where that has an end on one side only or none."""
    if a <= 0:
        return -math.inf, math.inf
    half = math.sqrt(max(b * b - 4 * a * c, 0.0))
    return (-b - half) / (2 * a), (-b + half) / (2 * a)


def _share(number: float) -> float:
    return min(max(float(number), 0.0), 1.0)
