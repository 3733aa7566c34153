"""What came of a fault: counts that add up, and every violation in words."""

from __future__ import annotations

from dataclasses import dataclass

COLUMNS = ("fault", "runs", "ended before the charge", "ended after it", "went on to the end", "refused in words", "violations")


@dataclass(frozen=True)
class Tally:
    """Runs under one fault. `before` and `after` the charge are where the struck process ended; `finished` and `refused` are what the
    next one did, which had no fault. `notes` has a line for each violation, with what is needed to see it again."""

    runs: int = 0
    before: int = 0
    after: int = 0
    finished: int = 0
    refused: int = 0
    notes: tuple[str, ...] = ()

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.runs + other.runs,
            self.before + other.before,
            self.after + other.after,
            self.finished + other.finished,
            self.refused + other.refused,
            self.notes + other.notes,
        )

    @property
    def cells(self) -> tuple[int, ...]:
        return (self.runs, self.before, self.after, self.finished, self.refused, len(self.notes))


def markdown(rows: dict[str, Tally]) -> str:
    """The table, its sum in the last line."""
    lines = [COLUMNS, ("---",) * len(COLUMNS), *((name, *tally.cells) for name, tally in rows.items())]
    total = sum(rows.values(), Tally())
    lines.append(("all", *total.cells))
    return "\n".join("| " + " | ".join(f"{cell:,}" if isinstance(cell, int) else cell for cell in line) + " |" for line in lines)
