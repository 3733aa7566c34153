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

from dpsynth.encoding import Codec, Decoder
from dpsynth.encoding.codec import describe, drawn, restore
from dpsynth.errors import BadInput, Fault
from dpsynth.graphical import GraphicalModel
from dpsynth.privacy import Cost
from dpsynth.privacy.currency import CURRENCIES
from dpsynth.schema import Schema
from dpsynth.synthesizers.answer import Answer
from dpsynth.synthesizers.possible import possible
from dpsynth.synthesizers.source import Graphical, Source
from dpsynth.synthesizers.source import restored as restored_source

FORMAT = "dpsynth-model/3"
# What is made unasked: 13 million rows of 15 columns.
MOST_CELLS = 200_000_000
MOST_ROWS = 100_000_000  # as many as a release may have


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
    source: Source
    answers: tuple[Answer, ...]
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
        """The noisy number of rows the model was fitted on; of units, where the schema counts units."""
        return self.source.total

    @property
    def graphical(self) -> GraphicalModel:
        """What a model of marginals is drawn from. Raises `AttributeError` for one that is drawn from a network."""
        if not isinstance(self.source, Graphical):
            raise AttributeError(f"this model is drawn from a {self.source.kind}")
        return self.source.model

    def sample(self, rows: int | None = None, seed: int | None = None) -> pd.DataFrame:
        """Synthetic rows, free of charge.

        Args:
            rows: how many; the model's own noisy total if not given.
            seed: makes the sample repeatable; no privacy hangs on it.

        Raises:
            BadInput: `rows` is not a whole number from 0 to `MOST_ROWS`, or is not given where the noisy total is of more than `MOST_CELLS` cells.
            RunDry: the schema's rules leave next to nothing of what the model draws.
        """
        rng = np.random.default_rng(seed)
        return possible(lambda n: self.codec.decode(self.source.sample(n, rng, self.codec.names), rng), self._rows(rows), self.schema)

    def draw(self, rows: int | None = None, seed: int | None = None) -> pd.DataFrame:
        """Rows drawn independently of each other: further from the model than `sample`, as far as a fresh table of that many
        people would be. Arguments and errors are those of `sample`."""
        rng = np.random.default_rng(seed)
        return possible(lambda n: self.codec.decode(self.source.draw(n, rng, self.codec.names), rng, drawn), self._rows(rows), self.schema)

    def _rows(self, rows: int | None) -> int:
        if rows is None:
            return self._rows_by_default()
        if not isinstance(rows, int | np.integer) or isinstance(rows, bool) or not 0 <= rows <= MOST_ROWS:
            raise BadInput(Fault("rows", f"not a whole number from 0 to {MOST_ROWS:,}", "write for example 10000"))
        return int(rows)

    def _rows_by_default(self) -> int:
        """The noisy total, unless that is so much that it may well be noise alone: at 300 rows a tiny budget tells of hundreds of millions."""
        rows = round(self.total)
        if rows * len(self.schema.synthesised) > MOST_CELLS:
            what = f"not given, and the model's noisy total is {rows:,}, more than is made unasked (a tiny budget makes it mostly noise)"
            raise BadInput(Fault("rows", what, "say how many, for example sample(rows=10000)"))
        return rows

    def save(self, path: str | Path) -> None:
        """Write the model: plain arrays and JSON in one .npz file, no pickle, no raw cell."""
        arrays = {f"source {name}": a for name, a in self.source.arrays().items()} | {f"answer{i}": a.values for i, a in enumerate(self.answers)}
        header = np.frombuffer(json.dumps(self._header()).encode(), dtype=np.uint8)
        with open(path, "wb") as file:
            np.savez_compressed(file, header=header, **arrays)

    def _header(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "schema": self.schema.to_dict(),
            "decoders": [describe(d) for d in self.codec.decoders],
            "source": {"kind": self.source.kind} | self.source.document(),
            "answers": [{"attributes": [[a.column.name, describe(Decoder(a))] for a in x.attributes], "sigma": x.sigma} for x in self.answers],
            "generator": self.generator,
            "budget": [self.epsilon, self.delta],
            "currency": self.granted.currency.name,
            "granted": [self.granted.amount_ticks, self.granted.delta_ticks],
            "spent": [self.spent.amount_ticks, self.spent.delta_ticks],
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
    columns = {c.name: c for c in schema.synthesised}
    decoders = tuple(restore(c, d) for c, d in zip(schema.synthesised, header["decoders"], strict=True))
    own = {name.removeprefix("source "): a for name, a in arrays.items() if name.startswith("source ")}
    answers = (
        Answer(tuple(restore(columns[name], kind).attribute for name, kind in a["attributes"]), arrays[f"answer{i}"], a["sigma"])
        for i, a in enumerate(header["answers"])
    )
    return Model(
        schema=schema,
        codec=Codec(decoders),
        source=restored_source(header["source"]["kind"], header["source"], own),
        answers=tuple(answers),
        generator=header["generator"],
        epsilon=header["budget"][0],
        delta=header["budget"][1],
        granted=_cost(header, "granted"),
        spent=_cost(header, "spent"),
        events=tuple(header["events"]),
        stamp=header["stamp"],
        certificate=header["certificate"],
    )


def _cost(header: dict[str, Any], name: str) -> Cost:
    amount, delta = header[name]
    return Cost(amount, delta, CURRENCIES[header["currency"]])
