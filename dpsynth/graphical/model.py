"""A graphical model: potentials over cliques, on a junction tree that holds them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dpsynth.graphical.belief import Belief, plan_for
from dpsynth.graphical.distant import Distant
from dpsynth.graphical.domain import Clique, Domain
from dpsynth.graphical.factor import Array, Factor
from dpsynth.graphical.junction_tree import JunctionTree


@dataclass(frozen=True, eq=False)
class GraphicalModel:
    """The distribution proportional to the product of its potentials.

    Attributes:
        cliques: what the potentials are over, each in the order of `Domain.ascending`.
        potentials: their log values, one clique after the other, flat.
        total: the number of rows the model stands for.
    """

    tree: JunctionTree
    cliques: tuple[Clique, ...]
    potentials: Array
    total: float

    @classmethod
    def from_potentials(cls, tree: JunctionTree, potentials: Mapping[Clique, Factor], total: float) -> GraphicalModel:
        pooled: dict[Clique, Array] = {}
        for clique, factor in potentials.items():
            ordered = tree.domain.ascending(clique)
            pooled[ordered] = pooled.get(ordered, 0.0) + factor.transpose(ordered).values.ravel()
        return cls(tree, tuple(pooled), np.concatenate([np.zeros(0), *pooled.values()]), total)

    @property
    def domain(self) -> Domain:
        return self.tree.domain

    @property
    def parts(self) -> list[Array]:
        """The potentials of each clique, flat."""
        sizes = [self.domain.project(c).cells for c in self.cliques]
        return np.split(self.potentials, np.cumsum(sizes)[:-1]) if sizes else []

    @cached_property
    def belief(self) -> Belief:
        return Belief(plan_for(self.tree, self.cliques), self.potentials)

    def table(self, i: int) -> Array:
        """The probabilities of the tree's clique i, axes in its order."""
        return self.belief.table(i)

    def project(self, names: Iterable[str]) -> Array:
        """The marginal over `names`, in that order, summing to `total`.

        Inside a clique one sweep; across cliques what lies between them is summed out link by link (`distant.py`).
        """
        wanted = tuple(names)
        home = self.tree.find(wanted)
        shares = self.belief.inside(home, wanted) if home is not None else self._distant.joint(wanted)
        return shares * self.total

    @cached_property
    def _distant(self) -> Distant:
        return Distant(self.tree, self.belief)
