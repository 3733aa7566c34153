"""PrivBayes: what a family is, what it is compared with, what a choice may cost, and the paper's own conditionals."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest
from kernel_samples import Silent, listed, schema_of

from dpsynth import PrivBayes
from dpsynth.encoding import released_attributes
from dpsynth.errors import BadInput
from dpsynth.privacy import Merged
from dpsynth.privacy.attribute import Attribute
from dpsynth.privacy.table import single_use
from dpsynth.synthesizers.bench import MEAN_NOISE
from dpsynth.synthesizers.model import Model
from dpsynth.synthesizers.network import MOST_PARENTS, USEFUL, Ancestral, Network
from dpsynth.testing import seeded_table

SIZES = {"a": 2, "b": 3, "c": 4, "d": 12, "e": 3}
SCHEMA = schema_of({name: listed(*map(str, range(size))) for name, size in SIZES.items()})
ROWS, SEEDS = 20_000, range(3)


def woven(seed: int) -> pd.DataFrame:
    """b follows a; c counts what a and b say; d, of which most codes are rare, follows all of them; e follows nothing."""
    rng = np.random.default_rng(seed)
    a = rng.integers(0, 2, ROWS)
    b = np.where(rng.random(ROWS) < 0.7, a, rng.integers(0, 3, ROWS))
    c = (a + b + (rng.random(ROWS) < 0.1)) % 4
    d = np.minimum(a + b + c + rng.geometric(0.5, ROWS), 11)
    return pd.DataFrame({"a": a, "b": b, "c": c, "d": d, "e": rng.integers(0, 3, ROWS)}).astype(str)


def fitted(seed: int, epsilon: float = 3.0, **options: Any) -> Model:
    return PrivBayes(epsilon, 1e-9, **options).fit(seeded_table(woven(seed), SCHEMA, seed))


@pytest.mark.parametrize("fitting", ["estimated", "ancestral"])
@pytest.mark.parametrize("seed", SEEDS)
def test_families_are_those_of_a_network(fitting: str, seed: int) -> None:
    """Each column finds its place once, with parents that have one already, at most three."""
    model = fitted(seed, fitting=fitting)
    placed: list[str] = []
    for child, *parents in (a.columns for a in model.answers if len(a.columns) > 1):
        assert 1 <= len(parents) <= MOST_PARENTS
        assert child not in placed
        assert set(parents) <= set(placed) or not placed
        placed += [*(parents if not placed else []), child]
    assert {"a", "b", "c", "d"} <= set(placed)


def test_three_parents_where_three_say_more_than_two() -> None:
    assert max(len(answer.columns) for answer in fitted(0, epsilon=30.0).answers) == MOST_PARENTS + 1


@pytest.mark.parametrize("seed", SEEDS)
def test_rows_outweigh_the_noise_of_every_family(seed: int) -> None:
    model = fitted(seed, epsilon=0.3)
    tables = [a for a in model.answers if len(a.columns) > 1]
    assert tables
    assert all(a.values.size * USEFUL * MEAN_NOISE * a.sigma <= 1.05 * model.total for a in tables)


def begun(kind: type[Network] = Network) -> Network:
    """Told exact answers."""
    table = single_use(woven(0), SCHEMA, Silent())
    table.grant(PrivBayes(30.0, 1e-9).request(SCHEMA))
    return kind.begin(table, released_attributes(table))


def test_a_family_is_compared_with_a_child_that_hangs_on_none_of_its_parents() -> None:
    """On the rows themselves that is share of the child x counts of the parents, for one parent and for two."""
    network, frame = begun(), woven(0)
    network.place(("b", "a"), network.left / 4)
    for child, *parents in [("c", "a"), ("a", "b"), ("c", "a", "b"), ("e", "b", "a")]:
        family = (child, *parents)
        share = coded(frame, network.views.attributes((child,)))
        among = coded(frame, network.views.attributes(tuple(parents)))
        expected = np.multiply.outer(share / ROWS, among)
        assert np.abs(network.reference(family) - expected).sum() < 0.01 * ROWS


@pytest.mark.parametrize(("placed", "choices"), [([], 1), (["ba"], 2), (["ba", "cba"], MOST_PARENTS)])
def test_a_family_costs_no_more_than_it_may(placed: list[str], choices: int) -> None:
    """An edge between the first two, then as many choices as there are parents to be had, at most three; d follows all that are there."""
    network = begun()
    for family in placed:
        network.place(tuple(family), network.left / 10)
    before, choosing = network.table.spent.amount, network.left / 7
    found = network.family(choosing, network.left / 3, 1e5)
    spent = network.table.spent.amount - before
    assert found is not None
    assert len(found) == choices + 1
    assert spent <= choosing
    assert spent == pytest.approx(choosing * choices / MOST_PARENTS, rel=1e-6)


def test_no_family_that_the_model_has_no_room_for() -> None:
    network = begun()
    assert network.family(network.left / 10, network.left / 3, network.model.tree.cells + 5) is None


NETWORKS = {
    "fine": ["ba", "cab", "dc"],
    "a coarse child": ["ba", "Dba", "cD"],
    "a coarse root": ["aD", "ca", "baD"],
    "a parent at the other resolution than the child it was": ["Da", "bd", "cdab"],
    "columns alone": ["ba"],
}


@pytest.mark.parametrize("shape", NETWORKS)
def test_ancestral_is_the_product_of_the_families_conditionals_where_there_is_no_noise(shape: str) -> None:
    """Cell by cell, from the rows: a column at the other resolution than its family's follows by its own counts. D is d in a few groups."""
    frame, network = woven(0), begun(Ancestral)
    coarse = network.views.levels("d")[-1]
    for family in NETWORKS[shape]:
        network.place(tuple(coarse if v == "D" else v for v in family), network.left / 4)
    model = network.finish()
    families = {a.columns[0]: a.attributes for a in model.answers if len(a.columns) > 1}
    fine = {d.attribute.column.name: d.attribute for d in model.codec.decoders}
    joint = np.ones([a.size for a in fine.values()])
    for name, own in fine.items():
        views = families.get(name, (own,))
        given = conditional(coded(frame, views))
        inside = conditional(coded(frame, (own, views[0])))
        for cell in product(*map(range, joint.shape)):
            code = dict(zip(fine, cell, strict=True))
            seen = tuple(through(fine[v.column.name], v)[code[v.column.name]] for v in views)
            joint[cell] *= given[seen] * (inside[code[name], seen[0]] if views[0] != own else 1.0)
    made = model.source.model.project(fine) / model.source.total
    assert joint.sum() == pytest.approx(1, abs=1e-9)
    np.testing.assert_allclose(made, joint, atol=1e-8)


def coded(frame: pd.DataFrame, views: tuple[Attribute, ...]) -> np.ndarray:
    """Counts over views."""
    counts = np.zeros([v.size for v in views])
    np.add.at(counts, tuple(v.encode(frame[v.column.name], ".") for v in views), 1)
    return counts


def conditional(counts: np.ndarray) -> np.ndarray:
    """The first given the others; even where nobody is."""
    sums = np.broadcast_to(counts.sum(axis=0), counts.shape)
    return np.divide(counts, sums, out=np.full(counts.shape, 1 / len(counts)), where=sums > 0)


def through(fine: Attribute, view: Attribute) -> np.ndarray:
    """The code in `view` of each code in `fine`."""
    found = np.zeros(fine.size, dtype=np.int64)
    found[codes(fine)] = codes(view)
    return found


def codes(view: Attribute) -> np.ndarray:
    return np.array(view.groups) if isinstance(view, Merged) else np.arange(view.size)


@pytest.mark.parametrize("fitting", ["exact", "", None, 3, ["estimated"]])
def test_a_fitting_that_is_none_is_refused(fitting: Any) -> None:
    with pytest.raises(BadInput, match="estimated, ancestral"):
        PrivBayes(1.0, 1e-9, fitting=fitting).request(SCHEMA)
