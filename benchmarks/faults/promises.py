"""What must hold whatever happened: of the ledger, of the bundle, of the answers. Looked at from outside, after each process.

1. Never overspent: the grants together fit the capacity, and a release has at most one; with histograms beside its rows, one for
   each of them or none for either.
2. Never a charge lost: if a row was read, its grant is in the ledger; and events that were there stay there, in their order.
3. Never half a bundle: `public/` and the zip are absent, or whole and verify.
4. Never a bundle without a charge and a PASS of these very rows in the ledger.
5. Never a second answer: each step of a release is told the same to every process that asks.
6. The ledger's chain verifies.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.faults.tiny import home_of, ledger_of, out_of, run_of
from dpsynth.errors import DpsynthError
from dpsynth.privacy import Ledger
from dpsynth.privacy.chain import Event
from dpsynth.releasing.key import KeyStore
from dpsynth.releasing.nearness import KIND
from dpsynth.releasing.verify import examine


@dataclass(frozen=True)
class Sight:
    """What is there at one moment.

    `asked` are the names under which the release in the folder is charged, none where there is no release. `events` are the ledger's, or
    `unsound` says why they cannot be read; `fits` whether their grants fit the capacity. `bundles` are the names of folder and zip, `broken`
    what is wrong with them; `candidate` is the hash of the rows that would be published.
    """

    events: tuple[Event, ...]
    unsound: str | None
    fits: bool
    bundles: tuple[str, ...]
    broken: tuple[str, ...]
    candidate: str | None
    asked: frozenset[str]

    @property
    def grants(self) -> tuple[Event, ...]:
        return self._of("grant")

    @property
    def verdicts(self) -> tuple[Event, ...]:
        return self._of("verdict")

    def _of(self, kind: str) -> tuple[Event, ...]:
        return tuple(e for e in self.events if e.kind == kind)


def look(folder: Path) -> Sight:
    """What is there now. The ledger is looked at in a copy, so that what a killed process left of its journal is still there for the next."""
    run = run_of(folder)
    bundles = [p for p in (run.out / "public", *run.out.glob("*.zip")) if p.exists()]
    broken = [fault for bundle in bundles for fault in _broken(bundle, folder)]
    candidate = run.candidate_hash() if run.candidate.exists() else None
    with TemporaryDirectory(dir=folder.parent) as aside:
        for path in folder.glob(f"{ledger_of(folder).name}*"):
            shutil.copy(path, aside)
        try:
            Ledger.verify(ledger_of(Path(aside)))
            ledger = Ledger.open(ledger_of(Path(aside)))
            events, fits, unsound = tuple(ledger.events()), ledger.spent.fits(ledger.capacity), None
        except DpsynthError as error:
            events, fits, unsound = (), True, str(error)
    return Sight(events, unsound, fits, tuple(p.name for p in bundles), tuple(broken), candidate, _asked(folder))


def _asked(folder: Path) -> frozenset[str]:
    try:
        state = run_of(folder).state()
    except DpsynthError:
        return frozenset()
    beside = [f"{state['release']} {KIND}"] if "gate_epsilon" in state["order"] else []
    return frozenset([state["release"], *beside])


def _broken(bundle: Path, folder: Path) -> tuple[str, ...]:
    try:
        checks = examine(bundle, KeyStore(home_of(folder))).checks
    except DpsynthError as error:
        return (str(error),)
    return tuple(f"{bundle.name}: {c.name} {c.status}" for c in checks if c.status != "ok")


def violations(sight: Sight, told: Sequence[str], before: Sequence[Event] = ()) -> Iterator[str]:
    """What is broken in `sight`, where processes have `told` this so far and the ledger held the events `before`."""
    if sight.unsound:
        yield f"the ledger is not sound: {sight.unsound}"
        return
    if not sight.fits:
        yield "overspent"
    charged = Counter(e.body["release"] for e in sight.grants)
    yield from (f"release charged {n} times" for n in charged.values() if n > 1)
    if len(charged.keys() & sight.asked) not in (0, len(sight.asked)):
        yield "half spent: charged for rows and not for what is beside them, or the other way round"
    if "read" in told and not charged:
        yield "rows were read and nothing is charged"
    if sight.events[: len(before)] != tuple(before):
        yield "events that were in the ledger are gone or changed"
    yield from (f"half a bundle: {fault}" for fault in sight.broken)
    if sight.bundles and not charged:
        yield "a bundle without a charge"
    passed = {e.body["candidate"] for e in sight.verdicts if e.body["verdict"] == "PASS" and e.body["release"] in charged}
    if sight.bundles and sight.candidate not in passed:
        yield "a bundle without a PASS of its rows"
    yield from second_answers(told)


def second_answers(told: Sequence[str]) -> Iterator[str]:
    """Steps of the release that were told otherwise by another process, or later."""
    answers = {(step, digest) for _, step, digest in (line.split() for line in told if line.startswith("answer "))}
    yield from (f"step {step} was told {n} ways" for step, n in Counter(step for step, _ in answers).items() if n > 1)


def unfinished(sight: Sight, folder: Path, verdict: str) -> Iterator[str]:
    """What a release that went to its end should have left, and has not; or has, and should not."""
    if len(sight.grants) != len(sight.asked):
        yield f"{len(sight.grants)} grants in the ledger, not {('none', 'one', 'two')[len(sight.asked)]}"
    if [e.body["verdict"] for e in sight.verdicts] != [verdict]:
        yield f"verdicts in the ledger: {[e.body['verdict'] for e in sight.verdicts]}, not one {verdict}"
    if len(sight.bundles) != (2 if verdict == "PASS" else 0):
        yield f"{verdict}, and the bundles are {list(sight.bundles)}"
    odd = {p.name for p in out_of(folder).iterdir()} - {"custodian", *sight.bundles}
    if odd:
        yield f"left lying about: {sorted(odd)}"
