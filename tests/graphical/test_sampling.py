"""Rows from a model: counts rounded and right on average, pairs that no clique holds no worse than by chance, an order that tells nothing."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2

from dpsynth.graphical import Domain, Factor, GraphicalModel, JunctionTree, draw, kernels, sample, sampling
from dpsynth.graphical.sampling import rounded
from dpsynth.schema import Schema
from dpsynth.synthesizers import MST
from dpsynth.utility.fidelity import encode, shares

DOMAIN = Domain(("a", "b", "c", "d", "e"), (2, 3, 2, 4, 1))
SHAPES = {
    "chain": ["ab", "bc", "cd", "de"],
    "star": ["ab", "ac", "ad", "ae"],
    "cycle": ["ab", "bc", "cd", "da"],
    "disconnected": ["ab", "cd"],
    "nothing": [],
    "triples": ["abc", "cde", "ad"],
    "the whole": ["abcde"],
    "backwards": ["dca", "eb"],
}
each_shape = pytest.mark.parametrize("shape", SHAPES)
each_way = pytest.mark.parametrize("way", [sample, draw])


@pytest.fixture(params=[0, sampling.BALANCED], ids=["by chance", "balanced"])
def balancing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "BALANCED", request.param)


def model_of(cliques: list[str], domain: Domain = DOMAIN, seed: int = 0, spread: float = 1.0) -> GraphicalModel:
    rng = np.random.default_rng(seed)
    potentials = {tuple(c): Factor(domain.project(c), rng.normal(0, spread, domain.project(c).sizes)) for c in cliques}
    return GraphicalModel.from_potentials(JunctionTree.build(domain, potentials), potentials, 1.0)


def counted(model: GraphicalModel, codes: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    domain = model.domain
    cells = np.ravel_multi_index([codes[:, a].astype(np.int64) for a in domain.axes(names)], [domain.size(n) for n in names])
    return np.bincount(cells, minlength=domain.project(names).cells).reshape([domain.size(n) for n in names])


def error(model: GraphicalModel, codes: np.ndarray, names: tuple[str, ...]) -> float:
    return float(np.abs(counted(model, codes, names) / len(codes) - model.project(names)).sum() / 2)


@each_shape
@pytest.mark.parametrize("rows", [0, 1, 7, 5_000])
@pytest.mark.usefixtures("balancing")
def test_samples_have_the_models_marginals(shape: str, rows: int) -> None:
    model = model_of(SHAPES[shape])
    codes = sample(model, rows, np.random.default_rng(3))
    assert codes.shape == (rows, 5)
    assert (codes < DOMAIN.sizes).all()
    for clique in model.tree.cliques:
        assert np.abs(counted(model, codes, clique) - rows * model.project(clique)).max() <= DOMAIN.project(clique).cells
    first = model.tree.cliques[0][:1]
    assert np.abs(counted(model, codes, first) - rows * model.project(first)).max() <= 1


@each_shape
def test_independent_draws_have_the_models_distribution(shape: str) -> None:
    model, rows = model_of(SHAPES[shape]), 20_000
    codes = draw(model, rows, np.random.default_rng(5))
    for names in combinations(DOMAIN.names, 2):
        wanted = rows * model.project(names)
        assert ((counted(model, codes, names) - wanted) ** 2 / wanted).sum() < chi2.isf(1e-7, wanted.size)
    assert draw(model, 0, np.random.default_rng(5)).shape == (0, 5)


def test_a_draw_takes_the_first_value_whose_rung_lies_above_it() -> None:
    shares = np.random.default_rng(0).dirichlet(np.ones(7) / 3, size=5) * np.array([[1], [0], [3], [1e-9], [1e9]])
    shares[2, [0, 3, 6]] = 0
    ladders, groups, column = shares.cumsum(axis=1), np.arange(40_000, dtype=np.uint32) % 5, np.empty(40_000, dtype=np.uint8)
    kernels.drawn(column, groups, ladders, np.random.default_rng(1))
    reached = np.random.default_rng(1).random(len(column)) * ladders[groups, -1]
    np.testing.assert_array_equal(column, np.minimum((ladders[groups] <= reached[:, None]).sum(axis=1), 6))
    assert not set(column[groups == 2]) & {0, 3, 6}


def test_independent_draws_vary_as_such_and_samples_do_not() -> None:
    model = model_of(["ab"], Domain(("a", "b"), (2, 2)))
    rows, share = 100, model.project("a")[0]
    ones = {way: [counted(model, way(model, rows, np.random.default_rng(i)), ("a",))[0] for i in range(400)] for way in (sample, draw)}
    assert np.var(ones[draw]) == pytest.approx(rows * share * (1 - share), rel=0.3)
    assert np.ptp(ones[sample]) <= 1


@pytest.mark.usefixtures("balancing")
def test_samples_are_right_on_average_also_where_no_clique_holds_a_pair() -> None:
    model = model_of(SHAPES["chain"])
    codes = np.concatenate([sample(model, 40, np.random.default_rng(i)) for i in range(600)])
    assert max(error(model, codes, names) for names in combinations("abcd", 2)) < (0.01 if sampling.BALANCED == 0 else 0.02)


@pytest.mark.usefixtures("balancing")
def test_columns_that_are_independent_given_another_stay_so() -> None:
    """A sampler that sorts within groups invents correlation: in mbi 1.1 the distance is .36 where independent draws have .013."""
    model = model_of(["ab", "bc"], Domain(("a", "b", "c"), (6, 3, 6)))
    errors = {way: np.mean([error(model, way(model, 3_000, np.random.default_rng(i)), ("a", "c")) for i in range(8)]) for way in (sample, draw)}
    assert errors[sample] < 1.05 * errors[draw]
    assert sampling.BALANCED == 0 or errors[sample] < 0.5 * errors[draw]


def test_a_sample_of_a_fit_errs_little_more_than_its_model(survey: tuple[pd.DataFrame, Schema]) -> None:
    frame, schema = survey
    model = MST(10.0, 1e-9).fit(frame, schema)
    truth = encode(frame, model.codec.attributes)
    made = sample(model.graphical, len(frame), np.random.default_rng(0), model.codec.names)
    codes = dict(zip(model.codec.names, made.T.astype(np.int64), strict=True))
    own, sampled = [], []
    for pair in combinations(model.codec.attributes, 2):
        share = model.graphical.project([a.column.name for a in pair]).ravel() / model.total
        own.append(np.abs(share - shares(truth, pair)).sum())
        sampled.append(np.abs(shares(codes, pair) - shares(truth, pair)).sum())
    assert np.mean(sampled) < 1.1 * np.mean(own)


@each_way
@pytest.mark.usefixtures("balancing")
def test_a_seed_repeats_the_rows_and_another_does_not(way: Callable[..., np.ndarray]) -> None:
    model = model_of(SHAPES["triples"])
    made = [way(model, 500, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(made[0], made[1])
    assert (made[0] != made[2]).any()
    rng = np.random.default_rng(1)
    assert (way(model, 500, rng) != way(model, 500, rng)).any()


@each_way
@pytest.mark.usefixtures("balancing")
def test_the_order_of_rows_tells_nothing(way: Callable[..., np.ndarray]) -> None:
    model, rows = model_of(SHAPES["star"]), 150_000
    codes = way(model, rows, np.random.default_rng(4))
    for part in (codes[: rows // 7], codes[-rows // 7 :], codes[::2]):
        for names in combinations("abcd", 2):
            wanted = counted(model, codes, names) * len(part) / rows
            assert ((counted(model, part, names) - wanted) ** 2 / wanted).sum() < chi2.isf(1e-7, wanted.size)
    neighbours = np.stack([codes[:-1, 3], codes[1:, 3]], axis=1)
    table = np.bincount(neighbours[:, 0] * np.int64(4) + neighbours[:, 1], minlength=16).reshape(4, 4)
    wanted = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    assert ((table - wanted) ** 2 / wanted).sum() < chi2.isf(1e-7, 16)


@each_way
def test_only_the_names_asked_for_come_back_in_their_order(way: Callable[..., np.ndarray]) -> None:
    model = model_of(["ab", "bc", "cd"])
    codes = way(model, 2_000, np.random.default_rng(0), ("d", "a"))
    assert codes.shape == (2_000, 2)
    assert set(codes[:, 0]) == {0, 1, 2, 3}
    assert set(codes[:, 1]) == {0, 1}
    joint = np.bincount(codes[:, 0] * np.int64(2) + codes[:, 1], minlength=8).reshape(4, 2) / 2_000
    assert np.abs(joint - model.project(("d", "a"))).sum() / 2 < 0.05


@each_way
@pytest.mark.usefixtures("balancing")
def test_what_a_model_holds_impossible_never_happens(way: Callable[..., np.ndarray]) -> None:
    """A coarse view of a column is a function of it, and a row keeps to it."""
    domain = Domain(("view", "a", "b"), (3, 300, 2))
    rng, view = np.random.default_rng(0), np.arange(300) // 100
    link = np.where(np.arange(3)[:, None] == view, 0.0, -np.inf)
    potentials = {("view", "a"): Factor(domain.project(("view", "a")), link + rng.normal(0, 2, 300))}
    potentials[("view", "b")] = Factor(domain.project(("view", "b")), rng.normal(0, 1, (3, 2)))
    model = GraphicalModel.from_potentials(JunctionTree.build(domain, potentials), potentials, 1.0)
    codes = way(model, 3_000, rng)
    assert codes.dtype == np.uint16
    assert (view[codes[:, 1]] == codes[:, 0]).all()


@pytest.mark.parametrize("rows", [70_000, 1_000_000])
def test_blocks_of_rows_add_up_to_the_rounded_counts(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "BALANCED", 0)
    model = model_of(["ab", "bc"])
    codes = sample(model, rows, np.random.default_rng(0))
    held = counted(model, codes, ("a", "b", "c"))
    for pair, axis in ((("a", "b"), 2), (("b", "c"), 0)):
        assert np.abs(held.sum(axis=axis) - rows * model.project(pair)).max() <= 3


def test_rounding_sums_up_is_near_and_is_right_on_average() -> None:
    rng = np.random.default_rng(8)
    shares = rng.dirichlet(np.ones(6) / 2, size=4)
    shares[3] = [1, 0, 0, 0, 0, 0]
    sizes, runs = np.array([1, 7, 1000, 12]), 4_000
    drawn = np.array([rounded(shares, sizes, rng) for _ in range(runs)])
    assert (drawn.sum(axis=2) == sizes).all()
    assert (drawn >= 0).all()
    wanted = shares * sizes[:, None]
    assert (np.abs(drawn - wanted) <= 1 + 1e-9).all()
    part = wanted - np.floor(wanted)
    variance = part * (1 - part) * runs
    loose = variance > 5
    z = (drawn.sum(axis=0) - runs * wanted)[loose] ** 2 / variance[loose]
    assert z.max() < chi2.isf(1e-9, 1)


def test_a_group_without_mass_is_shared_equally() -> None:
    rng = np.random.default_rng(0)
    assert rounded(np.zeros((2, 4)), np.array([8, 0]), rng).tolist() == [[2, 2, 2, 2], [0, 0, 0, 0]]


TINY = {"single": ["a"], "pair": ["ab"], "chain": ["ab", "bc"], "star": ["ab", "ac", "ad"], "triple": ["abc", "cd"], "apart": ["ab", "cd"]}


@pytest.mark.parametrize("shape", TINY)
@pytest.mark.parametrize("rows", [1, 13, 200])
@pytest.mark.usefixtures("balancing")
def test_each_count_of_a_tiny_tree_is_the_rounded_one_of_its_group(shape: str, rows: int) -> None:
    """Down the tree, cell by cell: among the rows that agree on what a column hangs on, each of its values is there as often as the joint
    table's share of them says, to less than one row; and all of them together as often as there are such rows."""
    domain = Domain(tuple("abcd"), (2, 3, 2, 4))
    model = model_of(TINY[shape], domain)
    joint = np.ones(domain.sizes)
    for clique, part in zip(model.cliques, model.parts, strict=True):
        over = Factor(domain.project(clique), part.reshape([domain.size(n) for n in clique]))
        joint = joint * np.exp(over.expand(domain))
    codes = sample(model, rows, np.random.default_rng(6)).astype(np.int64)
    before: list[str] = []
    for clique, given in zip(model.tree.cliques, model.tree.separators, strict=True):
        earlier = list(given)
        for name in (n for n in clique if n not in before):
            for cell in np.ndindex(*(domain.size(n) for n in earlier)):
                group = codes[(codes[:, list(domain.axes(earlier))] == cell).all(axis=1)]
                at = dict(zip(earlier, cell, strict=True))
                table = joint[tuple(at.get(n, slice(None)) for n in domain.names)]
                left = [n for n in domain.names if n not in at]
                share = table.sum(axis=tuple(i for i, n in enumerate(left) if n != name)) / table.sum()
                held = np.bincount(group[:, domain.position(name)], minlength=domain.size(name))
                assert held.sum() == len(group)
                assert (np.abs(held - len(group) * share) < 1 + 1e-9).all()
            earlier.append(name)
            before.append(name)
    assert sorted(before) == sorted(domain.names)


def by_hand(
    groups: np.ndarray, counts: np.ndarray, known: list[np.ndarray], wanted: list[np.ndarray], order: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Who gets which value, one row after the other: each looks at four of the values left to its group, and takes the one that is the
    furthest behind with the row's other values, by what was due until now, in roots of what is due in all."""
    left = [[v for v, n in enumerate(own) for _ in range(n)] for own in counts]
    met = [np.zeros_like(w) for w in wanted]
    column = np.full(len(groups), -1)
    for i, row in enumerate(order):
        heap, done = left[groups[row]], i / len(order)

        def behind(at: int) -> float:
            cells = [(k, codes[row], heap[at]) for k, codes in enumerate(known)]  # noqa: B023
            return sum((done * wanted[k][c, v] - met[k][c, v]) / np.sqrt(wanted[k][c, v]) for k, c, v in cells)  # noqa: B023

        looks = [int(rng.random() * len(heap)) for _ in range(4)]
        taken = max(looks, key=lambda at: round(behind(at), 9))
        column[row] = heap[taken]
        for k, codes in enumerate(known):
            met[k][codes[row], heap[taken]] += 1
        heap[taken] = heap[-1]
        heap.pop()
    return column


@pytest.mark.parametrize("seed", range(8))
def test_balancing_is_that_of_a_slow_twin_row_by_row(seed: int) -> None:
    """On 120 rows with up to three columns before: what is due to each pair, and then each row's value."""
    rng = np.random.default_rng(seed)
    rows, many, values = 120, int(rng.integers(1, 4)), int(rng.integers(2, 5))
    known = [(rng.integers(0, 3, rows).astype(np.uint8), 3) for _ in range(seed % 4)]
    groups = rng.integers(0, many, rows).astype(np.uint32)
    counts = rounded(rng.dirichlet(np.ones(values), size=many), np.bincount(groups, minlength=many), rng)
    due = [np.zeros((size, values)) for _, size in known]
    for table, (codes, _) in zip(due, known, strict=True):
        for code, group in zip(codes, groups, strict=True):
            table[code] += counts[group] / counts[group].sum()
    for table, told in zip(due, sampling._expected(groups, counts, known), strict=True):
        np.testing.assert_allclose(told, table.ravel(), atol=1e-9)
    order, column = rng.permutation(rows), np.empty(rows, dtype=np.uint8)
    wanted = np.concatenate([np.empty(0), *(table.ravel() for table in due)])
    beside = np.array([[3 * values * k + codes[r] * values for k, (codes, _) in enumerate(known)] for r in range(rows)], dtype=np.uint32)
    held = sampling._held(counts, column.dtype)
    kernels.balanced(column, groups, *held, beside.reshape(rows, -1), wanted, np.sqrt(wanted), wanted.copy(), order, np.random.default_rng(1))
    twin = by_hand(groups, counts, [codes for codes, _ in known], due, order, np.random.default_rng(1))
    np.testing.assert_array_equal(column, twin)
    for group in range(many):
        np.testing.assert_array_equal(np.bincount(column[groups == group], minlength=values), counts[group])
