"""Was this person in the training table? A density ratio on the marginals that the synthetic table shows best.

The attack of Golob et al. (MAMA-MIA, 2024) without knowledge of the generator: the two-way marginals of the
maximum mutual information spanning tree, read off the synthetic table. A target's score is the sum of
log p_synthetic(child | parent) - log p_reference(child | parent) over the tree.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from attacks.evidence import Evidence, Table
from attacks.scores import Scores, UnanswerableError

Codes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

BINS = 16
MOST_CATEGORIES = 32
SMOOTHING = 30.0


def membership(evidence: Evidence, rng: np.random.Generator) -> Scores:
    """Log density ratio, synthetic to reference, of each target. Raises `UnanswerableError` without either table."""
    if not len(evidence.reference) or not len(evidence.synthetic):
        raise UnanswerableError("underpowered", "needs reference rows and synthetic rows")
    coding = Coding.of(evidence.reference.then(evidence.synthetic))
    synthetic = Tree.fit(coding.encode(evidence.synthetic), coding.sizes)
    reference = synthetic.refit(coding.encode(evidence.reference))
    targets = coding.encode(evidence.pool)
    return Scores.split(synthetic.log_density(targets) - reference.log_density(targets), evidence)


@dataclass(frozen=True)
class Coding:
    """From typed cells to few codes a column: quantile bins, frequent categories; 0 is missing.

    Attributes:
        edges: inner bin edges of each numeric column.
        kept: the frequent categories of each categorical column, sorted; the others share the last code.
    """

    edges: tuple[Floats, ...]
    kept: tuple[npt.NDArray[np.int32], ...]

    @classmethod
    def of(cls, table: Table) -> Coding:
        return cls(tuple(map(_edges, table.numbers.T)), tuple(map(_frequent, table.codes.T)))

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(len(e) + 2 for e in self.edges) + tuple(len(k) + 2 for k in self.kept)

    def encode(self, table: Table) -> Codes:
        """Codes of all columns, shape (n, columns)."""
        numbers = [np.where(np.isnan(x), 0, np.searchsorted(e, x, side="right") + 1) for x, e in zip(table.numbers.T, self.edges, strict=True)]
        codes = [_lookup(x, k) for x, k in zip(table.codes.T, self.kept, strict=True)]
        return np.column_stack([*numbers, *codes]).astype(np.int64)


@dataclass(frozen=True)
class Tree:
    """A tree-shaped density over codes.

    Attributes:
        sizes: the number of codes of each column.
        parents: (child, parent) in an order that meets parents first; the root's parent is -1.
        tables: p(child | parent) of each such pair, shape (parent's size, child's size).
    """

    sizes: tuple[int, ...]
    parents: tuple[tuple[int, int], ...]
    tables: tuple[Floats, ...]

    @classmethod
    def fit(cls, codes: Codes, sizes: tuple[int, ...], smoothing: float = SMOOTHING) -> Tree:
        """The maximum mutual information spanning tree of the rows (Chow and Liu 1968) and its tables.

        A conditional is drawn towards its column's own distribution by `smoothing` rows' worth; 0 leaves it as counted.
        """
        return cls(sizes, _spanning_tree(codes, sizes), ()).refit(codes, smoothing)

    def refit(self, codes: Codes, smoothing: float = SMOOTHING) -> Tree:
        """The same tree with the tables of other rows."""
        return Tree(self.sizes, self.parents, tuple(_conditional(codes, c, p, self.sizes, smoothing) for c, p in self.parents))

    def log_density(self, codes: Codes) -> Floats:
        """Shape (n,)."""
        terms = [np.log(t[_column(codes, p), codes[:, c]]) for t, (c, p) in zip(self.tables, self.parents, strict=True)]
        return np.asarray(np.sum(terms, axis=0))

    def sample(self, n: int, rng: np.random.Generator) -> Codes:
        """n rows of codes, shape (n, columns), as marginal-based generators draw them: rounded, not independent."""
        codes = np.zeros((n, len(self.sizes)), dtype=np.int64)
        for table, (child, parent) in zip(self.tables, self.parents, strict=True):
            given = _column(codes, parent)
            bounds = np.cumsum(table, axis=1)[given]
            codes[:, child] = np.minimum((bounds < _stratified(given, rng)[:, None]).sum(axis=1), self.sizes[child] - 1)
        return codes


def _stratified(groups: Codes, rng: np.random.Generator) -> Floats:
    """Uniform draws, shape (n,): one from each of m equal slices of [0, 1) for the m rows of a group, in random order."""
    order = rng.permutation(len(groups))
    order = order[np.argsort(groups[order], kind="stable")]
    _, start, size = np.unique(groups[order], return_index=True, return_counts=True)
    place = np.arange(len(groups)) - np.repeat(start, size)
    draws = np.empty(len(groups))
    draws[order] = (place + rng.random(len(groups))) / np.repeat(size, size)
    return draws


def _edges(values: Floats) -> Floats:
    known = values[~np.isnan(values)]
    return np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1])) if len(known) else np.empty(0)


def _frequent(codes: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    values, counts = np.unique(codes[codes >= 0], return_counts=True)
    return np.sort(values[np.argsort(-counts, kind="stable")[:MOST_CATEGORIES]])


def _lookup(codes: npt.NDArray[np.int32], kept: npt.NDArray[np.int32]) -> Codes:
    place = np.searchsorted(kept, codes)
    found = np.isin(codes, kept)
    return np.where(codes < 0, 0, np.where(found, place + 1, len(kept) + 1)).astype(np.int64)


def _column(codes: Codes, column: int) -> Codes:
    return codes[:, column] if column >= 0 else np.zeros(len(codes), dtype=np.int64)


def _counts(codes: Codes, child: int, parent: int, sizes: tuple[int, ...]) -> Floats:
    rows = sizes[parent] if parent >= 0 else 1
    cells = _column(codes, parent) * sizes[child] + codes[:, child]
    return np.bincount(cells, minlength=rows * sizes[child]).reshape(rows, sizes[child]).astype(np.float64)


def _conditional(codes: Codes, child: int, parent: int, sizes: tuple[int, ...], smoothing: float) -> Floats:
    """p(child | parent), drawn towards p(child) by `smoothing` rows' worth, which is drawn towards uniform by half a row a cell."""
    counts = _counts(codes, child, parent, sizes)
    base = (counts.sum(axis=0) + 0.5) / (counts.sum() + 0.5 * sizes[child])
    weight = np.maximum(smoothing, counts.sum(axis=1, keepdims=True) == 0)
    return np.asarray((counts + weight * base) / (counts.sum(axis=1, keepdims=True) + weight))


def _information(codes: Codes, a: int, b: int, sizes: tuple[int, ...]) -> float:
    joint = _counts(codes, a, b, sizes) / max(len(codes), 1)
    apart = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    seen = joint > 0
    return float((joint[seen] * np.log(joint[seen] / apart[seen])).sum())


def _spanning_tree(codes: Codes, sizes: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """Prim's algorithm from column 0, heaviest edge first."""
    best = {c: (_information(codes, c, 0, sizes), 0) for c in range(1, len(sizes))}
    tree = [(0, -1)]
    while best:
        child = max(best, key=lambda c: best[c][0])
        tree.append((child, best.pop(child)[1]))
        best = {c: max(link, (_information(codes, c, child, sizes), child)) for c, link in best.items()}
    return tuple(tree)
