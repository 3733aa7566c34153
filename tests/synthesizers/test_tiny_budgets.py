"""Budgets too small to measure anything are refused before they are charged; those just above make a table, and no more rows than one can hold."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from kernel_samples import bounded, listed, schema_of, spied

from dpsynth import MST, Independent
from dpsynth.errors import BadInput
from dpsynth.privacy import PrivateTable, Request
from dpsynth.privacy.cost import Cost
from dpsynth.privacy.currency import CURRENCIES
from dpsynth.privacy.table import single_use
from dpsynth.schema import Schema
from dpsynth.synthesizers import model as models
from dpsynth.synthesizers.registry import GENERATORS

OPEN = {"type": "categorical"}
PERSON = {"unit": "person", "columns": ["id"], "max_rows": 9}
SCHEMAS = {
    "closed": schema_of({"a": listed("x", "y"), "b": listed("x", "y", "z"), "n": bounded(0, 1000)}),
    "open": schema_of({"a": OPEN, "b": OPEN, "n": {"type": "integer"}}),
    "units": schema_of({"id": {"type": "id"}, "a": listed("x", "y"), "n": {"type": "continuous"}}, PERSON),
    "units counted": schema_of({"id": {"type": "id"}, "a": listed("x", "y"), "n": bounded(0, 1000)}, PERSON | {"count": "units"}),
    "rows measured": schema_of({"id": {"type": "id"}, "a": OPEN, "n": bounded(0, 1000)}, PERSON | {"max_rows": "measure", "most_rows": 9}),
    "wide": schema_of({f"c{i}": listed("x", "y") for i in range(60)}),
}
TINY = [(1e-12, 1e-20), (1e-100, 1e-20), (1e-12, 1e-9), (1e-10, 1e-12)]
each_generator = pytest.mark.parametrize("name", GENERATORS)
each_schema = pytest.mark.parametrize("kind", SCHEMAS)


def frame_of(schema: Schema, rows: int = 30) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    numbers = {c.name for c in schema.columns if c.is_number} | {"id"}
    return pd.DataFrame({n: rng.integers(0, 10, rows).astype(str) if n in numbers else rng.choice(["x", "y"], rows) for n in schema.names})


@each_generator
@each_schema
@pytest.mark.parametrize("budget", TINY)
def test_a_budget_that_buys_no_measurement_is_refused_before_it_is_charged(name: str, kind: str, budget: tuple[float, float]) -> None:
    charged: list[Request] = []

    def account(request: Request) -> Cost:
        charged.append(request)
        return request.cost_in(CURRENCIES["gdp"])

    spy = spied(frame_of(SCHEMAS[kind]))
    with pytest.raises(BadInput, match=rf"epsilon: {budget[0]:g} is so little, with delta {budget[1]:g}, .*; write at least about"):
        GENERATORS[name](*budget).fit(PrivateTable(spy, SCHEMAS[kind], account, "ledgered"))
    assert charged == [] and spy.seen == []


@each_generator
@each_schema
@pytest.mark.parametrize("currency", CURRENCIES)
def test_what_the_refusal_tells_to_write_is_enough_for_every_measurement(name: str, kind: str, currency: str) -> None:
    schema, (least, delta) = SCHEMAS[kind], TINY[0]
    with pytest.raises(BadInput) as refused:
        GENERATORS[name](least, delta).request(schema)
    told = re.search(r"about (\S+)$", str(refused.value))
    assert told is not None
    enough = float(told[1])
    with pytest.raises(BadInput):
        GENERATORS[name](enough / 2, delta).request(schema)
    table = single_use(frame_of(schema), schema, currency=CURRENCIES[currency])
    model = GENERATORS[name](enough, delta).fit(table)
    assert model.spent.fits(model.granted)
    assert list(model.sample(5, seed=0).columns) == [c.name for c in schema.synthesised]


def of_total(rows: float) -> models.Model:
    schema = SCHEMAS["closed"]
    model = Independent(1.0, 1e-9).fit(frame_of(schema), schema)
    return replace(model, source=replace(model.source, model=replace(model.graphical, total=rows)))  # type: ignore[type-var]


def test_a_noisy_total_of_too_many_rows_is_not_made_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    model = of_total(519_842_231.4)
    for make in (model.sample, model.draw):
        with pytest.raises(BadInput, match=r"noisy total is 519,842,231, .* sample\(rows=10000\)"):
            make()
        assert len(make(7)) == 7
    monkeypatch.setattr(models, "MOST_CELLS", 300)
    assert len(of_total(100.2).sample()) == 100
    with pytest.raises(BadInput, match="101"):
        of_total(100.8).sample()


def test_a_table_of_rows_where_a_budget_is_tiny() -> None:
    schema = SCHEMAS["closed"]
    model = MST(1e-6, 1e-12).fit(frame_of(schema, 300), schema)
    assert all(len(a.attributes) == 1 for a in model.answers)
    assert len(model.sample(50)) == 50
