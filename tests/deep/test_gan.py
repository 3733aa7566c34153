"""DPGAN: what it is refused for, what it leaves behind, what odd tables do to it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("opacus")

import dpsynth  # noqa: E402
from dpsynth.deep import DPGAN  # noqa: E402
from dpsynth.deep.network import Margin, Network, evenly, weights_for  # noqa: E402
from dpsynth.deep.planning import plan_for  # noqa: E402
from dpsynth.errors import BadInput, Diverged  # noqa: E402
from dpsynth.privacy.dpsgd import Plan, cost_of  # noqa: E402
from dpsynth.privacy.table import single_use  # noqa: E402
from dpsynth.schema import Schema  # noqa: E402
from dpsynth.testing import seeded_table  # noqa: E402

ROWS = 300


def schema_of(target: str | None = None, **columns: list[str]) -> Schema:
    entries = [{"name": n, "type": "categorical", "categories": c, "categories_basis": "publisher"} for n, c in columns.items()]
    return Schema.from_dict({"name": "t", "privacy_unit": {"unit": "row"}, "columns": entries} | ({"target": target} if target else {}))


PLAIN = schema_of(target="t", a=["x", "y", "z"], b=["p", "q"], t=["no", "yes"])


def table(rows: int = ROWS) -> pd.DataFrame:
    """Column a says what t is, mostly."""
    i = np.arange(rows)
    a = np.array(["x", "y", "z"])[i % 3]
    return pd.DataFrame({"a": a, "b": np.where(i % 2, "p", "q"), "t": np.where((a == "x") ^ (i % 10 == 0), "yes", "no")})


def test_a_fit_spends_its_grant_and_no_more_and_its_rows_have_the_released_marginals(tmp_path: Path) -> None:
    model = DPGAN(8.0, 1e-4).fit(single_use(table(3000), PLAIN))
    assert model.spent.fits(model.granted)
    assert model.spent.amount > 0.98 * model.granted.amount
    assert [e["kind"] for e in model.events] == ["marginal"] * 5 + ["train"]
    made = model.sample(3000, seed=4)
    yes = {a: float((made["t"][made["a"] == a] == "yes").mean()) for a in "xyz"}
    assert yes["x"] > 0.75 and max(yes["y"], yes["z"]) < 0.25
    model.save(tmp_path / "model.npz")
    again = dpsynth.load(tmp_path / "model.npz")
    pd.testing.assert_frame_equal(again.sample(50, seed=1), model.sample(50, seed=1))
    pd.testing.assert_frame_equal(again.draw(50, seed=1), model.draw(50, seed=1))
    assert again.total == model.total
    with pytest.raises(AttributeError, match="drawn from a network"):
        _ = again.graphical


def test_a_generator_that_ends_in_no_numbers_leaves_no_model_though_its_critic_is_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    from dpsynth.deep.gan import _Pair

    learnt = _Pair.learn

    def broken(pair: Any, *words: Any) -> None:
        learnt(pair, *words)
        with torch.no_grad():
            pair.maker[0].weight[0, 0] = math.nan

    monkeypatch.setattr(_Pair, "learn", broken)
    with pytest.raises(Diverged, match="the charge stays, and there is no model"):
        DPGAN(3.0, 1e-5).fit(table(), PLAIN)


def test_all_chance_that_privacy_hangs_on_is_the_kernels() -> None:
    one, again, other = (DPGAN(1.0, 1e-6).fit(seeded_table(table(), PLAIN, seed)).sample(200, seed=0) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(one, again)
    assert not one.equals(other)


def test_a_plan_fits_its_amount_and_takes_fewer_steps_where_it_has_to() -> None:
    for amount, delta, units in ((0.02, 1e-7, 30_000.0), (0.02, 1e-13, 100.0), (1e-9, 1e-9, 100.0)):
        plan = plan_for(amount, delta, units, 512, 128)
        assert cost_of(plan, delta).amount <= amount
        assert plan.rate <= 0.5 and 1 <= plan.steps <= 128
    with pytest.raises(BadInput, match="too small"):
        plan_for(1e-16, 1e-9, 100.0, 512, 128)
    with pytest.raises(ValueError, match="rate"):
        Plan(1.5, 1.0, 10)  # a batch larger than the declared table


def test_rows_are_weighed_to_have_the_margins_and_drawn_as_often_as_their_weights_say() -> None:
    codes = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 5)
    pair = np.array([[0.4, 0.1], [0.2, 0.3]])
    weights = weights_for(codes, [Margin((0,), pair.sum(1)), Margin((0, 1), pair)])
    np.testing.assert_allclose(np.bincount(codes @ [2, 1], weights), pair.ravel(), atol=1e-6)
    counts = np.bincount(evenly(weights, 1000, np.random.default_rng(0)), minlength=20)
    assert np.abs(counts - 1000 * weights).max() < 1


def test_large_samples_are_made_in_blocks_and_columns_come_in_the_order_asked_for() -> None:
    layers = ((np.zeros((5, 2)), np.array([0.0, 50.0, 0.0, 0.0, 50.0])),)
    margins = (Margin((0,), np.array([0.25, 0.75])),)
    network = Network(("a", "b"), (2, 3), layers, 2, None, (*margins, Margin((1,), np.array([0.0, 0.0, 1.0]))), 10.0)
    made = network.sample(100_001, np.random.default_rng(0), ("b", "a"))
    assert made.shape == (100_001, 2) and set(made[:, 0]) == {2} and set(made[:, 1]) == {1}
