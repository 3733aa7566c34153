"""Belief propagation: the marginals of a product of potentials, by two passes of messages over a junction tree.

A plan holds, for one tree and one list of cliques, where each table's cells lie; it is made once and used for every set of
potentials. Tables are probabilities scaled to a maximum of 1. Where the product vanishes all the same (potentials that
differ by e^250 and more), `log_space` does the sums.

Reference: Lauritzen, Spiegelhalter 1988; Koller, Friedman 2009, chapter 10.3 (message passing with division).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate, pairwise

import numpy as np
import numpy.typing as npt

from dpsynth.graphical.domain import Clique, Domain
from dpsynth.graphical.factor import Array, Factor
from dpsynth.graphical.junction_tree import JunctionTree

Whole = npt.NDArray[np.int64]
Places = npt.NDArray[np.uint32]
Numbers = npt.NDArray[np.uint64]
Arrays = tuple[Places, Places, Numbers, Numbers]
LEAST_BLOCK = 32
AT_ONCE = 2**15
LEAST_LOG = -1e300


@dataclass(frozen=True, eq=False)
class Layout:
    """Where the cells of a part of a clique lie as one runs over the clique's cells, block by block."""

    bases: Places
    map: Places

    @classmethod
    def of(cls, domain: Domain, clique: Clique, part: Clique) -> Layout:
        sizes = [domain.size(n) for n in part]
        if math.prod(sizes) > np.iinfo(np.int32).max:
            raise OverflowError(f"the table over {part} has too many cells")
        strides = _strides(part, sizes)
        steps = [np.arange(domain.size(n)) * strides.get(n, 0) for n in clique]
        first = _outer_axes(domain, clique)
        return cls(_sums(steps[:first]), _sums(steps[first:]))

    @cached_property
    def mode(self) -> int:
        """How the part runs along a block; see `kernels.py`."""
        from dpsynth.graphical.kernels import CONSTANT, CONTIGUOUS, GATHERED

        if not self.map.any():
            return CONSTANT
        return CONTIGUOUS if np.array_equal(self.map, np.arange(len(self.map))) else GATHERED


def _strides(names: Clique, sizes: Sequence[int]) -> dict[str, int]:
    """How far apart neighbours along each axis lie in a flat table."""
    strides, stride = dict[str, int](), 1
    for name, size in zip(reversed(names), reversed(sizes), strict=True):
        strides[name] = stride
        stride *= size
    return strides


def _sums(steps: Sequence[Whole]) -> Places:
    """One of each added up, in all combinations, the last running fastest."""
    total = np.zeros(1, dtype=np.int64)
    for step in steps:
        total = (total[:, None] + step[None, :]).ravel()
    return total.astype(np.uint32)


def _outer_axes(domain: Domain, clique: Clique) -> int:
    """How many of a clique's first axes are run over by blocks: the rest hold at least `LEAST_BLOCK` cells, if there are so many."""
    cells, first = 1, len(clique)
    while first and cells < LEAST_BLOCK:
        first -= 1
        cells *= domain.size(clique[first])
    return first


@dataclass(frozen=True)
class Table:
    """A table in a store: what it is over, its first cell, its cells."""

    part: Clique
    start: int
    cells: int

    @property
    def place(self) -> slice:
        return slice(self.start, self.start + self.cells)


Laid = Sequence[tuple[Layout, Table]]


class Sweeps:
    """A list of sweeps, put into the terms of `kernels.calibrate`."""

    def __init__(self) -> None:
        self._layouts: dict[Layout, tuple[int, int]] = {}
        self._lengths = 0, 0
        self._tables: list[tuple[int, ...]] = []
        self._steps: list[tuple[int, ...]] = []

    def add(self, shape: tuple[int, int], inputs: Laid, outputs: Laid, sends: int = -1, hears: int = -1) -> None:
        """A sweep over a clique of this shape (blocks, cells of a block), with the links that it sends up or hears from above."""
        first = len(self._tables)
        self._tables += [(table.start, *self._placed(layout), layout.mode, table.cells) for layout, table in (*inputs, *outputs)]
        self._steps.append((*shape, first, first + len(inputs), len(self._tables), sends, hears))

    def _placed(self, layout: Layout) -> tuple[int, int]:
        if layout not in self._layouts:
            self._layouts[layout] = bases, maps = self._lengths
            self._lengths = bases + len(layout.bases), maps + len(layout.map)
        return self._layouts[layout]

    def arrays(self) -> Arrays:
        """The kernel's `bases`, `maps`, `tables` and `steps`; a link of -1 becomes a number that is no link's."""
        none = np.zeros(0, dtype=np.uint32)
        bases, maps = (np.concatenate([none, *parts]) for parts in ((x.bases for x in self._layouts), (x.map for x in self._layouts)))
        tables, steps = (np.array(rows, dtype=np.int64).astype(np.uint64) for rows in (self._tables, self._steps))
        return bases, maps, tables.reshape(-1, 5), steps.reshape(-1, 7)


class Plan:
    """How to calibrate potentials over `cliques` on `tree`.

    One flat store holds the potentials, then the marginals of the same cliques, then for each link of the tree the message up, the
    parent's sum over the separator, and the message down.

    Attributes:
        slices: the places of the cliques' tables among the potentials, and among the marginals; `starts` and `sizes` say the same.
        cells: the length of either.
        length: of the store.
    """

    def __init__(self, tree: JunctionTree, cliques: Sequence[Clique]):
        self.tree, self.cliques = tree, tuple(tree.domain.ascending(c) for c in cliques)
        self.homes = [tree.home(c) for c in self.cliques]
        self.slices = [slice(a, b) for a, b in pairwise(accumulate(map(self._cells, self.cliques), initial=0))]
        self.starts = np.array([s.start for s in self.slices], dtype=np.intp)
        self.sizes = np.array([s.stop - s.start for s in self.slices], dtype=np.intp)
        self.cells = int(self.sizes.sum())
        self._layouts: dict[tuple[int, Clique], Layout] = {}
        self._children: list[list[int]] = [[] for _ in tree.cliques]
        self._up, self._sum, self._down = dict[int, Table](), dict[int, Table](), dict[int, Table]()
        self.length = 2 * self.cells
        for i, (parent, separator) in enumerate(zip(tree.parents, tree.separators, strict=True)):
            if parent >= 0:
                self._children[parent].append(i)
                for kind in (self._up, self._sum, self._down):
                    kind[i] = Table(separator, self.length, self._cells(separator))
                    self.length += kind[i].cells
        self.links = np.zeros((len(tree.cliques), 4), dtype=np.uint64)
        for i, up in self._up.items():
            self.links[i] = up.start, self._sum[i].start, self._down[i].start, up.cells
        self.sweeps = self._sweeps().arrays()

    def _sweeps(self) -> Sweeps:
        """From the leaves up each clique's message; then from the roots down what its children and the marginals need."""
        sweeps = Sweeps()
        for i in sorted(self._up, reverse=True):
            sweeps.add(self.shape(i), self.laid(i, self._below(i)), self.laid(i, [self._up[i]]), sends=i)
        for i in range(len(self.tree.cliques)):
            outputs = [self._sum[j] for j in self._children[i]] + self._own(i, self.cells)
            sweeps.add(self.shape(i), self.laid(i, self.factors(i)), self.laid(i, outputs), hears=i if i in self._down else -1)
        return sweeps

    def factors(self, i: int) -> list[Table]:
        """The tables whose product is clique i's belief."""
        return self._below(i) + ([self._down[i]] if i in self._down else [])

    def _below(self, i: int) -> list[Table]:
        return self._own(i, 0) + [self._up[j] for j in self._children[i]]

    def _own(self, i: int, offset: int) -> list[Table]:
        """The tables of the cliques that are at home in clique i: potentials at 0, marginals after them."""
        at_home = [(c, s) for c, s, home in zip(self.cliques, self.slices, self.homes, strict=True) if home == i]
        return [Table(c, offset + s.start, s.stop - s.start) for c, s in at_home]

    def shape(self, i: int) -> tuple[int, int]:
        """Blocks of clique i, and cells of a block."""
        clique = self.tree.cliques[i]
        first = _outer_axes(self.tree.domain, clique)
        return self._cells(clique[:first]), self._cells(clique[first:])

    def laid(self, i: int, tables: Sequence[Table]) -> Laid:
        """Tables over parts of clique i, each with its layout."""
        for table in tables:
            if (i, table.part) not in self._layouts:
                self._layouts[i, table.part] = Layout.of(self.tree.domain, self.tree.cliques[i], table.part)
        return [(self._layouts[i, table.part], table) for table in tables]

    def _cells(self, part: Clique) -> int:
        return math.prod(map(self.tree.domain.size, part))


@lru_cache(maxsize=4)
def plan_for(tree: JunctionTree, cliques: tuple[Clique, ...]) -> Plan:
    return Plan(tree, cliques)


class Belief:
    """The calibrated product of potentials (log values, flat, in the order of `plan.cliques`)."""

    def __init__(self, plan: Plan, potentials: Array):
        self.plan = plan
        self._store = np.zeros(plan.length)
        _scaled(potentials, plan, self._store)
        self._log: tuple[Factor, ...] | None = None
        self._seen: dict[tuple[int, Clique], Array] = {}
        if not _calibrated(self._store, plan.sweeps, plan.links):
            self._log = log_space(plan, potentials)

    @cached_property
    def measured(self) -> Array:
        """The marginals of the plan's cliques, flat, each summing to 1."""
        if self._log is None:
            return self._store[self.plan.cells : 2 * self.plan.cells]
        return np.concatenate([self.inside(h, c).ravel() for h, c in zip(self.plan.homes, self.plan.cliques, strict=True)])

    def inside(self, i: int, part: Clique) -> Array:
        """The marginal over `part`, which clique i contains, with its axes in the order of `part`; sums to 1."""
        domain = self.plan.tree.domain
        ordered = domain.ascending(part)
        if (i, ordered) not in self._seen:
            self._seen[i, ordered] = self._fresh(i, ordered)
        values = self._seen[i, ordered]
        return values if part == ordered else Factor(domain.project(ordered), values).transpose(part).values

    def table(self, i: int) -> Array:
        """The probabilities of clique i's cells; not kept, for it may be large."""
        return self._fresh(i, self.plan.tree.cliques[i])

    def _fresh(self, i: int, part: Clique) -> Array:
        return self._summed(i, part) if self._log is None else self._log[i].project(part).probabilities()

    def _summed(self, i: int, part: Clique) -> Array:
        """By one sweep more, in a store that holds only what it needs."""
        plan, shape = self.plan, self.plan.tree.domain.project(part).sizes
        factors = plan.factors(i)
        starts = [*accumulate((t.cells for t in factors), initial=0)]
        inputs = [Table(t.part, start, t.cells) for t, start in zip(factors, starts[:-1], strict=True)]
        output = Table(part, starts[-1], math.prod(shape))
        sweeps = Sweeps()
        sweeps.add(plan.shape(i), plan.laid(i, inputs), plan.laid(i, [output]))
        store = np.concatenate([*(self._store[t.place] for t in factors), np.zeros(output.cells)])
        _calibrated(store, sweeps.arrays(), plan.links)
        summed: Array = store[output.place].reshape(shape)
        return summed


def _scaled(potentials: Array, plan: Plan, store: Array) -> None:
    """Each clique's potentials as a table with a maximum of 1, into the store. Small tables all at once, for they take less time than a
    call does; large ones one by one, while they are in the processor's cache."""
    if plan.cells <= AT_ONCE:
        tops = np.maximum.reduceat(potentials, plan.starts)
        np.exp(potentials - tops.repeat(plan.sizes), out=store[: plan.cells])
    else:
        for part in plan.slices:
            np.exp(potentials[part] - potentials[part].max(), out=store[part])


def log_space(plan: Plan, potentials: Array) -> tuple[Factor, ...]:
    """The cliques' marginals (log, normalised) with every sum in log space: slow, and right wherever the store is not.

    What is impossible stays so, but in finite numbers: a quotient of two zeros has no logarithm.
    """
    tree, domain = plan.tree, plan.tree.domain
    beliefs = [Factor.zeros(domain.project(c)) for c in tree.cliques]
    for clique, place, home in zip(plan.cliques, plan.slices, plan.homes, strict=True):
        over = domain.project(clique)
        beliefs[home] = beliefs[home].times(Factor(over, np.maximum(potentials[place], LEAST_LOG).reshape(over.sizes)))
    upward: dict[int, Factor] = {}
    for i in reversed(range(len(tree.cliques))):
        if tree.parents[i] >= 0:
            upward[i] = beliefs[i].project(tree.separators[i])
            beliefs[tree.parents[i]] = beliefs[tree.parents[i]].times(upward[i])
    for i, sent in sorted(upward.items()):
        beliefs[i] = beliefs[i].times(beliefs[tree.parents[i]].project(tree.separators[i]).over(sent))
    return tuple(b.normalised() for b in beliefs)


def _calibrated(store: Array, sweeps: Arrays, links: Numbers) -> bool:
    from dpsynth.graphical.kernels import calibrate

    *_, steps = sweeps
    longest = steps[:, 1].max(initial=0)
    return bool(calibrate(store, *sweeps, links, np.empty(longest)))
