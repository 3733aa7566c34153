"""A small honest generator from outside: histograms of single columns, one of them looked at twice. It keeps every rule.

`wrong.py` breaks it, one rule at a time; that the suite passes this one and finds those shows what the suite can see. Here too are its two
cousins that train besides: `Trainee` by noised gradients, `School` by teachers and votes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from conformance.sources import Real, Source
from conformance.spies import Watch
from conformance.subject import Answer, CountedIn, Finding, Numbers, Plan, Relation, Teaching, Training
from dpsynth.privacy import gdp
from dpsynth.schema import Column, Schema
from dpsynth.schema.cells import read_categories, read_numbers, read_text

EVENTS = 0.1
OPEN_BOUNDS = (-1000.0, 1000.0)


@dataclass(frozen=True)
class Axis:
    """A column cut into cells: its categories or the edges of its bins; the last cell is for what is missing."""

    column: Column
    categories: tuple[str, ...] = ()
    edges: tuple[float, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        bins = [f"from {low:g}" for low in self.edges[:-1]]
        return (*(bins if self.column.is_number else self.categories), "missing")

    def codes(self, cells: pd.Series) -> np.ndarray:
        """Each cell's place, from the cell alone."""
        if self.column.is_number:
            values, _ = read_numbers(cells, self.column)
            inside = np.searchsorted(self.edges[1:-1], np.nan_to_num(values), side="right")
            return np.where(np.isnan(values), len(self.labels) - 1, inside)
        places, _ = read_categories(cells, self.column, self.categories)
        return np.where(places < 0, len(self.labels) - 1, places)

    def decoded(self, codes: np.ndarray, rng: np.random.Generator) -> pd.Series:
        if not self.column.is_number:
            return pd.Series(np.array([*self.categories, None], dtype=object)[codes], dtype=object)
        edges = np.array(self.edges)
        bins = np.minimum(codes, len(edges) - 2)
        values = np.round(edges[bins] + rng.random(len(bins)) * (edges[bins + 1] - edges[bins]), 2)
        return pd.Series(np.where(codes == len(edges) - 1, np.nan, np.clip(values, edges[0], edges[-1])))


@dataclass(frozen=True)
class Histogram:
    """Noisy counts of a column, with the scale of their noise."""

    axis: Axis
    counts: np.ndarray
    sigma: float


@dataclass(frozen=True)
class Model:
    histograms: tuple[Histogram, ...]
    private: bool = True

    def sample(self, rows: int, seed: int | None = None) -> pd.DataFrame:
        rng = np.random.default_rng(seed)
        return pd.DataFrame({name: self._cells(name, rows, rng) for name in dict.fromkeys(h.axis.column.name for h in self.histograms)})

    def _cells(self, name: str, rows: int, rng: np.random.Generator) -> pd.Series:
        pooled = [h for h in self.histograms if h.axis.column.name == name]
        counts = np.maximum(sum(h.counts / h.sigma**2 for h in pooled), 0)
        shares = counts / counts.sum() if counts.sum() > 0 else np.full(len(counts), 1 / len(counts))
        return pooled[0].axis.decoded(rng.choice(len(shares), rows, p=shares), rng)


class Meter:
    """Pays for each draw out of an amount in mu squared, before it reads; refuses what does not fit."""

    def __init__(self, source: Source, amount: float):
        self.source = source
        self.left = amount
        self.rounding = amount * 1e-9
        self.waiting = False

    def counts(self, read: Callable[[], Numbers], sensitivity: float, amount: float) -> tuple[Numbers, float]:
        """Noisy counts for `amount`, and the scale of their noise."""
        sigma = gdp.discrete_gaussian_sigma(math.sqrt(amount) / sensitivity)
        return self.paid(amount, lambda: self.source.counts(read(), sigma, sensitivity)), sigma

    def choice(self, read: Callable[[], Numbers], sensitivity: float, amount: float) -> int:
        scale = 2 * sensitivity / gdp.selection_epsilon(math.sqrt(amount))
        return self.paid(amount, lambda: self.source.choice(read(), scale, sensitivity))

    def paid(self, amount: float, act: Callable[[], Any]) -> Any:
        if amount > self.left + self.rounding:
            raise RuntimeError("the budget is spent")
        self.left -= amount
        self.waiting = True
        try:
            return act()
        finally:
            self.waiting = False


@dataclass(frozen=True)
class Toy:
    """Each column once, then `again` times the one that is furthest from even."""

    again: int = 1
    name: str = "toy"
    relation: Relation = "add/remove"
    counted_in: CountedIn = "gdp"

    def fit(self, rows: pd.DataFrame, schema: Schema, epsilon: float, delta: float) -> Model:
        return self.fit_with(Real(), rows, schema, epsilon, delta, private=True)

    def fit_watched(self, watch: Watch, rows: pd.DataFrame, schema: Schema, epsilon: float, delta: float) -> Model:
        meter = self.meter(Real(), rows, epsilon, delta)
        watch.charged = lambda: meter.waiting
        return self.measured(meter, rows, schema, delta)

    def fit_with(self, source: Source, rows: pd.DataFrame, schema: Schema, epsilon: float, delta: float, private: bool = False) -> Model:
        meter = self.meter(source, rows, epsilon, delta)
        return replace(self.measured(meter, rows, schema, delta), private=private)

    def meter(self, source: Source, rows: pd.DataFrame, epsilon: float, delta: float) -> Meter:
        for number, most in ((epsilon, math.inf), (delta, 1.0)):
            if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number < most:
                raise ValueError("epsilon is a positive number, delta one below 1")
        return Meter(source, gdp.mu_of(epsilon, delta * (1 - EVENTS)) ** 2)

    def measured(self, meter: Meter, rows: pd.DataFrame, schema: Schema, delta: float) -> Model:
        people = _People(self, rows, schema)
        open_columns = [c for c in schema.synthesised if c.categories is None and not c.is_number]
        share = meter.left / (len(schema.synthesised) + len(open_columns) + 2 * self.again)
        axes = [self.axis(meter, people, c, share, delta * EVENTS / max(len(open_columns), 1)) for c in schema.synthesised]
        histograms = [self.histogram(meter, people, axis, share) for axis in axes]
        for _ in range(self.again):
            chosen = meter.choice(lambda: self.scores(people, axes), people.most_rows, share)
            histograms.append(self.histogram(meter, people, axes[chosen], share))
        return Model(tuple(histograms))

    def axis(self, meter: Meter, people: _People, column: Column, share: float, delta: float) -> Axis:
        if column.is_number:
            return self.cut(people, column)
        return Axis(column, column.categories if column.categories is not None else self.discovered(meter, people, column, share, delta))

    def cut(self, people: _People, column: Column) -> Axis:
        low, high = column.bounds or OPEN_BOUNDS
        return Axis(column, edges=tuple(np.linspace(low, high, column.bins + 1).tolist()))

    def discovered(self, meter: Meter, people: _People, column: Column, share: float, delta: float) -> tuple[str, ...]:
        """Values that enough units hold."""
        values: list[str] = []

        def read() -> np.ndarray:
            held, units = people.units_per_value(column)
            values.extend(held)
            return units

        noisy, sigma = meter.counts(read, math.sqrt(people.most_rows), share)
        least = self.threshold(sigma, delta, people.most_rows)
        return tuple(v for v, n in zip(values, noisy, strict=True) if n >= least)

    def threshold(self, sigma: float, delta: float, most_rows: int) -> float:
        return gdp.threshold(sigma, delta, most_rows)

    def histogram(self, meter: Meter, people: _People, axis: Axis, share: float) -> Histogram:
        counts, sigma = meter.counts(lambda: self.counted(people, axis), people.most_rows, share)
        return Histogram(axis, counts, sigma)

    def counted(self, people: _People, axis: Axis) -> np.ndarray:
        return np.bincount(axis.codes(people.rows[axis.column.name]), minlength=len(axis.labels))

    def scores(self, people: _People, axes: Sequence[Axis]) -> np.ndarray:
        """How far each column is from ten rows in each cell, which a row moves by at most 1."""
        return np.array([np.abs(self.counted(people, axis) - 10).sum() for axis in axes])

    def answers(self, sampler: Model) -> Sequence[Answer]:
        return [Answer((h.axis.column.name,), (h.axis.labels,), h.counts, h.sigma, self.bound(h)) for h in sampler.histograms]

    def bound(self, histogram: Histogram) -> float:
        return math.ceil(1.96 * histogram.sigma)

    def says_private(self, sampler: Model) -> bool:
        return sampler.private

    def save(self, sampler: Model, path: Path) -> None:
        held = [[h.axis.column.name, h.axis.categories, h.axis.edges, h.counts.tolist(), h.sigma] for h in sampler.histograms]
        path.write_text(json.dumps({"format": "toy", "histograms": held}))

    def load(self, path: Path) -> Model:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["format"] != "toy":
            raise ValueError("not a toy")
        kinds: dict[bool, Literal["continuous", "categorical"]] = {True: "continuous", False: "categorical"}
        return Model(
            tuple(
                Histogram(Axis(Column(name, kinds[bool(edges)]), tuple(categories), tuple(edges)), np.array(counts), sigma)
                for name, categories, edges, counts, sigma in document["histograms"]
            )
        )

    def budget(self, folder: Path, schema: Schema, epsilon: float, delta: float) -> Purse:
        return Purse(self, price(epsilon, delta))

    def options(self) -> Mapping[str, Sequence[Any]]:
        return {"again": (1, 2, 0)}

    def with_option(self, option: str, value: Any) -> Toy:
        return replace(self, again=value)

    def publish(
        self, source: Source, evidence: Mapping[str, float], rows: pd.DataFrame, schema: Schema, epsilon: float, delta: float, folder: Path
    ) -> Mapping[str, bytes]:
        model = self.fit_with(source, rows, schema, epsilon, delta)
        accuracy = [[a.columns, a.values.tolist(), a.sigma, a.bound] for a in self.answers(model)]
        return {"rows.csv": model.sample(50, seed=1).to_csv().encode(), "accuracy.json": json.dumps(accuracy).encode()}

    def attacks(self) -> Mapping[str, bool]:
        return {"membership": False, "singling out": False, "closest record": True}

    def lets_out(self, found: Mapping[str, Finding], audited: bool) -> bool:
        needed = all(found.get(name) == "clean" for name, is_distance in self.attacks().items() if not is_distance)
        return audited and needed and "leak" not in found.values()


class _People:
    """The rows that count, chosen on the first look, which is inside a paid measurement."""

    def __init__(self, toy: Toy, rows: pd.DataFrame, schema: Schema):
        self.schema = schema
        self.most_rows = schema.unit.max_rows
        self._all = rows
        self._kept: pd.DataFrame | None = None
        self.filler = math.nan

    @property
    def rows(self) -> pd.DataFrame:
        if self._kept is None:
            self._kept = self._all.iloc[self._bounded()]
        return self._kept

    def ids(self, rows: pd.DataFrame) -> pd.Series:
        if self.schema.unit.is_row:
            return pd.Series(range(len(rows)))
        return pd.Series(read_text(rows[self.schema.unit.columns[0]], self.schema.column(self.schema.unit.columns[0])), dtype=object)

    def units_per_value(self, column: Column) -> tuple[list[str], np.ndarray]:
        texts = read_text(self.rows[column.name], column)
        held = {(t, u) for t, u in zip(texts, self.ids(self.rows), strict=True) if t is not None}
        values = sorted({t for t, _ in held})
        return values, np.array([sum(t == v for t, _ in held) for v in values], dtype=np.int64)

    def _bounded(self) -> np.ndarray:
        """Positions of at most so many rows of each unit, by chance; rows without an id are left out."""
        ids = self.ids(self._all).dropna()
        shuffled = ids.iloc[np.random.default_rng().permutation(len(ids))]
        kept: np.ndarray = np.sort(shuffled.index[shuffled.groupby(shuffled).cumcount() < self.most_rows].to_numpy())
        return kept


@dataclass
class Purse:
    """A budget in exact numbers."""

    toy: Toy
    left: Fraction
    gone: Fraction = Fraction(0)

    def fit(self, rows: pd.DataFrame, schema: Schema, epsilon: float, delta: float) -> Model:
        self.charge(epsilon, delta)
        return self.toy.fit(rows, schema, epsilon, delta)

    def charge(self, epsilon: float, delta: float) -> None:
        cost = price(epsilon, delta)
        if cost > self.left:
            raise RuntimeError("the budget is spent")
        self.left -= cost
        self.gone += cost

    def spent(self) -> tuple[Fraction, ...]:
        return (self.gone,)


def price(epsilon: float, delta: float) -> Fraction:
    return Fraction(gdp.mu_of(epsilon, delta * (1 - EVENTS))) ** 2


STEPS, RATE, CLIP, LEARNING, NORMALISER = 40, 0.3, 1.0, 0.1, 10.0


@dataclass(frozen=True)
class Trainee(Toy):
    """Learns the shares of all cells by noised gradients: steps known beforehand, Poisson batches, a constant normaliser."""

    name: str = "trainee"

    def train(
        self,
        source: Source,
        rows: pd.DataFrame,
        schema: Schema,
        epsilon: float,
        delta: float,
        batches: Sequence[frozenset[int]] | None = None,
    ) -> Training:
        plan = self.plan(rows, epsilon, delta)
        axes = [self.cut(_People(self, rows, schema), c) if c.is_number else Axis(c, c.categories or ()) for c in schema.synthesised]
        seen = np.hstack([np.eye(len(axis.labels))[axis.codes(rows[axis.column.name])] for axis in axes])
        drawn = [self.batch(len(rows), step) for step in range(plan.steps)] if batches is None else list(batches)
        return Training(plan, drawn, self.descent(source, seen, drawn, plan))

    def plan(self, rows: pd.DataFrame, epsilon: float, delta: float) -> Plan:
        """No amplification by sampling is claimed."""
        return Plan(RATE, math.sqrt(STEPS) / gdp.mu_of(epsilon, delta), STEPS)

    def batch(self, rows: int, step: int) -> frozenset[int]:
        return frozenset(np.flatnonzero(np.random.default_rng().random(rows) < RATE).tolist())

    def descent(self, source: Source, seen: np.ndarray, batches: Sequence[frozenset[int]], plan: Plan) -> list[np.ndarray]:
        parameters = [np.zeros(seen.shape[1])]
        for batch in batches:
            gradients = parameters[-1] - seen[sorted(batch)]
            noised = source.gradient(self.clipped(gradients).sum(axis=0), plan.sigma * CLIP, CLIP)
            parameters.append(parameters[-1] - LEARNING * noised / self.normaliser(len(seen)))
        return parameters[1:]

    def clipped(self, gradients: np.ndarray) -> np.ndarray:
        norms: np.ndarray = np.linalg.norm(gradients, axis=1, keepdims=True)
        return gradients / np.maximum(1, norms / CLIP)

    def normaliser(self, rows: int) -> float:
        return NORMALISER


@dataclass(frozen=True)
class School(Toy):
    """Each of five teachers has rows of its own for life and votes for its commonest cell; the student learns from noised votes."""

    name: str = "school"

    def teach(self, rows: pd.DataFrame, schema: Schema, epsilon: float, delta: float) -> Teaching:
        axis = Axis(schema.synthesised[0], schema.synthesised[0].categories or ())
        codes, rounds = axis.codes(rows[axis.column.name]), self.classes(len(rows))
        teachers = [np.bincount(codes[sorted(part)], minlength=len(axis.labels)).astype(float) for part in rounds[0]]
        votes = np.bincount([int(t.argmax()) for t in teachers], minlength=len(axis.labels))
        student = Real().counts(votes, 2 / gdp.mu_of(epsilon, delta), math.sqrt(2)).astype(float)
        return Teaching(rounds, teachers, self.handed_out(teachers, student))

    def classes(self, rows: int) -> list[list[frozenset[int]]]:
        return [[frozenset(range(first, rows, 5)) for first in range(5)]] * 3

    def handed_out(self, teachers: list[np.ndarray], student: np.ndarray) -> list[np.ndarray]:
        return [student]
