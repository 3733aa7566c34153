"""A plan grows with what costs and shrinks with what helps, and comes near a fit that is really made."""

import time
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from attacks.policy import Policy
from dpsynth.encoding import public_attribute
from dpsynth.errors import BadInput
from dpsynth.privacy.unit import new_key
from dpsynth.releasing.outline import Outline
from dpsynth.releasing.plan import Prediction, predict
from dpsynth.releasing.split import divide, shares_of
from dpsynth.schema import Schema
from dpsynth.synthesizers.registry import GENERATORS
from dpsynth.utility.fidelity import mean_total_variation

DELTA = 1e-9
POLICY = Policy.load("partner-contract")


def schema(columns: int = 8, categories: int = 12) -> Schema:
    names = [str(i) for i in range(categories)]
    facts = [{"name": f"c{i}", "type": "categorical", "categories": names, "categories_basis": "publisher"} for i in range(columns)]
    return Schema.from_dict({"name": "plan", "privacy_unit": {"unit": "row"}, "columns": facts})


def plan(generator: str, units: int = 10_000, epsilon: float = 1.0, of: Schema | None = None) -> Prediction:
    return predict(of or schema(), units, epsilon, DELTA, POLICY, generator)


def rows(units: int, of: Schema) -> pd.DataFrame:
    """Columns that fall off, each following the first."""
    rng = np.random.default_rng(0)
    first = np.minimum(rng.geometric(0.4, units) - 1, 11)
    columns = [np.where(rng.random(units) < 0.5, first, np.minimum(rng.geometric(0.4, units) - 1, 11)) for _ in of.names]
    return pd.DataFrame({name: codes.astype(str) for name, codes in zip(of.names, columns, strict=True)}, dtype=object)


@pytest.mark.parametrize("generator", GENERATORS)
class TestEveryGenerator:
    def test_error_shrinks_with_budget_and_with_rows(self, generator: str) -> None:
        by_budget = [plan(generator, epsilon=e) for e in (0.1, 0.3, 1, 3, 10, 100)]
        by_units = [plan(generator, units=n) for n in (100, 1_000, 10_000, 100_000, 1_000_000)]
        for plans in (by_budget, by_units):
            assert all(a.column_error > b.column_error and a.noise_error > b.noise_error for a, b in pairwise(plans))
            assert all(0 <= p.noise_error <= p.column_error <= 1 for p in plans)

    def test_time_and_memory_grow_with_rows_and_columns(self, generator: str) -> None:
        by_units = [plan(generator, units=n) for n in (100, 1_000, 10_000, 100_000)]
        by_columns = [plan(generator, of=schema(d)) for d in (1, 2, 8, 30, 60)]
        for plans in (by_units, by_columns):
            for field in ("seconds", "fit_seconds", "megabytes", "fit_megabytes"):
                assert all(getattr(a, field) < getattr(b, field) for a, b in pairwise(plans)), field

    def test_a_release_holds_its_fit(self, generator: str) -> None:
        for units in (10, 10_000, 10_000_000):
            made = plan(generator, units)
            assert made.fit_seconds < made.seconds and made.fit_megabytes < made.megabytes

    def test_a_budget_for_columns_alone_buys_no_structure(self, generator: str) -> None:
        assert plan(generator, 100, 0.01).fit_seconds == pytest.approx(plan("independent", 100, 0.01).fit_seconds)

    def test_near_a_real_fit(self, generator: str) -> None:
        """Time within a factor of ten, the machine being what it is; the error, which knows no machine, within three."""
        of, units = schema(), 5_000
        train = divide(rows(units, of), of, new_key(), shares_of(POLICY)).train
        start = time.process_time()
        made = GENERATORS[generator](1.0, DELTA).fit(train, of).sample(units)
        seconds = time.process_time() - start
        expected = plan(generator, units)
        error = mean_total_variation(train, made, [public_attribute(c) for c in of.synthesised], 1)
        assert expected.noise_error / 3 < error < expected.noise_error * 3
        assert seconds < 10 * expected.fit_seconds


def test_structure_costs_time_and_columns_their_share() -> None:
    alone = plan("independent")
    for generator in sorted(set(GENERATORS) - {"independent"}):
        assert plan(generator).fit_seconds > alone.fit_seconds
        assert plan(generator).noise_error > alone.noise_error


@pytest.mark.parametrize(
    ("columns", "categories", "units", "generator", "epsilon", "seconds", "megabytes"),
    [(100, 135, 25_000, "mst", 10.0, 9.13, 1344), (80, 130, 30_000, "mst", 10.0, 6.54, 943), (20, 20, 20_000, "aim", 1.0, 0.87, 285)],
)
def test_what_columns_that_have_nothing_to_do_with_each_other_take(
    columns: int, categories: int, units: int, generator: str, epsilon: float, seconds: float, megabytes: float
) -> None:
    """As measured (benchmarks/results/plan.jsonl): many cells are offered, and nothing of them is bought."""
    made = plan(generator, units, epsilon, schema(columns, categories))
    assert made.least_fit_seconds / 2 < seconds < 2 * made.least_fit_seconds
    assert made.fit_megabytes / 2 < megabytes < 2 * made.fit_megabytes
    assert made.fit_seconds > 1.5 * made.least_fit_seconds


@pytest.mark.parametrize("generator", GENERATORS)
def test_a_table_without_structure_takes_least(generator: str) -> None:
    for units, epsilon in ((100, 0.01), (1_000, 1.0), (100_000, 10.0), (10_000_000, 3.0)):
        made = plan(generator, units, epsilon)
        assert 0 < made.least_fit_seconds <= made.fit_seconds
        assert made.seconds - made.least_seconds == pytest.approx(made.fit_seconds - made.least_fit_seconds)
        if not made.structure:
            assert made.least_seconds == made.seconds


def test_a_person_of_many_rows_is_noisier() -> None:
    one = schema()
    many = replace(one, columns=(*one.columns, replace(one.columns[0], name="id", type="id", categories=None)))
    person = replace(many, unit=replace(one.unit, name="person", columns=("id",), max_rows=20))
    assert plan("mst", of=person).sigma > plan("mst", of=one).sigma
    assert plan("mst", of=person).seconds > plan("mst", of=one).seconds


def test_units_are_asked_for_where_they_are_not_public() -> None:
    with pytest.raises(BadInput, match="how many people"):
        predict(schema(), None, 1.0, DELTA, POLICY, "mst")


def test_no_row_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan is made where neither a frame can be made nor a file be opened by pandas."""
    monkeypatch.setattr(pd, "read_parquet", None)
    monkeypatch.setattr(pd.DataFrame, "__init__", None)
    assert plan("aim").seconds > 0


@pytest.mark.parametrize("generator", ["gan", "vae", "diffusion"])
class TestGeneratorsThatTrain:
    def test_time_grows_with_rows_and_columns_and_error_shrinks(self, generator: str) -> None:
        by_units = [plan(generator, units=n, epsilon=3.0) for n in (100, 1_000, 10_000, 100_000)]
        by_columns = [plan(generator, units=30_000, epsilon=3.0, of=schema(d)) for d in (2, 8, 30, 60)]
        for plans in (by_units, by_columns):
            assert all(a.fit_seconds < b.fit_seconds < b.seconds for a, b in pairwise(plans))
        assert all(a.column_error > b.column_error for a, b in pairwise(by_units))

    def test_where_columns_deserve_all_nothing_is_trained(self, generator: str) -> None:
        alone = plan("independent", 100, 0.01)
        assert (plan(generator, 100, 0.01).fit_seconds == pytest.approx(alone.fit_seconds)) == (generator != "gan")


def test_a_generator_that_loses_is_not_offered_where_it_loses() -> None:
    small, large = plan("mst", units=300), plan("mst", units=1_000_000)
    assert set(small.not_offered) == {"gan", "vae", "diffusion"}
    assert not {"vae", "diffusion"} & set(large.not_offered)
    assert large.standing["aim"] == min(error for error in large.standing.values() if error)
    assert plan("mst", of=schema(1)).standing == {}


def test_a_person_of_many_rows_is_never_louder_than_one_of_one() -> None:
    one = schema()
    many = replace(one, columns=(*one.columns, replace(one.columns[0], name="id", type="id", categories=None)))
    person = replace(many, unit=replace(one.unit, name="person", columns=("id",), max_rows=20))
    assert Outline(person, 5_000, 1.0, DELTA, 0.7, "mst").loudness < Outline(one, 5_000, 1.0, DELTA, 0.7, "mst").loudness
