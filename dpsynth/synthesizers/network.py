"""A Bayesian network under measurement: columns with a place in it, and the families that would give a place to one more.

Statement. A network knows of the rows what its bench knows (`bench.py`): noisy marginals and choices, each charged.

Sensitivity. What a family is compared with is made of released values: its child's own distribution times its parents' joint one, in whole
numbers, the same for neighbouring tables. So a row moves its score by at most 1 in counts. The paper's R is the same distance from
the exact factors, so that three tables move with one row: 3/n + 2/n^2 in shares for a row replaced, where this one moves by 1/n. Mutual
information, which open implementations score by, moves by more than they charge for.

Reference: Zhang, Cormode, Procopiuc, Srivastava, Xiao 2017 (ACM TODS 42:25), sections 4.3 and 4.5.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations, product

import numpy as np

from dpsynth.graphical import Clique, Measurement, network
from dpsynth.graphical.estimation import Target, total_of
from dpsynth.synthesizers.bench import MEAN_NOISE, ROUGH, ROUGH_STEPS, Bench, Whole, whole
from dpsynth.synthesizers.views import MOST_CELLS, Floats

USEFUL = 2.0
MOST_PARENTS = 3
LEAST_COUNT = 1e-6


@dataclass
class Network(Bench):
    """A bench on which columns find their places: a family is a view of a column that has none yet, the child, then views of its parents."""

    placed: list[str] = field(default_factory=list)
    _edges: dict[Clique, Whole] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._alone: dict[str, Floats] = {v: self.model.project((v,)) / self.model.total for v in self.views.domain.names}
        self._rules = [set(f.domain.names) for f in self.views.zeros]
        self._reach = {v: 2 * self.model.total * (1 - float(np.square(p).sum())) for v, p in self._alone.items()}

    def family(self, choosing: float, measuring: float, limit: float) -> Clique | None:
        """A child with its parents, for at most `choosing`, in a model below `limit` cells; None where no parent is worth its noise."""
        edges = self._useful(self._first(), measuring, limit)
        ruled = set().union(*self._rules)
        closing = {edge: w for edge, w in edges.items() if self.views.column(edge[0]) in ruled}  # a circle, with what a rule ties
        edges = {edge: w for edge, w in edges.items() if edge not in closing} | (self.within(closing, limit) if closing else {})
        family = self.choose(edges, choosing / MOST_PARENTS, measuring)
        while family is not None and len(family) <= MOST_PARENTS:
            larger = self.within(self._useful(self._larger(family), measuring, limit), limit)
            grown = self.choose({family: 1} | larger, choosing / MOST_PARENTS, measuring) if larger else None
            if grown in (None, family):
                break
            family = grown
        return family

    def place(self, family: Clique, amount: float) -> None:
        self.measure(family, amount)
        self.refit()
        self.placed = list(dict.fromkeys([*self.placed, *map(self.views.column, family)]))

    def reference(self, clique: Clique) -> Whole:
        """What a family would be if the child hung on none of its parents. One parent's own distribution is that of the columns alone, once
        and for all: an edge is offered again in every step until its child has a place."""
        child, *parents = clique
        if {*map(self.views.column, clique)} in self._rules:  # what its rules say of an edge, at any resolution, need not be bought
            return super().reference(clique)
        if len(parents) > 1:
            return whole(np.multiply.outer(self._alone[child], super().reference(tuple(parents))))
        if clique not in self._edges:
            self._edges[clique] = whole(self.model.total * np.multiply.outer(*map(self._alone.__getitem__, clique)))
        return self._edges[clique]

    def _first(self) -> Iterable[Clique]:
        """Every edge from a column that has a place to one that has none, at each resolution; between any two at the start."""
        columns = self.views.columns
        open_ones = [c for c in columns if c not in self.placed]
        pairs = product(open_ones, self.placed) if self.placed else combinations(columns, 2)
        return (edge for pair in pairs for edge in product(*map(self.views.levels, pair)))

    def _larger(self, family: Clique) -> Iterable[Clique]:
        taken = set(map(self.views.column, family))
        return ((*family, view) for parent in self.placed if parent not in taken for view in self.views.levels(parent))

    def _useful(self, families: Iterable[Clique], measuring: float, limit: float) -> dict[Clique, int]:
        """The families whose table rows would fill (the paper's theta), whose child varies enough to be worth the noise on it, and
        for which the model has room."""
        sigma, size = self.table.sigma(measuring), self.views.domain.size
        most = min(self.model.total / (USEFUL * MEAN_NOISE * sigma), MOST_CELLS, limit - self.model.tree.cells)
        cells = {family: math.prod(map(size, family)) for family in families}
        return {family: 1 for family, n in cells.items() if n <= most and self._reach[family[0]] > self.penalty(n, sigma)}


class Ancestral(Network):
    """A network that is not estimated: each column's distribution given its parents is its family's table, clipped and normalised.

    A column is in the model at two resolutions; the family speaks of one of them, and the other follows from it by the column's own counts.
    The product is taken given that the schema's rules hold, which also moves the distributions of the columns that they tie.
    """

    def refit(self, discrepancy: float = ROUGH, steps: int = ROUGH_STEPS) -> None:
        answers = [self.views.measurement(a) for a in self.answers]
        self.model = network(self.views.domain, self._tables(answers), total_of(answers), self.views.zeros)
        self._refits += 1

    def _tables(self, answers: Sequence[Measurement]) -> dict[Clique, Floats]:
        """For each view a table over it and what it hangs on: a family's parents, its column's other view, or nothing."""
        ones = Target.of(self.views.domain, [m for m in answers if len(m.clique) == 1])
        ends = np.cumsum([self.views.domain.size(v) for (v,) in ones.cliques])
        alone = {r: _clipped(counts) for r, counts in zip(ones.cliques, np.split(ones.counts, ends[:-1]), strict=True)}
        families = {m.clique: _clipped(m.values) for m in answers if len(m.clique) > 1}
        children = {r[0] for r in families}
        for link in self.views.resolutions:
            fine, coarse = link.domain.names
            meet = np.exp(link.values)
            families |= {(fine, coarse): meet * alone[(fine,)][:, None]} if coarse in children else {(coarse, fine): meet.T}
        hanging = {r[0] for r in families}
        return families | {r: counts for r, counts in alone.items() if r[0] not in hanging}


def _clipped(counts: Floats) -> Floats:
    """Without negative counts, and with so little for each cell that parents whom nobody is seen with have a child all the same."""
    return np.maximum(counts, LEAST_COUNT)
