"""Junction trees: cliques of a triangulated graph, joined so that each attribute's cliques are connected.

Reference: Koller, Friedman 2009, chapter 10.4 (trees from cliques).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from dpsynth.graphical.domain import Clique, Domain
from dpsynth.graphical.graph import Graph


@dataclass(frozen=True)
class JunctionTree:
    """Maximal cliques in an order in which each one's parent comes before it (-1: none; components have several roots).

    `separators[i]` is what clique i shares with its parent; empty between components. Cliques list their attributes by
    ascending size, as `Domain.ascending` does.
    """

    domain: Domain
    cliques: tuple[Clique, ...]
    parents: tuple[int, ...]
    separators: tuple[Clique, ...]

    @classmethod
    def build(cls, domain: Domain, cliques: Iterable[Iterable[str]]) -> JunctionTree:
        """A tree that holds every given clique in one of its own; attributes in none get a clique of their own."""
        maximal = Graph.of(domain, cliques).cliques
        order, parents = _spanning_tree(domain, maximal)
        ordered = tuple(maximal[i] for i in order)
        shared = (set(c) & set(ordered[p]) if p >= 0 else () for c, p in zip(ordered, parents, strict=True))
        return cls(domain, ordered, parents, tuple(domain.ascending(s) for s in shared))

    @cached_property
    def cells(self) -> int:
        """The size of the model: cells over all cliques."""
        return sum(self._sizes)

    def home(self, clique: Iterable[str]) -> int:
        """The smallest clique that contains `clique`. Raises `KeyError` if none does."""
        found = self.find(clique)
        if found is None:
            raise KeyError(f"no clique of the tree contains {sorted(clique)}")
        return found

    def find(self, clique: Iterable[str]) -> int | None:
        """The smallest clique that contains `clique`, or None."""
        homes = frozenset(range(len(self.cliques))).intersection(*(self._holders.get(n, set()) for n in clique))
        return min(sorted(homes), key=lambda i: self._sizes[i], default=None)

    @cached_property
    def roots(self) -> tuple[int, ...]:
        """The root above each clique: what component it is in."""
        roots: list[int] = []
        for i, parent in enumerate(self.parents):
            roots.append(i if parent < 0 else roots[parent])
        return tuple(roots)

    def top(self, name: str) -> int:
        """The clique nearest to the root that holds an attribute."""
        return min(self._holders[name])

    def towards(self, i: int, below: int) -> int:
        """The child of clique i that clique `below` is under, or is."""
        return self._path(below)[len(self._path(i))]

    def meeting(self, names: Iterable[str]) -> int:
        """The lowest clique that the tops of all names, of one component, are under, or are."""
        tops = {self.top(n) for n in names}
        while len(tops) > 1:
            last = max(tops)
            tops = tops - {last} | {self.parents[last]}
        return tops.pop()

    def _path(self, i: int) -> tuple[int, ...]:
        """The cliques from the root down to clique i."""
        if i not in self._paths:
            walked = [i]
            while self.parents[walked[-1]] >= 0:
                walked.append(self.parents[walked[-1]])
            self._paths[i] = tuple(reversed(walked))
        return self._paths[i]

    @cached_property
    def _paths(self) -> dict[int, tuple[int, ...]]:
        return {}

    @cached_property
    def _holders(self) -> dict[str, set[int]]:
        """The cliques that each attribute is in."""
        holders: dict[str, set[int]] = {n: set() for n in self.domain.names}
        for i, clique in enumerate(self.cliques):
            for name in clique:
                holders[name].add(i)
        return holders

    @cached_property
    def _sizes(self) -> tuple[int, ...]:
        return tuple(self.domain.project(c).cells for c in self.cliques)


def _spanning_tree(domain: Domain, cliques: tuple[Clique, ...]) -> tuple[list[int], tuple[int, ...]]:
    """Cliques from the root down and each one's parent (a position in that order), by a maximum spanning forest on the
    number of shared attributes, then on the fewest cells shared (Prim)."""
    order: list[int] = []
    parents: list[int] = []
    best: dict[int, tuple[int, int, int]] = dict.fromkeys(range(len(cliques)), (0, 0, -1))
    while best:
        chosen = max(best, key=lambda i: (best[i], -i))
        shared, _, parent = best.pop(chosen)
        order.append(chosen)
        parents.append(parent if shared else -1)
        for i in best:
            common = set(cliques[i]) & set(cliques[chosen])
            link = (len(common), -domain.project(common).cells, len(order) - 1)
            if common and link[:2] > best[i][:2]:
                best[i] = link
    return order, tuple(parents)
