"""What a ledger's events add up to: what is spent, what became of each grant, how many releases were blocked in a row.

All of it is read off the events each time; nothing is kept beside them, so nothing can disagree with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from dpsynth.privacy.chain import Event
from dpsynth.privacy.cost import Cost
from dpsynth.privacy.currency import CURRENCIES, Currency


def spent(events: Sequence[Event]) -> Cost:
    currency = CURRENCIES[events[0].body["currency"]]
    return sum((granted(e, currency) for e in events if e.kind == "grant"), Cost(currency=currency))


def granted(event: Event, currency: Currency) -> Cost:
    return Cost(event.body["amount_ticks"], event.body["delta_ticks"], currency)


def pending(events: Sequence[Event]) -> Cost:
    """What was spent on releases that have neither ended their fit nor had a verdict."""
    return spent([events[0], *(e for e in events if e.kind == "grant" and standing(events, e) == "open")])


def standing(events: Sequence[Event], grant: Event) -> str:
    """What became of a grant: its release's last verdict; `fitted`, where there is none yet; `open`, where the fit has not ended either.

    A grant of no release (a profile, a fit from Python) is `direct`: no one says when it has ended.
    """
    of_it = [e for e in events if e.body.get("release") == grant.body["release"]]
    verdicts = [str(e.body["verdict"]) for e in of_it if e.kind == "verdict"]
    if verdicts:
        return verdicts[-1]
    if any(e.kind == "fitted" for e in of_it):
        return "fitted"
    return "open" if "attempt" in grant.body else "direct"


def blocked_in_a_row(events: Sequence[Event]) -> int:
    """Releases blocked since the last that passed or the last re-opening. A release has one verdict, its last, and stands where that was given."""
    verdicts: dict[str, str] = {}
    for event in events:
        if event.kind == "reopened":
            verdicts.clear()
        elif event.kind == "verdict":
            verdicts.pop(event.body["release"], None)
            verdicts[event.body["release"]] = event.body["verdict"]
    return sum(1 for _ in takewhile(lambda verdict: verdict != "PASS", reversed(verdicts.values())))


def shares(events: Sequence[Event]) -> tuple[float, ...] | None:
    return next((tuple(e.body["shares"]) for e in events if e.kind == "grant" and "shares" in e.body), None)
