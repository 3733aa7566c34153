"""Columns before a training: shares are shares, rare codes go together, and groups decode to the column's own codes as often as measured."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from kernel_samples import Silent, bounded, listed, schema_of

from dpsynth.deep.columns import COMMON, Columns
from dpsynth.encoding import released_attributes
from dpsynth.privacy import Bins, Merged, Request
from dpsynth.privacy.table import single_use

SCHEMA = schema_of({"a": listed("x", "y", "z", "rare", "never"), "n": bounded(0, 99, bins=50)})
ROWS = 4000


def frame(rows: int = ROWS) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    return pd.DataFrame(
        {"a": rng.choice(["x", "y", "z", "rare"], rows, p=[0.5, 0.3, 0.19, 0.01]), "n": (100 * rng.random(rows) ** 3).astype(int).astype(str)}
    )


def columns_of(frame: pd.DataFrame) -> Columns:
    table = single_use(frame, SCHEMA, noise=Silent())
    table.grant(Request(10.0, 1e-5, True, "test"))
    return Columns.measured(table, released_attributes(table))


def test_groups_are_common_or_the_rare_ones_together_and_bins_stay_neighbours():
    columns = columns_of(frame())
    names, numbers = columns.attributes
    assert isinstance(names, Merged) and names.groups == (0, 1, 2, 3, 3, 3)  # rare, never and missing
    assert isinstance(numbers, Merged) and isinstance(numbers.base, Bins)
    bins = np.array(numbers.groups[: numbers.base.bins])
    assert (np.diff(bins) >= 0).all() and bins.max() > 5
    assert (columns.shares[1][: bins.max() + 1] >= COMMON).all()
    assert [s.sum() for s in columns.shares] == pytest.approx([1, 1])
    assert columns.total == pytest.approx(ROWS)
    np.testing.assert_allclose(columns.shares[0], [0.5, 0.3, 0.19, 0.01], atol=0.03)
    np.testing.assert_allclose(columns.logits, np.log(np.maximum(np.concatenate(columns.shares), 0.5 / ROWS)))


def test_a_group_decodes_to_its_codes_as_often_as_they_were_measured():
    rows = frame()
    columns = columns_of(rows)
    codes = columns.attributes[1].encode(rows["n"], ".")
    decoded = columns.decoders[1].decode(codes, np.random.default_rng(0)).astype(int)
    np.testing.assert_allclose(
        np.bincount(decoded // 2, minlength=50), np.bincount(rows["n"].astype(int) // 2, minlength=50), atol=3 * columns.answers[-1].sigma
    )
    assert columns.answers[-1].sigma < 3


def test_no_rows_are_columns_too():
    columns = columns_of(frame(0))
    assert columns.total == 1
    assert [s.sum() for s in columns.shares] == pytest.approx([1, 1])
    assert np.isfinite(columns.logits).all()
