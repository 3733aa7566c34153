"""What generators that train are refused for, before a charge, and what they make of odd tables."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from kernel_samples import bounded, listed, schema_of

torch = pytest.importorskip("torch")
pytest.importorskip("opacus")

from dpsynth.deep import DPGAN, DPVAE, DPDiffusion  # noqa: E402
from dpsynth.errors import BadInput, Diverged  # noqa: E402
from dpsynth.privacy.table import single_use  # noqa: E402

SCHEMA = schema_of({"a": listed("x", "y"), "b": listed("x", "y", "z"), "n": bounded(0, 9), "m": bounded(0, 9)})
each_generator = pytest.mark.parametrize("kind", [DPGAN, DPVAE, DPDiffusion], ids=lambda k: k.name)


def frame(rows: int) -> pd.DataFrame:
    rng = np.random.default_rng(2)
    a, n = rng.choice(["x", "y"], rows, p=[0.3, 0.7]), rng.integers(0, 10, rows)
    return pd.DataFrame({"a": a, "b": np.where(rng.random(rows) < 0.9, a, "z"), "n": n.astype(str), "m": (9 - n).astype(str)})


MANY = schema_of({"a": listed("x", "y"), "b": listed(*(f"b{i}" for i in range(10_000)))})
ODD = {
    "one column": (schema_of({"a": listed("x", "y")}), frame(50)[["a"]]),
    "one category a column": (schema_of({"a": listed("x"), "b": listed("p")}), pd.DataFrame({"a": ["x"] * 40, "b": ["p"] * 40})),
    "one category beside three": (schema_of({"a": listed("x"), "b": listed("x", "y", "z")}), frame(50)[["a", "b"]]),
    "nothing but cells that are none": (schema_of({"b": listed("q"), "n": bounded(200, 201)}), frame(50)[["b", "n"]]),
    "all missing": (SCHEMA, frame(40).assign(a=None, b=None, n=None, m=None)),
    "no row": (SCHEMA, frame(0)),
    "one row": (SCHEMA, frame(1)),
    "ten thousand categories": (MANY, pd.DataFrame({"a": ["x", "y"] * 30, "b": ["b1", "b9999"] * 30})),
}


@each_generator
@pytest.mark.parametrize("odd", ODD)
def test_odd_tables_are_tables(kind: Any, odd: str) -> None:
    schema, rows = ODD[odd]
    made = kind(1.0, 1e-6).fit(rows, schema).sample(50, seed=0)
    assert made.shape == (50, len(schema.names))
    for column in schema.columns:
        if column.categories:
            assert set(made[column.name].dropna()) <= set(column.categories)


@each_generator
def test_a_budget_that_carries_no_step_is_refused_before_it_is_spent(kind: Any) -> None:
    charged: list[Any] = []
    table = single_use(frame(300), SCHEMA)
    table._account = charged.append  # type: ignore[assignment]
    with pytest.raises(BadInput, match="epsilon: too small for one step of training"):
        kind(1e-7, 1e-12).fit(table)
    assert not charged


@each_generator
@pytest.mark.parametrize(("device", "said"), [("cuda", "asks for cuda"), ("gpu", "names no device")])
def test_a_device_that_is_not_there_is_refused(kind: Any, device: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DPSYNTH_DEVICE", device)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BadInput, match=said):
        kind(1.0, 1e-6).request(SCHEMA)


@pytest.mark.parametrize(("kind", "rate"), [(DPGAN, "gan.CRITIC_LEARNS"), (DPVAE, "learning.RATE"), (DPDiffusion, "learning.RATE")])
def test_parameters_that_are_no_numbers_leave_no_model_and_the_charge(kind: Any, rate: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"dpsynth.deep.{rate}", math.inf)
    table = single_use(frame(3000), SCHEMA)
    with pytest.raises(Diverged, match="charge stays"):
        kind(8.0, 1e-5).fit(table)
    assert [e["kind"] for e in table.events][-1] == "train"
    assert table.left.amount < 0.02 * table.spent.amount
