"""What the gate is given: the sides of a split, the rows to judge, and what is public about them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmarks.gate.tables import Sample
from dpsynth.schema.schema import Schema


@dataclass(frozen=True, eq=False)
class Case:
    """`control` is None where nothing was held back."""

    train: pd.DataFrame
    control: pd.DataFrame | None
    reference: pd.DataFrame
    synthetic: pd.DataFrame
    schema: Schema

    @classmethod
    def of(cls, sample: Sample, synthetic: pd.DataFrame) -> Case:
        """The sample's own sides and these rows, without ids."""
        return cls(sample.train, sample.control, sample.reference, synthetic[sample.columns].reset_index(drop=True), sample.schema)


def fresh(sample: Sample, rng: np.random.Generator) -> Case:
    """Strangers of the same population: what a perfect generator would make."""
    return Case.of(sample, sample.fresh)


def shuffled_rows(rows: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    return rows.iloc[rng.permutation(len(rows))]
