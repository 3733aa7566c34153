"""Rows from a graphical model: `sample` rounds its conditionals, and is closer to it than rows drawn independently; `draw` draws.

Column by column, from the roots of the tree, the rows that share the values of a clique's earlier columns form a group. To
sample, a group of m rows gets floor(m p) of each value and the remainder by systematic sampling on the fractions, so each
value's expected count is exact. Which row of the group gets which value decides nothing about the clique, but all about pairs
of columns that no clique holds: left to chance, these err as independent draws do. A sample of up to `BALANCED` rows balances
them: each row, in random order, takes the best of four values at random, by what its pairs lack of their expected counts.
Counts of these pairs are right on average but for about a hundredth of their mass, which moves between cells of less than one
row. Larger samples err little, and leave it to chance.

Reference: McKenna et al. 2021 (arXiv 2108.04978), section 2; Tille 2006 for systematic sampling. New here: the balancing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from dpsynth.graphical.domain import Clique, Domain
from dpsynth.graphical.factor import Array
from dpsynth.graphical.model import GraphicalModel

if TYPE_CHECKING:
    from types import ModuleType

Codes = npt.NDArray[np.unsignedinteger[Any]]
Groups = npt.NDArray[np.uint32]
Counts = npt.NDArray[np.int32]
Whole = npt.NDArray[np.int64]
Known = Sequence[tuple[Codes, int]]
Fill = Callable[[Codes, Groups, Array, Known, np.random.Generator], None]
BALANCED = 100_000
BLOCK = 65_536
THREADS = 2


def sample(model: GraphicalModel, rows: int, rng: np.random.Generator, names: Sequence[str] | None = None) -> Codes:
    """`rows` rows whose counts are the model's, rounded, in an order that tells nothing.

    Returns:
        Codes, shape (rows, names), in the smallest unsigned type that holds them all; columns in the order of `names` (by
        default of the domain) and contiguous.
    """
    return _columns(model, rows, rng, names, _balanced if rows <= BALANCED else _dealt)


def draw(model: GraphicalModel, rows: int, rng: np.random.Generator, names: Sequence[str] | None = None) -> Codes:
    """`rows` rows drawn independently of each other; returns what `sample` does."""
    return _columns(model, rows, rng, names, _drawn)


def _columns(model: GraphicalModel, rows: int, rng: np.random.Generator, names: Sequence[str] | None, fill: Fill) -> Codes:
    """A column is filled as soon as those that its shares are given are: on several threads, but each from a stream of its own."""
    domain = model.domain
    wanted = domain.names if names is None else tuple(names)
    codes = np.empty((len(domain.names), rows), dtype=np.min_scalar_type(max(domain.sizes, default=1) - 1))
    filled: dict[str, Future[None]] = {}

    def column(name: str, given: Clique, shares: Array, known: Known, stream: np.random.Generator) -> None:
        for earlier in given:
            filled[earlier].result()
        fill(codes[domain.position(name)], _groups(domain, given, codes), shares, known, stream)

    with ThreadPoolExecutor(1 if fill is _balanced else THREADS) as pool:  # balancing looks at all columns before
        for name, given, shares in _steps(model, wanted):
            known = [(codes[domain.position(n)], domain.size(n)) for n in filled if n not in given]
            filled[name] = pool.submit(column, name, given, shares, known, *rng.spawn(1))
    for future in filled.values():
        future.result()
    return codes.T if wanted == domain.names else codes[list(domain.axes(wanted))].T


def _steps(model: GraphicalModel, wanted: Clique) -> Iterator[tuple[str, Clique, Array]]:
    """From the roots down each name, those before it in its clique, and its shares given them, shape (groups, values). A name
    that is neither wanted nor links cliques is left out."""
    tree = model.tree
    needed = set(wanted).union(*tree.separators)
    for i, given in enumerate(tree.separators):
        clique, new = tree.cliques[i], tuple(n for n in tree.cliques[i] if n in needed and n not in given)
        table = model.table(i).sum(axis=tuple(a for a, n in enumerate(clique) if n not in needed))
        kept = [n for n in clique if n in needed]
        table = table.transpose([kept.index(n) for n in (*given, *new)])
        for j, name in enumerate(new):
            earlier = (*given, *new[:j])
            shares = table.sum(axis=tuple(range(len(earlier) + 1, table.ndim)))
            yield name, earlier, np.ascontiguousarray(shares.reshape(-1, model.domain.size(name)))


def _groups(domain: Domain, given: Clique, codes: Codes) -> Groups:
    """The cell of the table over `given` that each row is in, shape (rows,)."""
    groups = np.zeros(codes.shape[1], dtype=np.uint32)
    for name in given:
        groups *= np.uint32(domain.size(name))
        groups += codes[domain.position(name)]
    return groups


def _drawn(column: Codes, groups: Groups, shares: Array, _: Known, rng: np.random.Generator) -> None:
    """Each row's value by the shares of its group; uniform in a group without mass."""
    ladders = shares.cumsum(axis=1)
    ladders[ladders[:, -1] <= 0] = np.arange(1, shares.shape[1] + 1)
    _kernels().drawn(column, groups, ladders, rng)


def _dealt(column: Codes, groups: Groups, shares: Array, _: Known, rng: np.random.Generator) -> None:
    """Each group's rounded counts, to its rows by chance.

    Rows come in blocks, each with its rounded part of the counts, so that a block's values stay in the processor's cache.
    """
    block = max(BLOCK, shares.size)
    blocks = [slice(first, first + block) for first in range(0, len(column), block)]
    sizes = np.array([np.bincount(groups[rows], minlength=len(shares)) for rows in blocks], dtype=np.int64).reshape(-1, len(shares))
    due = rounded(shares, sizes.sum(axis=0), rng).astype(np.float64)
    for rows, own in zip(blocks, sizes, strict=True):
        part = rounded(due, own, rng)
        due -= part
        _kernels().dealt(column[rows], groups[rows], *_held(part, column.dtype), rng)


def _balanced(column: Codes, groups: Groups, shares: Array, known: Known, rng: np.random.Generator) -> None:
    """Each group's rounded counts, to its rows by what pairs lack; `known` are the columns that the shares are not given."""
    counts = rounded(shares, np.bincount(groups, minlength=len(shares)), rng)
    # A pair with more cells than rows has less than one row to expect in a cell: nothing to balance.
    known = [(codes, size) for codes, size in known if size * shares.shape[1] <= len(column)]
    tables = [np.empty(0), *_expected(groups, counts, known)]
    wanted, starts = np.concatenate(tables), np.cumsum([len(t) for t in tables])
    beside = np.empty((len(column), len(known)), dtype=np.uint32)
    for k, (codes, _) in enumerate(known):
        beside[:, k] = starts[k] + codes.astype(np.uint32) * shares.shape[1]
    order = rng.permutation(len(column))
    _kernels().balanced(column, groups, *_held(counts, column.dtype), beside, wanted, np.sqrt(wanted), wanted.copy(), order, rng)


def _held(counts: Counts, dtype: np.dtype[Any]) -> tuple[Codes, Whole, Whole]:
    """The values of all groups, one group after the other, each as often as it counts; where each group starts; how many it has."""
    groups, values = counts.shape
    sizes = counts.sum(axis=1)
    return np.repeat(np.tile(np.arange(values, dtype=dtype), groups), counts.ravel()), np.cumsum(sizes) - sizes, sizes


def _expected(groups: Groups, counts: Counts, known: Known) -> list[Array]:
    """For each known column, its expected counts with the new one if chance decided within groups, flat (size * values,)."""
    values = sparse.csr_array(counts.astype(np.float64))
    shares = sparse.diags_array(1 / np.maximum(values.sum(axis=1), 1)) @ values
    each = np.ones(len(groups))
    return [(sparse.csr_array((each, (codes, groups)), shape=(size, len(counts))) @ shares).toarray().ravel() for codes, size in known]


def rounded(shares: Array, sizes: Whole, rng: np.random.Generator) -> Counts:
    """Whole counts, shape of `shares` (groups, values), that sum to `sizes` row by row and whose expectation is in proportion to shares."""
    counts, values = np.empty(shares.shape, dtype=np.int32), shares.shape[1]
    _kernels().rounded(counts, shares, sizes, np.empty(values), np.arange(values), rng)
    return counts


def _kernels() -> ModuleType:
    from dpsynth.graphical import kernels

    return kernels
