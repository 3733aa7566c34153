"""The tables: real data as integer codes, the same files for every generator, split once into train and held-out rows.

How a column becomes codes is part of the comparison, not of a release: code lists are cut to the commonest 50 by looking at the
data. Numbers are cut by the schema's public bounds.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

CACHE = Path("/tmp/rivals/tables")
SPLIT_SEED = 20240601
HELD_OUT = 0.2
MOST_CODES = 50
BINS = 32
WIDE = 10_000.0
SMALLEST_AMOUNT = 100.0

# The order of these codes is public: they number the census's own values or bins of them.
ADULT_NUMBERS = ("age", "fnlwgt", "education-num", "capital-gain", "capital-loss", "hours-per-week")
# Who the filers are, where they live, and a few amounts with many zeros.
TAX_COLUMNS = (
    *("age_head", "age_spouse", "MARS", "XTOT", "nu18", "EIC", "fips", "agi_bin"),
    *("e00200p", "e00200s", "e00300", "e00600", "e02400", "e18500", "snap_ben"),
)

Codes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Coded:
    """A whole table in codes: how many each column has, and which of them are numbers in order."""

    frame: pd.DataFrame
    sizes: dict[str, int]
    numbers: tuple[str, ...]
    target: str | None


@dataclass(frozen=True)
class Prepared:
    """A folder with train.csv, held_out.csv and domain.json."""

    folder: Path

    @property
    def train(self) -> Path:
        return self.folder / "train.csv"

    @property
    def held_out(self) -> Path:
        return self.folder / "held_out.csv"

    @property
    def domain(self) -> Path:
        return self.folder / "domain.json"


def prepare(name: str, data: Path, cache: Path = CACHE) -> Prepared:
    """The table's files; `NAME@ROWS` is a sample of ROWS of its train rows, held out rows as they are."""
    prepared = Prepared(cache / name)
    if not prepared.domain.exists():
        base, _, rows = name.partition("@")
        coded = TABLES[base](base, data)
        held_out, train = _split(coded.frame, int(rows) if rows else None)
        prepared.folder.mkdir(parents=True, exist_ok=True)
        train.to_csv(prepared.train, index=False)
        held_out.to_csv(prepared.held_out, index=False)
        # The domain is last, and by a rename: where it is, the rest is whole.
        whole = prepared.folder / f"domain.{os.getpid()}"
        whole.write_text(json.dumps({"sizes": coded.sizes, "numbers": coded.numbers, "target": coded.target}, indent=1))
        whole.replace(prepared.domain)
    return prepared


def _split(frame: pd.DataFrame, rows: int | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Held-out and train rows, both in file order."""
    rng = np.random.default_rng(SPLIT_SEED)
    order = rng.permutation(len(frame))
    cut = int(HELD_OUT * len(frame))
    train = np.sort(order[cut:])
    if rows is not None:
        train = np.sort(rng.choice(train, rows, replace=False))
    return frame.iloc[np.sort(order[:cut])], frame.iloc[train]


def _adult_discrete(name: str, data: Path) -> Coded:
    """The coding that published results use."""
    sizes = json.loads((data / f"{name}.domain.json").read_text())
    return Coded(pd.read_csv(data / f"{name}.csv.gz")[list(sizes)], sizes, ADULT_NUMBERS, "income>50K")


def _by_schema(name: str, data: Path) -> Coded:
    return _coded(name, data, lambda column: column["type"] != "id")


def _tax_units(name: str, data: Path) -> Coded:
    return _coded(name, data, lambda column: column["name"] in TAX_COLUMNS)


def _all_of_tax_units(name: str, data: Path) -> Coded:
    return _by_schema("cps_tax_units", data)


TABLES: dict[str, Callable[[str, Path], Coded]] = {
    "adult_discrete": _adult_discrete,
    "bank_marketing": _by_schema,
    "diabetes130": _by_schema,
    "cps_tax_units": _tax_units,
    "cps_tax_units_wide": _all_of_tax_units,
    "acs_national2019_1000": _by_schema,
}


def _coded(name: str, data: Path, chosen: Callable[[dict[str, Any]], bool]) -> Coded:
    document = json.loads((data / f"{name}.schema.json").read_text())
    path = data / document["file"]
    cells = pd.read_parquet(path).astype(str) if path.suffix == ".parquet" else pd.read_csv(path, dtype=str, keep_default_na=False)
    frame, sizes, numbers = {}, {}, []
    for column in filter(chosen, document["columns"]):
        frame[column["name"]], sizes[column["name"]], ordered = _codes(cells[column["name"]], column)
        numbers += [column["name"]] if ordered else []
    return Coded(pd.DataFrame(frame), sizes, tuple(numbers), document.get("target"))


def _codes(cells: pd.Series, column: dict[str, Any]) -> tuple[Codes, int, bool]:
    """Codes, how many there are, and whether they are a number's, in order. A missing cell has the last code."""
    missing = column.get("missing")
    ordered = column["type"] in ("integer", "continuous")
    codes, values = _bins(cells, column) if ordered else _names(cells, column, missing)
    if missing is None:
        return codes, values, ordered
    return np.where(cells == missing, values, codes), values + 1, False


def _bins(cells: pd.Series, column: dict[str, Any]) -> tuple[Codes, int]:
    low, high = map(float, column["bounds"])
    edges = _edges(low, high, whole=column["type"] == "integer")
    numbers = pd.to_numeric(cells, errors="coerce").to_numpy(dtype=float)
    return np.searchsorted(edges[1:-1], numbers, side="right").astype(np.int64), len(edges) - 1


def _names(cells: pd.Series, column: dict[str, Any], missing: str | None) -> tuple[Codes, int]:
    """The public list where it is short enough, else the commonest values; whatever is in neither is one code more."""
    listed = column["categories"]
    if listed is None or len(listed) > MOST_CODES:
        listed = cells[cells != missing].value_counts().index[:MOST_CODES]
    codes = cells.map({name: i for i, name in enumerate(listed)}).fillna(len(listed)).to_numpy(dtype=np.int64)
    unlisted = (codes == len(listed)) & (cells != missing).to_numpy()
    return codes, len(listed) + bool(unlisted.any())


def _edges(low: float, high: float, whole: bool) -> npt.NDArray[np.float64]:
    """Bin edges: a number's own values where they are few, else equal steps, or equal ratios where the range is wide.

    -1 (never) and 0 (none) have a bin of their own.
    """
    if whole and high - low < MOST_CODES:
        return np.arange(low, high + 2, dtype=np.float64)
    if high > WIDE:
        ladder = np.geomspace(SMALLEST_AMOUNT, high, BINS - 1 if low >= 0 else 2 * BINS // 3)
        below = -np.geomspace(SMALLEST_AMOUNT, -low, BINS // 3)[::-1] if low < 0 else np.array([])
        edges = np.concatenate([below, ladder])
        edges = edges[edges >= low]
    else:
        edges = np.linspace(low, high + whole, BINS + 1)
    alone = [e for e in (-1.0, 0.0, 1.0) if low <= e <= high and low <= 0]
    cut: npt.NDArray[np.float64] = np.unique(np.concatenate([[low], np.round(edges) if whole else edges, alone]))
    return cut
