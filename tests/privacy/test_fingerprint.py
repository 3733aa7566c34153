"""The fingerprint of a table: changes with any cell and with nothing else, keyed, dear to guess, total."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pandas as pd
import pytest
from kernel_samples import PERSON, bounded, listed, schema_of

from dpsynth.privacy import fingerprint as room
from dpsynth.privacy.fingerprint import fingerprint

SCHEMA = schema_of({"a": listed("x", "y", missing="?"), "n": bounded(0, 9), "id": {"type": "id"}}, PERSON)
FRAME = pd.DataFrame({"a": ["x", "y", None], "n": [1, 2, 3], "id": ["p", "q", "r"]})
KEY = b"k" * 32


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "COST", 2**10)


def test_each_cell_counts_and_columns_beside_the_schema_do_not() -> None:
    known = fingerprint(FRAME, SCHEMA, KEY)
    assert fingerprint(FRAME.copy(), SCHEMA, KEY) == fingerprint(FRAME.assign(extra=1)[["extra", "id", "n", "a"]], SCHEMA, KEY) == known
    others = []
    for column in FRAME.columns:
        for row in range(len(FRAME)):
            changed = FRAME.astype(object)
            changed.loc[row, column] = "7"
            others.append(fingerprint(changed, SCHEMA, KEY))
    others += [fingerprint(FRAME.iloc[order], SCHEMA, KEY) for order in ([1, 0, 2], [0, 1], [0, 1, 2, 2], [])]
    assert len({known, *others}) == len(others) + 1


@pytest.mark.parametrize(
    ("left", "right"), [(["ab", "c"], ["a", "bc"]), (["", "a"], ["a", ""]), (["1:a"], ["a"]), (["x", None], ["x", "-"]), (["x"], ["x", None])]
)
def test_no_two_columns_are_spelled_alike(left: list[Any], right: list[Any]) -> None:
    schema = schema_of({"a": {"type": "categorical", "categories_basis": "measure"}})
    assert fingerprint(pd.DataFrame({"a": left}), schema, KEY) != fingerprint(pd.DataFrame({"a": right}), schema, KEY)


def test_without_the_key_nothing_can_be_compared() -> None:
    assert fingerprint(FRAME, SCHEMA, KEY) != fingerprint(FRAME, SCHEMA, b"j" * 32)


def test_it_fails_on_no_cell() -> None:
    odd = ["\ud800", "\x00", object(), [1], {"a": 1}, float("nan"), np.inf, 10**400, pd.NaT, b"\xff", "x" * 10**5]
    frame = pd.DataFrame({"a": pd.Series(odd, dtype=object), "n": pd.Series(odd[::-1], dtype=object)})
    assert len(fingerprint(frame, SCHEMA, KEY)) == len(fingerprint(frame.iloc[:0], SCHEMA, KEY)) == 64


def test_a_guess_costs_64_megabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    asked: dict[str, Any] = {}
    scrypt = hashlib.scrypt
    monkeypatch.setattr(hashlib, "scrypt", lambda content, **words: asked.update(words) or scrypt(content, **words))
    fingerprint(FRAME, SCHEMA, KEY)
    assert 128 * asked["n"] * asked["r"] == 64 << 20 and asked["salt"] == KEY
