"""What a command says: lines for people, a document for programs, an exit code."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Reply:
    lines: list[str]
    document: dict[str, Any] = field(default_factory=dict)
    exit_code: int = 0


class Steps:
    """Progress on standard error: one line a named step, and notes as they are."""

    def __init__(self, steps: tuple[str, ...]):
        self._steps = steps

    def __call__(self, step: str) -> None:
        place = f"[{self._steps.index(step) + 1}/{len(self._steps)}] " if step in self._steps else ""
        print(step if step.startswith("note: ") else f"{place}{step} ...", file=sys.stderr, flush=True)


def reason_lines(reasons: Iterable[Mapping[str, Any]]) -> list[str]:
    """Why a verdict is not PASS, two lines a reason: what and about which attack and column, and what to do next."""
    lines = []
    for reason in reasons:
        about = ", ".join(str(reason[part]) for part in ("attack", "column") if reason.get(part))
        lines += [f"{reason['code']}{f' ({about})' if about else ''}: {reason['words']}", f"  next: {reason['next']}"]
    return lines


def table(header: list[str], rows: list[list[str]]) -> list[str]:
    """Lines of a plain table, columns aligned."""
    widths = [max(len(line[i]) for line in [header, *rows]) for i in range(len(header))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in [header, *rows]]
