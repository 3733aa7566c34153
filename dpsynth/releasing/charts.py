"""Charts as inline SVG, drawn by matplotlib: equal numbers give equal bytes, and nothing in them loads anything."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SYNTHETIC, TRUE, INK, GRID, GOOD, BAD = "#2f7f86", "#d18b3c", "#26323a", "#d9dfe3", "#2d7a4f", "#b3362b"
CURVES = ("#2f7f86", "#b3362b", "#6a5aa8", "#d18b3c", "#2d7a4f", "#7a6a58")
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 9.5,
    "svg.fonttype": "none",
    "svg.hashsalt": "dpsynth",
    "text.parse_math": False,
    "axes.edgecolor": GRID,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
}
WIDTH = 4.6
LONGEST_LABEL = 24


@dataclass(frozen=True)
class Whisker:
    """An interval on a share: from `low` to `high`, around `centre`."""

    low: float
    centre: float
    high: float


@dataclass(frozen=True)
class Series:
    """Shares that add up to 1 at most, in one colour; `whiskers` has one for each share, or is empty."""

    name: str
    colour: str
    shares: Sequence[float]
    whiskers: Sequence[Whisker] = ()


@dataclass(frozen=True)
class Interval:
    """An attack's effect with its bounds, as shares of the most that the policy allows."""

    name: str
    low: float
    effect: float
    high: float


@dataclass(frozen=True)
class Curve:
    """A receiver operating characteristic."""

    name: str
    fpr: Sequence[float]
    tpr: Sequence[float]


def bars(labels: Sequence[str], series: Sequence[Series], key: str) -> str:
    """Horizontal bars, one group for each label. `key` tells the charts of a page apart."""
    thick = 0.72 / len(series)
    with _canvas(WIDTH, 0.55 + 0.27 * len(labels) + 0.1 * (len(series) - 1) * len(labels), key) as (axes, svg):
        for i, one in enumerate(series):
            places = [row + (i - (len(series) - 1) / 2) * thick for row in range(len(labels))]
            axes.barh(places, [100 * s for s in one.shares], height=thick * 0.92, color=one.colour, label=one.name)
            for place, w in zip(places, one.whiskers, strict=False):
                axes.plot([100 * max(w.low, 0), 100 * max(w.high, 0)], [place, place], color=INK, linewidth=1.3, solid_capstyle="butt")
                axes.plot([100 * max(w.centre, 0)], [place], marker="|", color=INK, markersize=6)
        axes.set_yticks(range(len(labels)), [_short(label) for label in labels])
        axes.invert_yaxis()
        axes.set_xlim(left=0)
        _percent(axes, "x")
    return svg()


def histogram(edges: Sequence[float], series: Sequence[Series], key: str, names: Sequence[str] = ()) -> str:
    """Bars over bins; further series as steps on top of the first. `names` of the bins, if given, replace the numbers."""
    with _canvas(WIDTH, 2.1, key) as (axes, svg):
        first, *rest = series
        widths = [b - a for a, b in pairwise(edges)]
        axes.bar(edges[:-1], [100 * s for s in first.shares], width=widths, align="edge", color=first.colour, edgecolor="white", linewidth=0.6)
        for left, width, w in zip(edges[:-1], widths, first.whiskers, strict=False):
            axes.plot([left + width / 2] * 2, [100 * max(w.low, 0), 100 * max(w.high, 0)], color=INK, linewidth=1.3, solid_capstyle="butt")
        for one in rest:
            axes.stairs([100 * s for s in one.shares], edges, color=one.colour, linewidth=1.8)
        axes.set_ylim(bottom=0)
        _percent(axes, "y")
        if names:
            told = range(0, len(names), max(1, -(-len(names) // 4)))
            axes.set_xticks([(edges[i] + edges[i + 1]) / 2 for i in told], [_short(names[i], 16) for i in told])
    return svg()


def intervals(rows: Sequence[Interval], key: str) -> str:
    """Each effect and its bounds: what stays left of the line at 1 passes."""
    with _canvas(7.4, 0.75 + 0.33 * len(rows), key) as (axes, svg):
        for place, row in enumerate(rows):
            low, effect, high = (max(-0.5, min(x, 3.0)) for x in (row.low, row.effect, row.high))
            colour = GOOD if row.high < 1 else BAD
            axes.plot([low, high], [place, place], color=colour, linewidth=2.4, solid_capstyle="butt")
            axes.plot([effect], [place], marker="o", color=colour, markersize=6)
        axes.axvline(1.0, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        axes.set_yticks(range(len(rows)), [_short(row.name, 34) for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlim(min(-0.05, axes.get_xlim()[0]), max(1.3, axes.get_xlim()[1]))
        axes.set_xlabel("effect above guessing, as a share of what is tolerated (dashed line)")
        axes.grid(axis="x", color=GRID, linewidth=0.6)
    return svg()


def roc(curves: Sequence[Curve], key: str) -> str:
    """Curves on the unit square with the diagonal, where an attacker only guesses."""
    with _canvas(WIDTH, 4.0, key) as (axes, svg):
        axes.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle=(0, (4, 3)), label="guessing")
        for curve, colour in zip(curves, CURVES * (1 + len(curves) // len(CURVES)), strict=False):
            axes.plot(curve.fpr, curve.tpr, color=colour, linewidth=1.8, label=_short(curve.name, 34))
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="others wrongly called members", ylabel="members found")
        axes.grid(color=GRID, linewidth=0.6)
        axes.legend(loc="lower right", fontsize=8.5)
    return svg()


@contextmanager
def _canvas(width: float, height: float, key: str) -> Iterator[tuple[Axes, _Drawing]]:
    from matplotlib import style
    from matplotlib.figure import Figure

    with style.context(["default", STYLE]):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots()
        axes.set_axisbelow(True)
        drawing = _Drawing(key)
        yield axes, drawing
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
        drawing.keep(file.getvalue())


class _Drawing:
    """The SVG text of one chart, fit to stand among others in one page."""

    def __init__(self, key: str):
        self._key = key
        self._text = ""

    def keep(self, text: str) -> None:
        text = text[text.index("<svg") :]
        text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
        text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
        text = re.sub(r'\s+xmlns(:xlink)?="[^"]*"', "", text)
        text = re.sub(r'(<[^>]*?)\bxlink:href="#', r'\1href="#', text)
        text = re.sub(r'(<[a-zA-Z]+ [^>]*?)\bid="', rf'\1id="{self._key}-', text)
        text = re.sub(r'((?:href=")#|url\(#)', rf"\1{self._key}-", text)
        text = re.sub(r'(<svg [^>]*?)width="[^"]*"', r"\1", text, count=1)
        self._text = re.sub(r'(<svg [^>]*?)height="[^"]*"', r'\1 aria-hidden="true" focusable="false"', text, count=1)

    def __call__(self) -> str:
        return self._text


def _percent(axes: Axes, which: str) -> None:
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_formatter(lambda value, _: f"{value:g} %")
    axis.grid(color=GRID, linewidth=0.6)
    axes.locator_params(axis="x" if which == "x" else "y", nbins=5)


def _short(label: str, longest: int = LONGEST_LABEL) -> str:
    """A label that fits beside a chart, on one line; the whole one stands in the table under it."""
    text = "".join(c if c.isprintable() else " " for c in label)
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"
