"""What a fitted model draws its rows from: a graphical model, or a network that a training left behind. Released values, either way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import numpy.typing as npt

from dpsynth.graphical import Domain, GraphicalModel, JunctionTree, draw, sample

Codes = npt.NDArray[Any]
Arrays = Mapping[str, npt.NDArray[Any]]


class Source(Protocol):
    """Where codes of rows come from; kept as arrays and a JSON document.

    Attributes:
        kind: its name in a file, a key of `KINDS`.
        total: the noisy number of rows it was fitted to.
    """

    kind: ClassVar[str]

    @property
    def total(self) -> float: ...

    def sample(self, rows: int, rng: np.random.Generator, names: Sequence[str]) -> Codes:
        """Codes, shape (rows, names), as close to what was fitted as so many rows can be."""
        ...

    def draw(self, rows: int, rng: np.random.Generator, names: Sequence[str]) -> Codes:
        """The same, each row drawn independently."""
        ...

    def document(self) -> dict[str, Any]: ...

    def arrays(self) -> Arrays: ...

    @classmethod
    def restored(cls, document: Mapping[str, Any], arrays: Arrays) -> Self:
        """Raises `LookupError`, `TypeError` or `ValueError` where these are not what was written."""
        ...


@dataclass(frozen=True, eq=False)
class Graphical:
    """Rows from a graphical model."""

    kind: ClassVar[str] = "graphical"
    model: GraphicalModel

    @property
    def total(self) -> float:
        return self.model.total

    def sample(self, rows: int, rng: np.random.Generator, names: Sequence[str]) -> Codes:
        return sample(self.model, rows, rng, names)

    def draw(self, rows: int, rng: np.random.Generator, names: Sequence[str]) -> Codes:
        return draw(self.model, rows, rng, names)

    def document(self) -> dict[str, Any]:
        tree = self.model.tree
        return {
            "domain": [tree.domain.names, tree.domain.sizes],
            "tree": {"cliques": tree.cliques, "parents": tree.parents, "separators": tree.separators},
            "cliques": self.model.cliques,
            "total": self.model.total,
        }

    def arrays(self) -> Arrays:
        return {"potentials": self.model.potentials}

    @classmethod
    def restored(cls, document: Mapping[str, Any], arrays: Arrays) -> Self:
        names, sizes = document["domain"]
        cliques, parents, separators = (document["tree"][part] for part in ("cliques", "parents", "separators"))
        tree = JunctionTree(Domain(tuple(names), tuple(sizes)), tuple(map(tuple, cliques)), tuple(parents), tuple(map(tuple, separators)))
        return cls(GraphicalModel(tree, tuple(map(tuple, document["cliques"])), arrays["potentials"], document["total"]))


# By name, for some are in a room above this one and all but the first need none of what they were trained with to be drawn from.
KINDS = {
    "graphical": "dpsynth.synthesizers.source:Graphical",
    "network": "dpsynth.deep.network:Network",
    "diffusion": "dpsynth.deep.diffusion:Diffused",
}


def restored(kind: str, document: Mapping[str, Any], arrays: Arrays) -> Source:
    """The source that was written as these. Raises `LookupError` for a kind that is none."""
    module, _, name = KINDS[kind].partition(":")
    source: Source = getattr(import_module(module), name).restored(document, arrays)
    return source
