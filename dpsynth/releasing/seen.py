"""What this desk has seen of each ledger, so that a copy of one, or an older state of it, is not spent from beside the other.

Statement. A ledger that was charged from at this desk holds the last event that the desk wrote or looked at then. A copy that has gone a
way of its own, a backup from before, and a file whose last events were cut off lack it, and are refused before a row is read. The check,
the charge and the new entry are made by one process at a time, so of two copies that are charged at once one is refused.

One file a ledger in the custodian's home, `ledgers/ID.json`. What a desk cannot know: charges made elsewhere, by a fit from Python
(`Ledger.table` asks nobody), or just before a crash that came between a charge and its entry here.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dpsynth.durable import refusing, sync_folder, write_new
from dpsynth.errors import BadInput, Fault, refuse
from dpsynth.privacy.ledger import Ledger
from dpsynth.privacy.store import MAY_STAND, InDoubt
from dpsynth.releasing.key import KeyStore


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
        entry = self._entry(ledger)
        with refusing(entry, "be read", "make it readable, or set DPSYNTH_HOME"):
            last = _head(entry) if entry.exists() else None
        if last is not None and not any(e.hash == last for e in ledger.events()):
            what = "lacks events that this desk has seen in it: it is a copy, or an older one, or its end was cut off"
            yield Fault(ledger.where, what, "use the one that was charged last; a lost ledger is a spent one")

    @contextmanager
    def followed(self, ledger: Ledger) -> Iterator[None]:
        """Write to the ledger inside.

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
                head = ledger.events()[-1].hash
            except BadInput:
                raise InDoubt(f"{ledger.where}: cannot be read after a write, {MAY_STAND}") from None
            _replace(entry, json.dumps({"ledger": ledger.where, "head": head}).encode())

    def _entry(self, ledger: Ledger) -> Path:
        return self.home / "ledgers" / f"{ledger.id}.json"


def _head(entry: Path) -> str:
    try:
        return str(json.loads(entry.read_bytes())["head"])
    except (ValueError, KeyError, TypeError):
        raise BadInput(Fault(str(entry), "is damaged", "see that the ledger is the one charged last, then delete this file")) from None


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _replace(path: Path, content: bytes) -> None:
    aside = path.with_name(f".{path.name}")
    aside.unlink(missing_ok=True)
    write_new(aside, content, 0o600)
    os.replace(aside, path)
    sync_folder(path.parent)
