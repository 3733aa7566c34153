"""DPDiffusion: cells of a row are masked at random and told from those left; a row is made by unmasking its cells one at a time.

Statement. A fit is (epsilon, delta)-DP: a share of the grant measures every column, the rest is one plan of noised steps, both through
`PrivateTable`; where columns deserve nearly all they get all, and the model is that of independent columns. Sensitivity:
`privacy/table.py` and `privacy/training.py`; a row's loss is its own, a mean over `TIMES` times of the diffusion, each with a mask drawn
afresh, taken before its gradient is clipped.

The network tells all masked cells at once: what is visible adds up to one hidden vector, and that moves each column's shares from those
measured. It has no other constants, so with nothing visible it says just what was measured, and so it does before its first
step: the training starts at independent columns. Its sum over the visible cells is their embedding.

Rows are made in an order of columns of their own, drawn at random, and weighed to have the marginals measured (`network.py`).

References: Austin et al. 2021 (arXiv 2107.03006), absorbing diffusion over discrete states; Hoogeboom et al. 2022 (arXiv 2110.02037),
its limit of one cell at a time, in any order; Dockhorn et al. 2023 (arXiv 2210.09929), several draws of a row before clipping.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from dpsynth.deep.columns import Columns
from dpsynth.deep.likely import Likely
from dpsynth.deep.network import BLOCK, Margin, evenly, weights_for
from dpsynth.privacy import PrivateTable
from dpsynth.synthesizers.source import Arrays, Codes

Floats = npt.NDArray[np.float64]
HIDDEN, TIMES = 64, 6
LEAST_POOL = 1000


@dataclass(frozen=True)
class DPDiffusion(Likely):
    """Discrete diffusion, from rows of masks to rows of cells."""

    name: ClassVar[str] = "diffusion"

    def _learnt(self, table: PrivateTable, columns: Columns) -> Diffused:
        from dpsynth.deep.learning import learn, started, weights_of
        from dpsynth.deep.modules import Unmasking

        network = started(lambda: Unmasking(columns.sizes, columns.logits, HIDDEN, TIMES))
        learn(table, network, columns)
        layers = weights_of(network.embedding), weights_of(network.telling)
        return Diffused(columns.names, columns.sizes, *layers, columns.logits, columns.margins, columns.total)


@dataclass(frozen=True, eq=False)
class Diffused:
    """A trained diffusion in plain arrays: rows are drawn from it without torch.

    Attributes:
        names, sizes: of the columns, in the order of the codes.
        embeddings, tellings: weights of the network, shapes (hidden, width) and (width, hidden).
        start: logits of each column alone, shape (width,).
        margins: what rows are weighed to have.
    """

    kind: ClassVar[str] = "diffusion"
    names: tuple[str, ...]
    sizes: tuple[int, ...]
    embeddings: Floats
    tellings: Floats
    start: Floats
    margins: tuple[Margin, ...]
    total: float

    def sample(self, rows: int, rng: np.random.Generator, names: Sequence[str]) -> Codes:
        return self._weighed(rows, rng, names, evenly)

    def draw(self, rows: int, rng: np.random.Generator, names: Sequence[str]) -> Codes:
        return self._weighed(rows, rng, names, lambda weights, n, chance: chance.choice(len(weights), n, p=weights))

    def _weighed(self, rows: int, rng: np.random.Generator, names: Sequence[str], choose: Any) -> Codes:
        """As many rows as asked for, or more, some taken twice and some not at all so that they have the margins."""
        weighed = np.empty((rows, len(self.sizes)), dtype=np.min_scalar_type(max(self.sizes)))
        for start in range(0, rows, BLOCK):
            block = weighed[start : start + BLOCK]
            pool = self.made(max(len(block), LEAST_POOL), rng)
            block[:] = pool[choose(weights_for(pool, self.margins), len(block), rng)]
        return weighed[:, [self.names.index(n) for n in names]]

    def made(self, rows: int, rng: np.random.Generator) -> Codes:
        """Rows as the network gives them, shape (rows, columns)."""
        spans = [slice(low, high) for low, high in pairwise(np.cumsum([0, *self.sizes]).tolist())]
        order = rng.permuted(np.tile(np.arange(len(spans)), (rows, 1)), axis=1)
        codes = np.zeros((rows, len(spans)), dtype=np.min_scalar_type(max(self.sizes)))
        hidden, embeddings = np.zeros((rows, len(self.embeddings))), np.ascontiguousarray(self.embeddings.T)
        for turn in order.T:
            for column, span in enumerate(spans):
                (here,) = np.nonzero(turn == column)
                logits = np.tanh(hidden[here]) @ self.tellings[span].T + self.start[span]
                codes[here, column] = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
                hidden[here] += embeddings[span][codes[here, column]]
        return codes

    def document(self) -> dict[str, Any]:
        return {"names": self.names, "sizes": self.sizes, "margins": [m.columns for m in self.margins], "total": self.total}

    def arrays(self) -> Arrays:
        layers = {"embeddings": self.embeddings, "tellings": self.tellings, "start": self.start}
        return layers | {f"margin{i}": m.shares for i, m in enumerate(self.margins)}

    @classmethod
    def restored(cls, document: Mapping[str, Any], arrays: Arrays) -> Self:
        sizes = tuple(document["sizes"])
        width, hidden = sum(sizes), len(arrays["embeddings"])
        if (arrays["embeddings"].shape, arrays["tellings"].shape, arrays["start"].shape) != ((hidden, width), (width, hidden), (width,)):
            raise ValueError("weights of another network")
        margins = tuple(Margin(tuple(c), arrays[f"margin{i}"]) for i, c in enumerate(document["margins"]))
        layers = (arrays["embeddings"], arrays["tellings"], arrays["start"])
        return cls(tuple(document["names"]), sizes, *layers, margins, document["total"])
