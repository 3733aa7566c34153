"""The joint of attributes that no clique holds together: conditionals given the separators, from the lowest links up to where they meet.

What lies below a link, given what the link shares, is the same whatever is on its other side. So it is made once for an attribute, and
from then on each pair with it costs little more than a product of two matrices.

Reference: Koller, Friedman 2009, chapter 10.3.3 (queries outside a clique).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Set

import numpy as np

from dpsynth.graphical.belief import Belief
from dpsynth.graphical.domain import Clique
from dpsynth.graphical.factor import Array
from dpsynth.graphical.junction_tree import JunctionTree

Indexed = tuple[Array, tuple[int, ...]]
Ways = dict[int, Clique]
# In cells of 8 bytes: what is kept before all of it is forgotten, and what a table takes beside its own.
MOST_KEPT, BESIDE = 4_000_000, 70


class Distant:
    """Joints across the cliques of a calibrated tree.

    A *way* is a link, named by the clique below it, with the names that are reached through it.
    """

    def __init__(self, tree: JunctionTree, belief: Belief):
        self._tree, self._belief = tree, belief
        self._below: dict[tuple[int, Clique], Indexed] = {}
        self._kept = 0

    def joint(self, wanted: Clique) -> Array:
        """Shares of the cells over `wanted`, of one name at least and none twice, in that order; they sum to 1."""
        components: dict[int, list[str]] = {}
        for name in self._tree.domain.ascending(wanted):
            components.setdefault(self._tree.roots[self._tree.top(name)], []).append(name)
        met = [self._met(tuple(names)) for names in components.values()]
        return _contracted(met, self._tree.domain.axes(wanted))[0]

    def _met(self, names: Clique) -> Indexed:
        """The joint of names of one component, at the lowest clique that all ways between them lead through."""
        i = self._tree.meeting(names)
        while len(ways := self._ways(i, names)) == 1:
            ((link, below),) = ways.items()
            if not set(names) - set(below) <= set(self._tree.separators[link]):
                break
            i = link
        self._look(ways)
        return self._at(i, names, ways)

    def _ways(self, i: int, names: Clique) -> Ways:
        """Down from clique i to the names that it does not hold."""
        ways: Ways = {}
        for name in names:
            if name not in self._tree.cliques[i]:
                link = self._tree.towards(i, self._tree.top(name))
                ways[link] = (*ways.get(link, ()), name)
        return ways

    def _look(self, ways: Ways) -> None:
        """Have the names of each way be known, given what its link shares."""
        if self._kept > MOST_KEPT:
            self._below.clear()
            self._kept = 0
        asked = [*ways.items()]
        for link, names in asked:  # grows as it is walked
            if (link, names) not in self._below:
                asked += self._ways(link, names).items()
        for link, names in reversed(asked):
            if (link, names) not in self._below:
                shared = self._tree.separators[link]
                joint = self._at(link, names, self._ways(link, names), shared)
                self._below[link, names] = _given(joint, self._tree.domain.axes(shared))
                self._kept += joint[0].size + BESIDE

    def _at(self, i: int, names: Clique, ways: Ways, beside: Clique = ()) -> Indexed:
        """The joint of names in clique i, or below it on these ways, with some that the clique holds beside them."""
        domain, cliques = self._tree.domain, self._tree.cliques
        here = {*beside, *(n for n in names if n in cliques[i])}.union(*(self._tree.separators[link] for link in ways))
        part = domain.ascending(here)
        below = sorted((self._below[way] for way in ways.items()), key=lambda table: table[0].size)
        return _contracted([(self._belief.inside(i, part), domain.axes(part)), *below], domain.axes(domain.ascending({*names, *beside})))


def _contracted(tables: list[Indexed], axes: tuple[int, ...]) -> Indexed:
    """The product of tables, summed to `axes`, one after the other; an axis that nobody wants is in two of them, and goes with the last."""
    product = tables[0]
    for k, table in enumerate(tables[1:], 2):
        product = _times(product, table, {*axes, *(a for _, later in tables[k:] for a in later)})
    values, held = product
    return values.transpose([held.index(a) for a in axes]), axes


def _times(first: Indexed, second: Indexed, wanted: Set[int]) -> Indexed:
    """The product of two tables without the axes that both have and nobody wants: for each cell of the other shared ones a product of
    matrices."""
    (one, held), (two, more) = first, second
    shared = [a for a in held if a in more and a in wanted]
    summed = [a for a in held if a in more and a not in wanted]
    left, right = [a for a in held if a not in more], [a for a in more if a not in held]
    sizes = dict(zip((*held, *more), (*one.shape, *two.shape), strict=True))
    axes = (*shared, *left, *right)
    product = _laid(first, sizes, shared, left, summed) @ _laid(second, sizes, shared, summed, right)
    return product.reshape([sizes[a] for a in axes]), axes


def _laid(table: Indexed, sizes: Mapping[int, int], *groups: list[int]) -> Array:
    """A table with one axis for each group of its axes."""
    values, axes = table
    return values.transpose([axes.index(a) for g in groups for a in g]).reshape([math.prod(sizes[a] for a in g) for g in groups])


def _given(joint: Indexed, separator: tuple[int, ...]) -> Indexed:
    """A joint divided by its own sum over all but the separator."""
    values, axes = joint
    others = tuple(i for i, a in enumerate(axes) if a not in separator)
    sums = values.sum(axis=others, keepdims=True)
    return np.divide(values, sums, out=np.zeros_like(values), where=sums > 0), axes
