"""Junction trees: cliques of a triangulated graph, joined so that each attribute's cliques are connected.

Reference: Koller, Friedman 2009, chapters 9.4 (elimination, min-fill) and 10.1-10.3 (calibration).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from dpsynth.graphical.domain import Clique, Domain
from dpsynth.graphical.factor import Factor


@dataclass(frozen=True)
class JunctionTree:
    """Maximal cliques in an order in which each one's parent comes before it (-1: none; components have several roots).

    `separators[i]` is what clique i shares with its parent; empty between components.
    """

    domain: Domain
    cliques: tuple[Clique, ...]
    parents: tuple[int, ...]
    separators: tuple[Clique, ...]

    @classmethod
    def build(cls, domain: Domain, cliques: Iterable[Iterable[str]]) -> JunctionTree:
        """A tree that holds every given clique in one of its own; attributes in none get a clique of their own."""
        maximal = _maximal_cliques(domain, [frozenset(c) for c in cliques])
        order, parents = _spanning_tree(domain, maximal)
        ordered = tuple(domain.sorted(maximal[i]) for i in order)
        separators = tuple(domain.sorted(set(c) & set(ordered[p])) if p >= 0 else () for c, p in zip(ordered, parents, strict=True))
        return cls(domain, ordered, parents, separators)

    @property
    def cells(self) -> int:
        """The size of the model: cells over all cliques."""
        return sum(self.domain.project(c).cells for c in self.cliques)

    def home(self, clique: Iterable[str]) -> int:
        """The smallest clique that contains `clique`. Raises `KeyError` if none does."""
        wanted = set(clique)
        homes = [i for i, c in enumerate(self.cliques) if wanted <= set(c)]
        if not homes:
            raise KeyError(f"no clique of the tree contains {sorted(wanted)}")
        return min(homes, key=lambda i: self.domain.project(self.cliques[i]).cells)

    def calibrate(self, potentials: Mapping[Clique, Factor]) -> tuple[Factor, ...]:
        """The cliques' marginals (log, normalised) of the product of `potentials`, by two passes of messages."""
        beliefs = [Factor.zeros(self.domain.project(c)) for c in self.cliques]
        for clique, potential in potentials.items():
            home = self.home(clique)
            beliefs[home] = beliefs[home].times(potential)
        upward: list[Factor | None] = [None] * len(self.cliques)
        for i in reversed(range(len(self.cliques))):
            if self.parents[i] >= 0:
                message = beliefs[i].project(self.separators[i])
                upward[i] = message
                beliefs[self.parents[i]] = beliefs[self.parents[i]].times(message)
        for i, parent in enumerate(self.parents):
            sent = upward[i]
            if sent is not None:
                beliefs[i] = beliefs[i].times(beliefs[parent].project(self.separators[i]).over(sent))
        return tuple(b.normalised() for b in beliefs)


def _maximal_cliques(domain: Domain, cliques: Sequence[frozenset[str]]) -> list[frozenset[str]]:
    """Maximal cliques of the graph after elimination in the order that adds fewest edges (then fewest cells)."""
    neighbours: dict[str, set[str]] = {n: set() for n in domain.names}
    for clique in cliques:
        for a, b in combinations(clique, 2):
            neighbours[a].add(b)
            neighbours[b].add(a)
    found: list[frozenset[str]] = []
    while neighbours:
        name = min(neighbours, key=lambda n: (_fill(neighbours, n), domain.project((n, *neighbours[n])).cells))
        around = neighbours.pop(name)
        for a, b in combinations(around, 2):
            neighbours[a].add(b)
            neighbours[b].add(a)
        for other in around:
            neighbours[other].discard(name)
        clique = frozenset({name, *around})
        if not any(clique <= f for f in found):
            found.append(clique)
    return found


def _fill(neighbours: Mapping[str, set[str]], name: str) -> int:
    return sum(b not in neighbours[a] for a, b in combinations(neighbours[name], 2))


def _spanning_tree(domain: Domain, cliques: Sequence[frozenset[str]]) -> tuple[list[int], tuple[int, ...]]:
    """Cliques from the root down and each one's parent, by a maximum spanning forest on separator size (Prim)."""
    order: list[int] = []
    parents: list[int] = []
    left = list(range(len(cliques)))
    while left:
        links = ((len(cliques[i] & cliques[p]), -domain.project(cliques[i] & cliques[p]).cells, -i, -at) for i in left for at, p in enumerate(order))
        shared, _, child, at = max(links, default=(0, 0, -left[0], 0))
        chosen = -child if shared else left[0]
        order.append(chosen)
        parents.append(-at if shared else -1)
        left.remove(chosen)
    return order, tuple(parents)
