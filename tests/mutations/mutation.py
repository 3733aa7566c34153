"""A way to break the code, a small edit that a tired author might make or a hostile one might hide, and the test meant for it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    """`old`, found exactly once in `file` (from the folder of the packages), becomes `new`; then one of `tests` (from the tests' folder) fails."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
