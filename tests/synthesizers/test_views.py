"""Views: groups that hold what they should, links that tie them, weights that undo them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from kernel_samples import bounded, listed, schema_of

from dpsynth.encoding import public_attribute
from dpsynth.privacy import Attribute, Bins, Merged
from dpsynth.synthesizers.answer import Answer
from dpsynth.synthesizers.views import GROUP, NEVER, RARE, Views

SCHEMA = schema_of({"n": bounded(1, 40, bins=40, special=[-9]), "c": listed(*map(str, range(12))), "n, coarse": listed("x", "y")})
ATTRIBUTES = tuple(public_attribute(c) for c in SCHEMA.synthesised)


def answers(seed: int, sigma: float = 20.0) -> list[Answer]:
    rng = np.random.default_rng(seed)
    return [Answer((a,), np.rint(rng.dirichlet(np.full(a.size, 0.3)) * 5000 + rng.normal(0, sigma, a.size)), sigma) for a in ATTRIBUTES]


def groups(attribute: Attribute) -> np.ndarray:
    return np.array(attribute.groups) if isinstance(attribute, Merged) else np.arange(attribute.size)


@pytest.mark.parametrize("group", [GROUP, 1 / 6])
@pytest.mark.parametrize("seed", range(20))
def test_groups_hold_enough_and_neighbouring_bins_go_together(seed: int, group: float) -> None:
    ones = answers(seed)
    views = Views(ATTRIBUTES, ones, group=group)
    for view, one in zip(views.views, ones, strict=True):
        for attribute, least in ((view.fine, RARE * one.sigma), (view.coarse, group * one.values.sum())):
            if attribute is None:
                continue
            grouped = groups(attribute)
            held = np.bincount(grouped, weights=one.values)
            assert len(held) == attribute.size == len(np.unique(grouped))
            bins = view.column.bins if isinstance(view.column, Bins) else 0
            assert (np.diff(grouped[:bins]) >= 0).all()
            assert not set(grouped[:bins]) & set(grouped[bins:])
            assert (held < least).sum() <= 2, "one leftover of bins and one of the rest"
    for fine, coarse in ((v.fine, v.coarse) for v in views.views if v.coarse):
        pairs = set(zip(groups(fine), groups(coarse), strict=True))
        assert len(pairs) == fine.size, "each fine code lies in one coarse group"


def test_links_forbid_what_never_meets_and_nothing_else() -> None:
    views = Views(ATTRIBUTES, answers(1))
    assert views.links
    cells = {"n": ["1", "17", "40", "-9", "", "99"], "c": ["0", "5", "11", "", "q", "3"]}
    for factor in views.links:
        fine, coarse = views.attributes(factor.domain.names)
        column = fine.column.name
        here = pd.Series(cells.get(column, ["x", "y", ""]))
        met = factor.values[fine.encode(here, "."), coarse.encode(here, ".")]
        assert (met == 0).all()
        assert ((factor.values == 0).sum(axis=1) == 1).all() and set(np.unique(factor.values)) <= {0.0, NEVER}


def test_a_pair_of_many_evenly_spread_categories_is_offered_and_none_beyond_memory() -> None:
    """Nothing tells of them in fewer cells, for none is rare; where something does, the many cells are left out."""
    schema = schema_of({"a": listed(*map(str, range(300))), "b": listed(*map(str, range(70))), "c": listed(*map(str, range(3000)))})
    even = [Answer((a,), np.full(a.size, 30_000.0), 20.0) for a in map(public_attribute, schema.synthesised)]
    weights = dict.fromkeys((("a", "b"), ("a", "c"), ("b", "c")), 1)
    assert set(Views([a for e in even for a in e.attributes], even).candidates(weights)) == {("a", "b")}
    skewed = replace(even[0], values=np.where(np.arange(301) < 5, 1e7, 3e4))
    offered = Views([a for e in even for a in e.attributes], [skewed, *even[1:]]).candidates(weights)
    assert ("a, coarse", "b") in offered and ("a", "b") not in offered


def test_names_of_views_are_nobody_elses() -> None:
    views = Views(ATTRIBUTES, answers(1))
    assert len(set(views.domain.names)) == len(views.domain.names)
    assert views.domain.names[:3] == ("n", "c", "n, coarse")
    assert [views.column(name) for name in views.levels("n")] == ["n"] * len(views.levels("n"))


def test_a_columns_answer_is_added_up_in_groups() -> None:
    ones = answers(2)
    views = Views(ATTRIBUTES, ones)
    for one, view in zip(ones, views.views, strict=True):
        measured = views.measurement(one)
        assert views.clique(one) == measured.clique == (view.column.column.name,)
        assert measured.values.shape == (view.fine.size,)
        assert measured.values.sum() == pytest.approx(one.values.sum())
        np.testing.assert_allclose(np.square(measured.sigma) * np.ones(view.fine.size), one.sigma**2 * np.bincount(groups(view.fine)))


def test_decoders_pool_a_columns_answers_by_precision() -> None:
    exact = [Answer(a.attributes, np.full(a.values.shape, 9000 / a.values.size), 1.0) for a in answers(3)]
    views = Views(ATTRIBUTES, answers(3))
    for decoder in views.decoders([*answers(3), *exact]):
        if decoder.weights is not None:
            np.testing.assert_allclose(decoder.weights, 9000 / len(decoder.weights), rtol=0.05)
