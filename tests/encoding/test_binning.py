"""Where numbers are cut: everywhere a bin, by released answers only, for its part of the grant, finely where rows are."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpsynth.encoding import Decoder, public_attribute, released_attributes
from dpsynth.encoding.advice import open_points
from dpsynth.encoding.binning import FEWEST, LEVELS, is_cut_by_counts, next_level, with_measured_cuts
from dpsynth.encoding.domains import CUTS_SHARE, DOMAIN_SHARE
from dpsynth.errors import BadInput
from dpsynth.privacy import GDP, Bins, PrivateTable, Request
from dpsynth.privacy.answers import Answers
from dpsynth.privacy.currency import ZCDP, Currency
from dpsynth.privacy.noise import Counts
from dpsynth.schema import Schema
from dpsynth.synthesizers import Independent
from dpsynth.synthesizers.model import load
from dpsynth.testing import seeded_table

PERSON = {"unit": "person", "columns": ["id"], "max_rows": 3}


def number(low: float, high: float, kind: str = "integer", **rest: Any) -> dict[str, Any]:
    return {"type": kind, "bounds": [low, high], "bounds_basis": "publisher"} | rest


def schema_of(unit: dict[str, Any] | None = None, **entries: dict[str, Any]) -> Schema:
    columns = [{"name": n, **e} for n, e in entries.items()]
    return Schema.from_dict({"name": "t", "privacy_unit": unit or {"unit": "row"}, "columns": columns})


NUMBERS = [
    number(0, 80), number(-1, 1, "continuous"), number(0, 5, "continuous", special=[-9]), number(0, 100, special=[7, 8, 50, -1]),
    number(0, 1e6), number(-1e-6, 1e-6, "continuous"), number(0.1, 0.3, "continuous", bins=7), number(-50, 5, bins=3),
    number(-1e12, 1e12, "continuous", special=[1.5]), number(0, 2**53), number(0, 1, "continuous", bins=1), number(-900, -20), number(1900, 2100),
]  # fmt: skip


class Scripted:
    """Noise that answers what it was told to, whatever the counts are; zeros when it has been told no more."""

    private = False

    def __init__(self, *answers: list[int]):
        self.answers = list(answers)

    def add_discrete_gaussian(self, counts: Counts, sigma: float) -> Counts:
        said = self.answers.pop(0) if self.answers else []
        return np.resize(np.array(said or [0], dtype=np.int64), counts.shape)

    def choose(self, scores: Counts, scale: float) -> int:
        raise AssertionError("binning selects nothing")


def granted(rows: Any, schema: Schema, currency: Currency = GDP, epsilon: float = 1.0, **rest: Any) -> PrivateTable:
    table = PrivateTable(rows, schema, lambda request: request.cost_in(currency), "unledgered", **rest)
    table.grant(Request(epsilon, 1e-6, True, "test"))
    return table


def cut(values: Any, entry: dict[str, Any], **rest: Any) -> Bins:
    """The bins of a column of `values` at the largest epsilon there is."""
    schema = schema_of(n=entry)
    table = granted(pd.DataFrame({"n": values}), schema, epsilon=100.0, **rest)
    attribute = public_attribute(with_measured_cuts(table, schema.column("n"), table.left.amount))
    assert isinstance(attribute, Bins)
    return attribute


@pytest.mark.parametrize("entry", NUMBERS)
def test_the_first_level_is_public_and_no_wider_than_equal_steps(entry: dict[str, Any]) -> None:
    column = schema_of(n=entry).column("n")
    attribute = public_attribute(column)
    assert isinstance(attribute, Bins) and column.bounds is not None
    low, end = attribute.edges[0], attribute.edges[-1]
    assert (low, end) == (column.bounds[0], column.bounds[1] + (column.type == "integer"))
    widths = np.diff(attribute.edges)
    assert widths.min() > 0 and widths.max() <= (end - low) / column.bins * (1 + 1e-9) + (column.type == "integer")
    assert column.type == "continuous" or all(e == int(e) for e in attribute.edges)


@given(st.sampled_from(NUMBERS), st.lists(st.integers(-(10**6), 10**9), min_size=1, max_size=80), st.lists(st.integers(0, 10**9), max_size=80))
@settings(deadline=None, max_examples=50)
def test_whatever_the_answers_each_number_has_one_bin_and_comes_back_to_it(entry: dict[str, Any], first: list[int], second: list[int]) -> None:
    bins = cut([], entry, noise=Scripted(first, second))
    column = bins.column
    assert column.bounds is not None and column.cuts == bins.edges[1:-1]
    assert all(a < b for a, b in pairwise(bins.edges))
    assert (bins.edges[0], bins.edges[-1]) == (column.bounds[0], column.bounds[1] + (column.type == "integer"))
    assert column.type == "continuous" or all(e == int(e) for e in bins.edges)
    codes = np.repeat(np.arange(bins.size), 3)
    cells = Decoder(bins).decode(codes, np.random.default_rng(0))
    again = bins.encode(cells, ".")
    assert {int(c) for c in codes[again != codes]} <= _all_special(bins)
    present = cells.dropna().astype(float)
    present = present[~present.isin(bins.special)]
    assert present.between(*column.bounds).all()


def _all_special(bins: Bins) -> set[int]:
    """Bins of whole numbers that are all special, which have no number of their own to come back as."""
    if bins.column.type != "integer":
        return set()
    narrow = [(i, int(a), int(b)) for i, (a, b) in enumerate(pairwise(bins.edges)) if b - a <= len(bins.special)]
    return {i for i, a, b in narrow if set(range(a, b)) <= set(bins.special)}


@given(st.sampled_from(NUMBERS), st.lists(st.integers(-100, 1000), min_size=1, max_size=80), st.integers(0, 300))
@settings(deadline=None, max_examples=50)
def test_a_level_cuts_what_is_clear_and_joins_what_is_hidden(entry: dict[str, Any], said: list[int], clear: int) -> None:
    """Against the rule said plainly of each bin, and of each wall that went."""
    old = public_attribute(schema_of(n=entry).column("n"))
    assert isinstance(old, Bins)
    most_bins = old.column.bins
    counts = np.resize(np.array(said, dtype=np.float64), old.size)
    new = next_level(old, counts, clear).edges
    rows = max(sum(counts.tolist()), 1.0)
    for count, (low, high) in zip(counts.tolist(), pairwise(old.edges), strict=False):
        shares = min(int(count / (rows / most_bins)), most_bins) if count > clear else 1
        whole = int(high - low) if old.column.type == "integer" else most_bins
        assert sum(low < e < high for e in new) == max(min(shares, whole), 1) - 1
    for low, high in pairwise(new):
        joined = [count for count, (a, b) in zip(counts.tolist(), pairwise(old.edges), strict=False) if low <= a and b <= high]
        if len(joined) > 1:
            near, far = sorted((abs(low), abs(high)))
            assert sum(joined) <= clear and low * high >= 0 and (near == 0 or far <= 2 * near)
            assert high - low <= (old.edges[-1] - old.edges[0]) / min(most_bins, FEWEST)


def test_cuts_are_where_rows_are() -> None:
    rng = np.random.default_rng(0)
    for values, entry in (
        (rng.lognormal(3, 1.2, 20_000), number(0, 1e6, "continuous")),
        (np.rint(rng.lognormal(8, 1.5, 20_000)), number(0, 5_000_000)),
        (-rng.lognormal(3, 1.2, 20_000), number(-1e6, 1e6, "continuous")),
        (rng.normal(2015, 4, 20_000), number(0, 9999, "continuous")),
        (rng.normal(1e6, 5_000, 20_000), number(0, 1e7, "continuous")),
    ):
        bins = cut(values, entry)
        assert np.histogram(values, bins=bins.edges)[0].max() < 0.12 * len(values)
        assert bins.bins < 4 * bins.column.bins


def test_a_spike_of_whole_numbers_has_a_bin_of_its_own() -> None:
    values = np.random.default_rng(0).integers(1, 100, 20_000)
    values[:9_000] = 40
    assert (40, 41) in pairwise(cut(values, number(1, 99)).edges)
    values[:9_000], values[9_000:12_000] = -1, 0
    assert {(-1, 0), (0, 1)} <= set(pairwise(cut(values, number(-1, 100_000)).edges))


def test_few_rows_leave_bins_no_wider_than_half_the_range() -> None:
    schema = schema_of(n=number(17, 90), x=number(0, 1, "continuous"))
    for rows in (0, 30):
        table = granted(pd.DataFrame({"n": [40] * rows, "x": [0.5] * rows}), schema)
        for attribute in released_attributes(table):
            assert isinstance(attribute, Bins)
            assert max(np.diff(attribute.edges)) <= (attribute.edges[-1] - attribute.edges[0]) / FEWEST + 1


def test_the_same_answers_give_the_same_cuts_whatever_the_rows(tmp_path: Path) -> None:
    """Replayed answers: the second table's rows are never even fetched, and one whose rows differ, asked anew, is cut elsewhere."""
    schema = schema_of(n=number(0, 100_000), o={"type": "continuous"}, c=number(-5, 5, "continuous"))

    def never() -> pd.DataFrame:
        raise AssertionError("rows were fetched")

    def people(scale: float) -> pd.DataFrame:
        values = np.random.default_rng(1).lognormal(scale, 1, 5_000)
        return pd.DataFrame({"n": np.rint(values), "o": values, "c": np.clip(values, -5, 5)})

    first = released_attributes(granted(people(5), schema, answers=Answers(tmp_path / "answers.jsonl")))
    assert released_attributes(granted(never, schema, answers=Answers(tmp_path / "answers.jsonl"))) == first
    assert released_attributes(granted(people(8), schema)) != first


def test_neighbours_with_the_same_noisy_answers_have_the_same_cuts() -> None:
    """By brute force on tiny tables: cuts are a function of the answers alone."""
    entry = number(0, 1000)
    for said in ([0], [5, 90, 0, 0, 400], [1000, 3]):
        tables = [[], [7], [7, 7], [999, 7, 7], [0], ["?", None, 1e30, -5]]
        assert len({cut(rows, entry, noise=Scripted(said, said)) for rows in tables}) == 1


@pytest.mark.parametrize("currency", [GDP, ZCDP], ids=lambda c: c.name)
@pytest.mark.parametrize("max_rows", [1, 3])
def test_cuts_cost_their_part_of_the_grant_and_no_more(currency: Currency, max_rows: int) -> None:
    schema = schema_of(PERSON | {"max_rows": max_rows}, id={"type": "id"}, n=number(0, 1e6), c=number(0, 9, "continuous"), few=number(0, 9))
    rows = pd.DataFrame({"id": range(500), "n": 5, "c": 1.5, "few": 3})
    table = granted(rows, schema, currency)
    released_attributes(table)
    assert 0.999 * CUTS_SHARE * table.granted.amount < table.spent.amount <= CUTS_SHARE * table.granted.amount
    assert table.spent.delta_ticks == 0
    assert [e["what"] for e in table.events] == [["n"]] * LEVELS + [["c"]] * LEVELS


def test_a_persons_rows_make_the_noise_that_much_larger(tmp_path: Path) -> None:
    sigmas = {}
    for max_rows in (1, 4):
        schema = schema_of(PERSON | {"max_rows": max_rows}, id={"type": "id"}, n=number(0, 1e6))
        answers = tmp_path / f"{max_rows}.jsonl"
        released_attributes(granted(pd.DataFrame({"id": [1], "n": [5]}), schema, answers=Answers(answers)))
        sigmas[max_rows] = [json.loads(line)[0]["sigma"] for line in answers.read_text().splitlines()]
    assert len(sigmas[1]) == LEVELS
    assert sigmas[4] == pytest.approx([4 * s for s in sigmas[1]], rel=1e-3)


def test_open_bounds_come_first_and_public_cuts_cost_nothing() -> None:
    public = number(0, 100, cuts=[18, 40, 65], cuts_basis="publisher")
    schema = schema_of(a=public, o={"type": "integer"})
    table = granted(pd.DataFrame({"a": [20] * 900, "o": [17, 5_000] * 450}), schema)
    a, o = released_attributes(table)
    assert isinstance(a, Bins) and isinstance(o, Bins)
    assert a.edges == (0, 18, 40, 65, 101) and a.special == (0,)
    assert o.column.bounds is not None and o.column.bounds_basis == o.column.cuts_basis
    assert table.spent.amount == pytest.approx((DOMAIN_SHARE + CUTS_SHARE) * table.granted.amount, rel=1e-3)
    closed = granted(pd.DataFrame({"a": [20]}), schema_of(a=public))
    released_attributes(closed)
    assert closed.spent.amount_ticks == 0


def test_special_values_are_no_part_of_what_bounds_are_measured_from() -> None:
    schema = schema_of(n={"type": "integer", "special": [-999_999, 7]})
    (n,) = released_attributes(granted(pd.DataFrame({"n": [-999_999] * 500 + [7] * 500 + [20, 60] * 500}), schema))
    assert isinstance(n, Bins) and n.column.bounds == (16, 64) and set(n.special) >= {-999_999, 7}


def test_what_is_cut_by_counts() -> None:
    by_counts = {"wide": number(0, 100), "real": number(0, 1, "continuous"), "open": {"type": "integer"}}
    not_so = {
        "few": number(0, 31),
        "public": number(0, 100, cuts=[50], cuts_basis="publisher"),
        "name": {"type": "categorical", "categories": ["a"], "categories_basis": "publisher"},
        "id": {"type": "id"},
    }
    for entries, wanted in ((by_counts, True), (not_so, False)):
        assert all(is_cut_by_counts(c) is wanted for c in schema_of(PERSON, **entries | {"id": {"type": "id"}}).columns if c.name in entries)
    (point,) = [p for p in open_points(schema_of(PERSON, **by_counts, **not_so)) if "cuts" in p.line]
    assert point.what == "3 numbers are cut into bins by noisy counts" and 0 < point.epsilon < 0.02


def test_a_model_keeps_its_cuts(tmp_path: Path) -> None:
    schema = schema_of(n=number(0, 100_000, special=[-1]), c=number(-1, 1, "continuous"))
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({"n": np.rint(rng.lognormal(6, 1, 3_000)), "c": rng.normal(0, 0.1, 3_000)})
    model = Independent(1.0, 1e-9).fit(seeded_table(frame, schema, 1))
    model.save(tmp_path / "model.npz")
    again = load(tmp_path / "model.npz")
    assert again.codec.attributes == model.codec.attributes
    for column, attribute in zip(again.schema.columns, again.codec.attributes, strict=True):
        assert column.cuts and public_attribute(column) == attribute
        assert column.cuts_basis is not None and column.cuts_basis.text.startswith("released")
    assert Schema.from_dict(model.schema.to_dict()) == model.schema
    assert again.sample(500, seed=3).equals(model.sample(500, seed=3))


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        (number(0, 100, cuts=[50]), "cuts without a basis"),
        (number(0, 100, cuts_basis="publisher"), "cuts_basis is public but there are no cuts"),
        (number(0, 100, cuts=[50, 50], cuts_basis="publisher"), "each above the one before"),
        (number(0, 100, cuts=50, cuts_basis="publisher"), "each above the one before"),
        (number(0, 100, cuts=[float("nan")], cuts_basis="publisher"), "not finite numbers"),
        (number(0, 100, cuts=[0, 50], cuts_basis="publisher"), "not inside the bounds"),
        (number(0, 100, cuts=[101], cuts_basis="publisher"), "not inside the bounds"),
        (number(0, 100, "continuous", cuts=[100], cuts_basis="publisher"), "not inside the bounds"),
        (number(0, 100, "continuous", cuts=[1e-300], cuts_basis="publisher"), "too near another"),
        (number(0, 100, cuts=[1.5], cuts_basis="publisher"), "fractional cuts"),
        (number(0, 10**6, cuts=list(range(1, 10_002)), cuts_basis="publisher"), "more than 10,000 bins"),
        ({"type": "integer", "cuts": [50], "cuts_basis": "publisher"}, "cuts without public bounds"),
    ],
)
def test_cuts_that_are_none_are_refused_by_name(entry: dict[str, Any], fault: str) -> None:
    with pytest.raises(BadInput, match=fault):
        schema_of(n=entry)


def test_cuts_copied_from_the_data_are_left_aside() -> None:
    column = schema_of(n=number(0, 100, cuts=[50], cuts_basis="observed: in the file")).column("n")
    assert column.cuts is None and column.cuts_basis is None and is_cut_by_counts(column)
    upmost = schema_of(n=number(0, 100, cuts=[100], cuts_basis="publisher"))
    assert Schema.from_dict(upmost.to_dict()) == upmost
