"""From how many people on a policy can be passed at all: what bounds come to when nothing leaks and nothing is hit by chance."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from attacks.evidence import MAX_POOL
from attacks.policy import SHIPPED, Policy
from attacks.statistics import excess, least_auc, least_excess, least_tpr

MOST = 200_000
STEP = 1.05


def markdown() -> str:
    """For each policy and split: the least number of units to train on at which each endpoint can be certified with 80 % power."""
    rows = [row for name in SHIPPED if (policy := Policy.load(name)).publishes for row in _rows(policy)]
    return "\n".join(["| policy | endpoint | tolerance | as many controls | the policy's split |", "|---|---|---|---|---|", *rows])


def _rows(policy: Policy) -> Iterator[str]:
    share = policy.split["control"] / policy.split["train"]
    for endpoint, least in _endpoints(policy).items():
        even, own = (_smallest(lambda n, m, least=least, e=endpoint: least(n, m) < policy.tolerance[e], ratio) for ratio in (1.0, share))
        yield f"| {policy.name} | {endpoint} | {policy.tolerance[endpoint]:g} | {_words(even)} | {_words(own)} |"


def _endpoints(policy: Policy) -> dict[str, Callable[[int, int], float]]:
    """The least tolerance that n members and m controls certify, of the endpoints that need the most people.

    An excess of hits is taken where it is easiest, with none at all; attribute inference where it is hardest, at even odds.
    """
    level = policy.confidence
    return {
        "exact_match": lambda n, m: excess(np.zeros(n), np.zeros(m), policy.tolerance["exact_match"], level).upper,
        "membership_auc": lambda n, m: least_auc(n, m, level),
        "membership_tpr": lambda n, m: least_tpr(n, m, level),
        "attribute_inference": lambda n, m: least_excess(n, m, level),
    }


def _smallest(certified: Callable[[int, int], bool], ratio: float) -> int | None:
    n = 50
    while n < MOST:
        if certified(min(n, MAX_POOL), min(round(n * ratio), MAX_POOL)):
            return n
        n = int(n * STEP) + 1
    return None


def _words(n: int | None) -> str:
    return "never" if n is None else f"{_rounded(n):,}"


def _rounded(n: int) -> int:
    """Upwards, to two digits."""
    unit = 10 ** (len(str(n)) - 2)
    return -(-n // unit) * unit
