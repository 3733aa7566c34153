"""How near units come to the synthetic rows: train beside control, as two noised histograms, and the AUC that is read off them.

Statement. All here is post-processing of the noised counts (`yardstick.py` measures them). The interval is for the AUC that there would be without
noise and with ever more units, given these synthetic rows and these bins: it covers the noise and the sampling of units, each side's taken for
independent draws, at least 95 times in 100 (`tests/releasing/test_nearness.py` draws thousands). It does not cover other synthetic
rows, other splits or other bins.

How. With t and c the noised counts, n_t and n_c their sums and A[i, j] = [i < j] + [i = j] / 2 - theta, t' A c has mean 0 where theta is the AUC; its
variance is about sum_i (sigma^2 + t_i) (A c)_i^2 + sum_j (sigma^2 + c_j) (A' t)_j^2. The interval is of those theta at which t' A c is within two
deviations of 0: no ratio of noisy numbers is taken, so little data give a wide interval, at worst that from 0 to 1. One is added to each count in
the variance, for a side that is all in one bin is not known to stay there.

References: Mann, Whitney 1947 (the AUC as a count of pairs, ties by half); Fieller 1954 (intervals for ratios); Sen 1967 (the variance).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

KIND = "nearness"
DEVIATIONS = 2.0
MOST_BINS, MOST_UNITS = 1_000, 2**53
CLOSE = 1e-6
NEARER = (
    "How often a unit that was trained on is nearer to the synthetic rows than one that was held back, ties counted half; 0.5 is chance. Read off "
    "the noised histograms. The interval holds 95 times in 100, over the noise and the sampling of units; not over other synthetic rows, nor "
    "over the choice to publish only what passed."
)


@dataclass(frozen=True)
class Guarantee:
    """(epsilon, delta) of one part of a bundle, by itself."""

    epsilon: float
    delta: float


@dataclass(frozen=True)
class Nearness:
    """What is published of it.

    Attributes:
        rows, histograms: what the synthetic rows and the two histograms guarantee, each by itself.
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

    def faults(self) -> Iterator[str]:
        """What in it contradicts the rest of it."""
        figures = (self.sigma, self.auc, *self.edges, *self.interval)
        if not all(map(math.isfinite, figures)) or self.sigma <= 0 or len(self.interval) != 2:
            yield "a figure of the histograms is out of range"
        elif not len(self.train) == len(self.control) == len(self.edges) + 1:
            yield "the histograms have not one count for each bin"
        elif len(self.train) > MOST_BINS or any(abs(n) > MOST_UNITS for n in (*self.train, *self.control)):
            yield "the histograms have more bins or larger counts than any of ours"
        elif not all(0 <= a < b <= self.columns for a, b in zip(self.edges, self.edges[1:], strict=False)):
            yield "the bins' edges do not rise"
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
    of_train, of_control = (sigma**2 + np.maximum(n, 0) + 1 for n in (t, c))
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
