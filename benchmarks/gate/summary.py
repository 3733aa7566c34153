"""The results as markdown: the targets and whether they are met, then every generator's verdicts.

A rate has its exact bounds (Clopper and Pearson 1934), each one-sided at 95 %. What is missed by the rate itself is marked
missed; what the rate meets and so few splits cannot prove is marked open.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from scipy import stats

from benchmarks.gate.cell import Cell, Line
from benchmarks.gate.planted import GENERATORS

CONFIDENCE = 0.95
VIOLATED = "claim_violated:None"
STOPPED = ("FAIL", "INCONCLUSIVE", "REFUSED")

Lines = Mapping[Cell, Line]


@dataclass(frozen=True)
class Target:
    """What share of the lines of some generators has to be so, at least or at most.

    Attributes:
        sizes: the numbers of training units it speaks of.
        counts: whether a line counts.
        at_most: whether `bound` is the most; else the least. `upper` is what the upper bound of the rate has to stay below.
    """

    words: str
    generators: tuple[str, ...]
    sizes: tuple[int, ...]
    counts: Callable[[Line], bool]
    bound: float
    at_most: bool = False
    upper: float | None = None


def _bare(*outcomes: str) -> Callable[[Line], bool]:
    return lambda line: line["bare"] in outcomes


def _stopped(line: Line) -> bool:
    """Neither way a PASS, and no exception."""
    return line["bare"] in STOPPED and line["claimed"] in STOPPED


def _violation(line: Line) -> bool:
    return VIOLATED in line["claimed_reasons"]


LARGE = (2_000, 15_000)
SMALL = (500,)
BLOCKED = tuple(name for name, g in GENERATORS.items() if g.expected == "blocked")
TARGETS = (
    Target("fresh rows FAIL, no claim", ("fresh",), (500, *LARGE), _bare("FAIL"), 0.05, at_most=True, upper=0.07),
    Target("fresh rows FAIL, claiming epsilon 1", ("fresh",), (500, *LARGE), lambda x: x["claimed"] == "FAIL", 0.05, at_most=True, upper=0.07),
    Target("1 % copied: FAIL, no claim", ("copies_1",), LARGE, _bare("FAIL"), 1.0),
    Target("1 % copied: no PASS under a claim", ("copies_1",), LARGE, lambda x: x["claimed"] in STOPPED, 1.0),
    Target("0.5 % copied: caught, no claim", ("copies_0.5",), LARGE, lambda x: x["bare"] in STOPPED, 0.8),
    Target("0.5 % copied: caught under a claim", ("copies_0.5",), LARGE, lambda x: x["claimed"] in STOPPED, 0.8),
    Target("outliers copied: caught, no claim", ("outliers_1", "outliers_0.5"), LARGE, lambda x: x["bare"] in STOPPED, 0.9),
    Target("outliers copied: caught under a claim", ("outliers_1", "outliers_0.5"), LARGE, lambda x: x["claimed"] in STOPPED, 0.9),
    Target("decode leak caught", ("decode_leak",), LARGE, _stopped, 1.0),
    Target("1 % copied: no PASS", ("copies_1",), SMALL, _stopped, 1.0),
    Target("sabotage blocked", BLOCKED, (500, *LARGE), _stopped, 1.0),
    Target("correct DP at epsilon 1 or less PASS", ("mst_0.5", "mst_1"), LARGE, lambda x: x["claimed"] == "PASS", 0.98),
    Target("correct DP called a violation", ("mst_0.5", "mst_1", "mst_10"), (500, *LARGE), _violation, 0.01, at_most=True),
)


def markdown(lines: Lines) -> str:
    minutes = sum(line["cpu_make"] + line["cpu_gate"] for line in lines.values()) / 60
    codes = ", ".join(f"{code} {count}" for code, count in Counter(line["suite"] for line in lines.values()).items())
    title = f"{len(lines):,} cells, {minutes:.0f} CPU minutes; code of the attacks and how many it judged: {codes or 'none'}."
    return "\n\n".join([title, _targets(lines), *_sections(lines), _let_through(lines)])


def _targets(lines: Lines) -> str:
    head = ["| target | n | near-unique columns | asked | found | bounds | |", "|---|---|---|---|---|---|---|"]
    return "\n".join([*head, *(row for target in TARGETS for row in _target_rows(target, lines))])


def _target_rows(target: Target, lines: Lines) -> Iterable[str]:
    for shares, policy in sorted({(cell.shares, cell.policy) for cell in lines}):
        for n in target.sizes:
            for unique in (True, False):
                found = [
                    target.counts(line)
                    for cell, line in lines.items()
                    if cell.generator in target.generators and (cell.n, cell.unique, cell.shares, cell.policy) == (n, unique, shares, policy)
                ]
                if found:
                    setting = "" if (shares, policy) == ("even", "partner-contract") else f" ({shares}, {policy})"
                    yield _target_row(target, n, unique, setting, found)


def _target_row(target: Target, n: int, unique: bool, setting: str, found: Sequence[bool]) -> str:
    low, high = bounds(sum(found), len(found))
    rate = sum(found) / len(found)
    sign = "at most" if target.at_most else "at least"
    asked = f"{sign} {target.bound:.0%}" + (f", bound {target.upper:.0%}" if target.upper else "")
    judged = _judged(target, rate, low, high)
    return f"| {target.words}{setting} | {n:,} | {_columns(unique)} | {asked} | {sum(found)} of {len(found)} | {low:.1%} to {high:.1%} | {judged} |"


def _judged(target: Target, rate: float, low: float, high: float) -> str:
    if rate > target.bound if target.at_most else rate < target.bound:
        return "**missed**"
    proved = high <= (target.upper or target.bound) if target.at_most else low >= target.bound
    return "no miss" if target.bound == 1.0 else "met" if proved else "open"


def bounds(count: int, total: int) -> tuple[float, float]:
    """Clopper and Pearson's, each one-sided at 95 %."""
    low = float(stats.beta.ppf(1 - CONFIDENCE, count, total - count + 1)) if count else 0.0
    high = float(stats.beta.ppf(CONFIDENCE, count + 1, total - count)) if count < total else 1.0
    return low, high


def _sections(lines: Lines) -> Iterable[str]:
    settings = sorted({(cell.policy, cell.shares, cell.n, not cell.unique) for cell in lines})
    for policy, shares, n, dropped in settings:
        chosen = [(c, x) for c, x in lines.items() if (c.policy, c.shares, c.n, not c.unique) == (policy, shares, n, dropped)]
        controls = "as many controls" if shares == "even" else "controls as the policy splits"
        title = f"#### n = {n:,}, near-unique columns {_columns(not dropped)}, `{policy}`, {controls}"
        head = ["| generator | expected | splits | no claim: FAIL | INCONCLUSIVE | PASS | claim: FAIL | INCONCLUSIVE | PASS |", "|---" * 9 + "|"]
        rows = [_row(name, [x for c, x in chosen if c.generator == name]) for name in GENERATORS]
        yield "\n".join([title, "", *head, *filter(None, rows)])


def _row(name: str, found: Sequence[Line]) -> str:
    if not found:
        return ""
    planted = GENERATORS[name]
    cells = [_rate([x[side] for x in found], outcome) for side in ("bare", "claimed") for outcome in ("FAIL", "INCONCLUSIVE", "PASS")]
    refused = sum(x["bare"] == "REFUSED" for x in found)
    broke = sum(x["bare"] == "BROKE" for x in found)
    notes = (f", {refused} refused" if refused else "") + (f", **{broke} broke**" if broke else "")
    return f"| {name} | {planted.expected} | {len(found)}{notes} | " + " | ".join(cells) + " |"


def _rate(outcomes: Sequence[str], outcome: str) -> str:
    count = sum(o == outcome for o in outcomes)
    if not count:
        return ""
    low, high = bounds(count, len(outcomes))
    return f"{count / len(outcomes):.0%} ({low:.0%} to {high:.0%})"


def _let_through(lines: Lines) -> str:
    """Each PASS of what leaks or is to be blocked, with what repeats it."""
    rows = [
        f"- `{cell.generator}`, {cell.table}, n = {cell.n:,}, split {cell.split}, near-unique columns {_columns(cell.unique)}, {cell.shares}: "
        + " and ".join(words for side, words in (("bare", "no claim"), ("claimed", f"claiming {line.get('epsilon', 0):g}")) if line[side] == "PASS")
        for cell, line in lines.items()
        if "PASS" in (line["bare"], line["claimed"]) and GENERATORS[cell.generator].expected in ("leak", "blocked")
    ]
    return "\n".join(["Let through:", "", *(rows or ["nothing."])])


def _columns(unique: bool) -> str:
    return "kept" if unique else "dropped"
