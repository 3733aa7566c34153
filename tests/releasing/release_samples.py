"""A small release to sign, verify and report on."""

from __future__ import annotations

from typing import Any

import pandas as pd

from dpsynth.privacy.gdp import mu_of
from dpsynth.releasing.certificate import Bounding, Certificate, Event, Generator, LedgerTotals, PolicyCopy
from dpsynth.schema import Schema

POLICY = 'name = "partner-contract"\nversion = "1"\nmax_epsilon = 10\n# größer als nötig\n'

SCHEMA = Schema.from_dict(
    {
        "name": "clinic",
        "title": "Visits to a clinic",
        "privacy_unit": {"unit": "person", "columns": ["patient"], "max_rows": 1},
        "file": {"separator": ";"},
        "columns": [
            {"name": "patient", "type": "id"},
            {"name": "sex", "type": "categorical", "categories": ["F", "M"], "categories_basis": "publisher", "missing": "?"},
            {"name": "level", "type": "ordinal", "categories": ["low", "mid", "high"], "categories_basis": "publisher"},
            {
                "name": "age",
                "type": "integer",
                "bounds": [0, 90],
                "bounds_basis": "publisher",
                "bins": 9,
                "missing": "N/A",
                "special": [-1],
            },
            {"name": "weight", "type": "continuous", "bounds": [2.5, 200.0], "bounds_basis": "judgement", "bins": 8},
            {"name": "ward", "type": "categorical", "categories": ["secret ward"], "categories_basis": "observed"},
        ],
    }
)


def rows(n: int = 40) -> pd.DataFrame:
    """Synthetic rows as a generator gives them: markers or nulls, integers as floats where some are missing."""
    return pd.DataFrame(
        {
            "sex": [("F", "M", "?", None)[i % 4] for i in range(n)],
            "level": pd.Categorical([("low", "mid", "high")[i % 3] for i in range(n)], categories=["low", "mid", "high"]),
            "age": [None if i % 7 == 0 else float(-1 if i % 11 == 0 else i % 91) for i in range(n)],
            "weight": [None if i % 9 == 0 else 2.5 + i * 0.1 for i in range(n)],
            "ward": [("A1", "B,2", 'C"3')[i % 3] for i in range(n)],
        }
    )


def released_schema() -> Schema:
    """The schema with what a release measured: the wards' names."""
    from dataclasses import replace

    return SCHEMA.with_columns(tuple(replace(c, categories=("A1", "B,2", 'C"3')) if c.name == "ward" else c for c in SCHEMA.columns))


def certificate(**changes: Any) -> Certificate:
    charge = mu_of(1.0, 0.9e-9) ** 2
    values: dict[str, Any] = {
        "id": "7b0c9a52-5f1e-4c0b-9a53-0d6a1f0b2c11",
        "issued": "2026-11-22",
        "review_by": "2027-11-22",
        "supersedes": None,
        "purpose": "research on visits",
        "recipient": "University",
        "unit": "person",
        "bounding": Bounding(True, 2, "rows", "drop"),
        "epsilon": 1.0,
        "delta": 1e-9,
        "currency": "gdp",
        "amount": charge,
        "delta_event": 0.0,
        "events": (Event("measurement", "1-way marginals", charge / 2, 0.0), Event("measurement", "2-way marginals", charge / 2, 0.0)),
        "ledger": LedgerTotals("L1", "clinic", 3.0, 1e-6, "5f" * 32),
        "generator": Generator("mst", {"share": 0.3, "top": None}, "0.1.0"),
        "schema": "clinic",
        "policy": PolicyCopy.of("partner-contract", "1", POLICY),
        "attacks": ("exact_match", "membership"),
    }
    return Certificate(**(values | changes))


ACCURACY: list[dict[str, Any]] = [
    {"columns": ["sex"], "sigma": 12.5, "cells": 3, "bound_95": 31.0, "noisy": [410, 395, 203]},
    {"columns": ["age"], "sigma": 12.5, "cells": 11, "bound_95": 40.0, "noisy": [110, 150, 120, 90, 100, 80, 70, 40, 20, 60, 161]},
    {"columns": ["sex", "level"], "sigma": 20.0, "cells": 12, "bound_95": 66.0},
]
