"""A graphical model: a junction tree with the marginals of its cliques."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce

from dpsynth.graphical.domain import Clique, Domain
from dpsynth.graphical.factor import Array, Factor
from dpsynth.graphical.junction_tree import JunctionTree


@dataclass(frozen=True, eq=False)
class GraphicalModel:
    """A distribution that factors over `tree`; `marginals` are its cliques', `total` the number of rows it stands for."""

    tree: JunctionTree
    marginals: tuple[Factor, ...]
    total: float

    @classmethod
    def from_potentials(cls, tree: JunctionTree, potentials: Mapping[Clique, Factor], total: float) -> GraphicalModel:
        return cls(tree, tree.calibrate(potentials), total)

    @property
    def domain(self) -> Domain:
        return self.tree.domain

    def project(self, names: Iterable[str]) -> Array:
        """The marginal over `names`, in that order, summing to `total`.

        Inside a clique a sum; across cliques the smallest sub-tree that holds the names is multiplied out and summed,
        so its cost grows with what lies between them.
        """
        wanted = tuple(names)
        try:
            factor = self.marginals[self.tree.home(wanted)]
        except KeyError:
            factor = self._across(set(wanted))
        return factor.project(wanted).probabilities() * self.total

    def _across(self, wanted: set[str]) -> Factor:
        """The joint of the wanted names (and no more than needed), from the leaves to the roots."""
        tree = self.tree
        carried: dict[int, list[Factor]] = {i: [] for i in range(len(tree.cliques))}
        roots: list[Factor] = []
        for i in reversed(range(len(tree.cliques))):
            joint = reduce(_product, carried[i], self.marginals[i])
            if tree.parents[i] < 0:
                roots.append(joint.project(tree.domain.sorted(wanted & set(joint.domain.names))))
                continue
            separator = tree.separators[i]
            kept = tree.domain.sorted((wanted & set(joint.domain.names)) | set(separator))
            if set(kept) != set(separator):
                conditional = joint.project(kept).over(self.marginals[i].project(separator))
                carried[tree.parents[i]].append(conditional)
        return reduce(_product, roots)


def _product(a: Factor, b: Factor) -> Factor:
    """The product over the union of two domains."""
    extra = [n for n in b.domain.names if n not in a.domain.names]
    domain = Domain(a.domain.names + tuple(extra), a.domain.sizes + tuple(b.domain.size(n) for n in extra))
    return Factor(domain, a.expand(domain) + b.expand(domain))
