"""MST: one-way marginals, then a tree of two-way marginals chosen for what independence misses.

Statement. A fit is (epsilon, delta)-DP: a third of the grant measures every column, a third chooses d - 1 pairs by the
exponential mechanism, a third (and all that rounding left) measures them, all through `PrivateTable`.
Sensitivity: a marginal's and a selection's, see `privacy/table.py`; the references of the scores are made from the
one-way answers alone. Values whose noisy count is below three sigma are merged, which reads nothing new.

Reference: McKenna, Miklau, Sheldon 2021 (arXiv 2108.04978), Algorithms 1-3. New here: the score of a pair is lowered by
the noise its table would get, sqrt(2/pi) sigma cells, so that large tables are not bought for noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar

import numpy as np

from dpsynth.encoding import Codec, Decoder
from dpsynth.graphical import GraphicalModel, Measurement, estimate
from dpsynth.privacy import Attribute, Merged, PrivateTable
from dpsynth.privacy.noise import Counts
from dpsynth.synthesizers.generator import Fitted, Generator, domain_of, measure

RARE = 3.0
MOST_CELLS = 10_000_000
SAFE = 1 - 1e-9


@dataclass(frozen=True)
class MST(Generator):
    """Maximum spanning tree of two-way marginals."""

    name: ClassVar[str] = "mst"

    def _measure(self, table: PrivateTable, attributes: tuple[Attribute, ...]) -> Fitted:
        budget, edges = table.left.mu**2 * SAFE, len(attributes) - 1
        third = budget / 3 if edges else budget
        ones = [measure(table, [a], third / len(attributes)) for a in attributes]
        decoders = [_merged(a, m) for a, m in zip(attributes, ones, strict=True)]
        merged = [d.attribute for d in decoders]
        pooled = [_regrouped(m, a) for m, a in zip(ones, merged, strict=True)]
        domain = domain_of(merged)
        tree = _choose_tree(table, merged, estimate(domain, pooled), third)
        twos = [measure(table, pair, table.left.mu**2 * SAFE / (len(tree) - i)) for i, pair in enumerate(tree)]
        return Fitted(estimate(domain, [*pooled, *twos]), Codec(tuple(decoders)), (*ones, *twos))


def _merged(attribute: Attribute, measurement: Measurement) -> Decoder:
    """The attribute with its rare codes in one group (the last), undone by their noisy counts."""
    rare = measurement.values < RARE * np.asarray(measurement.sigma)
    if rare.sum() < 2:
        return Decoder(attribute)
    common = np.cumsum(~rare) - 1
    groups = np.where(rare, (~rare).sum(), common)
    return Decoder(Merged(attribute, tuple(groups.tolist())), np.maximum(measurement.values, 0))


def _regrouped(measurement: Measurement, attribute: Attribute) -> Measurement:
    """A one-way measurement in its attribute's groups: counts add up, and so do variances."""
    if not isinstance(attribute, Merged):
        return measurement
    values = np.bincount(attribute.groups, weights=measurement.values).astype(np.float64)
    sigma = np.asarray(measurement.sigma) * np.sqrt(np.bincount(attribute.groups))
    return Measurement(measurement.clique, values, sigma)


def _choose_tree(table: PrivateTable, attributes: Sequence[Attribute], model: GraphicalModel, mu_squared: float) -> list[tuple[Attribute, Attribute]]:
    """Up to d - 1 pairs, one at a time among those that join two components (Algorithm 3: Kruskal by the exponential mechanism)."""
    steps = len(attributes) - 1
    component = {a: i for i, a in enumerate(attributes)}
    sigma = table.sigma(mu_squared / steps) if steps else 1.0
    small = (pair for pair in combinations(attributes, 2) if pair[0].size * pair[1].size <= MOST_CELLS)
    pairs = {pair: (_independent(model, pair), _penalty(pair, sigma)) for pair in small}
    tree = []
    for _ in range(steps):
        open_pairs = [(a, b) for a, b in pairs if component[a] != component[b]]
        if not open_pairs:
            break
        references, penalties = zip(*(pairs[p] for p in open_pairs), strict=True)
        chosen = open_pairs[table.select(open_pairs, references, penalties, mu_squared / steps)]
        tree.append(chosen)
        kept, gone = (component[a] for a in chosen)
        component = {a: kept if c == gone else c for a, c in component.items()}
    return tree


def _independent(model: GraphicalModel, pair: tuple[Attribute, Attribute]) -> Counts:
    """A pair's counts if its columns were independent, in whole numbers."""
    return np.rint(model.project(tuple(a.column.name for a in pair))).astype(np.int64)


def _penalty(pair: tuple[Attribute, Attribute], sigma: float) -> int:
    """The L1 norm of the noise on the pair's table, as expected."""
    return round(math.sqrt(2 / math.pi) * sigma * pair[0].size * pair[1].size)
