"""Rows from a small network: normal numbers and a drawn label in, a distribution over the codes of each column out.

Its rows are then weighed so that they have the released marginals, as far as rows of this network can, and drawn by their weights
(iterative proportional fitting; Deming, Stephan 1940). All of it is made of released values: free, and done without torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from dpsynth.synthesizers.source import Arrays, Codes

Floats = npt.NDArray[np.float64]
POOL, BLOCK = 4, 100_000
SWEEPS, MOST_FACTOR = 30, 20.0
SLOPE = 0.2


@dataclass(frozen=True, eq=False)
class Margin:
    """What shares of the rows fall in the cells of some columns, by position: `shares` has their sizes as its shape and sums to 1."""

    columns: tuple[int, ...]
    shares: Floats

    def cells(self, codes: Codes) -> npt.NDArray[np.int64]:
        """Each row's cell, in the order of `shares.ravel()`."""
        return np.ravel_multi_index(tuple(codes[:, c].astype(np.int64) for c in self.columns), self.shares.shape)


@dataclass(frozen=True, eq=False)
class Network:
    """Layers of rectified units (leaky, of slope `SLOPE`), the last one linear.

    Attributes:
        names, sizes: of the columns, in the order of the codes.
        layers: (weights of shape (out, in), biases of shape (out,)) of each.
        latent: how many normal numbers go in.
        label: the position of the column that is drawn first, by its margin, and goes in as well; None where there is none.
        margins: what rows are weighed to have.
    """

    kind: ClassVar[str] = "network"
    names: tuple[str, ...]
    sizes: tuple[int, ...]
    layers: tuple[tuple[Floats, Floats], ...]
    latent: int
    label: int | None
    margins: tuple[Margin, ...]
    total: float

    def sample(self, rows: int, rng: np.random.Generator, names: Sequence[str]) -> Codes:
        return self._columns(rows, rng, names, evenly)

    def draw(self, rows: int, rng: np.random.Generator, names: Sequence[str]) -> Codes:
        return self._columns(rows, rng, names, lambda weights, n, chance: chance.choice(len(weights), n, p=weights))

    def _columns(self, rows: int, rng: np.random.Generator, names: Sequence[str], choose: Any) -> Codes:
        made = np.empty((rows, len(self.sizes)), dtype=np.min_scalar_type(max(self.sizes)))
        for start in range(0, rows, BLOCK):
            block = made[start : start + BLOCK]
            pool = self._made(max(POOL * len(block), 1000), rng)
            block[:] = pool[choose(weights_for(pool, self.margins), len(block), rng)]
        ordered: Codes = made[:, [self.names.index(n) for n in names]]
        return ordered

    def _made(self, rows: int, rng: np.random.Generator) -> Codes:
        """Rows as the network gives them, shape (rows, columns)."""
        given = rng.standard_normal((rows, self.latent))
        if self.label is None:
            return np.stack([*self._codes(given, rng)], axis=1)
        shares = self._label_shares()
        labels = rng.choice(len(shares), rows, p=shares)
        codes: Codes = np.stack([*self._codes(np.hstack([given, np.eye(len(shares))[labels]]), rng)], axis=1)
        codes[:, self.label] = labels
        return codes

    def _label_shares(self) -> Floats:
        shares = next(m.shares for m in self.margins if m.columns == (self.label,))
        normed: Floats = shares / shares.sum()
        return normed

    def _codes(self, given: Floats, rng: np.random.Generator) -> Any:
        hidden = given
        for weights, biases in self.layers[:-1]:
            hidden = hidden @ weights.T + biases
            hidden = np.maximum(hidden, SLOPE * hidden)
        weights, biases = self.layers[-1]
        for low, high in pairwise(np.cumsum([0, *self.sizes])):
            logits = hidden @ weights[low:high].T + biases[low:high]
            yield (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)

    def document(self) -> dict[str, Any]:
        return {
            "names": self.names,
            "sizes": self.sizes,
            "layers": len(self.layers),
            "latent": self.latent,
            "label": self.label,
            "margins": [m.columns for m in self.margins],
            "total": self.total,
        }

    def arrays(self) -> Arrays:
        layers = {f"{part}{i}": a for i, layer in enumerate(self.layers) for part, a in zip(("weights", "biases"), layer, strict=True)}
        return layers | {f"margin{i}": m.shares for i, m in enumerate(self.margins)}

    @classmethod
    def restored(cls, document: Mapping[str, Any], arrays: Arrays) -> Self:
        return cls(
            names=tuple(document["names"]),
            sizes=tuple(document["sizes"]),
            layers=tuple((arrays[f"weights{i}"], arrays[f"biases{i}"]) for i in range(document["layers"])),
            latent=document["latent"],
            label=document["label"],
            margins=tuple(Margin(tuple(c), arrays[f"margin{i}"]) for i, c in enumerate(document["margins"])),
            total=document["total"],
        )


def weights_for(codes: Codes, margins: Sequence[Margin]) -> Floats:
    """What share each row is to have, so that the rows have the margins; no step moves a cell by more than `MOST_FACTOR`."""
    weights = np.full(len(codes), 1 / len(codes))
    cells = [m.cells(codes) for m in margins]
    for _ in range(SWEEPS if len(codes) else 0):
        for margin, cell in zip(margins, cells, strict=True):
            wanted = margin.shares.ravel()
            held = np.bincount(cell, weights, len(wanted))
            weights *= np.clip(wanted / np.maximum(held, 1e-12), 1 / MOST_FACTOR, MOST_FACTOR)[cell]
        weights /= weights.sum()
    return weights


def evenly(weights: Floats, rows: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Positions, each as often as its weight says, rounded by systematic sampling, in an order that tells nothing."""
    ladder = np.cumsum(weights) * rows / weights.sum()
    chosen = np.searchsorted(ladder, np.arange(rows) + rng.random(), side="right")
    return rng.permutation(np.minimum(chosen, len(weights) - 1))
