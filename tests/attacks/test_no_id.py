"""A row without an id is somebody's all the same: a copy of such rows is a copy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import attacks
from attacks.evidence import NAMELESS, Evidence
from attacks.nearest import exact_match
from dpsynth.schema import Schema

SCHEMA = Schema.from_dict(
    {
        "name": "visits",
        "privacy_unit": {"unit": "person", "columns": ["id"], "max_rows": 9},
        "columns": [
            {"name": "id", "type": "id", "missing": ["unknown"]},
            {"name": "x", "type": "continuous", "bounds": [-9, 9], "bounds_basis": "judgement"},
            {"name": "y", "type": "continuous", "bounds": [-9, 9], "bounds_basis": "judgement"},
            {"name": "class", "type": "categorical", "categories": list("abcdef"), "categories_basis": "publisher"},
        ],
    }
)
N = 300


def people(seed: int, **columns: object) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    cells = {"x": rng.normal(size=N).round(4), "y": rng.normal(size=N).round(4), "class": rng.choice(list("abcdef"), N)}
    return pd.DataFrame({"id": [f"{seed}-{i}" for i in range(N)], **cells}).assign(**columns)


def schema(null_ids: str) -> Schema:
    return replace(SCHEMA, unit=replace(SCHEMA.unit, null_ids=null_ids))


@pytest.mark.parametrize("null_ids", ["drop", "one-unit"])
@pytest.mark.parametrize("nobody", [None, "", "  ", "unknown", float("nan")])
def test_a_copy_of_rows_without_an_id_is_seen(null_ids: str, nobody: object) -> None:
    copied = people(1, id=nobody)
    train = pd.concat([people(0), copied], ignore_index=True)
    evidence = Evidence.collect(train, people(2), copied.drop(columns="id"), schema(null_ids), people(3), np.random.default_rng(0))
    assert len(evidence.members) == N + N // NAMELESS and len(evidence.controls) == N
    members, controls = exact_match(evidence, np.random.default_rng(0)).targets()
    assert members.sum() > 0.95 * N // NAMELESS and not controls.any()


def test_where_nobody_has_an_id_each_row_is_a_target() -> None:
    evidence = Evidence.collect(people(0, id=""), people(2), people(4).drop(columns="id"), SCHEMA, people(3), np.random.default_rng(0))
    assert len(evidence.members) == N


def test_rows_without_an_id_thin_out_nobody_who_has_one() -> None:
    """Ten times as many rows without an id as people with one, of whom a tenth is copied."""
    train = pd.concat([people(0), *(people(seed, id="") for seed in range(10, 20))], ignore_index=True)
    copied = pd.concat([people(0).iloc[: N // 10], people(4)]).drop(columns="id")
    evidence = Evidence.collect(train, people(2), copied, SCHEMA, people(3), np.random.default_rng(0))
    members, _ = exact_match(evidence, np.random.default_rng(0)).targets()
    assert members.mean() > 0.1 / (1 + 1 / NAMELESS) * 0.95


def test_rows_of_one_id_are_one_target_however_the_id_is_written() -> None:
    train = pd.concat([people(0, id=range(N)), people(1, id=[f"{i}.0" for i in range(N)])], ignore_index=True)
    evidence = Evidence.collect(train, people(2), people(4).drop(columns="id"), SCHEMA, people(3), np.random.default_rng(0))
    assert len(evidence.members) == N


@pytest.mark.parametrize("null_ids", ["drop", "one-unit"])
def test_a_copy_of_rows_without_an_id_fails(null_ids: str) -> None:
    copied = people(1, id="")
    report = attacks.evaluate(pd.concat([people(0), copied]), people(2), copied.drop(columns="id"), schema(null_ids), people(3), seed=1)
    assert report.verdict == "FAIL" and ("tolerance_exceeded", "exact_match") in {(r.code, r.attack) for r in report.reasons}
