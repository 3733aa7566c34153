"""A graphical model: potentials over cliques, on a junction tree that holds them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from dpsynth.graphical.belief import Belief, plan_for
from dpsynth.graphical.domain import Clique, Domain
from dpsynth.graphical.factor import Array, Factor
from dpsynth.graphical.junction_tree import JunctionTree

Indexed = tuple[Array, tuple[int, ...]]


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

        Inside a clique one sweep; across cliques the smallest sub-tree that holds the names is summed out from its leaves, so
        the cost grows with what lies between them.
        """
        wanted = tuple(names)
        home = self.tree.find(wanted)
        shares = self.belief.inside(home, wanted) if home is not None else self._across(wanted)
        return shares * self.total

    def _across(self, wanted: Clique) -> Array:
        """The joint of names that no clique holds together: conditionals given the separators, from the leaves to the roots."""
        tree, domain = self.tree, self.domain
        kept = self._subtree(frozenset(wanted))
        carried: dict[int, list[Indexed]] = {i: [] for i in kept}
        roots: list[Indexed] = []
        for i in sorted(kept, reverse=True):
            here = set(tree.cliques[i])
            own = set(tree.separators[i]) if tree.parents[i] in kept else set[str]()
            below = [domain.names[a] for _, axes in carried[i] for a in axes if domain.names[a] in here]
            part = domain.ascending((here & set(wanted)) | own | set(below))
            tables = [(self.belief.inside(i, part), domain.axes(part)), *carried[i]]
            left = own | {domain.names[a] for _, axes in tables for a in axes if domain.names[a] in wanted}
            joint = _contracted(tables, domain.axes(domain.ascending(left)))
            if not own:
                roots.append(joint)
                continue
            carried[tree.parents[i]].append(_given(joint, domain.axes(tree.separators[i])))
        return _contracted(roots, domain.axes(wanted))[0]

    def _subtree(self, wanted: frozenset[str]) -> set[int]:
        """The cliques needed for `wanted`, of its components: leaves that bring nothing beyond their one link are cut off, again and again."""
        tree = self.tree
        roots = tree.roots_of(wanted)
        kept = {i for i, root in enumerate(tree.roots) if root in roots}
        links: dict[int, set[int]] = {i: set() for i in kept}
        for i in sorted(kept):
            p = tree.parents[i]
            if p >= 0:
                links[i].add(p)
                links[p].add(i)
        loose = [i for i in kept if len(links[i]) <= 1]
        while loose:
            i = loose.pop()
            if i not in kept or len(links[i]) > 1:
                continue
            beyond = set(tree.cliques[i]) & wanted
            if links[i]:
                (other,) = links[i]
                beyond -= set(tree.cliques[other])
            if beyond:
                continue
            kept.discard(i)
            for other in links.pop(i):
                links[other].discard(i)
                loose.append(other)
        return kept


def _contracted(tables: list[Indexed], axes: tuple[int, ...]) -> Indexed:
    """The product of tables, summed to `axes`."""
    labels = {a: i for i, a in enumerate({*axes, *(a for _, held in tables for a in held)})}  # einsum takes no label above 51
    operands: list[Any] = [x for values, held in tables for x in (values, [labels[a] for a in held])]
    return np.einsum(*operands, [labels[a] for a in axes], optimize=len(tables) > 2), axes


def _given(joint: Indexed, separator: tuple[int, ...]) -> Indexed:
    """A joint divided by its own sum over all but the separator."""
    values, axes = joint
    others = tuple(i for i, a in enumerate(axes) if a not in separator)
    sums = values.sum(axis=others, keepdims=True)
    return np.divide(values, sums, out=np.zeros_like(values), where=sums > 0), axes
