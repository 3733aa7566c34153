"""The graph of a set of cliques: which attributes share one; and how large a model over them would be.

Reference: Koller, Friedman 2009, chapter 9.4 (elimination, min-fill).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.sparse.csgraph import connected_components

from dpsynth.graphical.domain import Clique, Domain

Matrix = npt.NDArray[np.bool_]
Sizes = npt.NDArray[np.float64]
ORDERS = (True, False)


@dataclass(frozen=True, eq=False)
class Graph:
    """`joined[i, j]` says whether attributes i and j of the domain share a clique; True on the diagonal."""

    domain: Domain
    joined: Matrix

    @classmethod
    def of(cls, domain: Domain, cliques: Iterable[Iterable[str]]) -> Graph:
        graph = cls(domain, np.eye(len(domain.names), dtype=np.bool_))
        for clique in cliques:
            graph = graph.plus(clique)
        return graph

    def plus(self, clique: Iterable[str]) -> Graph:
        """The graph with one clique more."""
        axes = np.array(self.domain.axes(clique), dtype=np.intp)
        joined = self.joined.copy()
        joined[np.ix_(axes, axes)] = True
        return Graph(self.domain, joined)

    def holds(self, clique: Iterable[str]) -> bool:
        """Whether all pairs of a clique are joined already, so that adding it changes nothing."""
        axes = np.array(self.domain.axes(clique), dtype=np.intp)
        return bool(self.joined[np.ix_(axes, axes)].all())

    @cached_property
    def cliques(self) -> tuple[Clique, ...]:
        """Maximal cliques after triangulation."""
        return tuple(self.domain.ascending(self.domain.names[i] for i in np.flatnonzero(row)) for row in self._triangulated[0])

    @property
    def cells(self) -> float:
        """Cells over all cliques of the triangulated graph: the size of a model over them."""
        return self._triangulated[1]

    @cached_property
    def _triangulated(self) -> tuple[Matrix, float]:
        """By fewest edges added or by fewest cells, whichever gives the smaller model."""
        sizes = np.array(self.domain.sizes, dtype=np.float64)
        return min((eliminated(sizes, self.joined, by_fill) for by_fill in ORDERS), key=lambda kept: kept[1])

    @cached_property
    def parts(self) -> npt.NDArray[np.intp]:
        """The number of the connected part that each attribute is in, shape (attributes,)."""
        return connected_components(self.joined, directed=False)[1].astype(np.intp)


def eliminated(sizes: Sizes, joined: Matrix, by_fill: bool) -> tuple[Matrix, float]:
    """Maximal cliques, a row each, of a triangulation of the graph `joined` among attributes of these sizes; and their cells.

    Args:
        by_fill: next goes the attribute whose elimination adds the fewest edges; else the one that makes the fewest cells.
    """
    from dpsynth.graphical.kernels import eliminate

    cliques, unknown = np.zeros_like(joined), np.full((2, len(joined)), -1.0)
    found, cells = eliminate(sizes, joined.copy(), cliques, unknown, int(not by_fill))
    return cliques[:found], cells
