"""From codes back to rows that look like the raw ones. Free: its inputs are released values and fresh randomness."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from dpsynth.privacy.attribute import Attribute, Bins, Categories, Merged

Codes = npt.NDArray[np.integer[Any]]
Whole = npt.NDArray[np.int64]
Weights = npt.NDArray[np.float64]
Numbers = TypeVar("Numbers", Whole, Weights)
Undo = Callable[[Codes, Whole, Weights, np.random.Generator], Codes]
STEPS_IN_A_BIN = 20
MOST_DECIMALS = 300


def shared_out(codes: Codes, groups: Whole, shares: Weights, rng: np.random.Generator) -> Codes:
    """A base code for each group code: each as often as its share says, rounded, to the group's rows by chance.

    Rounded by systematic sampling over a group's members in random order: expected counts are exact.

    Args:
        codes: group codes, shape (n,).
        groups, shares: the group of each base code, and its share of it, shape (base codes,).
    """
    members = np.bincount(groups)
    alone = np.zeros(len(members), dtype=np.min_scalar_type(len(groups)))
    alone[groups] = np.arange(len(groups))
    undone = alone[codes]
    rows = rng.permutation(np.flatnonzero(members[codes] > 1))
    rows = rows[np.argsort(codes[rows], kind="stable")]
    order = np.lexsort((rng.random(len(groups)), groups))
    sizes = np.bincount(codes[rows], minlength=len(members))
    ends, own = np.cumsum(sizes), groups[order]
    rungs = np.floor(np.cumsum(sizes[own] * shares[order]) + rng.random())
    rungs = np.clip(rungs, (ends - sizes)[own], ends[own])
    rungs[np.cumsum(members) - 1] = ends  # as they are but for an error of floating point
    undone[rows] = np.repeat(order, np.diff(rungs, prepend=0).astype(np.int64))
    return undone


def drawn(codes: Codes, groups: Whole, shares: Weights, rng: np.random.Generator) -> Codes:
    """A base code for each group code, drawn by its share, independently of all others; arguments as in `shared_out`."""
    order = np.argsort(groups, kind="stable")
    ladder, ends = np.cumsum(shares[order]), np.cumsum(np.bincount(groups))
    starts = np.concatenate([[0], ends[:-1]])
    below = np.concatenate([[0.0], ladder])[starts]
    places = np.searchsorted(ladder, below[codes] + rng.random(len(codes)), side="right")
    undone: Codes = order[np.clip(places, starts[codes], ends[codes] - 1)]
    return undone


@dataclass(frozen=True, eq=False)
class Decoder:
    """Decodes one attribute. `weights`, one for each code of a merged attribute's base, say how a group is undone."""

    attribute: Attribute
    weights: Weights | None = None

    def decode(self, codes: Codes, rng: np.random.Generator, undo: Undo = shared_out) -> pd.Series:
        """Codes, shape (n,), to cells: text or None for categories, Int64 for integers, float64 for continuous numbers.

        Args:
            undo: how the codes of a merged attribute become those of its base: `shared_out` or `drawn`.
        """
        base = self.attribute
        if isinstance(base, Merged):
            codes, base = undo(codes, np.array(base.groups), self._shares(np.array(base.groups)), rng), base.base
        if isinstance(base, Categories):
            return _categories(base, codes)
        if isinstance(base, Bins):
            return _numbers(base, codes, rng)
        raise TypeError(f"no decoding for {type(base).__name__}")

    def _shares(self, groups: Whole) -> Weights:
        """Each base code's share of its group: by the weights, or equal ones where those of a group are all 0."""
        weights = np.ones(len(groups)) if self.weights is None else np.maximum(self.weights, 0)
        weights = np.where(np.bincount(groups, weights)[groups] > 0, weights, 1.0)
        shares: Weights = weights / np.bincount(groups, weights)[groups]
        return shares


@dataclass(frozen=True, eq=False)
class Codec:
    """The decoders of all attributes, in the schema's order."""

    decoders: tuple[Decoder, ...]

    @property
    def attributes(self) -> tuple[Attribute, ...]:
        return tuple(d.attribute for d in self.decoders)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(a.column.name for a in self.attributes)

    def decode(self, codes: Codes, rng: np.random.Generator, undo: Undo = shared_out) -> pd.DataFrame:
        """Codes, shape (n, attributes), to a frame of the schema's synthesised columns."""
        cells = {n: d.decode(codes[:, i], rng, undo) for i, (n, d) in enumerate(zip(self.names, self.decoders, strict=True))}
        return pd.DataFrame(cells, copy=False)


def _categories(attribute: Categories, codes: Codes) -> pd.Series:
    other = ("other",) if attribute.has_other else ()
    labels = np.array([*attribute.categories, *other, None], dtype=object)
    return pd.Series(labels[codes], dtype=object, copy=False)


def _numbers(attribute: Bins, codes: Codes, rng: np.random.Generator) -> pd.Series:
    """Uniform within a bin, never a special value; rounded so that a bin holds at least twenty different values."""
    bins, missing = np.minimum(codes, attribute.bins - 1), codes == attribute.size - 1
    if attribute.column.type == "integer":
        whole = _with_special(_whole(attribute, bins, rng), attribute, codes)
        return pd.Series(pd.arrays.IntegerArray(whole, missing), copy=False)
    values = _with_special(_fractional(attribute, bins, rng), attribute, codes)
    values[missing] = np.nan
    return pd.Series(values, copy=False)


def _with_special(values: Numbers, attribute: Bins, codes: Codes) -> Numbers:
    for position, special in enumerate(attribute.special):
        values[codes == attribute.bins + position] = special
    return values


def _whole(attribute: Bins, bins: Codes, rng: np.random.Generator) -> Whole:
    """Whole numbers of each bin but the special ones, all equally likely; any, where the bin has no others."""
    edges, room = np.array(attribute.edges).astype(np.int64), np.diff(attribute.edges)
    special = np.sort([s for s in attribute.special if attribute.edges[0] <= s < attribute.edges[-1]])
    homes = np.searchsorted(attribute.edges, special, side="right") - 1
    free = room - np.bincount(homes, minlength=attribute.bins)
    values: Whole = edges[bins] + (rng.random(len(bins)) * np.where(free > 0, free, room)[bins]).astype(np.int64)
    for home, taken in zip(homes, special, strict=True):
        if free[home] > 0:
            values += (bins == home) & (values >= taken)
    return values


def _fractional(attribute: Bins, bins: Codes, rng: np.random.Generator) -> Weights:
    """Numbers of each bin, rounded where that keeps them in it and apart from the special ones."""
    edges = np.array(attribute.edges)
    low, high = edges[bins], edges[1:][bins]
    exact = np.minimum(low + rng.random(len(low)) * (high - low), np.nextafter(high, low))
    rounded = _rounded(exact, _decimals(np.diff(edges))[bins])
    left = (rounded < low) | (rounded >= high) | np.isin(rounded, attribute.special)
    return np.where(left, exact, rounded)


def _decimals(widths: Weights) -> Whole:
    """The digits after the point at which a bin of each width holds at least twenty different numbers."""
    decimals: Whole = np.clip(np.ceil(-np.log10(widths / STEPS_IN_A_BIN)), 0, MOST_DECIMALS).astype(np.int64)
    return decimals


def _rounded(values: Weights, decimals: Whole) -> Weights:
    rounded = values.copy()
    for digits in np.unique(decimals).tolist():
        rounded[decimals == digits] = np.round(values[decimals == digits], digits)
    return rounded


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
        bins = [_span(attribute.column.type == "integer", a, b) for a, b in pairwise(attribute.edges)]
        return [*bins, *(f"exactly {s:g}" for s in attribute.special), "missing"]
    raise TypeError(f"no labels for {type(attribute).__name__}")


def _span(whole: bool, low: float, high: float) -> str:
    """What a bin holds: one whole number, or those from `low` to below `high`."""
    return f"{low:.10g}" if whole and high - low == 1 else f"{low:.10g} to {high:.10g}"
