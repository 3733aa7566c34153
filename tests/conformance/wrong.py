"""Wrong generators: the toy with one fault planted in each. The suite has to find every one of them, by each rule that it names.

A fault often breaks other rules too, since one leak shows in more than one place.
"""

from __future__ import annotations

import json
import logging
import math
import pickle
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from conformance.sources import Real, Source
from conformance.subject import Finding, Numbers, Plan, Subject
from conformance.toy import Axis, Histogram, Meter, Model, Purse, School, Toy, Trainee, _People, price
from dpsynth.privacy import gdp, zcdp
from dpsynth.schema import Column, PrivacyUnit, Schema
from dpsynth.schema.cells import read_numbers, read_text


@dataclass(frozen=True)
class Fault:
    """A wrong generator, and the rules that have to find it."""

    breaks: tuple[str, ...]
    subject: Subject


FAULTS: list[Fault] = []


def breaks(*rules: str) -> Callable[[type[Any]], type[Any]]:
    """Registers a wrong generator."""

    def register(kind: type[Any]) -> type[Any]:
        wrong = dataclass(frozen=True)(kind)
        FAULTS.append(Fault(rules, wrong(name=kind.__name__)))
        return wrong

    return register


@breaks("C1", "C21")
class ListsWhatItSees(Toy):
    """The listed categories, and whatever else the rows hold."""

    def histogram(self, meter: Meter, people: _People, axis: Axis, share: float) -> Histogram:
        if axis.column.categories is None:
            return super().histogram(meter, people, axis, share)
        seen: list[str] = []

        def counted() -> Numbers:
            texts = {t for t in read_text(people.rows[axis.column.name], axis.column) if t}
            seen.extend(sorted(texts - set(axis.categories)))
            return self.counted(people, replace(axis, categories=(*axis.categories, *seen)))

        counts, sigma = meter.counts(counted, people.most_rows, share)
        return Histogram(replace(axis, categories=(*axis.categories, *seen)), counts, sigma)


@breaks("C2")
class Warns(Toy):
    """Says that it will leak, and goes on."""

    def counted(self, people: _People, axis: Axis) -> Numbers:
        counts = super().counted(people, axis)
        if counts[-1]:
            warnings.warn("cells outside the domain were taken for missing", stacklevel=1)
        return counts


@breaks("C3")
class MeasuresTwice(Toy):
    """One payment, two looks."""

    def histogram(self, meter: Meter, people: _People, axis: Axis, share: float) -> Histogram:
        first = super().histogram(meter, people, axis, share)
        meter.left += share
        second = super().histogram(meter, people, axis, share)
        return replace(second, counts=(first.counts + second.counts) // 2)


@dataclass(frozen=True)
class Filled(Histogram):
    """A histogram with what stands for its missing numbers."""

    filler: float = math.nan


class FilledModel(Model):
    def _cells(self, name: str, rows: int, rng: np.random.Generator) -> pd.Series:
        fillers = [h.filler for h in self.histograms if isinstance(h, Filled) and h.axis.column.name == name]
        cells = super()._cells(name, rows, rng)
        return cells.fillna(fillers[0]) if fillers else cells


@breaks("C4")
class FillsWithACell(Toy):
    """Where most numbers are missing, one of those that are there stands for them."""

    def counted(self, people: _People, axis: Axis) -> Numbers:
        if axis.column.is_number:
            values, _ = read_numbers(people.rows[axis.column.name], replace(axis.column, bounds=None))
            there = values[np.isfinite(values)]
            people.filler = float(there[0]) if 0 < len(there) < 0.2 * len(values) else math.nan
        return super().counted(people, axis)

    def histogram(self, meter: Meter, people: _People, axis: Axis, share: float) -> Histogram:
        plain = super().histogram(meter, people, axis, share)
        filled = axis.column.is_number and math.isfinite(people.filler)
        return Filled(plain.axis, plain.counts, plain.sigma, people.filler) if filled else plain

    def measured(self, meter: Meter, rows: pd.DataFrame, schema: Schema, delta: float) -> Model:
        return FilledModel(super().measured(meter, rows, schema, delta).histograms)


class NumbersAsText(Axis):
    """A number is one of the categories that the rows hold."""

    def codes(self, cells: pd.Series) -> np.ndarray:
        values, _ = read_numbers(cells, self.column)
        return np.searchsorted(np.array(self.edges), values).clip(0, len(self.edges) - 1)

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(map(str, self.edges))

    def decoded(self, codes: np.ndarray, rng: np.random.Generator) -> pd.Series:
        return pd.Series(np.array(self.edges)[codes])


@breaks("C5")
class TakesNumbersForCategories(Toy):
    """Each number that occurs is a category."""

    def cut(self, people: _People, column: Column) -> Axis:
        values, _ = read_numbers(people.rows[column.name], column)
        return NumbersAsText(column, edges=tuple(sorted({*values[np.isfinite(values)].tolist(), 1.0, 2.0})))


@breaks("C6")
class CutsAtQuantiles(Toy):
    """As many rows in each bin."""

    def cut(self, people: _People, column: Column) -> Axis:
        values, _ = read_numbers(people.rows[column.name], column)
        values = values[np.isfinite(values)]
        if not len(values):
            return super().cut(people, column)
        return Axis(column, edges=tuple(np.quantile(values, np.linspace(0, 1, column.bins + 1)).tolist()))


@breaks("C7")
class NamesWhatIsThere(Toy):
    """A fixed threshold, whatever the noise and the delta."""

    def threshold(self, sigma: float, delta: float, most_rows: int) -> float:
        return 5.0


@breaks("C8", "C1")
class CutsByTheNumberOfRows(Toy):
    """More rows, more bins."""

    def cut(self, people: _People, column: Column) -> Axis:
        low, high = super().cut(people, column).edges[:: column.bins]
        return Axis(column, edges=tuple(np.linspace(low, high, 3 + round(math.sqrt(len(people._all)))).tolist()))


@breaks("C9")
class StopsTooLate(Toy):
    """Steps of one size while anything is left. They end in time under the budget of (1, 1e-6) alone."""

    def measured(self, meter: Meter, rows: pd.DataFrame, schema: Schema, delta: float) -> Model:
        later, meter.left = meter.left / 2, meter.left / 2
        model = super().measured(meter, rows, schema, delta)
        people, step, extra = _People(self, rows, schema), float(price(1.0, 1e-6)) / 8, []
        while later > step / 1000 and len(extra) < 20:
            meter.left = step
            extra.append(self.histogram(meter, people, model.histograms[0].axis, step))
            later -= step
        return Model((*model.histograms, *extra))


@breaks("C9")
class SwitchesFilter(Toy):
    """Where a first answer is large a choice comes after, within zCDP, in which choices cost less; where it is small counts come after, within
    Gaussian DP, which has room for more of them. Each run keeps to one of the two, all runs together to neither."""

    def measured(self, meter: Meter, rows: pd.DataFrame, schema: Schema, delta: float) -> Model:
        whole, meter.left = meter.left, meter.left / 5
        model = super().measured(meter, rows, schema, delta)
        people, first = _People(self, rows, schema), model.histograms[0]
        if first.counts.sum() <= 0:
            meter.left = whole * 4 / 5
            return Model((*model.histograms, self.histogram(meter, people, first.axis, meter.left)))
        axes = [h.axis for h in model.histograms[: len(schema.synthesised)]]
        scale = 2 * people.most_rows / zcdp.selection_epsilon(whole * 3 / 5 / 2)
        meter.paid(0.0, lambda: meter.source.choice(self.scores(people, axes), scale, people.most_rows))
        return model


@breaks("C10")
class DividesNoise(Toy):
    """The more rows, the less noise; the scale that is told is the one that was paid for."""

    def histogram(self, meter: Meter, people: _People, axis: Axis, share: float) -> Histogram:
        sigma = gdp.discrete_gaussian_sigma(math.sqrt(share) / people.most_rows)

        def draw() -> Numbers:
            return meter.source.counts(self.counted(people, axis), sigma / max(len(people.rows) // 100, 1), people.most_rows)

        return Histogram(axis, meter.paid(share, draw), sigma)


@breaks("C11")
class DoublesScores(Toy):
    """Scores that a row moves by 2, paid for as if by 1."""

    def scores(self, people: _People, axes: Sequence[Axis]) -> Numbers:
        return 2 * super().scores(people, axes)


class Drawn(Real):
    """The right law from a generator of somebody's choice."""

    def __init__(self, rng: np.random.Generator):
        super().__init__()
        self.rng = rng

    def _noisy(self, exact: Numbers, scale: float) -> Numbers:
        if scale > 50:
            return exact + np.rint(self.rng.normal(0, scale, exact.shape)).astype(np.int64)
        support = np.arange(-math.ceil(12 * scale), math.ceil(12 * scale) + 1)
        mass = np.exp(-np.square(support) / (2 * scale**2))
        return exact + self.rng.choice(support, exact.shape, p=mass / mass.sum())

    def _chosen(self, scores: Numbers, scale: float) -> int:
        return int(np.argmax(scores / scale + self.rng.gumbel(size=len(scores))))


@breaks("C12", "C13")
class HasASeed(Toy):
    """A default seed."""

    def fit(self, rows: pd.DataFrame, schema: Schema, epsilon: float, delta: float) -> Model:
        return self.fit_with(Drawn(np.random.default_rng(0)), rows, schema, epsilon, delta, private=True)


STREAM = np.random.default_rng()


@breaks("C13")
class SharesAStream(Toy):
    """One stream for the whole module, which a forked process starts in the same place."""

    def fit(self, rows: pd.DataFrame, schema: Schema, epsilon: float, delta: float) -> Model:
        return self.fit_with(Drawn(STREAM), rows, schema, epsilon, delta, private=True)


@breaks("C14")
class StudentIsTeacher(School):
    """What is handed out is what saw the rows."""

    def handed_out(self, teachers: list[Numbers], student: Numbers) -> list[Numbers]:
        return [student, teachers[0]]


@breaks("C14")
class DealsAnew(School):
    """Other rows for each teacher in each round."""

    def classes(self, rows: int) -> list[list[frozenset[int]]]:
        return [[frozenset(range((first + turn) % 5, rows, 5)) for first in range(5)] for turn in range(3)]


@breaks("C15")
class Shuffles(Trainee):
    """Batches of one size out of a shuffled deck."""

    def batch(self, rows: int, step: int) -> frozenset[int]:
        return frozenset(np.random.default_rng().permutation(rows)[: round(0.3 * rows)].tolist())


@breaks("C16")
class KeepsTheBest(Trainee):
    """After each step whichever parameters are nearest to the rows."""

    def descent(self, source: Source, seen: Numbers, batches: Sequence[frozenset[int]], plan: Plan) -> list[Numbers]:
        steps = super().descent(source, seen, batches, plan)
        loss = [float(np.square(seen - p).sum()) for p in steps]
        return [steps[int(np.argmin(loss[: i + 1]))] for i in range(len(steps))]


@breaks("C16")
class ForgetsToClip(Trainee):
    """A row may pull as hard as it likes."""

    def clipped(self, gradients: Numbers) -> Numbers:
        return gradients


@breaks("C17")
class AveragesOverRows(Trainee):
    """The sum of a batch over the rows there are."""

    def normaliser(self, rows: int) -> float:
        return 0.3 * rows


@dataclass(frozen=True)
class Again(Model):
    """A model that runs the mechanism for every sample."""

    rows: pd.DataFrame | None = None
    fitted: Callable[[pd.DataFrame], Model] | None = None

    def sample(self, rows: int, seed: int | None = None) -> pd.DataFrame:
        assert self.fitted is not None and self.rows is not None
        return self.fitted(self.rows).sample(rows, seed)


@breaks("C18", "C23")
class RunsAgain(Toy):
    """Sampling is fitting."""

    def measured(self, meter: Meter, rows: pd.DataFrame, schema: Schema, delta: float) -> Model:
        whole = meter.left

        def fitted(table: pd.DataFrame) -> Model:
            meter.left = whole
            return super(RunsAgain, self).measured(meter, table, schema, delta)

        return Again(fitted(rows).histograms, rows=rows, fitted=fitted)


@breaks("C19")
class LooksForFree(Toy):
    """The first column is a first look, and first looks are free."""

    def measured(self, meter: Meter, rows: pd.DataFrame, schema: Schema, delta: float) -> Model:
        people, first = _People(self, rows, schema), Axis(schema.synthesised[0], schema.synthesised[0].categories or ())
        counts = meter.paid(0.0, lambda: meter.source.counts(self.counted(people, first), 1000.0, 0.0))
        return Model((Histogram(first, counts, 1000.0), *super().measured(meter, rows, schema, delta).histograms))


@breaks("C20")
class IgnoresItsOption(Toy):
    """Takes an option and leaves it at that."""

    def with_option(self, option: str, value: Any) -> Toy:
        return self


@dataclass(frozen=True)
class Keeping(Model):
    rows: pd.DataFrame | None = None


@breaks("C21")
class KeepsRows(Toy):
    """The rows lie in the model, for later."""

    def measured(self, meter: Meter, rows: pd.DataFrame, schema: Schema, delta: float) -> Model:
        return Keeping(super().measured(meter, rows, schema, delta).histograms, rows=rows)


@breaks("C22")
class Pickles(Toy):
    """Saves itself as it is."""

    def save(self, sampler: Model, path: Path) -> None:
        path.write_bytes(pickle.dumps(sampler))

    def load(self, path: Path) -> Model:
        model: Model = pickle.loads(path.read_bytes())
        if not isinstance(model, Model):
            raise ValueError("not a toy")
        return model


@dataclass(frozen=True)
class Conditioned(Model):
    """The first column is drawn from the rows' own shares."""

    conditions: tuple[float, ...] = ()

    def _cells(self, name: str, rows: int, rng: np.random.Generator) -> pd.Series:
        axis = self.histograms[0].axis
        if name != axis.column.name or not sum(self.conditions):
            return super()._cells(name, rows, rng)
        return axis.decoded(rng.choice(len(self.conditions), rows, p=np.array(self.conditions) / sum(self.conditions)), rng)


@breaks("C23", "C1")
class ConditionsOnRows(Toy):
    """Training by sampling, with the rows' own shares of a category."""

    def measured(self, meter: Meter, rows: pd.DataFrame, schema: Schema, delta: float) -> Model:
        shares: list[float] = []
        model = super().measured(meter, rows, schema, delta)
        people = _People(self, rows, schema)
        meter.paid(0.0, lambda: shares.extend(map(float, self.counted(people, model.histograms[0].axis))))
        return Conditioned(model.histograms, conditions=tuple(shares))


@breaks("C24")
class ZeroMeansOff(Toy):
    """Without an epsilon there is hardly any noise."""

    def meter(self, source: Source, rows: pd.DataFrame, epsilon: float, delta: float) -> Meter:
        return super().meter(source, rows, epsilon or 100.0, delta)


class Smooth(Real):
    """Normal noise, as floating point has it."""

    def _noisy(self, exact: Numbers, scale: float) -> Numbers:
        return exact + np.random.default_rng().normal(0, scale, exact.shape)


class Rounded(Smooth):
    """The same, rounded."""

    def _noisy(self, exact: Numbers, scale: float) -> Numbers:
        return np.rint(super()._noisy(exact, scale)).astype(np.int64)


@breaks("C25")
class FloatNoise(Toy):
    """Noise that is not on the lattice of counts."""

    def fit(self, rows: pd.DataFrame, schema: Schema, epsilon: float, delta: float) -> Model:
        return self.fit_with(Smooth(), rows, schema, epsilon, delta, private=True)


@breaks("C25")
class RoundedNoise(Toy):
    """Noise that is on the lattice, by another law than was paid for."""

    def fit(self, rows: pd.DataFrame, schema: Schema, epsilon: float, delta: float) -> Model:
        return self.fit_with(Rounded(), rows, schema, epsilon, delta, private=True)


@dataclass
class FloatPurse(Purse):
    """A budget in floating point, to six digits."""

    def charge(self, epsilon: float, delta: float) -> None:
        before = float(self.gone)
        super().charge(epsilon, delta)
        self.gone = Fraction(round(before + float(price(epsilon, delta)), 9))


@breaks("C26")
class LosesCents(Toy):
    """Small charges are rounded away."""

    def budget(self, folder: Path, schema: Schema, epsilon: float, delta: float) -> Purse:
        return FloatPurse(self, price(epsilon, delta))


@breaks("C27")
class SaysWhatItSees(Toy):
    """A log line for each odd cell."""

    def counted(self, people: _People, axis: Axis) -> Numbers:
        for text in read_text(people.rows[axis.column.name], axis.column):
            if text is not None and not axis.column.is_number and text not in axis.categories:
                logging.getLogger("toy").error("%s is not listed", text)
        return super().counted(people, axis)


@breaks("C27")
class BreaksOverCells(Toy):
    """A lone surrogate or a number beyond 64 bits is more than it can take."""

    def counted(self, people: _People, axis: Axis) -> Numbers:
        people.rows[axis.column.name].astype(object).map(hash)
        return super().counted(people, axis)


@breaks("C28")
class ClaimsReplaceOne(Toy):
    """Says that neighbours replace a row, and pays for one that is added."""

    relation: Any = "replace-one"


@breaks("C29", "C7")
class TakesRowsForPersons(Toy):
    """No id is looked at."""

    def measured(self, meter: Meter, rows: pd.DataFrame, schema: Schema, delta: float) -> Model:
        return super().measured(meter, rows, replace(schema, unit=PrivacyUnit("row")), delta)


@breaks("C30")
class DropsDuplicates(Toy):
    """Equal rows count once."""

    def counted(self, people: _People, axis: Axis) -> Numbers:
        texts = pd.DataFrame({c.name: read_text(people.rows[c.name], c) for c in people.schema.synthesised})
        once = people.rows[axis.column.name][~texts.duplicated().to_numpy()]
        return np.bincount(axis.codes(once), minlength=len(axis.labels))


@breaks("C31")
class PublishesWhatItFound(Toy):
    """The bundle has the attacks' figures."""

    def publish(self, source: Source, evidence: Mapping[str, float], *release: Any) -> Mapping[str, bytes]:
        return {**super().publish(source, evidence, *release), "quality.json": json.dumps(dict(evidence)).encode()}


@breaks("C31")
class PublishesTheSize(Toy):
    """The bundle has the number of rows."""

    def publish(self, source: Source, evidence: Mapping[str, float], rows: pd.DataFrame, *release: Any) -> Mapping[str, bytes]:
        return {**super().publish(source, evidence, rows, *release), "size.txt": str(len(rows)).encode()}


@dataclass
class ForgivingPurse(Purse):
    """What was paid for once may be tried again."""

    paid: tuple[float, float] | None = None

    def charge(self, epsilon: float, delta: float) -> None:
        if self.paid != (epsilon, delta):
            super().charge(epsilon, delta)
        self.paid = (epsilon, delta)


@breaks("C32", "C27")
class RetriesForFree(Toy):
    """Fits until it likes the result."""

    def budget(self, folder: Path, schema: Schema, epsilon: float, delta: float) -> Purse:
        return ForgivingPurse(self, price(epsilon, delta))


@breaks("C33")
class TrustsDistances(Toy):
    """No close record, no risk."""

    def lets_out(self, found: Mapping[str, Finding], audited: bool) -> bool:
        return audited and found.get("closest record") == "clean" and "leak" not in found.values()


@breaks("C33")
class IgnoresDistances(Toy):
    """Copies are let out."""

    def lets_out(self, found: Mapping[str, Finding], audited: bool) -> bool:
        return super().lets_out({k: v for k, v in found.items() if k != "closest record"}, audited)


@breaks("C34")
class TrustsAttacks(Toy):
    """Nothing found, nothing there."""

    def lets_out(self, found: Mapping[str, Finding], audited: bool) -> bool:
        return super().lets_out(found, True)


@breaks("C35")
class PromisesTooMuch(Toy):
    """Bounds that look better."""

    def bound(self, histogram: Histogram) -> float:
        return math.ceil(histogram.sigma / 4)


@dataclass
class HalfPurse(Purse):
    """Every other cent is kept back."""

    def charge(self, epsilon: float, delta: float) -> None:
        cost = price(epsilon, delta) / 2
        if cost > self.left:
            raise RuntimeError("the budget is spent")
        self.left -= cost
        self.gone += cost


@breaks("C3")
class ChargesHalf(Toy):
    """A budget of one request is two fits."""

    def budget(self, folder: Path, schema: Schema, epsilon: float, delta: float) -> Purse:
        return HalfPurse(self, price(epsilon, delta))


@breaks("C7")
class NeedsNoDelta(Toy):
    """Where no delta is given, a small one will do."""

    def fit(self, rows: pd.DataFrame, schema: Schema, epsilon: float, delta: float) -> Model:
        return super().fit(rows, schema, epsilon, delta or 1e-9)


@breaks("C12")
class SeedsTheWorld(Toy):
    """Makes fits repeatable, everybody's."""

    def measured(self, meter: Meter, rows: pd.DataFrame, schema: Schema, delta: float) -> Model:
        np.random.seed(0)  # noqa: NPY002
        return super().measured(meter, rows, schema, delta)


@dataclass(frozen=True)
class Charging(Model):
    """A model whose samples are paid for."""

    purse: Purse | None = None

    def sample(self, rows: int, seed: int | None = None) -> pd.DataFrame:
        assert self.purse is not None
        self.purse.charge(0.1, 1e-6)
        return super().sample(rows, seed)


@dataclass
class SamplesCost(Purse):
    def fit(self, rows: pd.DataFrame, schema: Schema, epsilon: float, delta: float) -> Model:
        return Charging(super().fit(rows, schema, epsilon, delta).histograms, purse=self)


@breaks("C18")
class ChargesForSamples(Toy):
    """Each sample takes from the budget."""

    def budget(self, folder: Path, schema: Schema, epsilon: float, delta: float) -> Purse:
        return SamplesCost(self, price(epsilon, delta))


@breaks("C20")
class IgnoresDelta(Toy):
    """Whatever delta is asked for, it is 1e-6."""

    def meter(self, source: Source, rows: pd.DataFrame, epsilon: float, delta: float) -> Meter:
        return super().meter(source, rows, epsilon, 1e-6)


@breaks("C24")
class SaysItIsPrivate(Toy):
    """Every model has the stamp."""

    def says_private(self, sampler: Model) -> bool:
        return True


@breaks("C27")
class SavesTheSize(Toy):
    """A model of a column that is all x needs less space, or more."""

    def measured(self, meter: Meter, rows: pd.DataFrame, schema: Schema, delta: float) -> Model:
        model = super().measured(meter, rows, schema, delta)
        few = bool((rows[schema.synthesised[0].name] == "x").all())
        return replace(model, histograms=(*model.histograms, *model.histograms[:few]))


@breaks("C27")
class QuotesCells(Toy):
    """Says over which cells it broke down."""

    def measured(self, meter: Meter, rows: pd.DataFrame, schema: Schema, delta: float) -> Model:
        try:
            return super().measured(meter, rows, schema, delta)
        except RuntimeError as error:
            raise RuntimeError(f"{error} for {rows.iloc[0].tolist()}") from None
