"""Was this person in the training table? Asked of a generator that the attacker can run himself, by counts around the person.

Knowledge: the generator as a callable, reference rows, about how large the training table is. The attacker runs the generator on tables
of his own, each of which holds a random half of the targets among strangers, and counts the synthetic rows that agree with each target on
random sets of columns. What the counts of those inside a table have before those outside is learned once for all targets: one weight for
each set of columns (a linear discriminant, drawn towards "more rows like the target, more likely in"). A target's score is the weighted
sum of its counts in the synthetic table under attack, each in standard deviations from its mean over the runs.

Power. R runs over T targets give R T counts with known answers, from R tables. `Shadows.area` is the area under the ROC curve that weights
learned on half of the runs reach on the other half: what this attack can do against this generator, on tables of the attacker's. It is
known to about .6 / sqrt(R T), .01 by default. Beyond this attack is what needs weights of its own for each target (thousands of runs in
the papers), and what shows only in tables as large as the released one where the reference does not suffice to make such.

References: Houssiau et al. 2022 (TAPAS, arXiv 2211.06550) and Meeus et al. 2023 (arXiv 2306.10308) for the counts, there with a
classifier and some thousand runs for each target; Carlini et al. 2022 (arXiv 2112.03570) for half of the targets in each run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from attacks.evidence import Evidence, Table, read
from attacks.membership import Coding
from attacks.scores import Scores, UnanswerableError
from dpsynth.errors import Fault, refuse
from dpsynth.schema.schema import Schema

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Index = npt.NDArray[np.int64]
Generator = Callable[[pd.DataFrame], pd.DataFrame]

RUNS = 16
FEWEST_RUNS = 4
TARGETS = 200
SETS = 64
PRIOR = 1.0


@dataclass(frozen=True)
class Shadows:
    """What the attack found.

    Attributes:
        scores: of each target, higher = more likely trained on.
        area: the area under the ROC curve on runs that the weights were not learned on.
        runs: how many runs of the generator it took.
    """

    scores: Floats
    area: float
    runs: int


def shadow(
    generator: Generator,
    reference: pd.DataFrame,
    targets: pd.DataFrame,
    synthetic: pd.DataFrame,
    schema: Schema,
    train_rows: int | None = None,
    runs: int = RUNS,
    seed: int | None = None,
) -> Shadows:
    """Attack `targets` through `synthetic`, which `generator` made from a table that holds some of them.

    `generator` takes a table with the schema's columns and gives a synthetic one with the same; it is called `runs` times, and no
    more. `reference` holds strangers of the same population. `train_rows` is how many rows the generator's table had, as far as the
    attacker knows; his own tables are smaller where the reference does not suffice. Without it half of the reference joins half of
    the targets. `seed=None` draws from the operating system.

    Raises `BadInput` for fewer than 4 runs or tables without the schema's columns, `UnanswerableError` for fewer than two targets, no
    reference or no synthetic rows, and whatever the generator raises.
    """
    refuse([Fault("runs", f"fewer than {FEWEST_RUNS}", f"write {RUNS}")] if runs < FEWEST_RUNS else [])
    if len(targets) < 2 or not len(reference) or not len(synthetic):
        raise UnanswerableError("underpowered", "needs two targets, reference rows and synthetic rows")
    rng = np.random.default_rng(seed)
    counter = _Counter.draw(reference, targets, schema, rng)
    inside = rng.permuted(np.tile(np.arange(runs)[:, None] < runs // 2, (1, len(targets))), axis=0)
    rows = train_rows or (len(targets) + len(reference)) // 2
    shares = np.array([counter.shares(generator(_shadow_table(reference, targets, held, rows, rng))) for held in inside])
    scale = _Scale.of(shares, rows)
    z = scale.apply(shares)
    return Shadows(scale.apply(counter.shares(synthetic)) @ _weights(z, inside), _area(z, inside), runs)


def shadowed(generator: Generator, schema: Schema, runs: int = RUNS) -> Callable[[Evidence, np.random.Generator], Scores]:
    """The attack on evidence: 200 targets of the pool, half of them the rarest and half at random, NaN for all others.

    A target is rare by the shares of its values in the reference, so it cannot depend on who is a member.
    """

    def score(evidence: Evidence, rng: np.random.Generator) -> Scores:
        if not len(evidence.reference):
            raise UnanswerableError("underpowered", "the attack needs reference rows")
        chosen = _targets(evidence, rng)
        reference, targets, synthetic = (as_cells(t, schema) for t in (evidence.reference, evidence.pool.take(chosen), evidence.synthetic))
        found = shadow(generator, reference, targets, synthetic, schema, len(evidence.train), runs, int(rng.integers(2**63)))
        scores = np.full(len(evidence.pool), np.nan)
        scores[chosen] = found.scores
        return Scores.split(scores, evidence)

    return score


def as_cells(table: Table, schema: Schema) -> pd.DataFrame:
    """Typed rows as a table for a generator: numbers as floats, categories as texts, NaN and None where missing."""
    columns: dict[str, pd.Series] = {}
    numeric = [c for c in schema.synthesised if c.is_number]
    categorical = [c for c in schema.synthesised if not c.is_number]
    for column, numbers in zip(numeric, table.numbers.T, strict=True):
        columns[column.name] = pd.Series(numbers)
    for column, codes in zip(categorical, table.codes.T, strict=True):
        listed = list(column.categories or column.observed_categories or ())
        texts = np.array([*listed, *(f"unlisted {k}" for k in range(len(listed), codes.max(initial=-1) + 1)), None], dtype=object)
        columns[column.name] = pd.Series(texts[codes], dtype=object)
    return pd.DataFrame({c.name: columns[c.name] for c in schema.synthesised})


@dataclass(frozen=True)
class _Counter:
    """Counts rows that agree with each target on sets of columns: numbers in sixteenths of the reference, frequent categories."""

    reference: pd.DataFrame
    targets: pd.DataFrame
    schema: Schema
    sets: Flags
    multipliers: npt.NDArray[np.uint64]

    @classmethod
    def draw(cls, reference: pd.DataFrame, targets: pd.DataFrame, schema: Schema, rng: np.random.Generator) -> _Counter:
        """With random sets of one to all columns, and random multipliers to tell combinations of values by one number."""
        width = len(schema.synthesised)
        sizes = np.concatenate([[width], rng.integers(1, width + 1, SETS - 1)])
        sets = rng.permuted(np.arange(width) < sizes[:, None], axis=1)
        return cls(reference, targets, schema, sets, rng.integers(1, 2**63, width, dtype=np.uint64))

    def shares(self, rows: pd.DataFrame) -> Floats:
        """The share of `rows` that agree with each target on each set, shape (targets, sets)."""
        if not len(rows):
            raise UnanswerableError("underpowered", "the generator gave no rows")
        tables = read({"reference": self.reference, "targets": self.targets, "synthetic": rows}, self.schema)
        coding = Coding.of(tables["reference"])
        targets, synthetic = (coding.encode(tables[name]).astype(np.uint64) * self.multipliers for name in ("targets", "synthetic"))
        return np.column_stack([_occurrences(targets[:, s].sum(axis=1), synthetic[:, s].sum(axis=1)) for s in self.sets]) / len(rows)


@dataclass(frozen=True)
class _Scale:
    """Where a target's counts lie over the runs, and how far they spread: never less than one row."""

    rows: int
    mean: Floats
    spread: Floats

    @classmethod
    def of(cls, shares: Floats, rows: int) -> _Scale:
        """From shares of shape (runs, targets, sets) in tables of so many rows."""
        return cls(rows, shares.mean(axis=0), np.sqrt(shares.var(axis=0, ddof=1) + 1 / rows**2))

    def apply(self, shares: Floats) -> Floats:
        return np.asarray((shares - self.mean) / self.spread)


def _shadow_table(reference: pd.DataFrame, targets: pd.DataFrame, held: Flags, rows: int, rng: np.random.Generator) -> pd.DataFrame:
    """The targets that are inside among strangers, in random order."""
    strangers = rng.permutation(len(reference))[: max(rows - int(held.sum()), 0)]
    table = pd.concat([targets.iloc[np.flatnonzero(held)], reference.iloc[strangers]], ignore_index=True)
    return table.iloc[rng.permutation(len(table))].reset_index(drop=True)


def _weights(z: Floats, inside: Flags) -> Floats:
    """Ridge regression of "inside" on the counts, shapes (runs, targets, sets) and (runs, targets), about small equal weights."""
    rows, wanted = z.reshape(-1, z.shape[-1]), inside.ravel() - 0.5
    prior = np.full(z.shape[-1], PRIOR / z.shape[-1])
    return np.asarray(prior + np.linalg.solve(rows.T @ rows + len(rows) * np.eye(len(prior)), rows.T @ (wanted - rows @ prior)))


def _area(z: Floats, inside: Flags) -> float:
    """Mean area under the ROC curve of each run, with weights learned on the other half of the runs; NaN where no run has both kinds."""
    halves = np.arange(len(z)) % 2 == 0
    areas = []
    for half in (halves, ~halves):
        weights = _weights(z[half], inside[half])
        areas += [_area_of(z[run] @ weights, inside[run]) for run in np.flatnonzero(~half)]
    known = [a for a in areas if a is not None]
    return float(np.mean(known)) if known else float("nan")


def _area_of(scores: Floats, inside: Flags) -> float | None:
    pairs = int(inside.sum()) * int((~inside).sum())
    return float(stats.mannwhitneyu(scores[inside], scores[~inside]).statistic) / pairs if pairs else None


def _targets(evidence: Evidence, rng: np.random.Generator) -> Index:
    coding = Coding.of(evidence.reference)
    reference, pool = coding.encode(evidence.reference), coding.encode(evidence.pool)
    usual = [np.bincount(reference[:, j], minlength=size) + 0.5 for j, size in enumerate(coding.sizes)]
    rarity = -np.sum([np.log(counts[pool[:, j]]) for j, counts in enumerate(usual)], axis=0)
    order = rng.permutation(len(pool))
    rare = order[np.argsort(-rarity[order], kind="stable")][: TARGETS // 2]
    return np.concatenate([rare, order[~np.isin(order, rare)][: TARGETS - len(rare)]])


def _occurrences(wanted: npt.NDArray[np.uint64], values: npt.NDArray[np.uint64]) -> Index:
    """How often each of `wanted` is among `values`."""
    values = np.sort(values)
    return np.asarray(np.searchsorted(values, wanted, side="right") - np.searchsorted(values, wanted, side="left"))
