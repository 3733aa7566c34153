"""Every generator on tables where a person has several rows: what its rows are a copy of, and how many it makes."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from kernel_samples import OPEN, listed, schema_of

from dpsynth import Schema
from dpsynth.encoding import public_attribute
from dpsynth.schema import PrivacyUnit
from dpsynth.synthesizers.registry import GENERATORS
from dpsynth.testing import seeded_table
from dpsynth.utility.fidelity import mean_total_variation, row_weights

PERSONS = 2_000
each_generator = pytest.mark.parametrize("name", GENERATORS)


def often_and_seldom() -> pd.DataFrame:
    """Half the persons have one row, of x, and half have nine, of y; z goes with them but for one row in ten."""
    rng = np.random.default_rng(1)
    ids = np.concatenate([np.arange(PERSONS // 2), np.repeat(np.arange(PERSONS // 2, PERSONS), 9)])
    a = np.where(ids < PERSONS // 2, "x", "y")
    return pd.DataFrame({"id": ids.astype(str), "a": a, "o": np.where(rng.random(len(ids)) < 0.9, a, "z")}).sample(frac=1, random_state=2)


def schema_by(unit: dict[str, Any]) -> Schema:
    return schema_of({"id": {"type": "id"}, "a": listed("x", "y"), "o": OPEN}, {"unit": "person", "columns": ["id"]} | unit)


@each_generator
@pytest.mark.parametrize(
    ("unit", "share", "total"),
    [
        ({"max_rows": 1}, 0.5, PERSONS),
        ({"max_rows": 9}, 0.9, 5 * PERSONS),
        ({"max_rows": "measure"}, 0.9, 5 * PERSONS),
        ({"max_rows": 3, "count": "units"}, 0.5, PERSONS),
        ({"max_rows": 40, "count": "units"}, 0.5, PERSONS),
    ],
)
def test_rows_are_as_many_and_as_mixed_as_what_counts(name: str, unit: dict[str, Any], share: float, total: int) -> None:
    model = GENERATORS[name](10.0, 1e-6).fit(seeded_table(often_and_seldom(), schema_by(unit), 5))
    rows = model.sample(seed=0)
    assert len(rows) == round(model.total) == pytest.approx(total, rel=0.05)
    assert (rows["a"] == "y").mean() == pytest.approx(share, abs=0.03)
    assert (rows["a"] == rows["o"]).mean() > (0.85 if name != "independent" else 0.4)
    assert set(rows["o"].dropna()) == {"x", "y", "z"}


REAL = {
    "rand_hie": ("zper", "plan", "site", "female", "black", "mdvis"),
    "diabetes130": ("patient_nbr", "race", "gender", "age", "time_in_hospital", "insulin", "readmitted"),
}


@cache
def real(data: Path, table: str) -> tuple[pd.DataFrame, Schema]:
    """Four thousand persons of a real table, a few of their columns; each person counts as one."""
    names = REAL[table]
    whole = Schema.load(data / f"{table}.schema.json")
    unit = PrivacyUnit("person", names[:1], max_rows=40, count="units")
    schema = replace(whole.with_columns(tuple(whole.column(n) for n in names)), target=None, unit=unit)
    frame = pd.read_csv(data / f"{table}.csv.gz", usecols=names, dtype=str, keep_default_na=False)[list(names)]
    return frame[frame[names[0]].isin(frame[names[0]].drop_duplicates().sample(4_000, random_state=0))], schema


@each_generator
@pytest.mark.parametrize("table", REAL)
def test_real_tables_come_back_with_each_person_weighed_alike(name: str, table: str, data: Path) -> None:
    frame, schema = real(data, table)
    model = GENERATORS[name](3.0, 1e-6).fit(seeded_table(frame, schema, 1))
    assert model.total == pytest.approx(4_000, rel=0.05)
    attributes = [public_attribute(c) for c in model.schema.synthesised]
    assert mean_total_variation(frame, model.sample(seed=0), attributes, 1, weights=row_weights(frame, schema)) < 0.05


def test_a_seeded_fit_of_persons_repeats() -> None:
    """Which of a person's rows count as well as the noise: else a line of a benchmark could not be made again."""
    rows, schema = often_and_seldom(), schema_by({"max_rows": 2})
    made = [GENERATORS["mst"](1.0, 1e-6).fit(seeded_table(rows, schema, 3)).sample(500, seed=1) for _ in range(2)]
    assert made[0].equals(made[1])
