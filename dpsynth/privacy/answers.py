"""The journal of answers: what was already told is told again, for free, after a crash.

Statement. An answer is on the medium before the caller sees it. Replaying it is post-processing. An answer that was drawn but
not yet written when the process died was seen by nobody, so drawing it again under the same charge costs nothing more.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from dpsynth.errors import BadInput, Fault


class Answers:
    """An append-only file of questions and their noised answers; in memory only where `path` is None."""

    def __init__(self, path: Path | None = None):
        self.path = path
        self._known = _read(path) if path is not None and path.exists() else []
        self._next = 0

    def replay(self, question: dict[str, Any]) -> Any | None:
        """The answer recorded for this step, or None if the step is new. Raises `BadInput` if the step was another question."""
        if self._next >= len(self._known):
            return None
        asked, answer = self._known[self._next]
        if asked != question:
            raise BadInput(Fault(str(self.path), "holds the answers to other questions", "resume with the schema and options of the first run"))
        self._next += 1
        return answer

    def record(self, question: dict[str, Any], answer: Any) -> None:
        """Put the answer on the medium, synced."""
        self._next += 1
        if self.path is None:
            return
        with open(self.path, "a", encoding="utf-8", opener=_private) as file:
            file.write(json.dumps([question, answer]) + "\n")
            file.flush()
            os.fsync(file.fileno())


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
