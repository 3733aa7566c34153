"""A fitted model: everything it holds is a released value, so sampling from it is free and unlimited."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from dpsynth.encoding import Codec
from dpsynth.encoding.codec import describe, restore
from dpsynth.errors import BadInput, Fault
from dpsynth.graphical import Domain, Factor, GraphicalModel, JunctionTree, Measurement, sample
from dpsynth.privacy import Cost
from dpsynth.schema import Schema

FORMAT = "dpsynth-model/1"


@dataclass(frozen=True, eq=False)
class Model:
    """What a fit leaves behind.

    Attributes:
        schema: the released schema: its open columns carry the domains that were measured.
        spent: the cost as charged by the measurements; `granted` is what the ledger gave up for them.
        stamp: `ledgered`, `unledgered` (cannot be released) or `not private` (made with a repeatable noise source).
    """

    schema: Schema
    codec: Codec
    graphical: GraphicalModel
    measurements: tuple[Measurement, ...]
    generator: str
    epsilon: float
    delta: float
    granted: Cost
    spent: Cost
    events: tuple[dict[str, Any], ...]
    stamp: str
    certificate: str | None = None

    @property
    def total(self) -> float:
        """The noisy number of rows the model was fitted on."""
        return self.graphical.total

    def sample(self, rows: int | None = None, seed: int | None = None) -> pd.DataFrame:
        """Synthetic rows, free of charge.

        Args:
            rows: how many; the model's own noisy total if not given.
            seed: makes the sample repeatable; no privacy hangs on it.

        Raises:
            BadInput: `rows` is not a whole number >= 0.
        """
        rows = round(self.total) if rows is None else rows
        if not isinstance(rows, int | np.integer) or isinstance(rows, bool) or rows < 0:
            raise BadInput(Fault("rows", "not a whole number of at least 0", "write for example 10000"))
        rng = np.random.default_rng(seed)
        return self.codec.decode(sample(self.graphical, int(rows), rng), rng)

    def save(self, path: str | Path) -> None:
        """Write the model: plain arrays and JSON in one .npz file, no pickle, no raw cell."""
        arrays = {f"clique{i}": f.values for i, f in enumerate(self.graphical.marginals)}
        arrays |= {f"answer{i}": m.values for i, m in enumerate(self.measurements)}
        header = np.frombuffer(json.dumps(self._header()).encode(), dtype=np.uint8)
        with open(path, "wb") as file:
            np.savez_compressed(file, header=header, **arrays)

    def _header(self) -> dict[str, Any]:
        tree = self.graphical.tree
        return {
            "format": FORMAT,
            "schema": self.schema.to_dict(),
            "decoders": [describe(d) for d in self.codec.decoders],
            "sizes": [a.size for a in self.codec.attributes],
            "tree": {"cliques": tree.cliques, "parents": tree.parents, "separators": tree.separators},
            "total": self.graphical.total,
            "measurements": [{"clique": m.clique, "sigma": m.sigma} for m in self.measurements],
            "generator": self.generator,
            "budget": [self.epsilon, self.delta],
            "granted": [self.granted.mu_squared, self.granted.delta],
            "spent": [self.spent.mu_squared, self.spent.delta],
            "events": self.events,
            "stamp": self.stamp,
            "certificate": self.certificate,
        }


def load(path: str | Path) -> Model:
    """Read a model written by `Model.save`. Raises `BadInput` if the file is missing or is no such model."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            held = {name: arrays[name] for name in arrays.files}
        header = json.loads(held["header"].tobytes())
        if header["format"] != FORMAT:
            raise ValueError("another format")
        return _restored(header, held)
    except FileNotFoundError:
        raise BadInput(Fault(str(path), "no such model", "give the path of a model.npz")) from None
    except (
        BadInput,
        BadZipFile,
        zlib.error,
        EOFError,
        OSError,
        ArithmeticError,
        AttributeError,
        LookupError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        raise BadInput(Fault(str(path), f"not a model of this version ({type(error).__name__})", "give a file written by Model.save")) from None


def _restored(header: dict[str, Any], arrays: dict[str, Any]) -> Model:
    schema = Schema.from_dict(header["schema"])
    decoders = tuple(restore(c, d) for c, d in zip(schema.synthesised, header["decoders"], strict=True))
    domain = Domain(tuple(c.name for c in schema.synthesised), tuple(header["sizes"]))
    cliques = tuple(map(tuple, header["tree"]["cliques"]))
    tree = JunctionTree(domain, cliques, tuple(header["tree"]["parents"]), tuple(map(tuple, header["tree"]["separators"])))
    marginals = tuple(Factor(domain.project(c), arrays[f"clique{i}"]) for i, c in enumerate(cliques))
    measurements = (Measurement(tuple(m["clique"]), arrays[f"answer{i}"], m["sigma"]) for i, m in enumerate(header["measurements"]))
    return Model(
        schema=schema,
        codec=Codec(decoders),
        graphical=GraphicalModel(tree, marginals, header["total"]),
        measurements=tuple(measurements),
        generator=header["generator"],
        epsilon=header["budget"][0],
        delta=header["budget"][1],
        granted=Cost(*header["granted"]),
        spent=Cost(*header["spent"]),
        events=tuple(header["events"]),
        stamp=header["stamp"],
        certificate=header["certificate"],
    )
