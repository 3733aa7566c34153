"""One release's folder: what is on disk after each step, so that a killed run goes on from there.

Each artifact appears whole under its name or not at all. `custodian/` (mode 0700) holds everything but what is sent.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dpsynth.durable import sync_folder
from dpsynth.errors import BadInput, Fault
from dpsynth.privacy.unit import new_key

FORMAT = "dpsynth-run/1"
ROOM_BYTES = 32 << 20
DO_NOT_SEND = """This folder is for the custodian only. DO NOT SEND any of it.

It holds comparisons with the real rows, the attacks' results, the secret of the split, and candidate rows that the
gate may have refused. The only thing meant for others is ../public/ and the .zip beside it, if they exist.
"""


@dataclass(frozen=True)
class Run:
    """The folder of one release."""

    out: Path

    @property
    def custodian(self) -> Path:
        return self.out / "custodian"

    @property
    def answers(self) -> Path:
        return self.custodian / "answers.jsonl"

    @property
    def model(self) -> Path:
        return self.custodian / "model.npz"

    @property
    def candidate(self) -> Path:
        return self.custodian / "candidate.parquet"

    @property
    def nearness(self) -> Path:
        return self.custodian / "nearness.jsonl"

    @property
    def attacks(self) -> Path:
        return self.custodian / "attacks.json"

    @property
    def report(self) -> Path:
        return self.custodian / "report.html"

    @classmethod
    def start(cls, out: Path, order: dict[str, Any]) -> Run:
        """Make the folder, with room on the medium. Raises `BadInput` and leaves nothing if that cannot be done."""
        run = cls(out)
        made = next((p for p in reversed([out, *out.absolute().parents]) if not p.exists()), out)
        try:
            run.custodian.mkdir(parents=True)
            os.chmod(run.custodian, 0o700)
            _claim_room(run.custodian / ".room")
            state = {"format": FORMAT, "release": str(uuid.uuid4()), "attack_seed": secrets.randbits(64), "split_key": new_key().hex()}
            run.put(run.custodian / "DO-NOT-SEND.txt", DO_NOT_SEND.encode())
            run.put(run.custodian / "run.json", json.dumps(state | {"order": order}, indent=1).encode())
        except OSError as error:
            shutil.rmtree(made, ignore_errors=True)
            raise BadInput(Fault(str(out), f"cannot be written ({error.strerror})", "give a path on a writable medium with 32 MB of room")) from None
        return run

    def state(self) -> dict[str, Any]:
        """What `start` wrote. Raises `BadInput` if the folder is not a run's."""
        try:
            state = json.loads((self.custodian / "run.json").read_text(encoding="utf-8"))
            if state["format"] != FORMAT:
                raise ValueError
        except (OSError, ValueError, KeyError, TypeError):
            raise BadInput(Fault(str(self.out), "not the folder of a release of this version", "give the folder that --out made")) from None
        return dict(state)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the folder: of two processes at work on it one could publish rows that the other drew. Raises `BadInput`."""
        with open(self.custodian / "run.json", "rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BadInput(Fault(str(self.out), "another process is at work on it", "wait until it has ended")) from None
            yield

    def candidate_hash(self) -> str:
        """SHA-256 of the candidate rows' file."""
        return hashlib.sha256(self.candidate.read_bytes()).hexdigest()

    def abandon(self) -> None:
        """Remove the folder of a run that was never charged."""
        shutil.rmtree(self.out, ignore_errors=True)

    def put(self, path: Path, content: bytes) -> None:
        """Write a private file whole: aside, synced, renamed."""
        self.place(path, lambda aside: aside.write_bytes(content))

    def place(self, path: Path, write: Callable[[Path], object]) -> None:
        """The same for what writes itself."""
        aside = path.with_name(f".{path.name}")
        with suppress(FileNotFoundError):
            aside.unlink()
        write(aside)
        os.chmod(aside, 0o600)
        with open(aside, "rb") as file:
            os.fsync(file.fileno())
        os.replace(aside, path)
        sync_folder(path.parent)

    def log(self, line: str) -> None:
        with open(self.custodian / "log.txt", "a", encoding="utf-8") as file:
            file.write(f"{datetime.now(UTC).isoformat(timespec='seconds')} {line}\n")


def _claim_room(path: Path) -> None:
    """Raises `OSError` if the medium has no room for a bundle."""
    with open(path, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, ROOM_BYTES)
    path.unlink()
