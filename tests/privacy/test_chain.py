"""The chain of events: any change is found, and a hash tells nothing of what it stands for."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpsynth.errors import VerificationFailed
from dpsynth.privacy.chain import SALT_BYTES, Event, Row, checked, event_of, link

BODIES = [{"a": i} for i in range(5)]


def chain_of(bodies: list[dict[str, int]]) -> list[Row]:
    events: list[Event] = []
    rows: list[Row] = []
    for body in bodies:
        rows.append(link(events, "note", body))
        events.append(event_of(rows[-1]))
    return rows


def test_what_was_linked_is_read() -> None:
    rows = chain_of(BODIES)
    events = checked(rows, len(rows))
    assert [e.body for e in events] == BODIES and [e.seq for e in events] == [1, 2, 3, 4, 5]
    assert all(b.previous == a.hash for a, b in pairwise(events))


@settings(deadline=None)
@given(st.data())
def test_any_other_list_of_rows_is_refused(data: st.DataObject) -> None:
    """Rows dropped, doubled or moved, fields exchanged between rows or edited: whatever is not the chain does not pass for it."""
    rows = chain_of(BODIES)
    mutated = data.draw(st.lists(st.sampled_from(rows), max_size=7))
    if mutated and data.draw(st.booleans()):
        place = data.draw(st.integers(0, len(mutated) - 1))
        field = data.draw(st.sampled_from(Row._fields))
        value = getattr(data.draw(st.sampled_from(rows)), field)
        mutated[place] = mutated[place]._replace(**{field: value})
    if mutated == rows:
        return
    with pytest.raises(VerificationFailed):
        checked(mutated, len(rows))


@pytest.mark.parametrize("length", [0, 4, 6])
def test_a_chain_of_another_length_than_its_store_says_is_refused(length: int) -> None:
    with pytest.raises(VerificationFailed, match="last events were dropped"):
        checked(chain_of(BODIES), length)


def test_a_chain_without_events_is_none() -> None:
    with pytest.raises(VerificationFailed):
        checked([], 0)


def test_a_body_that_is_not_json_is_refused_in_words() -> None:
    from dpsynth.privacy.chain import _hash

    row = chain_of(BODIES[:1])[0]
    broken = row._replace(text="{", hash=_hash(row.seq, row.at, row.kind, "{", row.salt, row.previous))
    with pytest.raises(VerificationFailed, match="event 1 is not JSON"):
        checked([broken], 1)


def test_a_hash_cannot_be_checked_against_a_guess() -> None:
    """The same history twice has other hashes, by salts of 512 bits that no event shows."""
    one, two = chain_of(BODIES), chain_of(BODIES)
    assert {r.text for r in one} == {r.text for r in two} and not {r.hash for r in one} & {r.hash for r in two}
    salts = [r.salt for r in one + two]
    assert len(set(salts)) == len(salts) and all(len(bytes.fromhex(s)) == SALT_BYTES == 64 for s in salts)
    assert not any(r.salt in json.dumps(vars(event_of(r))) for r in one)
