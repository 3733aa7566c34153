"""Codes and back: a cell comes back as one that has the same code."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dpsynth.encoding import Codec, Decoder, needs_events, public_attribute, released_attributes
from dpsynth.encoding.advice import open_points
from dpsynth.encoding.codec import describe, drawn, restore, shared_out
from dpsynth.encoding.domains import CUTS_SHARE, DOMAIN_SHARE
from dpsynth.encoding.profile import profile, profile_request
from dpsynth.privacy import Bins, Categories, Merged, Request
from dpsynth.privacy.table import single_use
from dpsynth.schema import Schema


def schema_of(**entries: dict[str, Any]) -> Schema:
    return Schema.from_dict({"name": "t", "privacy_unit": {"unit": "row"}, "columns": [{"name": n, **e} for n, e in entries.items()]})


def number(low: float, high: float, kind: str = "integer", **rest: Any) -> dict[str, Any]:
    return {"type": kind, "bounds": [low, high], "bounds_basis": "publisher"} | rest


def listed(*categories: str, **rest: Any) -> dict[str, Any]:
    return {"type": "categorical", "categories": list(categories), "categories_basis": "publisher"} | rest


NUMBERS = [
    number(0, 80), number(0, 9), number(-1, 1, "continuous"), number(0, 5, "continuous", special=[-9]), number(0, 100, special=[7, 8, 50, -1]),
    number(0, 1e6), number(-1e-6, 1e-6, "continuous"), number(0.1, 0.3, "continuous", bins=7), number(-5, 5, bins=3), number(1, 2),
    number(-1e12, 1e12, "continuous", special=[1.5]), number(0, 2**53), number(0, 1, "continuous", bins=10_000),
]  # fmt: skip


@pytest.mark.parametrize("entry", [*NUMBERS, listed("a", "b", "1"), listed("a", "b", on_unknown="other")])
def test_a_decoded_cell_has_the_code_it_came_from(entry: dict[str, Any]) -> None:
    column = schema_of(a=entry).column("a")
    attribute = public_attribute(column)
    codes = np.tile(np.arange(attribute.size), 400 if attribute.size < 1000 else 3)
    cells = Decoder(attribute).decode(codes, np.random.default_rng(0))
    again = attribute.encode(cells, ".")
    assert (again != codes).sum() == 0 or _only_empty_bins(attribute, codes, again)
    if column.type == "integer":
        assert str(cells.dtype) == "Int64"


def _only_empty_bins(attribute: Any, codes: np.ndarray, again: np.ndarray) -> bool:
    """A bin of whole numbers that are all special has no number of its own to come back as."""
    if attribute.column.type != "integer":
        return False
    wrong = np.unique(codes[again != codes])
    own = [set(range(int(attribute.edges[c]), int(attribute.edges[c + 1]))) - set(attribute.special) for c in wrong]
    return not any(own)


@given(st.lists(st.one_of(st.floats(), st.integers(), st.text(), st.none(), st.booleans()), max_size=30), st.sampled_from(NUMBERS))
@example(cells=[1.0, 2.0], entry=number(0, 80))  # chance alone misses bounds read off the rows one time in ten
@settings(deadline=None, max_examples=150)
def test_encoding_is_total_and_row_by_row(cells: list[Any], entry: dict[str, Any]) -> None:
    attribute = public_attribute(schema_of(a=entry).column("a"))
    codes = attribute.encode(pd.Series(cells, dtype=object), ".")
    assert ((codes >= 0) & (codes < attribute.size)).all()
    alone = [attribute.encode(pd.Series([c], dtype=object), ".")[0] for c in cells]
    assert codes.tolist() == alone


@given(st.lists(st.sampled_from([1, True, 1.0, "1", "True", 0, -0.0, 0.0, False, "1.0", None, np.nan, "0"]), max_size=12))
@settings(deadline=None, max_examples=150)
def test_categories_are_read_row_by_row_though_python_calls_unlike_cells_equal(cells: list[Any]) -> None:
    attribute = public_attribute(schema_of(a=listed("1", "True", "0", "False", "-0.0", on_unknown="other")).column("a"))
    codes = attribute.encode(pd.Series(cells, dtype=object), ".")
    assert codes.tolist() == [attribute.encode(pd.Series([c], dtype=object), ".")[0] for c in cells]


def test_a_huge_number_leaves_its_neighbours_alone() -> None:
    attribute = public_attribute(schema_of(a=number(-10, 10)).column("a"))
    cells = ["-1", "-2", "3"]
    beside = attribute.encode(pd.Series(["9223372036854775808", *cells]), ".")
    assert beside[1:].tolist() == attribute.encode(pd.Series(cells), ".").tolist()


def test_where_cells_go() -> None:
    bins = public_attribute(schema_of(a=number(0, 80, special=[-1], missing=["?"])).column("a"))
    assert isinstance(bins, Bins)
    assert bins.encode(pd.Series(["?", "", "x", "-1", "-2", "999", "0", "80", " 5 ", "inf", "nan"]), ".").tolist()[:3] == [bins.size - 1] * 3
    low, high = bins.encode(pd.Series(["-2", "999"]), ".")
    assert (low, high) == (0, bins.bins - 1) and bins.edges[:2] == (0, 1)
    assert bins.encode(pd.Series(["-1"]), ".")[0] == bins.bins + bins.special.index(-1.0)
    names = public_attribute(schema_of(a=listed("1", "2", on_unknown="other")).column("a"))
    assert names.encode(pd.Series(["1", "1.0", "2", "3", "", None]), ".").tolist() == [0, 0, 1, 2, 3, 3]


def test_a_decimal_comma_is_the_files_and_not_a_numbers() -> None:
    attribute = public_attribute(schema_of(a=number(0, 2_000, "continuous", cuts=list(range(1, 2_000)), cuts_basis="publisher")).column("a"))
    assert attribute.encode(pd.Series(["1.234,5", "7,5"]), ",").tolist() == [1234, 7]
    assert attribute.encode(pd.Series([1234.5, 7.5]), ",").tolist() == [1234, 7]


def test_merged_groups_are_undone_by_their_weights() -> None:
    base = public_attribute(schema_of(a=listed("a", "b", "c", "d")).column("a"))
    merged = Merged(base, (0, 1, 1, 1, 1))
    for weights, wanted in ((np.array([9.0, 3, 1, 0, 0]), {"b": 0.75, "c": 0.25}), (np.zeros(5), {"b": 0.25, "c": 0.25, "d": 0.25})):
        cells = Decoder(merged, weights).decode(np.ones(8000, dtype=np.int64), np.random.default_rng(1))
        shares = cells.value_counts(normalize=True, dropna=True) * cells.notna().mean()
        assert shares.to_dict() == pytest.approx(wanted, abs=0.03)
    assert merged.encode(pd.Series(["a", "b", "zz"]), ".").tolist() == [0, 1, 1]


def test_merged_groups_are_undone_as_exactly_as_whole_rows_allow_or_independently() -> None:
    base = public_attribute(schema_of(a=listed(*"abcdefgh")).column("a"))
    merged = Merged(base, (0, 1, 1, 1, 2, 3, 3, 4, 4))
    weights = np.array([5.0, 1, 2, 7, 1, 3, 0, 0, 0])
    shares = np.array([1, 0.1, 0.2, 0.7, 1, 1, 0, 0.5, 0.5])
    codes = np.random.default_rng(0).integers(0, 5, 3_007).astype(np.uint8)
    wanted = np.bincount(codes)[list(merged.groups)] * shares
    spread = {}
    for undo in (shared_out, drawn):
        counts = []
        for seed in range(60):
            cells = Decoder(merged, weights).decode(codes, np.random.default_rng(seed), undo)
            assert (merged.encode(cells, ".") == codes).all()
            counts.append(np.bincount(base.encode(cells, "."), minlength=base.size))
            if undo is shared_out:
                assert (np.abs(counts[-1] - wanted) < 1).all()
                early = np.bincount(base.encode(cells[:1_000], "."), minlength=base.size)
                assert np.abs(early - wanted / 3).max() < 60
        assert np.abs(np.mean(counts, axis=0) - wanted).max() < 12
        spread[undo] = np.std(counts, axis=0)[3]
    assert spread[drawn] > 5 > 1 > spread[shared_out]
    empty = Decoder(merged, weights).decode(codes[:0], np.random.default_rng(0))
    assert len(empty) == 0


def test_whole_numbers_of_a_bin_are_equally_likely_but_for_the_special_ones() -> None:
    attribute = public_attribute(schema_of(a=number(1, 20, cuts=[11], cuts_basis="publisher", special=[3, 4, 9])).column("a"))
    cells = Decoder(attribute).decode(np.zeros(70_000, dtype=np.uint8), np.random.default_rng(0))
    assert sorted(set(cells)) == [1, 2, 5, 6, 7, 8, 10]
    assert cells.value_counts().between(9_500, 10_500).all()


def test_a_decoder_is_described_and_restored() -> None:
    schema = schema_of(a=listed("a", "b"), n=number(0, 5, "continuous"))
    for column in schema.columns:
        base = public_attribute(column)
        for decoder in (Decoder(base), Decoder(Merged(base, (0,) * base.size), np.ones(base.size)), Decoder(Merged(base, (0,) * base.size))):
            again = restore(column, describe(decoder))
            assert again.attribute == decoder.attribute
            assert describe(again) == describe(decoder)
    codec = Codec(tuple(Decoder(public_attribute(c)) for c in schema.columns))
    assert list(codec.decode(np.zeros((3, 2), dtype=np.int64), np.random.default_rng(0)).columns) == ["a", "n"]


def test_open_domains_are_measured_and_say_so() -> None:
    schema = schema_of(
        o={"type": "categorical", "categories": ["rumour"], "categories_basis": "observed"}, n={"type": "integer"}, c={"type": "continuous"}
    )
    assert needs_events(schema)
    frame = pd.DataFrame({"o": ["red"] * 900 + ["rare"], "n": ["17"] * 901, "c": ["0.3"] * 901})
    table = single_use(frame, schema)
    table.grant(Request(1.0, 1e-6, True, "test"))
    categories, whole, real = released_attributes(table)
    assert isinstance(categories, Categories)
    assert categories.categories == ("red",)
    assert categories.column.observed_categories is None
    # one rung in 30,000 stands clear of four sigma by chance, so the span may be wider, never narrower
    for attribute, least in ((whole, (16.0, 32.0)), (real, (0.25, 0.5))):
        low, high = attribute.column.bounds or (0.0, 0.0)
        assert low <= least[0] < least[1] <= high
    assert all(b == int(b) for b in whole.column.bounds or ())
    assert all(a.column.categories_basis or a.column.bounds_basis for a in (categories, whole, real))
    assert table.spent.amount == pytest.approx((DOMAIN_SHARE + CUTS_SHARE) * table.granted.amount, rel=1e-3)


def test_an_empty_table_has_sane_open_domains() -> None:
    schema = schema_of(o={"type": "categorical"}, n={"type": "integer"})
    table = single_use(pd.DataFrame({"o": [], "n": []}), schema)
    table.grant(Request(1.0, 1e-9, True, "test"))
    attributes = released_attributes(table)
    assert attributes[0].column.categories == ()
    assert attributes[1].column.bounds == (0.0, 1.0)
    again = Schema.from_dict(schema.with_columns(tuple(a.column for a in attributes)).to_dict())
    assert again.columns[0].categories == ()


def test_a_profile_spends_its_grant_and_finds_what_is_wrong() -> None:
    schema = schema_of(a=listed("x"), n=number(0, 9))
    frame = pd.DataFrame({"a": ["x"] * 6000 + ["y"] * 4000, "n": ["5"] * 5000 + ["99"] * 5000})
    table = single_use(frame, schema)
    granted = table.grant(profile_request(1.0, 1e-6))
    found = profile(table, schema)
    assert granted.amount_ticks >= table.spent.amount_ticks >= 0.999 * granted.amount_ticks
    assert found[0].shares["unlisted"] == pytest.approx(0.4, abs=0.02)
    assert found[1].shares["above"] == pytest.approx(0.5, abs=0.02)
    assert all(p.advice for p in found)


def test_each_open_point_has_a_line_and_a_price() -> None:
    points = list(open_points(schema_of(o={"type": "categorical"}, n={"type": "integer"}, a=listed("x"))))
    assert [p.column for p in points] == ["o", "n", "", ""]
    assert all(p.line for p in points)
    assert all(0 < p.epsilon < 0.1 for p in points[:3]) and points[3].epsilon == 0
