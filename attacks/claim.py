"""A claimed (epsilon, delta) put to the test in one run (Steinke, Nasr and Jagielski, NeurIPS 2023, Theorem 5.2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from attacks.scores import Floats, Scores
from dpsynth.errors import Fault, refuse

SHARES = (0.01, 0.05, 0.2, 1.0)


@dataclass(frozen=True)
class Claim:
    """What the maker of a synthetic table says of it: (epsilon, delta), add/remove one unit."""

    epsilon: float
    delta: float

    def __post_init__(self) -> None:
        faults = []
        if not _number(self.epsilon) or not 0 < self.epsilon < math.inf:
            faults.append(Fault("claim", "epsilon is not a positive number", "write 1.0"))
        if not _number(self.delta) or not 0 <= self.delta < 1:
            faults.append(Fault("claim", "delta is not in [0, 1)", "write 1e-9"))
        refuse(faults)


def claim_p(scores: Sequence[Scores], claim: Claim, rng: np.random.Generator) -> float:
    """p-value of the claim: least over attacks and numbers of guesses, times how many there were.

    Members and controls are cut to one size at random, so each target is in with probability one half. The
    top of the scores is guessed in, the bottom out; how many is fixed beforehand. The theorem tosses a coin for each target; with both
    sides of one size a single p can be smaller than it should, by 1.26 times at most with 50 a side and less with more, which
    the correction for eight dependent ones more than covers.
    """
    p = [1.0]
    for each in scores:
        members, controls = each.targets()
        size = min(len(members), len(controls))
        if size:
            p += _each_p(rng.permutation(members)[:size], rng.permutation(controls)[:size], claim, rng)
    return min(1.0, min(p) * max(len(p) - 1, 1))


def one_run_p(targets: int, guesses: int, right: int, claim: Claim) -> float:
    """P[at least `right` of `guesses` on `targets` coin flips] under the claim, at most."""
    accuracy = 1 / (1 + math.exp(-claim.epsilon))
    below = np.cumsum(stats.binom.pmf(np.arange(right - 1, -1, -1), guesses, accuracy)) if right else np.zeros(1)
    slack = float(np.max(below / np.arange(1, len(below) + 1)))
    return min(1.0, float(stats.binom.sf(right - 1, guesses, accuracy)) + 2 * targets * claim.delta * slack)


def _each_p(members: Floats, controls: Floats, claim: Claim, rng: np.random.Generator) -> list[float]:
    pooled = np.concatenate([members, controls])
    inside = np.repeat([True, False], [len(members), len(controls)])
    ranked = inside[np.lexsort((rng.random(len(pooled)), -pooled))]
    halves = [max(int(share * len(members)), 1) for share in SHARES]
    return [one_run_p(len(pooled), 2 * h, int(ranked[:h].sum() + (~ranked[-h:]).sum()), claim) for h in halves]


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
