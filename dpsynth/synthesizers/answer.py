"""An answer: the noisy marginal that the kernel gave for a clique of attributes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dpsynth.privacy import Attribute, PrivateTable


@dataclass(frozen=True, eq=False)
class Answer:
    """`values`, in counts (of rows, or of units), has the attributes' sizes as its shape; `sigma` is the noise scale of each cell."""

    attributes: tuple[Attribute, ...]
    values: npt.NDArray[np.float64]
    sigma: float

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(a.column.name for a in self.attributes)


def measure(table: PrivateTable, clique: Sequence[Attribute], amount: float) -> Answer:
    """One noisy marginal at a cost of at most `amount`."""
    sigma = table.sigma(amount)
    return Answer(tuple(clique), table.marginal(clique, sigma).astype(np.float64), sigma)
