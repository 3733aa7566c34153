"""The bench that the marginal-based generators share: measure one-way marginals, choose cliques, measure them, refit.

Statement. All that a bench knows of the rows are answers of `PrivateTable.marginal` and `PrivateTable.select`. References, weights and
penalties of a selection are made from earlier answers and the schema (its rules too, `zeros.py`) alone, so the sensitivity argued in
`privacy/table.py` holds for each.

Among the candidates of each choice is *nothing*, with a score of 0: a clique is bought where what it would mend exceeds what its noise
would spoil, and else the budget is kept for something better.

Reference: McKenna, Mullins, Sheldon, Miklau 2022 (arXiv 2201.12677), Algorithm 2, for the score. Any reference that is made
from released values leaves the sensitivity as it is, so those of distant cliques are not made anew each time.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from dpsynth.encoding import Codec, Decoder, public_attribute
from dpsynth.errors import Fault
from dpsynth.graphical import Clique, Graph, GraphicalModel, estimate
from dpsynth.privacy import Attribute, PrivateTable
from dpsynth.privacy.table import MAX_SCORE
from dpsynth.schema import Schema
from dpsynth.synthesizers.alone import CLOSE, columns_alone
from dpsynth.synthesizers.answer import Answer, measure
from dpsynth.synthesizers.generator import Fitted
from dpsynth.synthesizers.growth import Growth
from dpsynth.synthesizers.source import Graphical
from dpsynth.synthesizers.views import GROUP, Views
from dpsynth.synthesizers.zeros import MOST_CELLS, Zeros

Whole = npt.NDArray[np.signedinteger[Any]]
Floats = npt.NDArray[np.float64]
SAFE = 1 - 1e-9
CAUTION = 0.5
PATIENCE = 4.0
FIRST_LOOK, LEAST_SHARE, DISTURBED, LEAST_LEFT = 0.1, 0.3, 4.0, 0.05
MEAN_NOISE = math.sqrt(2 / math.pi)
ROUGH, ROUGH_STEPS = 0.85, 60
CLOSE_STEPS = 1000
FRESH_FOR = 4
WORTH_A_LOOK = 5e-4


@dataclass
class _Reference:
    counts: Whole
    made: int


@dataclass
class Bench:
    """A table under measurement: the answers so far and the model that explains them."""

    table: PrivateTable
    views: Views
    zeros: Zeros
    answers: list[Answer]
    model: GraphicalModel
    _references: dict[Clique, _Reference] = field(default_factory=dict)
    _refits: int = 0
    _touched: frozenset[str] = frozenset()

    @classmethod
    def begin(cls, table: PrivateTable, attributes: Sequence[Attribute], limit: float = MOST_CELLS, group: float = GROUP) -> Self:
        """Measure every column, for as much of the budget as columns deserve, and fit the independent model, which keeps to the schema's
        rules as far as they fit into half of a model of at most `limit` cells: the rest is for what is bought. Coarse views have groups
        of at least a `group` of the rows."""
        budget = table.left.amount * SAFE
        first = _columns(table, attributes, budget * (FIRST_LOOK if len(attributes) > 1 else 1))
        ones = [*first, *_columns(table, attributes, budget * (_deserved(first) - FIRST_LOOK))] if len(attributes) > 1 else first
        zeros = Zeros.of(table.schema.impossible, attributes, min(limit / 2, MOST_CELLS))
        views = Views(attributes, ones, zeros, group)
        return cls(table, views, zeros, ones, estimate(views.domain, [views.measurement(a) for a in ones], fixed=views.links))

    @property
    def affords_structure(self) -> bool:
        """Whether what is left is worth asking for more than columns."""
        return len(self.views.columns) > 1 and self.left > LEAST_LEFT * self.table.granted.amount

    @property
    def left(self) -> float:
        return self.table.left.amount * SAFE

    def choose(self, weights: Mapping[Clique, int], amount: float, measuring: float) -> Clique | None:
        """A clique that the model gets wrong by more than its own noise, if it were measured for `measuring`; None for nothing.

        The score of r is w_r (||M_r(D) - M_r(model)||_1 - noise), noise being the `penalty` of its cells.
        """
        if not weights:
            return None
        cliques = list(weights)
        sigma = self.table.sigma(measuring)
        noise = [self.penalty(math.prod(map(self.views.domain.size, r)), sigma) for r in cliques]
        scale = 2 * self.table.sensitivity * max(weights.values()) / self.table.currency.selection_epsilon(amount)
        chance = scale * (math.log(len(cliques)) + PATIENCE)
        chosen = self.table.select(
            [*map(self.views.attributes, cliques), ()],
            [*map(self.reference, cliques), np.zeros((), dtype=np.int64)],
            [*weights.values(), 1],
            [*(min(round(weights[r] * n), MAX_SCORE) for r, n in zip(cliques, noise, strict=True)), -min(round(chance), MAX_SCORE)],
            amount,
        )
        return cliques[chosen] if chosen < len(cliques) else None

    def penalty(self, cells: int, sigma: float) -> float:
        """Half the expected L1 norm of the noise on so many cells: agreement with the other answers takes part of it away; a half was found
        by trial (docs/benchmarks.md)."""
        return CAUTION * MEAN_NOISE * sigma * cells

    def within(self, weights: Mapping[Clique, int], limit: float) -> dict[Clique, int]:
        """The candidates that the model holds already, or with which it keeps below `limit` cells."""
        measured = {self.views.clique(a) for a in self.answers}
        self._growth.follow(Graph.of(self.views.domain, [*measured, *(f.domain.names for f in self.views.links)]))
        return {r: w for r, w in weights.items() if self.model.tree.find(r) is not None or self._growth.fits(r, limit)}

    @cached_property
    def _growth(self) -> Growth:
        return Growth(self.views.domain)

    def measure(self, clique: Clique, amount: float) -> Answer:
        answer = measure(self.table, self.views.asked(clique), amount)
        self.answers.append(answer)
        self._touched = frozenset(clique)
        return answer

    def refit(self, discrepancy: float = ROUGH, steps: int = ROUGH_STEPS) -> None:
        measurements = [self.views.measurement(a) for a in self.answers]
        self.model = estimate(self.views.domain, measurements, self.model, self.views.links, discrepancy, steps)
        self._refits += 1
        self._references = {r: known for r, known in self._references.items() if self._is_fresh(known)}

    def finish(self) -> Fitted:
        """Measure every column once more with what is left, if that is worth a look; then fit closely.

        Where no structure was bought the columns' own codes are the model: views would add nothing.
        """
        self._references.clear()
        columns = [v.column for v in self.views.views]
        if self.left > WORTH_A_LOOK * self.table.granted.amount:
            self.answers += _columns(self.table, columns, self.left)
        if all(len(a.attributes) == 1 for a in self.answers):
            return Fitted(Graphical(columns_alone(columns, self.answers, self.zeros)), Codec(tuple(map(Decoder, columns))), tuple(self.answers))
        self.refit(CLOSE, CLOSE_STEPS)
        return Fitted(Graphical(self.model), Codec(self.views.decoders(self.answers)), tuple(self.answers))

    def reference(self, clique: Clique) -> Whole:
        """The model's counts of a clique in whole numbers; of one that the tree does not hold, perhaps those of an earlier model."""
        known = self._references.get(clique)
        near = self.model.tree.find(clique) is not None or not self._touched.isdisjoint(clique)
        if known is None or (near and known.made < self._refits) or not self._is_fresh(known):
            known = _Reference(whole(self.model.project(clique)), self._refits)
            self._references[clique] = known
        return known.counts

    def _is_fresh(self, known: _Reference) -> bool:
        return self._refits - known.made < FRESH_FOR


def whole(counts: Floats) -> Whole:
    """Counts of at least 0, rounded, in the smallest signed type that holds them: there is a table of them for every candidate."""
    rounded = np.rint(counts)
    return rounded.astype(np.min_scalar_type(-1 - int(rounded.max())))


def _columns(table: PrivateTable, attributes: Sequence[Attribute], amount: float) -> list[Answer]:
    return [measure(table, [a], amount * SAFE / len(attributes)) for a in attributes]


def _deserved(first: Sequence[Answer]) -> float:
    """The share of the budget that columns deserve, from a first look at them: their noise scale and the noisy number of rows."""
    totals, variances = zip(*((float(a.values.sum()), a.sigma**2 * a.values.size) for a in first), strict=True)
    rows = max(float(np.average(totals, weights=1 / np.array(variances))), 1.0)
    cells = float(np.mean([a.values.size for a in first]))
    return share_of_columns(cells * first[0].sigma * math.sqrt(FIRST_LOOK) / rows)


def share_of_columns(noise: float) -> float:
    """The share of the budget for columns: more where noise on them alone, paid with all of it, would move much of their mass.

    Its root, found by trial (docs/benchmarks.md): the budget's two parts err by the roots of their shares, and what structure there is to buy
    shrinks with the number of rows.

    Args:
        noise: scale times cells over rows of the average column; .4 of that is the expected total variation.
    """
    return float(np.clip(DISTURBED * math.sqrt(MEAN_NOISE / 2 * noise), LEAST_SHARE, 1.0))


def cells_of(megabytes: float) -> float:
    """How many cells of 8 bytes a model of so many megabytes (2^20 bytes) has."""
    return megabytes * 2**20 / 8


def size_faults(megabytes: Any, schema: Schema) -> list[Fault]:
    """What is wrong with a limit on the model's size for a table of this schema; what is open is not known yet and counts for nothing."""
    if not isinstance(megabytes, int | float) or isinstance(megabytes, bool) or not 0 < megabytes < sys.float_info.max:
        return [Fault("max_model_size", "not a positive number of megabytes", "write for example 10")]
    cells = sum(public_attribute(c).size for c in schema.synthesised if not c.is_open)
    if cells <= cells_of(megabytes):
        return []
    return [Fault("max_model_size", f"{megabytes:g} MB do not even hold the columns one by one", f"write at least {math.ceil(cells * 8 / 2**20)}")]
