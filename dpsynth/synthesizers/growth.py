"""How large a model would become with one clique more, for cliques that are asked about again and again.

Elimination never leaves a connected part of a graph, and what it does in one hangs on nothing outside. So a clique is tried on the parts
that it touches alone, and the outcome is kept until one of them changes. The answer is that of triangulating the whole graph anew: no
clique is let in, or kept out, that `Graph.cells` would not. It is made of cliques and sizes, which are public.

Reference: Koller, Friedman 2009, chapter 9.4 (elimination).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dpsynth.graphical import Clique, Domain, Graph
from dpsynth.graphical.graph import ORDERS, eliminated


class Growth:
    """A graph that changes now and then, and the cells that each further clique would add to it."""

    def __init__(self, domain: Domain):
        self._graph = Graph.of(domain, ())
        self._sizes = np.array(domain.sizes, dtype=np.float64)
        self._parts = dict.fromkeys(ORDERS, self._sizes)
        self._added: dict[tuple[Clique, bool], float] = {}

    def follow(self, graph: Graph) -> None:
        """From now on cliques are added to `graph`, of the same domain. What is known of parts that did not change stays known."""
        moved = (graph.joined != self._graph.joined).any(axis=1)
        if not moved.any():
            return
        self._graph, parts = graph, range(graph.parts.max() + 1)
        self._parts = {by_fill: np.array([self._cells(graph, np.array([i]), by_fill) for i in parts]) for by_fill in ORDERS}
        changed = {graph.domain.names[i] for i in np.flatnonzero(np.isin(graph.parts, graph.parts[moved]))}
        self._added = {asked: cells for asked, cells in self._added.items() if changed.isdisjoint(asked[0])}

    def fits(self, clique: Clique, limit: float) -> bool:
        """Whether `graph.plus(clique).cells <= limit`."""
        return any(float(self._parts[by_fill].sum()) + self._more(clique, by_fill) <= limit for by_fill in ORDERS)

    def _more(self, clique: Clique, by_fill: bool) -> float:
        """The cells that a clique adds to the parts it touches, by one order of elimination."""
        if (clique, by_fill) not in self._added:
            touched = np.unique(self._graph.parts[list(self._graph.domain.axes(clique))])
            before = float(self._parts[by_fill][touched].sum())
            self._added[clique, by_fill] = self._cells(self._graph.plus(clique), touched, by_fill) - before
        return self._added[clique, by_fill]

    def _cells(self, graph: Graph, parts: npt.NDArray[np.intp], by_fill: bool) -> float:
        """The cells of what `graph` is among the attributes of these parts."""
        axes = np.flatnonzero((self._graph.parts[:, None] == parts).any(axis=1))
        return eliminated(self._sizes[axes], graph.joined[np.ix_(axes, axes)], by_fill)[1]
