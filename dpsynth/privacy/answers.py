"""The journal of answers: what was already told is told again, for free, after a crash.

Statement. An answer is on the medium, and its digest with whoever keeps the budget, before the caller sees it. Replaying it is
post-processing. A step that was told is never answered anew, though the journal were lost or its folder copied: the keeper knows
the step. (A keeper that was itself set back is found by who remembers more of it: `releasing/seen.py`.) Of two processes that tell one
step different answers the second is refused; so a step whose answer is always the same is told under a token (`table.py`). An answer that
was drawn but not told when the process died was seen by nobody, so another one costs nothing more.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, Protocol

from dpsynth.errors import BadInput, BudgetExceeded, Fault


class Keeper(Protocol):
    """Remembers which steps of a release were told, by digest. `tell` raises `BudgetExceeded` if the step was told otherwise."""

    def told(self, step: int) -> str | None: ...

    def tell(self, step: int, digest: str) -> None: ...


class Answers:
    """An append-only file of questions and their noised answers, each step told once; in memory only where `path` is None."""

    def __init__(self, path: Path | None = None, keeper: Keeper | None = None):
        self.path = path
        self._keeper = keeper
        self._known = _read(path) if path is not None and path.exists() else []
        self._next = 0

    def beside(self, name: str) -> Path | None:
        """The path of another file of the same release; None where answers are kept in memory only."""
        return None if self.path is None else self.path.with_name(name)

    def replay(self, question: dict[str, Any]) -> Any | None:
        """The answer recorded for this step, or None if the step is new.

        Raises:
            BadInput: the step was another question.
            BudgetExceeded: the step was told already, and not by this journal.
        """
        if self._next >= len(self._known):
            if self._keeper and self._keeper.told(self._next) is not None:
                raise BudgetExceeded(f"{self.path}: lacks answers that this release was already told; restore it, or pay for a new release")
            return None
        asked, answer = self._known[self._next]
        if asked != question:
            raise BadInput(Fault(str(self.path), "holds the answers to other questions", "resume with the schema and options of the first run"))
        self._told(json.dumps([question, answer]))
        return answer

    def record(self, question: dict[str, Any], answer: Any) -> None:
        """Put the answer on the medium, synced, and its digest with the keeper. Raises `BudgetExceeded` if another was told meanwhile."""
        line = json.dumps([question, answer])
        if self.path is not None:
            with open(self.path, "a", encoding="utf-8", opener=_private) as file:
                file.write(line + "\n")
                file.flush()
                os.fsync(file.fileno())
        self._told(line)

    def _told(self, line: str) -> None:
        if self._keeper:
            self._keeper.tell(self._next, hashlib.sha256(line.encode()).hexdigest())
        self._next += 1


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _read(path: Path) -> list[tuple[dict[str, Any], Any]]:
    """The whole lines of the file; a torn last line is cut off."""
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        with open(path, "r+b") as file:
            file.truncate(len(whole))
    try:
        return [(question, answer) for question, answer in map(json.loads, whole.splitlines())]
    except (ValueError, TypeError):
        raise BadInput(
            Fault(str(path), "not a journal of answers", "restore it; without it these answers are lost, and their charge stays")
        ) from None
