"""One column of a table, as far as the public knows it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

ColumnType = Literal["categorical", "ordinal", "integer", "continuous", "id"]

SERVED_TYPES = ("categorical", "ordinal", "integer", "continuous", "id")
PUBLIC_WORDS = ("publisher", "field-width", "survey", "judgement", "released")
PRIVATE_WORDS = ("observed", "open", "measure")
MAX_CATEGORIES = 100_000
DEFAULT_BINS = 32


@dataclass(frozen=True)
class Basis:
    """Why a fact about a column may be used: its first word decides, the rest is for people."""

    text: str

    @property
    def word(self) -> str:
        words = self.text.replace(":", " ").replace(";", " ").replace(",", " ").split()
        return words[0].lower() if words else ""

    @property
    def known(self) -> bool:
        return self.word in PUBLIC_WORDS + PRIVATE_WORDS

    @property
    def public(self) -> bool:
        return self.word in PUBLIC_WORDS


@dataclass(frozen=True)
class Column:
    """A column and its declared facts.

    `categories`, `bounds` and `cuts` are the public ones only: `None` means that the fact is not public and
    has to be measured under a charge. A list or a range that was copied from the data is kept apart in
    `observed_categories` and `observed_bounds`, which no generator reads; such cuts are left aside.

    Attributes:
        name: the column's header in the file.
        type: `categorical`, `ordinal`, `integer`, `continuous`, or `id` (never synthesised).
        missing: markers that stand for a missing cell, besides the empty one.
        special: numbers with a meaning of their own (-1 = never): each keeps a code apart from the bins.
        cuts: where a number's range is cut into bins, rising, inside the bounds: cut i is the least number of bin i + 1.
        bins: how fine to cut where `cuts` are measured: no bin wider than so many of the range, nor, if noise allows, fuller than of the rows.
        on_unknown: an unlisted category becomes `missing` or a public category `other`.
    """

    name: str
    type: ColumnType
    categories: tuple[str, ...] | None = None
    categories_basis: Basis | None = None
    bounds: tuple[float, float] | None = None
    bounds_basis: Basis | None = None
    cuts: tuple[float, ...] | None = None
    cuts_basis: Basis | None = None
    missing: tuple[str, ...] = ()
    special: tuple[float, ...] = ()
    bins: int = DEFAULT_BINS
    on_unknown: Literal["missing", "other"] = "missing"
    description: str = ""
    observed_categories: tuple[str, ...] | None = field(default=None, repr=False)
    observed_bounds: tuple[float, float] | None = field(default=None, repr=False)

    @property
    def is_number(self) -> bool:
        return self.type in ("integer", "continuous")

    @property
    def is_synthesised(self) -> bool:
        return self.type != "id"

    @property
    def is_open(self) -> bool:
        """Whether a domain has to be measured before the column can be counted."""
        return self.is_synthesised and (self.bounds if self.is_number else self.categories) is None

    @property
    def marker(self) -> str:
        """What a missing cell is written as."""
        return self.missing[0] if self.missing else ""
