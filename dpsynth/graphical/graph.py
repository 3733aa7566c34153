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

from dpsynth.graphical.domain import Clique, Domain, Floats

Bits = npt.NDArray[np.uint64]
Axes = npt.NDArray[np.intp]
ORDERS = (True, False)
WORD = 64


@dataclass(frozen=True, eq=False)
class Graph:
    """`near` has a row of bits for each attribute of the domain, 64 to a word, the first attribute's lowest: who shares a clique with
    it. Each is near itself."""

    domain: Domain
    near: Bits

    @classmethod
    def of(cls, domain: Domain, cliques: Iterable[Iterable[str]]) -> Graph:
        graph = cls(domain, _packed(np.eye(len(domain.names), dtype=np.bool_)))
        for clique in cliques:
            graph = graph.plus(clique)
        return graph

    def plus(self, clique: Iterable[str]) -> Graph:
        """The graph with one clique more."""
        axes, near = list(self.domain.axes(clique)), self.near.copy()
        near[axes] |= self._bits(axes)
        return Graph(self.domain, near)

    def holds(self, clique: Iterable[str]) -> bool:
        """Whether all pairs of a clique are joined already, so that adding it changes nothing."""
        axes = list(self.domain.axes(clique))
        return not (self._bits(axes) & ~self.near[axes]).any()

    def among(self, axes: Axes) -> Graph:
        """What the graph is among some of its attributes."""
        return Graph(self.domain.project(self.domain.names[i] for i in axes), _packed(self.joined[np.ix_(axes, axes)]))

    @cached_property
    def cliques(self) -> tuple[Clique, ...]:
        """Maximal cliques after triangulation."""
        rows = _unpacked(self._triangulated[0], len(self.domain.names))
        return tuple(self.domain.ascending(self.domain.names[i] for i in np.flatnonzero(row)) for row in rows)

    @property
    def cells(self) -> float:
        """Cells over all cliques of the triangulated graph: the size of a model over them."""
        return self._triangulated[1]

    def cells_by(self, by_fill: bool) -> float:
        """The same, after eliminating by fewest edges added or by fewest cells; `cells` is the smaller one."""
        return eliminated(self.domain.lengths, self.near, by_fill)[1]

    @cached_property
    def _triangulated(self) -> tuple[Bits, float]:
        return min((eliminated(self.domain.lengths, self.near, by_fill) for by_fill in ORDERS), key=lambda kept: kept[1])

    @cached_property
    def joined(self) -> npt.NDArray[np.bool_]:
        """Whether attributes i and j share a clique, shape (attributes, attributes)."""
        return _unpacked(self.near, len(self.near))

    @cached_property
    def parts(self) -> Axes:
        """The number of the connected part that each attribute is in, shape (attributes,)."""
        return connected_components(self.joined, directed=False)[1].astype(np.intp)

    def _bits(self, axes: Iterable[int]) -> Bits:
        bits = np.zeros(self.near.shape[1], dtype=np.uint64)
        for i in axes:
            bits[i // WORD] |= np.uint64(1 << i % WORD)
        return bits


def eliminated(sizes: Floats, near: Bits, by_fill: bool) -> tuple[Bits, float]:
    """Maximal cliques, a row of bits each, of a triangulation of the graph `near` among attributes of these sizes; and their cells.

    Args:
        by_fill: next goes the attribute whose elimination adds the fewest edges; else the one that makes the fewest cells.
    """
    from dpsynth.graphical.kernels import eliminate

    cliques, unknown = np.zeros_like(near), np.full((2, len(near)), -1.0)
    found, cells = eliminate(sizes, near.copy(), cliques, unknown, int(not by_fill))
    return cliques[:found], cells


def _packed(joined: npt.NDArray[np.bool_]) -> Bits:
    padded = np.pad(joined, ((0, 0), (0, -joined.shape[1] % WORD)))
    return np.packbits(padded, axis=1, bitorder="little").view("<u8").astype(np.uint64)


def _unpacked(rows: Bits, columns: int) -> npt.NDArray[np.bool_]:
    return np.unpackbits(rows.astype("<u8").view(np.uint8), axis=1, count=columns, bitorder="little").astype(np.bool_)
