"""What this desk has seen of each ledger, so that a copy of one, or an older state of it, is not spent from beside the other.

Statement. A ledger that was charged from at this desk holds the last event that the desk wrote or looked at then, and the steps that releases
were told here and no event holds yet. A copy that has gone a way of its own, a backup from before, a file whose last events were
cut off, and one whose told steps were dropped lack them, and are refused before a row is read: else a release could be told its steps
anew. The check, the write and the new entry are made by one process at a time, so of two copies that are charged at once one is
refused. A told step is seen by nobody before its entry is here.

One file a ledger in the custodian's home, `ledgers/ID.json`. What a desk cannot know: charges made and steps told elsewhere, by a fit from
Python (`Ledger.table` asks nobody), or a charge just before a crash that came between it and its entry here.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dpsynth.durable import refusing, sync_folder, write_new
from dpsynth.errors import BadInput, Fault, refuse
from dpsynth.privacy.ledger import Ledger
from dpsynth.privacy.store import MAY_STAND, InDoubt
from dpsynth.releasing.key import KeyStore


@dataclass(frozen=True)
class Memory:
    """Of one ledger: the hash of the last event, and of each release whose fit has not ended how many steps it was told, and their digest."""

    head: str
    told: dict[str, tuple[int, str]]


@dataclass(frozen=True)
class Seen:
    """The desk's memory of ledgers, in the custodian's home."""

    home: Path

    @classmethod
    def default(cls) -> Seen:
        """Beside the keys."""
        return cls(KeyStore.default().home)

    def faults(self, ledger: Ledger) -> Iterator[Fault]:
        """Whether the ledger lacks what this desk has seen of it. Raises `BadInput` if that cannot be read."""
        memory = self.memory(ledger)
        if memory is None:
            return
        instead = "use the one that was charged last; a lost ledger is a spent one"
        if not any(e.hash == memory.head for e in ledger.events()):
            what = "lacks events that this desk has seen in it: it is a copy, or an older one, or its end was cut off"
            yield Fault(ledger.where, what, instead)
        elif any(ledger.told(release, range(told[0])) != told for release, told in memory.told.items()):
            yield Fault(ledger.where, "lacks answers that a release was told at this desk: it is a copy, or an older one, or was edited", instead)

    def memory(self, ledger: Ledger) -> Memory | None:
        """What is remembered of it, if anything is. Raises `BadInput` if that cannot be read."""
        entry = self._entry(ledger)
        with refusing(entry, "be read", "make it readable, or set DPSYNTH_HOME"):
            return _memory(entry) if entry.exists() else None

    @contextmanager
    def followed(self, ledger: Ledger, *releases: str) -> Iterator[None]:
        """Write to the ledger inside, for these `releases` if for any.

        Raises:
            BadInput: the ledger lacks what was seen of it, or the home cannot be written; nothing inside was done.
            InDoubt, OSError: all inside was done, and is not in the desk's memory.
        """
        entry = self._entry(ledger)
        with refusing(entry, "be written", "set DPSYNTH_HOME to a folder that you can write to"):
            entry.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = open(entry.with_suffix(".lock"), "ab", opener=_private)  # noqa: SIM115
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            refuse(self.faults(ledger))
            yield
            try:
                memory = self._memory_after(ledger, releases)
            except BadInput:
                raise InDoubt(f"{ledger.where}: cannot be read after a write, {MAY_STAND}") from None
            _replace(entry, json.dumps({"ledger": ledger.where} | vars(memory)).encode())

    def _memory_after(self, ledger: Ledger, releases: Sequence[str]) -> Memory:
        """A release's steps are in an event once its fit has ended; until then they are kept here."""
        before, events = self.memory(ledger), ledger.events()
        fitted = {e.body["release"] for e in events if e.kind == "fitted"}
        told = (before.told if before else {}) | {release: ledger.told(release) for release in releases}
        return Memory(events[-1].hash, {release: steps for release, steps in told.items() if steps[0] and release not in fitted})

    def _entry(self, ledger: Ledger) -> Path:
        return self.home / "ledgers" / f"{ledger.id}.json"


def _memory(entry: Path) -> Memory:
    """An entry from before told steps were kept has none."""
    try:
        said = json.loads(entry.read_bytes())
        return Memory(str(said["head"]), {release: (int(steps), str(digest)) for release, (steps, digest) in said.get("told", {}).items()})
    except (ValueError, KeyError, TypeError, AttributeError):
        raise BadInput(Fault(str(entry), "is damaged", "see that the ledger is the one charged last, then delete this file")) from None


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _replace(path: Path, content: bytes) -> None:
    aside = path.with_name(f".{path.name}")
    aside.unlink(missing_ok=True)
    write_new(aside, content, 0o600)
    os.replace(aside, path)
    sync_folder(path.parent)
