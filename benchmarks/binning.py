"""Ways to cut numbers into bins, at equal total cost: what a release of (1, 1e-9) is worth with each.

    python -m benchmarks.binning --tables adult bank_marketing cps_tax_units rand_hie --ways steps grid tree privtree quantiles --seeds 3

Each way may take its part of the grant for cuts, and the generator has the rest. Errors are of the rows that count, as they would be written,
so that they do not depend on the bins: of numbers the Kolmogorov distance (ks), the Wasserstein distance over the mean distance from the
median (w) and total variation over a fine public grid (tv1); of all pairs with a number in them total variation over that grid (tv2).
"""

from __future__ import annotations

import argparse
import math
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import combinations
from pathlib import Path
from statistics import fmean

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import ndtr

from dpsynth.encoding import public_attribute
from dpsynth.encoding.binning import bins_of, is_cut_by_counts, with_measured_cuts
from dpsynth.encoding.domains import CUTS_SHARE
from dpsynth.privacy import GDP, Attribute, Bins, PrivateTable, Request, gdp
from dpsynth.privacy.cost import Cost
from dpsynth.privacy.unit import kept_rows, new_key
from dpsynth.schema import Basis, Column, Schema
from dpsynth.schema.cells import read_numbers
from dpsynth.synthesizers import MST, Independent
from dpsynth.tables import open_table
from dpsynth.utility.fidelity import encode, shares, total_variation

DATA = Path(__file__).parents[1].parent / "shared" / "data"
EPSILON, DELTA = 1.0, 1e-9
ROWS = 20_000
STEPS, ROUND = 16, (1, 2, 5)
# Of what PrivTree gets, for the number of rows.
COUNTING = 0.1
MADE = Basis("judgement: a benchmark's")
# Who the filers are and a few amounts; who people are, what they paid and how they are. Other tables as they are.
TAX = ("age_head", "age_spouse", "MARS", "XTOT", "nu18", "EIC", "agi_bin", "e00200p", "e00200s", "e00300", "e00600", "e02400", "e18500", "snap_ben")
HEALTH = ("year", "plan", "site", "income", "xage", "educdec", "outpdol", "drugdol", "meddol", "mdvis", "mhi", "disea", "ghindx", "num")
COLUMNS = {"cps_tax_units": TAX, "rand_hie": HEALTH}
GENERATORS = {"independent": Independent, "mst": MST}

Floats = npt.NDArray[np.float64]
Way = Callable[[PrivateTable, Column, Floats, float, np.random.Generator], Column]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.binning", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", nargs="+", default=["adult", "bank_marketing", "cps_tax_units"])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--generators", nargs="+", choices=GENERATORS, default=["mst"])
    parser.add_argument("--rows", type=int, default=ROWS, help="the most rows that are taken of a table")
    parser.add_argument("--wider", type=float, default=1.0, help="bounds so many times as far from zero")
    parser.add_argument("--seeds", type=int, default=3)
    words = parser.parse_args()
    print("| table | rows | generator | bins by | bins | ks | w | tv1 | tv2 | CPU s |", f"|{'---|' * 10}", sep="\n")
    for name in words.tables:
        schema, frame = _table(name, words.rows)
        for generator in words.generators:
            for way in words.ways:
                start = time.process_time()
                runs = [_run(schema, _wider(schema, words.wider), frame, way, generator, seed) for seed in range(words.seeds)]
                seconds = (time.process_time() - start) / words.seeds
                found = [f"{np.mean(of):.4f} ± {np.std(of):.4f}" for of in list(zip(*runs, strict=True))[1:]]
                bins = fmean(run[0] for run in runs)
                print(f"| {name} | {len(frame):,} | {generator} | {way} | {bins:.0f} | {' | '.join(found)} | {seconds:.1f} |", flush=True)


def _table(name: str, rows: int) -> tuple[Schema, pd.DataFrame]:
    """A table of a sample of its units, all categories public: what is compared is numbers."""
    schema = Schema.load(DATA / f"{name}.schema.json")
    stored = next(DATA.glob(f"{name}.[cp][sa][vr]*"))
    frame = open_table(stored, schema).rows()
    kept = frame.iloc[kept_rows(frame, schema, new_key())] if schema.unit.max_rows == 1 else frame
    frame = kept.sample(min(rows, len(kept)), random_state=0)
    chosen = COLUMNS.get(name) or [c.name for c in schema.synthesised]
    return replace(schema, columns=tuple(_closed(c, frame) for c in schema.columns if c.name in (*chosen, *schema.unit.columns))), frame


def _closed(column: Column, frame: pd.DataFrame) -> Column:
    if column.is_number or not column.is_open:
        return column
    return replace(column, categories=tuple(sorted(set(frame[column.name].dropna().astype(str)) - set(column.missing))), categories_basis=MADE)


def _wider(schema: Schema, times: float) -> Schema:
    return schema.with_columns(tuple(_widened(c, times) if times != 1 and is_cut_by_counts(c) else c for c in schema.columns))


def _widened(column: Column, times: float) -> Column:
    assert column.bounds is not None
    low, high = column.bounds
    return replace(column, bounds=(min(low * times, 0.0), high * times))


def _run(schema: Schema, told: Schema, frame: pd.DataFrame, way: str, generator: str, seed: int) -> tuple[float, ...]:
    """Mean number of bins and the errors of one release; `told` is the schema that it goes by."""
    rng, key = np.random.default_rng(seed), new_key()
    table = PrivateTable(frame, told, lambda request: request.cost_in(GDP), "unledgered", key=key)
    table.grant(Request(EPSILON, DELTA, False, "benchmark"))
    real = frame.iloc[kept_rows(frame, told, key)]
    numbers = [c for c in told.synthesised if is_cut_by_counts(c)]
    share, cut = WAYS[way]
    part = table.granted.amount * share / len(numbers)
    cuts = {c.name: cut(table, c, _present(real, c, told), part, rng) for c in numbers}
    if way in RAW:
        table._open().charge(Cost.measured(GDP, Fraction(part * len(numbers))))
    attributes = tuple(public_attribute(cuts.get(c.name, c)) for c in told.synthesised)
    fitted = GENERATORS[generator](EPSILON, DELTA)._measure(table, attributes)
    made = fitted.codec.decode(fitted.source.sample(len(real), rng, fitted.codec.names), rng)
    return (fmean(bins_of(c).bins for c in cuts.values()), *_errors(schema, real, made))


def _present(frame: pd.DataFrame, column: Column, schema: Schema) -> Floats:
    """A column's numbers but for the special ones: what raw ways of cutting are given."""
    values = read_numbers(frame[column.name], column, schema.file.decimal)[0]
    return np.sort(values[~np.isnan(values) & ~np.isin(values, bins_of(column).special)])


def _steps(table: PrivateTable, column: Column, values: Floats, amount: float, rng: np.random.Generator) -> Column:
    """Equal steps and nothing else."""
    low, end = _ends(column)
    return _with_cuts(column, np.linspace(low, end, column.bins + 1))


def _grid(table: PrivateTable, column: Column, values: Floats, amount: float, rng: np.random.Generator) -> Column:
    """The public bins that the tree begins with."""
    return column


def _tree(table: PrivateTable, column: Column, values: Floats, amount: float, rng: np.random.Generator) -> Column:
    return with_measured_cuts(table, column, amount)


def _privtree(table: PrivateTable, column: Column, values: Floats, amount: float, rng: np.random.Generator) -> Column:
    """Zhang, Xiao, Xie 2016, Algorithm 2 with two children, cutting what holds more than a share of the rows.

    How many those are takes a tenth of the amount. Sensitivity: a row is in one node of each depth; for two children noise of 3 / epsilon
    serves however deep the tree (their Theorem 3.1), and epsilon-DP is what mu-GDP is with epsilon = log(Phi(mu/2) / Phi(-mu/2)).
    """
    mu = math.sqrt(amount) / table.sensitivity
    rows = len(values) + rng.normal(0, 1 / (mu * math.sqrt(COUNTING)))
    spent = mu * math.sqrt(1 - COUNTING)
    scale = 3 / math.log(ndtr(spent / 2) / ndtr(-spent / 2))
    decay, least = scale * math.log(2), max(rows, 1.0) / column.bins
    whole, cuts = column.type == "integer", list[float]()

    def grow(low: float, high: float, depth: int) -> None:
        held = np.searchsorted(values, high) - np.searchsorted(values, low)
        middle = float(round((low + high) / 2)) if whole else (low + high) / 2
        if low < middle < high and depth < 40 and max(held - depth * decay, least - decay) + rng.laplace(0, scale) > least:
            grow(low, middle, depth + 1)
            cuts.append(middle)
            grow(middle, high, depth + 1)

    grow(*_ends(column), 0)
    return _with_cuts(column, np.array(cuts))


def _quantiles(table: PrivateTable, column: Column, values: Floats, amount: float, rng: np.random.Generator) -> Column:
    """Medians, of the halves their medians, and so on (Kaplan, Schnapp, Stemmer 2022).

    Sensitivity: a row is in one part of each depth, and moves the score of a median there, |rank - n/2|, by a half either way; the library
    reckons with a whole one, so its choice has half the range that it is told.
    """
    from diffprivlib.tools import quantile

    depths = max(round(math.log2(column.bins)), 1)
    epsilon = 2 * gdp.selection_epsilon(math.sqrt(amount / depths)) / table.sensitivity

    def halve(values: Floats, low: float, high: float, depth: int) -> Iterator[float]:
        if depth == depths or not low < high or not len(values):
            return
        middle = float(quantile(values, 0.5, epsilon=epsilon, bounds=(low, high), random_state=int(rng.integers(2**31))))
        yield from (*halve(values[values < middle], low, middle, depth + 1), middle, *halve(values[values >= middle], middle, high, depth + 1))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _with_cuts(column, np.array(list(halve(values, *_ends(column), 0))))


# Each with the part of the grant that it may take; 5 % suits the raw ones better than 2 % or 10 %.
WAYS: dict[str, tuple[float, Way]] = {
    "steps": (0.0, _steps),
    "grid": (0.0, _grid),
    "tree": (CUTS_SHARE, _tree),
    "privtree": (0.05, _privtree),
    "quantiles": (0.05, _quantiles),
}
RAW = ("privtree", "quantiles")


def _ends(column: Column) -> tuple[float, float]:
    edges = bins_of(column).edges
    return edges[0], edges[-1]


def _with_cuts(column: Column, cuts: Floats) -> Column:
    low, end = _ends(column)
    inside = np.unique(np.round(cuts) if column.type == "integer" else cuts)
    return replace(column, cuts=tuple(inside[(inside > low) & (inside < end)].tolist()), cuts_basis=MADE)


def _errors(schema: Schema, real: pd.DataFrame, made: pd.DataFrame) -> tuple[float, float, float, float]:
    numbers = [c for c in schema.synthesised if c.is_number]
    apart = [_distances(_values(real, c, schema), _values(made, c, schema)) for c in numbers]
    grid = [_fine(c) if c.is_number else public_attribute(c) for c in schema.synthesised]
    left, right = encode(real, grid, schema.file.decimal), encode(made, grid)

    def tv(*clique: Attribute) -> float:
        return total_variation(shares(left, clique), shares(right, clique))

    ones = [tv(a) for a in grid if a.column.is_number]
    twos = [tv(a, b) for a, b in combinations(grid, 2) if a.column.is_number or b.column.is_number]
    return fmean(ks for ks, _ in apart), fmean(w for _, w in apart), fmean(ones), fmean(twos)


def _values(frame: pd.DataFrame, column: Column, schema: Schema) -> Floats:
    return read_numbers(frame[column.name], column, schema.file.decimal)[0]


def _distances(real: Floats, made: Floats) -> tuple[float, float]:
    """Kolmogorov distance, missing cells last; Wasserstein distance of what is not missing, over the mean distance from the median."""
    a, b = np.sort(real[~np.isnan(real)]), np.sort(made[~np.isnan(made)])
    if not len(a) or not len(b):
        return 1.0, 1.0
    at = np.union1d(a, b)
    below_a, below_b = np.searchsorted(a, at, side="right"), np.searchsorted(b, at, side="right")
    spread = float(np.abs(a - np.median(a)).mean()) or 1.0
    wasserstein = float(np.abs(below_a / len(a) - below_b / len(b))[:-1] @ np.diff(at))
    return float(np.abs(below_a / len(real) - below_b / len(made)).max()), wasserstein / spread


def _fine(column: Column) -> Attribute:
    """A public grid that no way of cutting is made for: equal steps, and 1, 2, 5, 10, ... of both signs."""
    low, end = _ends(column)
    rungs = [m * 10.0**k for k in range(-3, 8) for m in ROUND]
    edges = np.unique([*np.linspace(low, end, STEPS + 1), *(r for r in (*rungs, *(-r for r in rungs), 0.0) if low < r < end)])
    special = (0.0,) if low <= 0 < end else ()
    return Bins(replace(column, cuts=None), tuple(edges.tolist()), special)


if __name__ == "__main__":
    main()
