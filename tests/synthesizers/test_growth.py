"""Size tests that are kept against triangulating anew: the same cliques let in, to the cell, and none tried twice."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest

from dpsynth.graphical import Domain, Graph, graph
from dpsynth.synthesizers.growth import Growth

SEEDS = range(12)


def grown(seed: int) -> tuple[Domain, list[Graph]]:
    """A graph of up to twelve attributes as cliques of two and three come to it, one at a time, until it is dense; then without half of them."""
    rng = np.random.default_rng(seed)
    names = tuple("abcdefghijkl"[: rng.integers(4, 13)])
    domain = Domain(names, tuple(rng.integers(1, 9, len(names)).tolist()))
    cliques = [tuple(rng.choice(names, rng.integers(2, 4), replace=False).tolist()) for _ in names]
    return domain, [Graph.of(domain, cliques[:i]) for i in range(len(cliques) + 1)] + [Graph.of(domain, cliques[::2])]


@pytest.mark.parametrize("seed", SEEDS)
def test_what_fits_is_what_fits_after_triangulating_anew(seed: int) -> None:
    """Every clique of up to three attributes, after every change, at the limit that just lets it in and one cell below."""
    domain, graphs = grown(seed)
    kept = Growth(domain)
    for held in graphs:
        kept.follow(held)
        for clique in (c for k in (1, 2, 3) for c in combinations(domain.names, k)):
            cells = held.plus(clique).cells
            assert kept.fits(clique, cells)
            assert not kept.fits(clique, cells - 1)


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The attributes of each elimination of a `Growth`."""
    sizes: list[int] = []
    eliminated: Callable[..., object] = graph.eliminated

    def watched(held: np.ndarray, *rest: object) -> object:
        sizes.append(len(held))
        return eliminated(held, *rest)

    monkeypatch.setattr(graph, "eliminated", watched)
    return sizes


def test_what_is_known_is_not_tried_again_while_its_parts_stay(tried: list[int]) -> None:
    domain = Domain(tuple("abcdef"), (2,) * 6)
    kept, cliques = Growth(domain), [*combinations("abcdef", 2)]
    kept.follow(Graph.of(domain, ["ab"]))
    for clique in cliques:
        kept.fits(clique, 1e9)
    tried.clear()
    kept.follow(Graph.of(domain, ["ab"]))
    assert all(kept.fits(clique, 1e9) for clique in cliques)
    assert tried == []
    kept.follow(Graph.of(domain, ["ab", "cd"]))
    tried.clear()
    assert all(kept.fits(clique, 1e9) for clique in cliques)
    # One trial for each clique with c or d, on the parts it touches: four attributes with a or b, three with e or f, themselves.
    assert sorted(tried) == [2] + [3] * 4 + [4] * 4
