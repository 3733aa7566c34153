"""The reports, each one self-contained HTML page: for the public, for the custodian alone, and an auditor's on somebody's table.

The public page is a function of the certificate, the released schema, the synthetic rows and the noisy answers; nothing
else comes in, so it is post-processing. The custodian's page shows true comparisons and must stay where it is. The auditor's has the
attacks' figures, which are of people: it is for who may see those.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from dpsynth.releasing import charts
from dpsynth.releasing.certificate import MEANING, Certificate
from dpsynth.releasing.charts import SYNTHETIC, TRUE, Series, Whisker
from dpsynth.releasing.nearness import NEARER
from dpsynth.schema import Column, Schema

if TYPE_CHECKING:
    import pandas as pd

    from dpsynth.releasing.nearness import Nearness

MOST_BARS = 12
MOST_BINS = 24
MISSING = "(missing)"
VERDICTS = {
    "PASS": "None of the attacks found more than the policy allows.",
    "FAIL": "The table, or what is claimed of it, does not meet the policy.",
    "INCONCLUSIVE": "The evidence is not enough to decide.",
}


@dataclass(frozen=True)
class PublicFacts:
    """What the public page may know.

    Each entry of `accuracy` has `columns`, `sigma`, `cells`, `bound_95` and may have the `noisy` counts. One-way counts are
    drawn as error bars if their cells are the released categories (or `edges` that the entry gives, else bins of equal
    width, then special values), then missing.
    """

    certificate: Certificate
    schema: Schema
    synthetic: pd.DataFrame
    accuracy: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Found:
    """What the attacks found, and what to do next; the shapes are those of `attacks.json`."""

    verdict: Literal["PASS", "FAIL", "INCONCLUSIVE"]
    reasons: Sequence[Mapping[str, Any]]
    attacks: Sequence[Mapping[str, Any]]
    roc: Sequence[Mapping[str, Any]] = ()
    next_steps: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class CustodianFacts(Found):
    """What the custodian's page shows beside: of a release of his own."""

    release: str
    comparisons: Sequence[Mapping[str, Any]] = ()
    pairs: Sequence[Mapping[str, Any]] = ()
    ledger: Sequence[str] = ()
    attempts: int = 1


@dataclass(frozen=True, kw_only=True)
class AuditorFacts(Found):
    """What the auditor's page shows beside: of a table that may be anybody's.

    Attributes:
        policy: its name, version and hash.
        claim: the maker's (epsilon, delta) and what became of it; None where nothing is claimed.
        inputs: SHA-256 of each file that was read, by its role.
    """

    policy: Mapping[str, Any]
    claim: Mapping[str, Any] | None
    inputs: Mapping[str, str]


@dataclass(frozen=True)
class Panel:
    """One chart with its words, and its figures as a table for those who cannot or do not want to see it."""

    title: str
    note: str
    svg: str
    header: tuple[str, ...]
    figures: tuple[tuple[str, ...], ...]


def public_report(facts: PublicFacts) -> str:
    """The page for whoever receives the bundle."""
    one_way = {e["columns"][0]: e for e in facts.accuracy if len(e["columns"]) == 1}
    panels = [_synthetic_panel(c, facts.synthetic[c.name], one_way.get(c.name), f"c{i}") for i, c in enumerate(facts.schema.synthesised)]
    measured = sorted(facts.accuracy, key=lambda e: (len(e["columns"]), [str(c) for c in e["columns"]]))
    return _page(
        "report_public.html",
        certificate=facts.certificate,
        schema=facts.schema,
        rows=len(facts.synthetic),
        panels=panels,
        nearness=None if facts.certificate.nearness is None else _nearness_panel(facts.certificate.nearness),
        has_whiskers=any("Noisy count" in p.header for p in panels),
        accuracy=measured,
        alone=_columns_alone(facts),
        meaning=MEANING,
        near_meaning=NEARER,
    )


def _columns_alone(facts: PublicFacts) -> bool:
    """Whether the generator was told of single columns only: no table of two was measured, and nothing was trained."""
    told_of_pairs = any(len(e["columns"]) > 1 for e in facts.accuracy) or any(e.kind == "train" for e in facts.certificate.events)
    return len(facts.schema.synthesised) > 1 and not told_of_pairs


def custodian_report(facts: CustodianFacts) -> str:
    """The page for the custodian: never to be sent."""
    worst = sorted(facts.pairs, key=lambda p: (-float(p["tv"]), [str(c) for c in p["columns"]]))
    passed = facts.verdict == "PASS"
    return _page(
        "report_custodian.html",
        **_found(facts),
        headline=(facts.verdict if passed else f"{facts.verdict}: blocked", VERDICTS[facts.verdict] + ("" if passed else " Nothing was published.")),
        panels=[_comparison_panel(c, f"c{i}") for i, c in enumerate(facts.comparisons)],
        pairs=worst[:20],
        more_pairs=max(0, len(worst) - 20),
    )


def auditor_report(facts: AuditorFacts) -> str:
    """The page beside an auditor's statement: for who may see figures of the people in the tables."""
    return _page("report_auditor.html", **_found(facts), headline=(facts.verdict, VERDICTS[facts.verdict]))


def _found(facts: Found) -> dict[str, Any]:
    """What `report_attacks.html` shows."""
    return {
        "facts": facts,
        "attacks": [(a, *_outcome(a)) for a in facts.attacks],
        "steps": [step for step in dict.fromkeys(facts.next_steps) if step not in {r["next"] for r in facts.reasons}],
        "intervals": _intervals_chart(facts.attacks),
        "roc": charts.roc([charts.Curve(str(r["attack"]), r["fpr"], r["tpr"]) for r in facts.roc], "roc") if facts.roc else "",
    }


def _page(template: str, **values: Any) -> str:
    """Fill a template. Everything is escaped but the SVG of our own charts, whose texts matplotlib escapes."""
    from importlib.resources import files

    from jinja2 import Environment, FunctionLoader, StrictUndefined

    folder = files("dpsynth") / "resources"
    load = FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8"))
    environment = Environment(loader=load, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["number"] = _number
    return environment.get_template(template).render(**values)


def _synthetic_panel(column: Column, cells: pd.Series, measured: Mapping[str, Any] | None, key: str) -> Panel:
    note = column.description
    draw = _number_panel if column.is_number else _category_panel
    panel = draw(column, cells, measured, key)
    missing = float(cells.isna().mean()) if len(cells) else 0.0
    if column.is_number:
        note = f"{note + '. ' if note else ''}Missing: {100 * missing:.1f} %."
    return Panel(panel.title, note, panel.svg, panel.header, panel.figures)


def _category_panel(column: Column, cells: pd.Series, measured: Mapping[str, Any] | None, key: str) -> Panel:
    import pandas as pd

    gone = cells.isna() | cells.astype(object).isin(column.missing)
    texts = pd.Series([MISSING if g else str(v) for v, g in zip(cells.astype(object), gone, strict=True)], dtype=object)
    labels = [*(column.categories or ()), *(("other",) if column.on_unknown == "other" else ()), MISSING]
    shares = texts.value_counts(normalize=True)
    noise = _whiskers(measured, len(labels))
    kept = [i for i, label in enumerate(labels) if label != MISSING or shares.get(label, 0) or noise]
    if len(kept) > MOST_BARS:
        common = sorted(kept, key=lambda i: (-shares.get(labels[i], 0.0), i))[:MOST_BARS]
        kept = [i for i in kept if i in common] if column.type == "ordinal" else common
    shown = [labels[i] for i in kept]
    whiskers = [noise[i] for i in kept] if noise else []
    one = Series("synthetic", SYNTHETIC, [float(shares.get(label, 0.0)) for label in shown], whiskers)
    title = f"{column.name} ({len(kept)} most frequent of {len(labels)})" if len(kept) == MOST_BARS < len(labels) else column.name
    return _panel(title, charts.bars(shown, [one], key), shown, one)


def _number_panel(column: Column, cells: pd.Series, measured: Mapping[str, Any] | None, key: str) -> Panel:
    import numpy as np
    import pandas as pd

    values = pd.to_numeric(cells.astype(object).where(cells.notna(), np.nan), errors="coerce").to_numpy(dtype=np.float64)
    present = values[~np.isnan(values) & ~np.isin(values, column.special)]
    edges = _edges(column, measured, present)
    counts = np.histogram(present, bins=edges)[0] / max(len(values), 1)
    noise = _whiskers(measured, len(edges) - 1 + len(column.special) + 1)
    one = Series("synthetic", SYNTHETIC, [float(c) for c in counts], noise[: len(edges) - 1])
    labels = [f"{a:g} to {b:g}" for a, b in pairwise(edges)]
    widths = [b - a for a, b in pairwise(edges)]
    alike = max(widths) <= 2 * min(widths)
    svg = charts.histogram(edges, [one], key) if alike else charts.histogram(range(len(edges)), [one], key, labels)
    return _panel(column.name, svg, labels, one)


def _edges(column: Column, measured: Mapping[str, Any] | None, present: Any) -> list[float]:
    """The bins that were measured, where they are known; else at most `MOST_BINS` of equal width."""
    import numpy as np

    if measured and len(measured.get("edges", ())) >= 2:
        return [float(e) for e in measured["edges"]]
    low, high = column.bounds or ((present.min(), present.max()) if len(present) else (0.0, 1.0))
    as_measured = len((measured or {}).get("noisy") or ()) == column.bins + len(column.special) + 1
    bins = column.bins if as_measured else min(column.bins, MOST_BINS)
    return [float(e) for e in np.linspace(low, high if high > low else low + 1, bins + 1)]


def _whiskers(measured: Mapping[str, Any] | None, cells: int) -> list[Whisker]:
    """The noisy shares with their 95 % bounds, if there is one noisy count for each of `cells`."""
    noisy = [float(x) for x in (measured or {}).get("noisy") or ()]
    total = sum(noisy)
    if measured is None or len(noisy) != cells or total <= 0:
        return []
    bound = float(measured["bound_95"])
    return [Whisker((x - bound) / total, x / total, (x + bound) / total) for x in noisy]


def _panel(title: str, svg: str, labels: Sequence[str], one: Series) -> Panel:
    if not one.whiskers:
        return Panel(title, "", svg, ("Value", "Synthetic"), tuple((label, _share(s)) for label, s in zip(labels, one.shares, strict=True)))
    rows = zip(labels, one.shares, one.whiskers, strict=True)
    figures = tuple((label, _share(s), f"{_share(w.centre)} ± {_share(w.high - w.centre)}") for label, s, w in rows)
    return Panel(title, "", svg, ("Value", "Synthetic", "Noisy count"), figures)


def _nearness_panel(nearness: Nearness) -> Panel:
    """The two noised histograms as shares of their noised sums."""
    ends = [f"{edge:g}" for edge in nearness.edges]
    labels = [ends[0], *(f"above {a} to {b}" for a, b in pairwise(ends)), f"above {ends[-1]}"]
    sides = (nearness.train, nearness.control)
    trained, held = ([n / max(sum(side), 1) for n in side] for side in sides)
    both = [Series("trained on", SYNTHETIC, [max(s, 0.0) for s in trained]), Series("held back", TRUE, [max(s, 0.0) for s in held])]
    counts = zip(labels, nearness.train, trained, nearness.control, held, strict=True)
    figures = tuple((label, f"{t:,} ({_share(of_t)})", f"{c:,} ({_share(of_c)})") for label, t, of_t, c, of_c in counts)
    title = f"Columns by which the nearest synthetic row differs, of {nearness.columns}"
    note = "Of two bars the upper one is of those trained on, the lower one of those held back."
    return Panel(title, note, charts.bars(labels, both, "nearness"), ("Distance", "Trained on", "Held back"), figures)


def _comparison_panel(comparison: Mapping[str, Any], key: str) -> Panel:
    """Numbers as a histogram over `edges`, or over the order of their `labels`; categories as bars."""
    train, synthetic = list(comparison["train"]), list(comparison["synthetic"])
    edges = [float(e) for e in comparison.get("edges") or ()]
    labels = [str(label) for label in comparison.get("labels") or [f"{a:g} to {b:g}" for a, b in pairwise(edges)]]
    both = [Series("synthetic", SYNTHETIC, synthetic), Series("true", TRUE, train)]
    if edges and len(edges) == len(train) + 1:
        svg = charts.histogram(edges, both, key)
    elif comparison.get("kind") in ("integer", "continuous", "numeric") and len(labels) > MOST_BARS:
        svg = charts.histogram(range(len(labels) + 1), both, key, labels)
    else:
        common = set(sorted(range(len(labels)), key=lambda i: (-train[i], i))[:MOST_BARS])
        shown = [i for i in range(len(labels)) if i in common]
        svg = charts.bars([labels[i] for i in shown], [Series(s.name, s.colour, [s.shares[i] for i in shown]) for s in both], key)
    figures = tuple((label, _share(t), _share(s)) for label, t, s in zip(labels, train, synthetic, strict=False))
    note = f"Total variation distance {float(comparison['tv']):.3f}"
    return Panel(str(comparison["column"]), note, svg, ("Value", "True", "Synthetic"), figures)


def _outcome(attack: Mapping[str, Any]) -> tuple[str, str]:
    """What an attack says of the policy, in a word, and the word's colour."""
    ci, tolerance, status = attack.get("ci"), attack.get("tolerance"), str(attack["status"]).replace("_", " ")
    if status != "ok":
        return status, "doubtful"
    if attack.get("control_detected") is False:
        return "void: control missed", "doubtful"
    if not ci or None in ci or tolerance is None:
        return "reported", ""
    return ("within", "passed") if ci[1] < tolerance else ("exceeds", "failed") if ci[0] > tolerance else ("undecided", "doubtful")


def _intervals_chart(attacks: Sequence[Mapping[str, Any]]) -> str:
    drawn = [i for a in attacks if (i := _interval(a))]
    return charts.intervals(drawn, "attacks") if drawn else ""


def _interval(attack: Mapping[str, Any]) -> charts.Interval | None:
    """The effect above guessing (an AUC of one half, else nothing) as a share of what is tolerated above guessing."""
    name, effect, ci, tolerance = str(attack["name"]), attack.get("effect"), attack.get("ci"), attack.get("tolerance")
    guessing = 0.5 if tolerance is not None and tolerance >= 0.5 else 0.0
    if effect is None or not ci or None in ci or tolerance is None or tolerance <= guessing:
        return None
    low, middle, high = ((float(x) - guessing) / (tolerance - guessing) for x in (ci[0], effect, ci[1]))
    return charts.Interval(name, low, middle, high)


def _share(share: float) -> str:
    return f"{100 * share:.1f} %"


def _number(value: Any, digits: int = 3) -> str:
    """A figure for people: a few digits, thousands apart, a dash where there is none."""
    if value is None:
        return "\N{EN DASH}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else re.sub(r"^-0(\.0+)?$", "0", f"{value:.{digits}g}")
    return str(value)
