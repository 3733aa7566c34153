"""From codes back to rows that look like the raw ones. Free: its inputs are released values and fresh randomness."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from dpsynth.privacy.attribute import Attribute, Bins, Categories, Codes, Merged

Weights = npt.NDArray[np.float64]
STEPS_IN_A_BIN = 20
MOST_DECIMALS = 300


@dataclass(frozen=True, eq=False)
class Decoder:
    """Decodes one attribute. `weights`, one for each code of a merged attribute's base, say how a group is undone."""

    attribute: Attribute
    weights: Weights | None = None

    def decode(self, codes: Codes, rng: np.random.Generator) -> pd.Series:
        """Codes, shape (n,), to cells: text or None for categories, Int64 for integers, float64 for continuous numbers."""
        base = self.attribute
        if isinstance(base, Merged):
            codes, base = self._undone(base, codes, rng), base.base
        if isinstance(base, Categories):
            return _categories(base, codes)
        if isinstance(base, Bins):
            return _numbers(base, codes, rng)
        raise TypeError(f"no decoding for {type(base).__name__}")

    def _undone(self, merged: Merged, codes: Codes, rng: np.random.Generator) -> Codes:
        """A base code for each group code, drawn by the weights of the group's members (equal ones if all are 0)."""
        groups = np.array(merged.groups)
        weights = np.ones(len(groups)) if self.weights is None else self.weights
        out = np.empty_like(codes)
        for group in np.unique(codes):
            members, here = np.flatnonzero(groups == group), codes == group
            mass = np.maximum(weights[members], 0)
            mass = mass / mass.sum() if mass.sum() > 0 else np.full(len(members), 1 / len(members))
            out[here] = rng.choice(members, size=int(here.sum()), p=mass)
        return out


@dataclass(frozen=True, eq=False)
class Codec:
    """The decoders of all attributes, in the schema's order."""

    decoders: tuple[Decoder, ...]

    @property
    def attributes(self) -> tuple[Attribute, ...]:
        return tuple(d.attribute for d in self.decoders)

    def decode(self, codes: Codes, rng: np.random.Generator) -> pd.DataFrame:
        """Codes, shape (n, attributes), to a frame of the schema's synthesised columns."""
        return pd.DataFrame({d.attribute.column.name: d.decode(codes[:, i], rng) for i, d in enumerate(self.decoders)})


def _categories(attribute: Categories, codes: Codes) -> pd.Series:
    other = ("other",) if attribute.has_other else ()
    labels = np.array([*attribute.categories, *other, None], dtype=object)
    return pd.Series(labels[codes], dtype=object)


def _numbers(attribute: Bins, codes: Codes, rng: np.random.Generator) -> pd.Series:
    """Uniform within a bin, never a special value; rounded so that a bin holds at least twenty different values."""
    edges, integer = np.array(attribute.edges), attribute.column.type == "integer"
    bins = np.minimum(codes, attribute.bins - 1)
    low, high = edges[bins], edges[bins + 1]
    values = _whole(attribute, low, high, rng) if integer else _fractional(attribute, low, high, rng)
    for position, special in enumerate(attribute.special):
        values[codes == attribute.bins + position] = special
    values[codes == attribute.size - 1] = np.nan
    return pd.Series(values).astype("Int64") if integer else pd.Series(values)


def _whole(attribute: Bins, low: Weights, high: Weights, rng: np.random.Generator) -> Weights:
    """Whole numbers in [low, high); a special one moves on to the next of its bin."""
    values: Weights = np.floor(low + rng.random(len(low)) * (high - low))
    for _ in attribute.special:
        values = np.where(np.isin(values, attribute.special), low + (values + 1 - low) % (high - low), values)
    return values


def _fractional(attribute: Bins, low: Weights, high: Weights, rng: np.random.Generator) -> Weights:
    """Numbers in [low, high), rounded where that keeps them in their bin and apart from the special ones."""
    decimals = max(0, math.ceil(-math.log10(float(np.min(np.diff(attribute.edges))) / STEPS_IN_A_BIN)))
    exact = np.minimum(low + rng.random(len(low)) * (high - low), np.nextafter(high, low))
    rounded = np.round(exact, min(decimals, MOST_DECIMALS))
    left = (rounded < low) | (rounded >= high) | np.isin(rounded, attribute.special)
    kept: Weights = np.where(left, exact, rounded)
    return kept


def describe(decoder: Decoder) -> dict[str, Any]:
    """A JSON document of a decoder's attribute, without its column."""
    attribute = decoder.attribute
    merged: dict[str, Any] = {}
    if isinstance(attribute, Merged):
        merged = {"groups": list(attribute.groups), "weights": None if decoder.weights is None else decoder.weights.tolist()}
        attribute = attribute.base
    if isinstance(attribute, Bins):
        return merged | {"edges": list(attribute.edges), "special": list(attribute.special)}
    return merged


def restore(column: Any, document: dict[str, Any]) -> Decoder:
    """The decoder that `describe` described."""
    base: Attribute
    if column.is_number:
        base = Bins(column, tuple(document["edges"]), tuple(document["special"]))
    else:
        base = Categories(column, column.categories or ())
    if "groups" not in document:
        return Decoder(base)
    weights = document["weights"]
    return Decoder(Merged(base, tuple(document["groups"])), None if weights is None else np.array(weights, dtype=float))


def labels(attribute: Attribute) -> list[str]:
    """A name for each code, in words: a category, a bin, a special value, `missing`; the members of a merged group."""
    if isinstance(attribute, Merged):
        base = labels(attribute.base)
        members = [[b for b, g in zip(base, attribute.groups, strict=True) if g == group] for group in range(attribute.size)]
        return [m[0] if len(m) == 1 else f"any of {len(m)} rare values" for m in members]
    if isinstance(attribute, Categories):
        return [*attribute.categories, *(["other"] if attribute.has_other else []), "missing"]
    if isinstance(attribute, Bins):
        bins = [f"{a:g} to {b:g}" for a, b in pairwise(attribute.edges)]
        return [*bins, *(f"exactly {s:g}" for s in attribute.special), "missing"]
    raise TypeError(f"no labels for {type(attribute).__name__}")
