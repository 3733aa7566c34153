"""How rows of persons should count: one row of each, five of each, as many as a measurement says, or each person as one.

    python -m benchmarks.persons --tables rand_hie diabetes130 --generators independent mst --epsilons 1 --seeds 3

Mean total variation of the synthetic table over all columns and over a hundred pairs of them, at the same (epsilon, 1e-9): from the table
in which each person counts as one, and from that in which each row does. The last line of each table is the error of bounding alone,
without noise: of one row a person, drawn once. The whole table is fitted, with no split.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from statistics import fmean

import numpy as np
import pandas as pd

from dpsynth.encoding import public_attribute
from dpsynth.privacy import Attribute
from dpsynth.privacy.unit import kept_rows, new_key
from dpsynth.schema import Column, PrivacyUnit, Schema
from dpsynth.schema.cells import read_numbers, read_text
from dpsynth.synthesizers.registry import GENERATORS
from dpsynth.tables import open_table
from dpsynth.utility.fidelity import Shares, encode, row_weights, shares, total_variation

DATA = Path(__file__).parents[1].parent / "shared" / "data"
TABLES = ("rand_hie", "diabetes130")
DELTA = 1e-9
PAIRS = 100


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.persons", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=TABLES)
    parser.add_argument("--generators", nargs="+", choices=tuple(GENERATORS), default=("independent", "mst"))
    parser.add_argument("--epsilons", nargs="+", type=float, default=[1.0])
    parser.add_argument("--seeds", type=int, default=3)
    words = parser.parse_args()
    print("| table | generator | epsilon | what counts | columns, per person | pairs, per person | columns, per row | pairs, per row | s |")
    print(f"|{'---|' * 9}")
    for name in words.tables:
        truth = Truth.of(name)
        for generator in words.generators:
            for epsilon in words.epsilons:
                for way, unit in _ways(truth.schema.unit):
                    start = time.perf_counter()
                    fit = GENERATORS[generator](epsilon, DELTA)
                    models = [fit.fit(truth.frame, truth.schema.with_unit(unit)) for _ in range(words.seeds)]
                    seconds = (time.perf_counter() - start) / words.seeds
                    rows = {m.schema.unit.max_rows for m in models}
                    said = f"{way} ({', '.join(map(str, sorted(rows)))})" if unit.keep is not None else way
                    _say(name, generator, f"{epsilon:g}", said, [truth.errors(m.sample()) for m in models], f"{seconds:.0f}")
        one = truth.schema.with_unit(replace(truth.schema.unit, max_rows=1))
        drawn = [truth.frame.iloc[kept_rows(truth.frame, one, new_key())] for _ in range(words.seeds)]
        _say(name, "no generator", "no noise", "one row", [truth.errors(frame) for frame in drawn], "")


def _ways(unit: PrivacyUnit) -> Iterator[tuple[str, PrivacyUnit]]:
    yield "one row", replace(unit, max_rows=1)
    yield "five rows", replace(unit, max_rows=5)
    yield "rows, measured", replace(unit, max_rows=64, keep=0.95)
    yield "persons", replace(unit, max_rows=40, count="units")


def _say(name: str, generator: str, epsilon: str, way: str, errors: Sequence[tuple[float, ...]], seconds: str) -> None:
    means = " | ".join(f"{fmean(column):.4f}" for column in zip(*errors, strict=True))
    print(f"| {name} | {generator} | {epsilon} | {way} | {means} | {seconds} |", flush=True)


@dataclass(frozen=True)
class Truth:
    """A real table, with its marginals as the synthetic ones are compared with: each person weighed alike, and each row."""

    schema: Schema
    frame: pd.DataFrame
    attributes: tuple[Attribute, ...]
    cliques: tuple[tuple[Attribute, ...], ...]
    by_person: tuple[Shares, ...]
    by_row: tuple[Shares, ...]

    @classmethod
    def of(cls, name: str) -> Truth:
        schema = Schema.load(DATA / f"{name}.schema.json")
        frame = open_table(DATA / f"{name}.csv.gz", schema).rows()
        attributes = tuple(public_attribute(_closed(c, frame, schema.file.decimal)) for c in schema.synthesised)
        pairs = list(combinations(attributes, 2))
        chosen = np.random.default_rng(0).choice(len(pairs), min(PAIRS, len(pairs)), replace=False)
        cliques = (*((a,) for a in attributes), *(pairs[i] for i in chosen))
        codes = encode(frame, attributes, schema.file.decimal)
        alike = row_weights(frame, schema.with_unit(replace(schema.unit, count="units")))
        by_person = tuple(shares(codes, c, alike) for c in cliques)
        return cls(schema, frame, attributes, cliques, by_person, tuple(shares(codes, c) for c in cliques))

    def errors(self, made: pd.DataFrame) -> tuple[float, ...]:
        """Mean total variation: columns and pairs from the persons' table, columns and pairs from the rows'."""
        codes = encode(made, self.attributes, self.schema.file.decimal)
        found = [shares(codes, c) for c in self.cliques]
        split = len(self.attributes)
        both = ([total_variation(a, b) for a, b in zip(true, found, strict=True)] for true in (self.by_person, self.by_row))
        return tuple(fmean(part) for apart in both for part in (apart[:split], apart[split:]))


def _closed(column: Column, frame: pd.DataFrame, decimal: str) -> Column:
    """The column with its domain read off the rows where it is open: to compare by, never to fit by."""
    if not column.is_open:
        return column
    if column.is_number:
        values = read_numbers(frame[column.name], column, decimal)[0]
        return replace(column, bounds=(float(np.nanmin(values)), float(np.nanmax(values))))
    return replace(column, categories=tuple(sorted({str(v) for v in read_text(frame[column.name], column) if v is not None})))


if __name__ == "__main__":
    main()
