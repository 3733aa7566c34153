"""Bayesian networks against their slow twin: the product of conditionals, cell by cell."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest

from dpsynth.graphical import Domain, network

DOMAIN = Domain(("a", "b", "c", "d", "e"), (2, 3, 2, 4, 1))
FAMILIES = {
    "nobody hangs on anybody": ["a", "b", "c", "d", "e"],
    "chain": ["a", "ba", "cb", "dc", "ed"],
    "one parent of all": ["d", "ad", "bd", "cd", "ed"],
    "two parents": ["a", "b", "cab", "dc", "e"],
    "three parents": ["a", "b", "c", "dcab", "ed"],
    "two parents twice": ["d", "bd", "ad", "cab", "eba"],
    "all before": ["a", "ba", "cab", "dabc", "edcba"],
}


def tables_of(shape: str, zeros: bool) -> dict[tuple[str, ...], np.ndarray]:
    rng = np.random.default_rng(1)
    tables = {tuple(f): rng.uniform(0.1, 9, DOMAIN.project(f).sizes) for f in FAMILIES[shape]}
    if zeros:
        for counts in tables.values():
            counts[0] = 0.0 if len(counts) > 1 else counts[0]
    return tables


@pytest.mark.parametrize("shape", FAMILIES)
@pytest.mark.parametrize("zeros", [False, True])
def test_a_network_is_the_product_of_its_conditionals(shape: str, zeros: bool) -> None:
    tables = tables_of(shape, zeros)
    joint = np.ones(DOMAIN.sizes)
    for cell in product(*map(range, DOMAIN.sizes)):
        value = dict(zip(DOMAIN.names, cell, strict=True))
        for family, counts in tables.items():
            child, *parents = (value[name] for name in family)
            joint[cell] *= counts[child, *parents] / sum(counts[other, *parents] for other in range(len(counts)))
    model = network(DOMAIN, tables, 70.0)
    for names in (names for k in range(1, 6) for names in combinations(DOMAIN.names, k)):
        summed = joint.sum(axis=tuple(i for i, name in enumerate(DOMAIN.names) if name not in names))
        np.testing.assert_allclose(model.project(names), 70.0 * summed, atol=1e-9)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({("a",): None}, "each attribute"),
        ({("a", "b"): np.ones((2, 3))}, "each attribute"),
        ({("a",): None, ("a", "c"): np.ones((2, 2))}, "cycle"),
        ({("d",): np.array([1.0, -1.0, 2.0, 3.0])}, "at least 0"),
        ({("d",): np.zeros(4)}, "at least 0"),
        ({("d",): np.array([1.0, np.nan, 2.0, 3.0])}, "at least 0"),
        ({("c", "b"): np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0]])}, "at least 0"),
    ],
)
def test_what_is_no_network_is_refused(change: dict[tuple[str, ...], np.ndarray | None], words: str) -> None:
    tables = tables_of("chain", zeros=False) | {("d",): np.ones(4)}
    del tables["d", "c"]
    tables = {family: counts for family, counts in (tables | change).items() if counts is not None}
    with pytest.raises(ValueError, match=words):
        network(DOMAIN, tables, 1.0)
