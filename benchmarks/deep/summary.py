"""The cells as tables, one for each table and budget."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import mean, stdev

from benchmarks.marginal.cell import Cell, Line

MEASURES = {"tv1": 4, "tv2": 4, "tv4": 4, "auroc": 3, "cpu_s": 0, "peak_mb": 0}


def markdown(lines: Mapping[Cell, Line]) -> str:
    settings: dict[tuple[str, float], dict[str, list[Line]]] = defaultdict(lambda: defaultdict(list))
    for cell, line in sorted(lines.items(), key=lambda item: (item[0].table, item[0].epsilon or 0, item[0].generator, item[0].seed)):
        settings[cell.table, cell.epsilon or 0][cell.generator].append(line)
    return "\n\n".join(_section(table, epsilon, found) for (table, epsilon), found in settings.items())


def _section(table: str, epsilon: float, found: Mapping[str, Sequence[Line]]) -> str:
    head = [
        f"### {table}, ({epsilon:g}, 1e-5)",
        "",
        "| generator | runs | TV1 | TV2 | TV4 | AUROC | CPU s | peak MB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*head, *(_row(generator, lines) for generator, lines in found.items())])


def _row(generator: str, lines: Sequence[Line]) -> str:
    fine = [line for line in lines if line["status"] == "ok"]
    ended = "; ".join(dict.fromkeys(f"{line['status']}: {line['reason']}" for line in lines if line["status"] != "ok"))
    if not fine:
        return f"| {generator} | 0 of {len(lines)}, {ended} | | | | | {max(line['cpu_s'] for line in lines):.0f} | |"
    count = f"{len(fine)} of {len(lines)}, {ended}" if ended else str(len(fine))
    return f"| {generator} | {count} | " + " | ".join(_spread(fine, measure, digits) for measure, digits in MEASURES.items()) + " |"


def _spread(lines: Sequence[Line], measure: str, digits: int) -> str:
    """Mean, and the standard deviation of runs."""
    values = [line[measure] for line in lines if line[measure] is not None]
    if not values:
        return ""
    spread = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{mean(values):.{digits}f}{spread}"
