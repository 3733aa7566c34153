"""Generators with a known fault, or with none: G0 to G16 of the plan, each a function of a sample and of chance.

Leaks are planted into people whom the generator has not met (`fresh`), so that what leaks is what was planted. Noise is from
a seed here: the rows are public, and a cell has to be repeatable.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import pandas as pd
from sklearn.neighbors import NearestNeighbors
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from benchmarks.gate import sabotage
from benchmarks.gate.case import Case, fresh, shuffled_rows
from benchmarks.gate.tables import Sample
from dpsynth.privacy.noise import Counts
from dpsynth.synthesizers import MST, Independent
from dpsynth.testing import SeededNoise, seeded_table

DELTA = 1e-9
NEIGHBOURS = 5
BINS = 32

Expected = Literal["free", "leak", "audit", "blocked"]
Make = Callable[[Sample, np.random.Generator], Case]


@dataclass(frozen=True)
class Planted:
    """A generator and what is known of it.

    Attributes:
        make: the tables that the gate gets.
        expected: `free` of leaks; a `leak` that one look can see; a fault that only an `audit` of the code shows; input to be `blocked`.
        epsilon: what it claims, when it claims anything.
        in_time: whether the sides are cut by time and not at random.
    """

    make: Make
    expected: Expected
    epsilon: float = 1.0
    in_time: bool = False


def copy(sample: Sample, rng: np.random.Generator, ordered: bool) -> Case:
    rows = sample.train if ordered else shuffled_rows(sample.train, rng)
    return Case.of(sample, rows)


def copies(sample: Sample, rng: np.random.Generator, share: float) -> Case:
    """A share of the rows are training rows."""
    return _with_rows(sample, shuffled_rows(sample.train, rng).head(max(1, round(share * len(sample.fresh)))), rng)


def altered_copies(sample: Sample, rng: np.random.Generator, share: float) -> Case:
    """A share of the rows are training rows with one cell that is another person's."""
    rows = shuffled_rows(sample.train, rng).head(max(1, round(share * len(sample.fresh))))[sample.columns].to_numpy()
    column = rng.integers(rows.shape[1], size=len(rows))
    rows[np.arange(len(rows)), column] = sample.fresh[sample.columns].to_numpy()[rng.integers(len(sample.fresh), size=len(rows)), column]
    return _with_rows(sample, pd.DataFrame(rows, columns=sample.columns), rng)


def jittered_copies(sample: Sample, rng: np.random.Generator, share: float) -> Case:
    """A share of the rows are training rows with each number of a hundred or more off by up to a hundredth, and by one at least."""
    rows = shuffled_rows(sample.train, rng).head(max(1, round(share * len(sample.fresh))))
    return _with_rows(sample, rows.assign(**{c: _cells(_jittered(_number(rows[c]), rng)) for c in sample.numbers}), rng)


def _jittered(numbers: Any, rng: np.random.Generator) -> Any:
    size = np.abs(numbers)
    off = rng.choice([-1, 1], size=len(size)) * np.maximum(1, 0.01 * rng.random(len(size)) * size)
    return np.where(size >= 100, numbers + off, numbers)


def memoriser(sample: Sample, rng: np.random.Generator, share: float) -> Case:
    """The same, of those who are least like anybody else: by the mean distance to their five nearest."""
    far = _nearest(sample.train, sample)[0].mean(axis=1)
    outliers = np.argsort(-far, kind="stable")[: max(1, round(share * len(sample.fresh)))]
    return _with_rows(sample, sample.train.iloc[outliers], rng)


def noisy_copy(sample: Sample, rng: np.random.Generator, share: float) -> Case:
    """Training rows of which a share of the cells is redrawn from other people's columns."""
    rows, other = sample.train[sample.columns].to_numpy(), sample.fresh[sample.columns].to_numpy()
    redrawn = np.take_along_axis(other, rng.integers(len(other), size=rows.shape), axis=0)
    return Case.of(sample, pd.DataFrame(np.where(rng.random(rows.shape) < share, redrawn, rows), columns=sample.columns))


def smote(sample: Sample, rng: np.random.Generator) -> Case:
    """Between a training row and one of its five nearest: numbers on the line between them, categories of either (Chawla et al. 2002)."""
    rows = sample.train[sample.columns].reset_index(drop=True)
    _, near = _nearest(rows, sample)
    first = rng.integers(len(rows), size=len(sample.fresh))
    second = near[first, rng.integers(NEIGHBOURS, size=len(first))]
    here, there = rows.iloc[first].reset_index(drop=True), rows.iloc[second].reset_index(drop=True)
    between = pd.DataFrame(np.where(rng.random(here.shape) < 0.5, here, there), columns=sample.columns)
    step = rng.random(len(first))
    for column in sample.numbers:
        a, b = _number(here[column]), _number(there[column])
        between[column] = _cells(a + step * (b - a))
    return Case.of(sample, between)


def tree(sample: Sample, rng: np.random.Generator, leaf: int) -> Case:
    """Column after column from the leaves of a tree on the columns before (synthpop's way); a leaf holds at least so many donors."""
    rows = sample.train[sample.columns]
    codes = np.column_stack([_number(rows[c]) if c in sample.numbers else pd.factorize(rows[c])[0] for c in rows]).astype(np.float64)
    made = codes[rng.integers(len(codes), size=len(sample.fresh))]
    drawn = {sample.columns[0]: _donors(codes[:, 0], made[:, 0], rng)}
    for j, column in enumerate(sample.columns[1:], start=1):
        kind = DecisionTreeRegressor if column in sample.numbers else DecisionTreeClassifier
        model = kind(min_samples_leaf=leaf, random_state=0).fit(codes[:, :j], codes[:, j])
        drawn[column] = _donors(model.apply(codes[:, :j]), model.apply(made[:, :j]), rng)
        made[:, j] = codes[drawn[column], j]
    return Case.of(sample, pd.DataFrame({c: rows[c].to_numpy()[donors] for c, donors in drawn.items()}))


class NoNoise(SeededNoise):
    """Counts as they are."""

    def add_discrete_gaussian(self, counts: Counts, sigma: float) -> Counts:
        return counts


def private(sample: Sample, rng: np.random.Generator, epsilon: float, kind: Any = MST, noise: type[SeededNoise] = SeededNoise) -> Case:
    """Our own generator at a true epsilon."""
    table = seeded_table(sample.train, sample.schema, int(rng.integers(2**31)), noise)
    return Case.of(sample, kind(epsilon, DELTA).fit(table).sample(len(sample.fresh), seed=int(rng.integers(2**31))))


def wrong_sensitivity(sample: Sample, rng: np.random.Generator, claimed: float) -> Case:
    """Each column measured as if it were the only one."""
    return private(sample, rng, claimed * len(sample.columns))


def decode_leak(sample: Sample, rng: np.random.Generator) -> Case:
    """Private tables, but a number is drawn from the real ones of its bin."""
    case = private(sample, rng, 1.0)
    made = case.synthetic.copy()
    for column in sample.numbers:
        real = np.sort(_number(sample.train[column]))
        edges = np.unique(np.quantile(real, np.linspace(0, 1, BINS + 1)[1:-1]))
        bins = np.searchsorted(edges, real, side="right")
        wanted = np.searchsorted(edges, _number(made[column]), side="right")
        made[column] = _cells(real[_donors(bins, wanted, rng)])
    return replace(case, synthetic=made)


def domain_leak(sample: Sample, rng: np.random.Generator) -> Case:
    """Private tables, but ranges and lists are the data's: each column's least, largest and rarest value is met once."""
    case = private(sample, rng, 1.0)
    made = case.synthetic.copy().reset_index(drop=True)
    for column in sample.columns:
        if column in sample.numbers:
            numbers, ours = _number(sample.train[column]), _number(made[column])
            made[column] = _cells(np.clip(ours, numbers.min(), numbers.max()))
            made.loc[[int(ours.argmin()), int(ours.argmax())], column] = _cells(np.array([numbers.min(), numbers.max()]))
        else:
            made.loc[rng.integers(len(made)), column] = sample.train[column].value_counts().index[-1]
    return replace(case, synthetic=made)


def constant(sample: Sample, rng: np.random.Generator) -> Case:
    return Case.of(sample, sample.fresh.iloc[[0] * len(sample.fresh)])


def shuffled_columns(sample: Sample, rng: np.random.Generator) -> Case:
    """Junk: strangers' columns, each in an order of its own."""
    return Case.of(sample, sample.fresh[sample.columns].apply(lambda cells: rng.permutation(cells.to_numpy())))


def _with_rows(sample: Sample, rows: pd.DataFrame, rng: np.random.Generator) -> Case:
    kept = shuffled_rows(sample.fresh, rng).head(len(sample.fresh) - len(rows))
    return Case.of(sample, shuffled_rows(pd.concat([kept, rows]), rng))


def _donors(groups: Any, wanted: Any, rng: np.random.Generator) -> Any:
    """For each wanted group a random one of its members; any member of the whole where the group has none."""
    order = rng.permutation(len(groups))
    order = order[np.argsort(groups[order], kind="stable")]
    start, end = (np.searchsorted(groups[order], wanted, side=side) for side in ("left", "right"))
    place = start + (rng.random(len(wanted)) * (end - start)).astype(np.int64)
    return order[np.minimum(place, len(order) - 1)]


def _number(cells: pd.Series) -> Any:
    return pd.to_numeric(cells, errors="coerce").fillna(-1).to_numpy(dtype=np.float64)


def _cells(numbers: Any) -> Any:
    """Whole numbers, as all of these tables have."""
    return np.rint(numbers).astype(np.int64).astype(str)


def _nearest(rows: pd.DataFrame, sample: Sample) -> tuple[Any, Any]:
    """Distances and positions of each row's five nearest others, numbers in standard deviations."""
    numbers = [_number(rows[c]) for c in sample.numbers]
    scaled = [x / (x.std() or 1.0) for x in numbers]
    dummies = pd.get_dummies(rows[[c for c in sample.columns if c not in sample.numbers]]).to_numpy(dtype=np.float64)
    matrix = np.column_stack([*scaled, dummies])
    return NearestNeighbors(n_neighbors=NEIGHBOURS).fit(matrix).kneighbors()  # type: ignore[no-any-return]


GENERATORS: dict[str, Planted] = {
    "fresh": Planted(fresh, "free"),
    "copy": Planted(partial(copy, ordered=False), "leak"),
    "copy_ordered": Planted(partial(copy, ordered=True), "leak"),
    **{f"copies_{percent:g}": Planted(partial(copies, share=percent / 100), "leak") for percent in (5, 2, 1, 0.5, 0.2)},
    **{f"altered_{percent}": Planted(partial(altered_copies, share=percent / 100), "leak") for percent in (5, 1)},
    **{f"jittered_{percent}": Planted(partial(jittered_copies, share=percent / 100), "leak") for percent in (5, 1)},
    **{f"noisy_{percent}": Planted(partial(noisy_copy, share=percent / 100), "leak") for percent in (10, 30, 50, 70)},
    "smote": Planted(smote, "leak"),
    **{f"tree_{leaf}": Planted(partial(tree, leaf=leaf), "leak") for leaf in (1, 5)},
    "noiseless_1": Planted(partial(private, epsilon=1.0, kind=Independent, noise=NoNoise), "audit"),
    "noiseless_2": Planted(partial(private, epsilon=1.0, noise=NoNoise), "audit"),
    **{f"sensitivity_{claim}": Planted(partial(wrong_sensitivity, claimed=claim), "audit", float(claim)) for claim in (1, 4)},
    **{f"mst_{epsilon:g}": Planted(partial(private, epsilon=epsilon), "free", epsilon) for epsilon in (0.5, 1, 10, 100)},
    "decode_leak": Planted(decode_leak, "leak"),
    "domain_leak": Planted(domain_leak, "audit"),
    **{f"outliers_{percent:g}": Planted(partial(memoriser, share=percent / 100), "leak") for percent in (1, 0.5)},
    "constant": Planted(constant, "free"),
    "shuffled": Planted(shuffled_columns, "free"),
    "biased_split": Planted(fresh, "blocked", in_time=True),
    **{f"sabotage_{name}": Planted(make, "blocked") for name, make in sabotage.SABOTAGES.items()},
}
