"""How large a model would become with one clique more, for cliques that are asked about again and again.

Elimination never leaves a connected part of a graph, and what it does in one hangs on nothing outside. So a clique is tried on the parts
that it touches alone, and the outcome is kept until one of them changes. The answer is that of triangulating the whole graph anew: no
clique is let in, or kept out, that `Graph.cells` would not. It is made of cliques and sizes, which are public.

Reference: Koller, Friedman 2009, chapter 9.4 (elimination).
"""

from __future__ import annotations

from collections.abc import Set

import numpy as np

from dpsynth.graphical import Clique, Domain, Graph
from dpsynth.graphical.graph import ORDERS


class Growth:
    """A graph that changes now and then, and the cells that each further clique would add to it."""

    def __init__(self, domain: Domain):
        self._graph = Graph.of(domain, ())
        self._added: dict[tuple[Clique, bool], float] = {}
        self._look()

    def follow(self, graph: Graph) -> None:
        """From now on cliques are added to `graph`, of the same domain. What is known of parts that did not change stays known."""
        moved = (graph.near != self._graph.near).any(axis=1)
        if not moved.any():
            return
        changed = {graph.domain.names[i] for i in np.flatnonzero(np.isin(graph.parts, graph.parts[moved]))}
        self._added = {asked: cells for asked, cells in self._added.items() if changed.isdisjoint(asked[0])}
        self._graph = graph
        self._look()

    def fits(self, clique: Clique, limit: float) -> bool:
        """Whether `graph.plus(clique).cells <= limit`."""
        return any(sum(self._cells[by_fill]) + self._more(clique, by_fill) <= limit for by_fill in ORDERS)

    def _look(self) -> None:
        """See the graph's parts, each by itself."""
        self._part: dict[str, int] = dict(zip(self._graph.domain.names, self._graph.parts.tolist(), strict=True))
        self._among: dict[frozenset[int], Graph] = {}
        parts = range(max(self._part.values()) + 1)
        self._cells = {by_fill: [self._alone({i}).cells_by(by_fill) for i in parts] for by_fill in ORDERS}

    def _more(self, clique: Clique, by_fill: bool) -> float:
        """The cells that a clique adds to the parts it touches, by one order of elimination."""
        if (clique, by_fill) not in self._added:
            touched = {self._part[name] for name in clique}
            before = sum(self._cells[by_fill][i] for i in touched)
            self._added[clique, by_fill] = self._alone(touched).plus(clique).cells_by(by_fill) - before
        return self._added[clique, by_fill]

    def _alone(self, parts: Set[int]) -> Graph:
        """What the graph is among the attributes of these parts."""
        key = frozenset(parts)
        if key not in self._among:
            self._among[key] = self._graph.among(np.flatnonzero(np.isin(self._graph.parts, list(parts))))
        return self._among[key]
