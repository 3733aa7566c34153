"""How generators choose: scores move by no more than is claimed, structure is bought where there is some, and else not."""

from __future__ import annotations

from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest
from kernel_samples import listed, schema_of

from dpsynth import PrivBayes
from dpsynth.privacy import GDP, ZCDP, PrivateTable
from dpsynth.privacy.noise import SystemNoise
from dpsynth.synthesizers.model import Model
from dpsynth.synthesizers.registry import GENERATORS
from dpsynth.testing import SeededNoise, seeded_table

KINDS: dict[str, Any] = GENERATORS | {"privbayes, ancestral": partial(PrivBayes, fitting="ancestral")}
STRUCTURED = [name for name in KINDS if name != "independent"]
COLUMNS = ("a", "b", "c", "d")
SCHEMA = schema_of({c: listed("x", "y", "z") for c in COLUMNS})
BY_COUNT = {
    count: schema_of(
        {"id": {"type": "id"}, **{c: listed("x", "y", "z") for c in COLUMNS}}, {"unit": "person", "columns": ["id"], "max_rows": 3, "count": count}
    )
    for count in ("rows", "units")
}


def chained(rows: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    a = rng.integers(0, 3, rows)
    b = np.where(rng.random(rows) < 0.9, a, rng.integers(0, 3, rows))
    c = np.where(rng.random(rows) < 0.9, b, rng.integers(0, 3, rows))
    return pd.DataFrame({"a": a, "b": b, "c": c, "d": rng.integers(0, 3, rows)}).replace({0: "x", 1: "y", 2: "z"})


class Recorded(SeededNoise):
    """Notes exact counts and scores with the answers it gives."""

    def __init__(self, seed: int):
        super().__init__(seed)
        self.said: list[Any] = []
        self.scores: list[tuple[np.ndarray, float]] = []

    def add_discrete_gaussian(self, counts: np.ndarray, sigma: float) -> np.ndarray:
        self.said.append(super().add_discrete_gaussian(counts, sigma))
        return self.said[-1]

    def choose(self, scores: np.ndarray, scale: float) -> int:
        self.scores.append((scores, scale))
        self.said.append(super().choose(scores, scale))
        return self.said[-1]


class Replayed(Recorded):
    """Gives the answers of another run, whatever it is asked: a neighbour who happened to hear the same."""

    def __init__(self, said: list[Any]):
        super().__init__(0)
        self._left = list(said)

    def add_discrete_gaussian(self, counts: np.ndarray, sigma: float) -> np.ndarray:
        heard: np.ndarray = self._left.pop(0)
        assert heard.shape == counts.shape
        return heard

    def choose(self, scores: np.ndarray, scale: float) -> int:
        self.scores.append((scores, scale))
        return int(self._left.pop(0))


@pytest.mark.parametrize("name", STRUCTURED)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("currency", [GDP, ZCDP])
@pytest.mark.parametrize("count", BY_COUNT)
def test_a_unit_moves_no_score_by_more_than_the_selection_is_scaled_for(name: str, seed: int, currency: Any, count: str) -> None:
    """The same answers told to two neighbours: same questions, same candidates, and scores that differ by at most eps scale / 2."""
    rng = np.random.default_rng(seed)
    people = chained(400, seed).assign(id=[str(i // 3) for i in range(400)])
    one = pd.DataFrame([dict(zip(COLUMNS, rng.choice(["x", "y", "z", ""], 4), strict=True)) | {"id": "new"} for _ in range(3)])
    first = Recorded(seed)
    options = {"epsilon": 3.0, "delta": 1e-6}
    asked: list[list[Any]] = []
    for rows, noise in ((people, first), (pd.concat([people, one], ignore_index=True), None)):
        noise = noise or Replayed(first.said)
        table = PrivateTable(rows, BY_COUNT[count], lambda request: request.cost_in(currency), "test", key=b"k" * 32, noise=noise)
        model = KINDS[name](**options).fit(table)
        asked.append([model.events, noise.scores])
    (events, scores), (same_events, moved) = asked
    assert events == same_events
    assert scores, "the test is about selections: there must be some"
    spent = [e["amount"] for e in events if e["kind"] == "select"]
    for (before, scale), (after, same_scale), amount in zip(scores, moved, spent, strict=True):
        assert scale == same_scale
        sensitivity = scale * currency.selection_epsilon(amount) / 2
        assert np.abs(before - after).max() <= sensitivity * (1 + 1e-6)


def pairs(model: Model) -> set[tuple[str, ...]]:
    return {tuple(sorted(pair)) for a in model.answers for pair in combinations(a.columns, 2)}


@pytest.mark.parametrize("name", STRUCTURED)
def test_strong_structure_is_found(name: str) -> None:
    for seed in range(5):
        model = KINDS[name](3.0, 1e-6).fit(seeded_table(chained(5000, seed), SCHEMA, seed))
        assert {("a", "b"), ("b", "c")} <= pairs(model) or {("a", "b"), ("a", "c")} <= pairs(model) or {("a", "c"), ("b", "c")} <= pairs(model)
        rows = model.sample(5000, seed=0)
        assert (rows.a == rows.b).mean() > 0.8


def error(frame: pd.DataFrame, model: Model) -> float:
    """Mean total variation over all pairs."""
    made = model.sample(4 * len(frame), seed=0).fillna("")
    shares = [(frame.value_counts(list(p), normalize=True), made.value_counts(list(p), normalize=True)) for p in combinations(COLUMNS, 2)]
    return float(np.mean([real.sub(copy, fill_value=0).abs().sum() / 2 for real, copy in shares]))


@pytest.mark.parametrize("name", STRUCTURED)
def test_where_there_is_nothing_to_find_little_is_bought_and_little_lost(name: str) -> None:
    """Ten tables of independent columns: at most one pair in three is bought, at most 10 % of error added to the independent generator's."""
    rng = np.random.default_rng(0)
    tables = [pd.DataFrame({c: rng.choice(["x", "y", "z"], 2000) for c in COLUMNS}) for _ in range(10)]
    fits = {kind: [KINDS[kind](1.0, 1e-9).fit(seeded_table(t, SCHEMA, s)) for s, t in enumerate(tables)] for kind in (name, "independent")}
    assert sum(len(pairs(model)) for model in fits[name]) <= 10
    ours, alone = (np.mean([error(t, model) for t, model in zip(tables, fits[kind], strict=True)]) for kind in (name, "independent"))
    assert ours <= 1.1 * alone


@pytest.mark.parametrize("name", STRUCTURED)
@pytest.mark.parametrize(("rows", "epsilon"), [(200, 0.3), (200, 1.0), (2000, 0.3)])
def test_never_worse_than_columns_alone(name: str, rows: int, epsilon: float) -> None:
    """Mean of eight seeds, at most 15 % above that of the independent generator on the same tables and seeds."""
    ours, alone = (
        np.mean([error(chained(rows, s), KINDS[kind](epsilon, 1e-9).fit(seeded_table(chained(rows, s), SCHEMA, s))) for s in range(8)])
        for kind in (name, "independent")
    )
    assert ours <= 1.15 * alone


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("rows", [0, 1, 2, 50])
@pytest.mark.parametrize("epsilon", [1e-3, 100.0])
def test_tiny_tables_end_in_sane_rows(name: str, rows: int, epsilon: float) -> None:
    model = KINDS[name](epsilon, 1e-9).fit(chained(50).head(rows), SCHEMA)
    made = model.sample(30)
    assert len(made) == 30
    assert all(set(made[c].dropna()) <= {"x", "y", "z"} for c in COLUMNS)
    assert model.total >= 1
    assert epsilon < 1 or rows < 50 or made.notna().to_numpy().mean() > 0.9  # nothing is missing in the table


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("told", [0, -7])
def test_cells_that_are_all_zero_or_below_after_noise_end_in_sane_rows(name: str, told: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was told, so a code is as likely as any other, missing (one of four) among them."""
    monkeypatch.setattr(SystemNoise, "add_discrete_gaussian", lambda self, counts, sigma: np.full_like(counts, told))
    model = KINDS[name](1.0, 1e-9).fit(chained(50), SCHEMA)
    made = model.sample(400)
    assert len(made) == 400 and len(model.sample()) >= 1
    for c in COLUMNS:
        assert set(made[c].dropna()) == {"x", "y", "z"} and 0.1 < made[c].isna().mean() < 0.4


@pytest.mark.parametrize("name", ["mst", "aim", "mwem"])
def test_what_ties_two_columns_of_many_even_categories_is_not_lost(name: str) -> None:
    schema = schema_of({"a": listed(*map(str, range(300))), "b": listed(*map(str, range(70)))})
    a = np.random.default_rng(0).integers(0, 300, 60_000)
    frame = pd.DataFrame({"a": a.astype(str), "b": (a % 70).astype(str)})
    made = KINDS[name](10.0, 1e-9).fit(seeded_table(frame, schema, 0)).sample(5_000, seed=1)
    assert (made["a"].astype(float) % 70 == made["b"].astype(float)).mean() > 0.9


@pytest.mark.parametrize("name", KINDS)
def test_columns_of_one_value_and_of_thousands(name: str) -> None:
    schema = schema_of({"one": listed("x"), "many": listed(*map(str, range(5000))), "b": listed("x", "y")})
    frame = pd.DataFrame({"one": ["x"] * 500, "many": [str(i % 5000) for i in range(500)], "b": ["x", "y"] * 250})
    made = KINDS[name](1.0, 1e-9).fit(frame, schema).sample(200)
    assert made["one"].eq("x").mean() > 0.9 and made["b"].isin(["x", "y"]).mean() > 0.9 and made["many"].notna().mean() > 0.9
