"""Faults of a whole release: killed before every change it makes and at random moments, the medium full, read-only, failing or too small."""

from __future__ import annotations

import errno
import random
import resource
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.faults import tiny
from benchmarks.faults.case import Case
from benchmarks.faults.child import Deed, Ending, Strike, Tell, supervised
from benchmarks.faults.promises import look
from benchmarks.faults.strikes import struck
from benchmarks.faults.tally import Tally

SECTOR = 512
HISTOGRAMS = 0.5
BLOCKED_EVERY = 10
ERRORS = {
    "full disk (ENOSPC) from each action on": Strike(of="takes_room", error=errno.ENOSPC, onwards=True),
    "read-only medium (EROFS) from each action on": Strike(of="needs_leave", error=errno.EROFS, onwards=True),
    "device error (EIO) at each action, once": Strike(of="may_fail", error=errno.EIO),
}


def counted(folder: Path, beside: float | None = None) -> Ending:
    """A release without a fault, its actions noted. Each release by this generator has the same ones, so a sweep over their numbers
    leaves none out."""
    tiny.prepare(folder)
    ending = supervised(tiny.release(folder, generator=tiny.STEADY, beside=beside), folder, Strike(of="may_fail"))
    assert ending.last == "done PASS", ending.last
    return ending


def kills(plain: Ending) -> Iterator[Case]:
    """SIGKILL before each change that a release makes to the disk. Between two changes nothing on disk differs, so these are all the
    states that a killed release can leave."""
    for number, step in enumerate(plain.steps_of_changes, 1):
        yield Case(f"SIGKILL before each change, {step}", partial(_steady, Strike(number)))


def kills_beside(folder: Path) -> Iterator[Case]:
    """The same for a release with histograms beside its rows, where these make a difference: in the charge and the question itself."""
    for number, step in enumerate(counted(folder, HISTOGRAMS).steps_of_changes, 1):
        if step in ("charge", "measure"):
            yield Case(f"SIGKILL before each change, histograms beside the rows, {step}", partial(_beside, Strike(number)))


def _beside(strike: Strike, folder: Path) -> Tally:
    tally, _ = struck(folder, strike, partial(tiny.release, generator=tiny.STEADY, beside=HISTOGRAMS))
    return tally if tally.runs else Tally(1, notes=(f"{strike} never came",))


def errors(plain: Ending) -> Iterator[Case]:
    """An error of the medium at each action that it can fail."""
    for name, strike in ERRORS.items():
        for number in range(1, sum(map(strike.counts, plain.actions)) + 1):
            yield Case(name, partial(_steady, Strike(number, strike.of, strike.error, strike.onwards)))


def read_only_resumes(plain: Ending) -> Iterator[Case]:
    """The medium is read-only when a release is resumed that was killed while it wrote to the ledger. Nothing can go on, nothing changes,
    and when the medium can be written again all goes on as if it had not been tried."""
    changes = [action for action in plain.actions if action.changes]
    for number, action in enumerate(changes, 1):
        if Path(action.path).name.startswith(tiny.ledger_of(Path()).name):
            yield Case("read-only medium at the resume of a killed release", partial(_read_only_resume, Strike(number)))


def _read_only_resume(strike: Strike, folder: Path) -> Tally:
    tried: list[str] = []

    def tried_and_resumed(place: Path) -> Deed:
        before = look(place)
        first = supervised(tiny.resume(place), place, Strike(1, "needs_leave", errno.EROFS, onwards=True))
        tried.extend([] if first.refused and look(place) == before else [f"{strike}, then on a read-only medium: {first.last}"])
        return tiny.resume(place)

    tally, _ = struck(folder, strike, partial(tiny.release, generator=tiny.STEADY), resume=tried_and_resumed)
    return tally + Tally(notes=tuple(tried))


def _steady(strike: Strike, folder: Path) -> Tally:
    """A strike that never comes would leave a gap in the sweep."""
    tally, _ = struck(folder, strike, partial(tiny.release, generator=tiny.STEADY))
    return tally if tally.runs else Tally(1, notes=(f"{strike} never came",))


def moments(count: int, seconds: float, seed: int) -> Iterator[Case]:
    """SIGKILL at random moments, uniform over the time that a release takes. Every tenth release is one that the gate blocks."""
    for number in range(count):
        verdict = "FAIL" if number % BLOCKED_EVERY == 0 else "PASS"
        yield Case("SIGKILL at random moments", partial(_at_a_moment, f"{seed}/{number}", seconds, verdict))


def _at_a_moment(seed: str, seconds: float, verdict: str, folder: Path) -> Tally:
    """A release that ends before its moment is not counted, and another moment is drawn."""
    draw = random.Random(seed)
    tally, attempt = Tally(), 0
    while not tally.runs:
        attempt += 1
        strike = Strike(seconds=draw.uniform(0, seconds))
        tally, _ = struck(folder.with_name(f"{folder.name}.{attempt}"), strike, partial(tiny.release, verdict=verdict), verdict)
    return tally


def duration(folder: Path) -> float:
    """Seconds that a release takes in a child, the median of five."""
    folder.mkdir()
    return median(supervised(tiny.release(tiny.prepare(folder / str(i))), folder).seconds for i in range(5))


def small_files(finished: Path) -> Iterator[Case]:
    """No file may grow beyond a limit (RLIMIT_FSIZE), set when the release is charged: the write that crosses it is cut short. The limits
    go up to the largest file of the `finished` release."""
    largest = max(path.stat().st_size for path in finished.rglob("*") if path.is_file())
    for size in range(0, largest + SECTOR, SECTOR):
        yield Case("no file above each multiple of 512 bytes", partial(_limited, size))


def _limited(size: int, folder: Path) -> Tally:
    tally, _ = struck(folder, None, lambda place: _below(size, tiny.release(place, generator=tiny.STEADY)))
    return tally


def _below(size: int, deed: Deed) -> Deed:
    def limited(tell: Tell) -> object:
        def hears(line: str) -> None:
            if line == "step charge":
                resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
            tell(line)

        return deed(hears)

    return limited
