"""Whoever edits one event and makes its own hash anew is found by the next event, which holds the hash that it had."""

from __future__ import annotations

import json

import pytest

from dpsynth.errors import VerificationFailed
from dpsynth.privacy.chain import Event, Row, checked, event_of, link

BODIES = [{"kind": "first"}, {"ticks": 7}, {"ticks": 9}, {"verdict": "PASS"}]


def chain() -> list[Row]:
    events: list[Event] = []
    rows = []
    for body in BODIES:
        rows.append(link(events, "note", body))
        events.append(event_of(rows[-1]))
    return rows


@pytest.mark.parametrize("place", range(len(BODIES) - 1))
def test_an_event_written_anew_with_a_hash_of_its_own_is_found(place: int) -> None:
    rows = chain()
    before = [event_of(row) for row in rows[:place]]
    rows[place] = link(before, "note", {"ticks": 0})
    assert checked(rows[: place + 1], place + 1)[place].body == {"ticks": 0}
    with pytest.raises(VerificationFailed, match=f"event {place + 2} was changed"):
        checked(rows, len(rows))


@pytest.mark.parametrize("place", range(1, len(BODIES)))
def test_an_event_of_another_history_is_found(place: int) -> None:
    """It has the same place, and says the same."""
    rows, others = chain(), chain()
    assert json.loads(rows[place].text) == json.loads(others[place].text)
    with pytest.raises(VerificationFailed, match=f"event {place + 1} was changed"):
        checked([*rows[:place], others[place], *rows[place + 1 :]], len(rows))


def test_a_tail_of_another_history_is_found() -> None:
    with pytest.raises(VerificationFailed, match="event 3 was changed"):
        checked([*chain()[:2], *chain()[2:]], len(BODIES))
