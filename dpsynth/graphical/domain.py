"""The domain: attributes and how many values each can take."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Clique = tuple[str, ...]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Domain:
    """Attribute names and sizes, in a fixed order."""

    names: tuple[str, ...]
    sizes: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.names) != len(self.sizes) or len(set(self.names)) != len(self.names):
            raise ValueError("a domain needs one size for each of its distinct names")
        if any(s < 1 for s in self.sizes):
            raise ValueError("a domain's sizes are at least 1")

    @property
    def cells(self) -> int:
        return math.prod(self.sizes)

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {n: i for i, n in enumerate(self.names)}

    @cached_property
    def lengths(self) -> Floats:
        """The sizes as floating-point numbers, whose products do not overflow."""
        return np.array(self.sizes, dtype=np.float64)

    def position(self, name: str) -> int:
        """Raises `KeyError` for a name that is not in the domain."""
        return self._positions[name]

    def size(self, name: str) -> int:
        return self.sizes[self._positions[name]]

    def axes(self, names: Iterable[str]) -> tuple[int, ...]:
        return tuple(self._positions[n] for n in names)

    def project(self, names: Iterable[str]) -> Domain:
        """The sub-domain over `names`, in the order given."""
        kept = tuple(names)
        return Domain(kept, tuple(self.size(n) for n in kept))

    def sorted(self, names: Iterable[str]) -> Clique:
        """`names` without repeats, in this domain's order."""
        wanted = set(names)
        return tuple(n for n in self.names if n in wanted)

    def ascending(self, names: Iterable[str]) -> Clique:
        """`names` without repeats, the smallest attribute first: arrays in this order end in their longest axis."""
        return tuple(sorted(set(names), key=lambda n: (self.size(n), self._positions[n])))
