"""The populations that splits are drawn from: public tables, their schemas, and which columns nearly name a person.

Adult: mixed, one weight that is a person's own. Bank marketing: mixed, balances and durations, in order of time. Tax units: mostly amounts,
with zeros, negatives and long tails, and households of up to twelve rows; the only one of the numeric tables that is large
enough for 15,000 households on each of three sides (RAND has 5,912 people) and numeric at all (the diabetes table is codes).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from attacks.policy import Policy
from dpsynth.schema.schema import Schema

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"

# More than a tenth of 2,000 rows hold a value of their own.
NEAR_UNIQUE = {
    "adult": ("fnlwgt",),
    "bank_marketing": ("balance", "duration"),
    "cps_tax_units": ("e00200p", "e00200s", "e00300", "e00600", "e02400", "e18500", "snap_ben"),
}
TAX_COLUMNS = (
    *("age_head", "age_spouse", "MARS", "XTOT", "nu18", "EIC", "fips", "e00200p", "e00200s", "e00900p"),
    *("e00300", "e00600", "e01500", "e02400", "e18500", "e20400", "snap_ben", "FLPDYR", "h_seq"),
)


@dataclass(frozen=True, eq=False)
class Population:
    """A whole table. `time` gives a sorting key by which a careless split could be made."""

    frame: pd.DataFrame
    schema: Schema
    near_unique: tuple[str, ...] = ()
    time: Callable[[pd.DataFrame], Any] = lambda frame: np.arange(len(frame))

    def without(self, columns: Sequence[str]) -> Population:
        kept = tuple(c for c in self.schema.columns if c.name not in columns)
        return replace(self, frame=self.frame.drop(columns=list(columns)), schema=self.schema.with_columns(kept))


@dataclass(frozen=True, eq=False)
class Sample:
    """Disjoint sets of units of one population: `fresh` are people whom neither generator nor attacker has met."""

    train: pd.DataFrame
    control: pd.DataFrame
    reference: pd.DataFrame
    fresh: pd.DataFrame
    schema: Schema

    @property
    def columns(self) -> list[str]:
        """Those that are synthesised."""
        return [c.name for c in self.schema.synthesised]

    @property
    def numbers(self) -> list[str]:
        return [c.name for c in self.schema.synthesised if c.is_number]


def _whole(name: str) -> Population:
    document = json.loads((DATA / f"{name}.schema.json").read_text())
    path = DATA / document["file"]
    cells = pd.read_parquet(path).astype(str) if path.suffix == ".parquet" else pd.read_csv(path, dtype=str, keep_default_na=False)
    return Population(cells, Schema.load(DATA / f"{name}.schema.json"), NEAR_UNIQUE[name])


def _adult() -> Population:
    """It has no time: those born first stand in for those who came first."""
    return replace(_whole("adult"), time=lambda frame: -frame["age"].astype(int))


def _tax_units() -> Population:
    whole = _whole("cps_tax_units")
    return replace(whole.without([c.name for c in whole.schema.columns if c.name not in TAX_COLUMNS]), time=lambda frame: frame["FLPDYR"])


POPULATIONS: dict[str, Callable[[], Population]] = {
    "adult": _adult,
    "bank_marketing": lambda: replace(_whole("bank_marketing"), time=lambda frame: frame.index),
    "cps_tax_units": _tax_units,
}


@cache
def population(name: str) -> Population:
    return POPULATIONS[name]()


def draw(whole: Population, n: int, shares: str, policy: Policy, rng: np.random.Generator, in_time: bool = False) -> Sample:
    """Four disjoint sets of units at random: n to train on, n fresh ones, and the held-back ones as `shares` says.

    With `in_time`, those trained on and the fresh ones are of the earlier time, those held back of the later.
    """
    units = _units(whole)
    total = int(units.max()) + 1
    held = min(n, (total - 2 * n) // 2) if shares == "even" else round(n * policy.split["control"] / policy.split["train"])
    if held < 2:
        raise ValueError(f"{total} units do not suffice for splits of {n}")
    order = rng.permutation(total)[: 2 * n + 2 * held]
    if in_time:
        order = _by_time(order, whole, units)
        order = np.concatenate([rng.permutation(order[: 2 * n]), rng.permutation(order[2 * n :])])
    ends = np.cumsum([0, n, n, held, held])
    train, fresh, control, reference = (whole.frame[np.isin(units, order[a:b])] for a, b in pairwise(ends))
    return Sample(train, control, reference, fresh, whole.schema)


def _by_time(order: Any, whole: Population, units: Any) -> Any:
    first = pd.Series(np.asarray(whole.time(whole.frame)), index=units).groupby(level=0).min().to_numpy()
    return order[np.argsort(first[order], kind="stable")]


def _units(whole: Population) -> Any:
    unit = whole.schema.unit
    return np.arange(len(whole.frame)) if unit.is_row else whole.frame.groupby(list(unit.columns), sort=False).ngroup().to_numpy()
