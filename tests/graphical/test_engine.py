"""Graphs, trees and beliefs against slow twins, on domains and cliques that hypothesis makes up."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpsynth.graphical import Domain, Factor, Graph, GraphicalModel, JunctionTree, belief, distant
from dpsynth.graphical.belief import Belief, Layout, Plan, log_space, plan_for
from dpsynth.graphical.graph import eliminated as fast_eliminated

Cliques = list[tuple[str, ...]]
ROOT = Path(__file__).parents[2]
each_slowly = settings(deadline=None, max_examples=80)


@st.composite
def problems(draw: st.DrawFn, most: int = 6, largest: int = 5) -> tuple[Domain, Cliques]:
    """A domain and cliques over it in any order, some twice, some not connected; attributes in no clique."""
    names = "abcdefgh"[: draw(st.integers(1, most))]
    sizes = draw(st.lists(st.integers(1, largest), min_size=len(names), max_size=len(names)))
    clique = st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True).map(tuple)
    cliques = draw(st.lists(clique, max_size=7))
    return Domain(tuple(names), tuple(sizes)), cliques + [c[::-1] for c in cliques[:1]]


def potentials_of(domain: Domain, cliques: Iterable[tuple[str, ...]], scale: float = 2.0, seed: int = 0) -> dict[tuple[str, ...], Factor]:
    rng = np.random.default_rng(seed)
    return {c: Factor(domain.project(c), rng.normal(0, scale, domain.project(c).sizes)) for c in cliques}


def model_of(domain: Domain, potentials: dict[tuple[str, ...], Factor]) -> GraphicalModel:
    return GraphicalModel.from_potentials(JunctionTree.build(domain, potentials), potentials, 1.0)


def joint_of(domain: Domain, potentials: dict[tuple[str, ...], Factor]) -> np.ndarray:
    logs = sum((f.expand(domain) for f in potentials.values()), np.zeros(domain.sizes))
    joint = np.exp(logs - logs.max())
    return joint / joint.sum()


def marginal(domain: Domain, joint: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    kept = domain.sorted(names)
    return joint.sum(axis=tuple(i for i, n in enumerate(domain.names) if n not in kept)).transpose([kept.index(n) for n in names])


def cells(domain: Domain, clique: Iterable[str]) -> int:
    return math.prod(domain.size(n) for n in clique)


@each_slowly
@given(problems(most=8))
def test_a_tree_has_the_running_intersection_and_holds_every_clique(problem: tuple[Domain, Cliques]) -> None:
    domain, cliques = problem
    tree = JunctionTree.build(domain, cliques)
    assert {n for c in tree.cliques for n in c} == set(domain.names)
    assert not any(set(c) <= set(d) for c, d in combinations(tree.cliques, 2))
    assert not any(set(d) <= set(c) for c, d in combinations(tree.cliques, 2))
    for clique in cliques:
        homes = [c for c in tree.cliques if set(clique) <= set(c)]
        assert cells(domain, tree.cliques[tree.home(clique)]) == min(cells(domain, c) for c in homes)
    for i, (parent, separator) in enumerate(zip(tree.parents, tree.separators, strict=True)):
        assert parent < i
        assert (parent >= 0) == bool(separator)
        assert set(separator) == (set(tree.cliques[i]) & set(tree.cliques[parent]) if separator else set())
        assert tree.cliques[i] == domain.ascending(tree.cliques[i])
    for name in domain.names:  # the cliques that hold it are connected: one of them alone has a parent without it, or none
        assert sum(name in c and name not in s for c, s in zip(tree.cliques, tree.separators, strict=True)) == 1
    assert tree == JunctionTree.build(domain, cliques)


@each_slowly
@given(problems(most=8))
def test_a_graphs_cells_are_those_of_its_cliques_also_one_by_one(problem: tuple[Domain, Cliques]) -> None:
    domain, cliques = problem
    graph = Graph.of(domain, ())
    assert graph.cells == sum(domain.sizes)
    for i, clique in enumerate(cliques):
        held = graph.holds(clique)
        larger = graph.plus(clique)
        assert held == (larger.joined == graph.joined).all()
        assert larger.cells == Graph.of(domain, cliques[: i + 1]).cells == sum(cells(domain, c) for c in larger.cliques)
        assert larger.cells == JunctionTree.build(domain, cliques[: i + 1]).cells
        graph = larger
    for a, b in combinations(domain.names, 2):
        assert graph.joined[domain.axes((a, b))] == any({a, b} <= set(c) for c in cliques)


def eliminated(domain: Domain, cliques: Cliques, by_fill: bool) -> tuple[list[set[int]], int]:
    """What `graph.eliminated` does, with sets and every cost computed afresh."""
    near: dict[int, set[int]] = {i: set() for i in range(len(domain.names))}
    for a, b in (pair for clique in cliques for pair in combinations(domain.axes(clique), 2)):
        near[a].add(b)
        near[b].add(a)
    found, total = list[set[int]](), 0

    def cost(i: int) -> tuple[int, int]:
        fill = sum(b not in near[a] for a, b in combinations(near[i], 2))
        size = math.prod(domain.sizes[j] for j in near[i] | {i})
        return (fill, size) if by_fill else (size, fill)

    while near:
        chosen = min(near, key=cost)
        around = near.pop(chosen)
        if not any(around | {chosen} <= f for f in found):
            found.append(around | {chosen})
            total += math.prod(domain.sizes[j] for j in found[-1])
        for j in around:
            near[j] = (near[j] | around) - {j, chosen}
    return found, total


@each_slowly
@given(problems(most=8), st.booleans())
def test_elimination_is_that_of_a_slow_twin(problem: tuple[Domain, Cliques], by_fill: bool) -> None:
    domain, cliques = problem
    assert fast(domain, cliques, by_fill) == eliminated(domain, cliques, by_fill)


def fast(domain: Domain, cliques: Cliques, by_fill: bool) -> tuple[list[set[int]], float]:
    kept, size = fast_eliminated(domain.lengths, Graph.of(domain, cliques).near, by_fill)
    rows = [sum(int(word) << 64 * w for w, word in enumerate(row)) for row in kept]
    return [{i for i in range(len(domain.names)) if row >> i & 1} for row in rows], size


@pytest.mark.parametrize("by_fill", [True, False])
@pytest.mark.parametrize("attributes", [63, 64, 65, 128, 130])
def test_elimination_of_more_attributes_than_a_word_has_bits(attributes: int, by_fill: bool) -> None:
    rng = np.random.default_rng(attributes)
    domain = Domain(tuple(f"a{i}" for i in range(attributes)), tuple(rng.integers(1, 9, attributes).tolist()))
    cliques = [tuple(rng.choice(domain.names, 2, replace=False).tolist()) for _ in range(attributes)]
    graph = Graph.of(domain, cliques)
    assert fast(domain, cliques, by_fill) == eliminated(domain, cliques, by_fill)
    assert graph.joined.sum() == attributes + 2 * len({frozenset(c) for c in cliques})
    axes = np.sort(rng.choice(attributes, 40, replace=False))
    assert (graph.among(axes).joined == graph.joined[np.ix_(axes, axes)]).all()
    assert all(graph.holds(c) for c in cliques) and not graph.holds(domain.names)


@each_slowly
@given(problems(most=5, largest=4), st.sampled_from([0.1, 3.0, 30.0]), st.integers(0, 99))
def test_every_marginal_is_that_of_the_joint(problem: tuple[Domain, Cliques], scale: float, seed: int) -> None:
    domain, cliques = problem
    potentials = potentials_of(domain, cliques, scale, seed)
    model, joint = model_of(domain, potentials), joint_of(domain, potentials)
    for i, clique in enumerate(model.tree.cliques):
        np.testing.assert_allclose(model.table(i), marginal(domain, joint, clique), atol=1e-12)
    for size in range(len(domain.names) + 1):
        for names in combinations(domain.names, size):
            np.testing.assert_allclose(model.project(names), marginal(domain, joint, names), atol=1e-12)
            np.testing.assert_allclose(model.project(names[::-1]), marginal(domain, joint, names[::-1]), atol=1e-12)
    measured = [marginal(domain, joint, c).ravel() for c in model.cliques]
    np.testing.assert_allclose(model.belief.measured, np.concatenate([np.zeros(0), *measured]), atol=1e-12)


@pytest.mark.parametrize("sizes", [(1,), (7,), (1, 1, 1), (1, 5_000), (33, 1, 2), (2,) * 9, (70, 3, 40)])
def test_blocks_of_any_shape_are_summed_right(sizes: tuple[int, ...]) -> None:
    domain = Domain(tuple("abcdefghi"[: len(sizes)]), sizes)
    cliques = [c for k in (1, 2, len(sizes)) for c in combinations(domain.names, k)]
    potentials = potentials_of(domain, dict.fromkeys(cliques))
    model, joint = model_of(domain, potentials), joint_of(domain, potentials)
    for names in cliques:
        np.testing.assert_allclose(model.project(names), marginal(domain, joint, names), atol=1e-12)


def beliefs_of(domain: Domain, potentials: dict[tuple[str, ...], Factor]) -> tuple[Belief, Plan, np.ndarray]:
    model = model_of(domain, potentials)
    return model.belief, model.belief.plan, model.potentials


@each_slowly
@given(problems(most=5, largest=4), st.integers(0, 99))
def test_log_space_agrees_with_the_fast_path(problem: tuple[Domain, Cliques], seed: int) -> None:
    domain, cliques = problem
    fast, plan, potentials = beliefs_of(domain, potentials_of(domain, cliques, 10.0, seed))
    assert fast._log is None
    for i, factor in enumerate(log_space(plan, potentials)):
        np.testing.assert_allclose(factor.probabilities(), fast.inside(i, plan.tree.cliques[i]), atol=1e-12)


@each_slowly
@given(problems(most=5, largest=4), st.sampled_from([300.0, 3e3, 1e6]), st.integers(0, 99))
def test_potentials_of_any_range_give_the_marginals_of_the_joint(problem: tuple[Domain, Cliques], scale: float, seed: int) -> None:
    domain, cliques = problem
    potentials = potentials_of(domain, cliques, scale, seed)
    model, joint = model_of(domain, potentials), joint_of(domain, potentials)
    for names in [*model.tree.cliques, *combinations(domain.names, 2)]:
        np.testing.assert_allclose(model.project(names), marginal(domain, joint, names), atol=1e-6)
    measured = [marginal(domain, joint, c).ravel() for c in model.cliques]
    np.testing.assert_allclose(model.belief.measured, np.concatenate([np.zeros(0), *measured]), atol=1e-6)


def test_where_the_product_vanishes_log_space_is_taken_and_is_right() -> None:
    """Two tables that hold each other's best cell impossible: every product is below what a float can tell from 0."""
    domain = Domain(("a", "b", "c"), (3, 2, 2))
    ab = np.array([[0.0, -800.0], [-1.0, -801.0], [0.0, -800.0]])
    bc = np.array([[-900.0, -901.0], [0.0, -1.0]])
    potentials = {("a", "b"): Factor(domain.project("ab"), ab), ("b", "c"): Factor(domain.project("bc"), bc)}
    model, joint = model_of(domain, potentials), joint_of(domain, potentials)
    assert model.belief._log is not None
    for names in ["ab", "bc", "ba", "ac", "c", "abc"]:
        np.testing.assert_allclose(model.project(tuple(names)), marginal(domain, joint, tuple(names)), atol=1e-12)


@pytest.mark.parametrize("scale", [1.0, 2_000.0])
def test_what_is_impossible_stays_so_and_the_rest_is_right(scale: float) -> None:
    rng = np.random.default_rng(2)
    domain = Domain(("a", "b", "c", "d"), (4, 3, 4, 2))
    potentials = potentials_of(domain, [("a", "b"), ("b", "c"), ("c", "d")], scale)
    for factor in potentials.values():
        factor.values[rng.random(factor.values.shape) < 0.3] = -np.inf
        factor.values[0, 0] = 0
    model, joint = model_of(domain, potentials), joint_of(domain, potentials)
    for names in [*potentials, ("a", "d"), ("a", "b", "c", "d")]:
        found, wanted = model.project(names), marginal(domain, joint, names)
        np.testing.assert_allclose(found, wanted, atol=1e-9)
        assert (found[wanted == 0] == 0).all()


@pytest.mark.parametrize("most", [0, 20, 10**6])
def test_distant_names_do_not_hang_on_what_was_asked_for_before(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept for the next name is the same whichever came first, and may be forgotten."""
    monkeypatch.setattr(distant, "MOST_KEPT", most)
    domain = Domain(tuple("abcdefgh"), (2, 3, 2, 3, 2, 3, 2, 3))
    potentials = potentials_of(domain, [("a", "b"), ("b", "c", "d"), ("d", "e"), ("c", "f"), ("f", "g")])
    joint = joint_of(domain, potentials)
    wanted = [names for size in (2, 3, 4) for names in combinations(domain.names, size)]
    for seed in range(3):
        model = model_of(domain, potentials)
        for k in np.random.default_rng(seed).permutation(len(wanted)):
            np.testing.assert_allclose(model.project(wanted[k]), marginal(domain, joint, wanted[k]), atol=1e-12)
            assert model._distant._kept <= most + 1_000  # what one of these asks for


def test_marginals_are_the_same_to_the_bit_whatever_the_hashes_of_names() -> None:
    code = """
import hashlib, itertools, numpy as np
from dpsynth.graphical import Domain, Factor, GraphicalModel, JunctionTree
domain, rng = Domain(tuple("abcdefg"), (3,) * 7), np.random.default_rng(0)
potentials = {c: Factor(domain.project(c), rng.normal(size=(3,) * len(c))) for c in map(tuple, ("abc", "ad", "be", "cf", "dg"))}
model = GraphicalModel.from_potentials(JunctionTree.build(domain, potentials), potentials, 1.0)
print(hashlib.sha256(b"".join(model.project(c).tobytes() for c in itertools.combinations("abcdefg", 3))).hexdigest())
"""
    found = {
        subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONHASHSEED": s}, capture_output=True, check=True).stdout for s in "013"
    }
    assert len(found) == 1


def test_a_chain_of_thousands_of_attributes_is_no_obstacle() -> None:
    names = tuple(f"n{i}" for i in range(2_000))
    flip = Factor(Domain(("x", "y"), (2, 2)), np.log([[0.99, 0.01], [0.01, 0.99]]))
    domain = Domain(names, (2,) * len(names))
    cliques = list(pairwise(names))
    tree = JunctionTree(domain, tuple(cliques), (-1, *range(len(cliques) - 1)), ((), *((n,) for n in names[1:-1])))
    model = GraphicalModel.from_potentials(tree, {c: Factor(domain.project(c), flip.values) for c in cliques}, 1.0)
    kept = (1 + 0.98**1_999) / 4
    np.testing.assert_allclose(model.project((names[0], names[-1])), [[kept, 0.5 - kept], [0.5 - kept, kept]], atol=1e-12)


def test_hundreds_of_attributes_are_no_obstacle() -> None:
    names = tuple(f"n{i}" for i in range(300))
    domain = Domain(names, (2, 3, 4) * 100)
    chain = list(pairwise(names))
    model = model_of(domain, potentials_of(domain, chain))
    for pair in [("n0", "n1"), ("n7", "n299"), ("n150", "n160")]:
        joint = model.project(pair)
        np.testing.assert_allclose(joint.sum(axis=1), model.project(pair[:1]), atol=1e-9)
        np.testing.assert_allclose(joint.sum(axis=0), model.project(pair[1:]), atol=1e-9)
    near = model.project(("n0", "n1"))[:, :, None] / model.project(("n1",))[:, None]
    np.testing.assert_allclose(model.project(("n0", "n2")), (near * model.project(("n1", "n2"))).sum(axis=1), atol=1e-12)
    dense = Graph.of(Domain(names[:100], (2,) * 100), combinations(names[:100], 2))
    assert dense.cells == 2.0**100
    assert len(dense.cliques) == 1


def test_a_table_beyond_the_places_of_an_int32_is_refused() -> None:
    domain = Domain(("a", "b"), (2**16, 2**16))
    with pytest.raises(OverflowError, match="cells"):
        Layout.of(domain, ("a", "b"), ("a", "b"))


def test_beliefs_of_one_plan_share_nothing_that_changes() -> None:
    domain = Domain(tuple("abcd"), (3, 4, 5, 6))
    cliques = [("a", "b"), ("b", "c"), ("c", "d")]
    tree = JunctionTree.build(domain, cliques)
    plan_for.cache_clear()

    def work(seed: int) -> float:
        potentials = potentials_of(domain, cliques, 2.0, seed)
        joint, model = joint_of(domain, potentials), GraphicalModel.from_potentials(JunctionTree.build(domain, cliques), potentials, 1.0)
        return max(float(np.abs(model.project(c) - marginal(domain, joint, c)).max()) for c in [*cliques, ("d", "a"), ("c",), ("b", "d")])

    with ThreadPoolExecutor(8) as pool:
        assert max(pool.map(work, range(200))) < 1e-12
    ordered = tuple(map(domain.ascending, cliques))
    assert plan_for(tree, ordered) is plan_for(JunctionTree.build(domain, cliques), ordered)
    assert plan_for(tree, ordered) is not plan_for(tree, ordered[:2])
    other = JunctionTree.build(Domain(domain.names, (3, 4, 5, 7)), cliques)
    assert plan_for(other, ordered).cells != plan_for(tree, ordered).cells


@pytest.mark.parametrize("scale", [0.0, 3.0, 1e5])
def test_tables_are_the_same_to_the_bit_all_at_once_and_one_by_one(scale: float, monkeypatch: pytest.MonkeyPatch) -> None:
    domain = Domain(tuple("abcde"), (1, 4, 7, 16, 31))
    cliques = tuple(map(domain.ascending, [("a",), ("a", "b"), ("b", "c"), ("c", "d"), ("d", "e"), ("e",)]))
    plan = plan_for(JunctionTree.build(domain, cliques), cliques)
    potentials = np.random.default_rng(1).normal(0, scale, plan.cells)
    stores = []
    for most in (plan.cells, plan.cells - 1):
        monkeypatch.setattr(belief, "AT_ONCE", most)
        stores.append(Belief(plan, potentials)._store)
    np.testing.assert_array_equal(*stores)
    with_none = plan_for(JunctionTree.build(domain, []), ())
    assert Belief(with_none, np.zeros(0)).measured.size == 0


def test_a_large_clique_needs_no_table_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(belief, "log_space", None)
    domain = Domain(tuple("abcdefghijklmnopqrst"), (2,) * 20)
    model = model_of(domain, potentials_of(domain, combinations(domain.names, 2), 0.3))
    assert model.tree.cells == 2**20
    assert len(model.belief._store) < 2 * 4 * 190 + 1
    assert model.project(("a", "t")).sum() == pytest.approx(1)


def test_kernels_compile_without_a_cache_in_seconds_and_each_but_once() -> None:
    """Less than three processor seconds for all where the machine does nothing else; a slice, an allocation or an array expression
    in a kernel costs up to half a second each."""
    code = """
from benchmarks import compiling
compiling.main()
from dpsynth.graphical import kernels
called = kernels.eliminate, kernels.calibrate, kernels.rounded, kernels.balanced, kernels.dealt, kernels.drawn
assert [len(k.signatures) for k in called] == [1] * 6, {k.__name__: k.signatures for k in called}
"""
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    *_, seconds, _ = run.stdout.split()
    assert 0.5 < float(seconds) < 6
