"""What a ledger's events add up to: what is spent, what became of each grant, how many releases were blocked in a row.

All of it is read off the events each time; nothing is kept beside them, so nothing can disagree with them.

Statement. The chain says that events were not changed, and not that they are true: whoever may append one can write a grant that charges
nothing, or less than nothing. So no history is read whose grants are not worth what their own epsilon and delta are (`require_grants`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import takewhile

from dpsynth.errors import VerificationFailed
from dpsynth.privacy.chain import Event
from dpsynth.privacy.cost import Cost, check_budget
from dpsynth.privacy.currency import CURRENCIES, Currency

MILLION = 10**6


def require_grants(events: Sequence[Event]) -> None:
    """Each grant charges what its own epsilon and delta are worth, a release is charged once, and all together fit the capacity.

    Amounts may be off by a millionth, which is what conversions are good to: two machines may differ in the last digits of exp and log,
    and the last digit of a mu of 1 is 2^48 ticks. Nothing is bought with it: who goes on with a grant has to ask for its very amount.

    Raises:
        VerificationFailed: saying which event is not so.
    """
    head, charged = events[0].body, set[str]()
    for event in (e for e in events if e.kind == "grant"):
        if not _is_sound(event, head["currency"]):
            raise VerificationFailed(f"event {event.seq} does not charge what its epsilon and delta are worth")
        if event.body["release"] in charged:
            raise VerificationFailed(f"event {event.seq} charges a release that was charged before")
        charged.add(event.body["release"])
    total, capacity = spent(events), _worth(head["currency"], head["epsilon"], head["delta"])
    if total.amount_ticks * MILLION > capacity.amount_ticks * (MILLION + 1) or total.delta_ticks > capacity.delta_ticks:
        raise VerificationFailed("it is overspent: its grants do not fit its capacity")


def _is_sound(grant: Event, currency: str) -> bool:
    """Whether a grant, which may hold anything, has whole ticks that its epsilon and delta are worth, with delta for events or without."""
    try:
        epsilon, delta, amount, events = (grant.body[word] for word in ("epsilon", "delta", "amount_ticks", "delta_ticks"))
        release = grant.body["release"]
    except (KeyError, TypeError):
        return False
    if [type(word) for word in (release, amount, events)] != [str, int, int] or check_budget(epsilon, delta):
        return False
    worth = _worth(currency, epsilon, delta)
    return abs(amount - worth.amount_ticks) * MILLION <= worth.amount_ticks and events in (0, worth.delta_ticks)


@lru_cache(maxsize=10_000)
def _worth(currency: str, epsilon: float, delta: float) -> Cost:
    return Cost.promised(CURRENCIES[currency], epsilon, delta)


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

    One that was made beside a release's has that release's verdict. A grant of no release (a profile, a fit from Python) is `direct`: no one
    says when it has ended.
    """
    name = grant.body["release"]
    release = grant.body.get("of", name)
    verdicts = [str(e.body["verdict"]) for e in events if e.kind == "verdict" and e.body.get("release") == release]
    if verdicts:
        return verdicts[-1]
    if any(e.kind == "fitted" and e.body.get("release") == name for e in events):
        return "fitted"
    return "open" if {"attempt", "of"} & grant.body.keys() else "direct"


def blocked_in_a_row(events: Sequence[Event]) -> int:
    """Releases blocked since the last re-opening, without those that a later PASS under their own policy has answered: one under another
    answers nothing. A release has one verdict, its last, and stands where that was given."""
    policies = {e.body["release"]: e.body.get("policy") for e in events if e.kind == "grant"}
    verdicts: dict[str, str] = {}
    for event in events:
        if event.kind == "reopened":
            verdicts.clear()
        elif event.kind == "verdict":
            verdicts.pop(event.body["release"], None)
            verdicts[event.body["release"]] = event.body["verdict"]
    by_policy: dict[str | None, list[str]] = {}
    for release, verdict in verdicts.items():
        by_policy.setdefault(policies.get(release), []).append(verdict)
    return sum(1 for row in by_policy.values() for _ in takewhile(lambda verdict: verdict != "PASS", reversed(row)))


def shares(events: Sequence[Event]) -> tuple[float, ...] | None:
    return next((tuple(e.body["shares"]) for e in events if e.kind == "grant" and "shares" in e.body), None)
