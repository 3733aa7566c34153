"""The fault harness, a slice of each of its sweeps (`python -m benchmarks.faults` is the whole), and whether it would see a fault.

The second half plants a bug in every process that the harness starts and asks that it be reported, by the promise that it breaks.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from benchmarks.faults import clocks, creations, harness, races, releases, tiny, truncations
from benchmarks.faults.case import Case
from benchmarks.faults.child import Ending, Strike, supervised
from benchmarks.faults.strikes import struck
from benchmarks.faults.tally import Tally, markdown
from dpsynth.durable import sync_folder
from dpsynth.privacy import Cost, Grant, Ledger, Request
from dpsynth.privacy.answers import Answers
from dpsynth.releasing import bundle, papers, pipeline

EACH = 3
MOMENTS, MOMENT_SECONDS = 10, 0.2


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    with harness.workplace() as folder:
        if why := harness.impossible(folder):
            pytest.skip(why)
        tiny.warm(folder / "warm")
        yield folder


@pytest.fixture(scope="module")
def plain(place: Path) -> Ending:
    return releases.counted(place / "plain")


@pytest.fixture
def folder(place: Path) -> Iterator[Path]:
    """A folder of the test's own."""
    made = place / "test"
    made.mkdir()
    yield made
    shutil.rmtree(made)


def write_and_rename(folder: Path) -> Callable[..., object]:
    def deed(tell: Callable[[str], None]) -> str:
        descriptor = os.open(folder / "aside", os.O_WRONLY | os.O_CREAT)
        tell("opened")
        os.write(descriptor, b"whole")
        os.fsync(descriptor)
        (folder / "aside").rename(folder / "name")
        sync_folder(folder)
        return "renamed"

    return deed


def test_each_durable_action_is_seen_before_it_happens(folder: Path) -> None:
    ending = supervised(write_and_rename(folder), folder, Strike(of="may_fail"))
    assert list(map(str, ending.actions)) == ["openat aside", "write aside", "fsync aside", "rename name", "fsync test"]
    assert [a.changes for a in ending.actions] == [True, True, False, True, False]
    assert ending.told == ["opened", "done renamed"]
    assert (folder / "name").read_bytes() == b"whole"


@pytest.mark.parametrize(("at", "left"), [(1, {}), (2, {"aside": b""}), (3, {"aside": b"whole"})])
def test_a_kill_leaves_what_was_done_and_nothing_of_what_was_not(at: int, left: dict[str, bytes], folder: Path) -> None:
    ending = supervised(write_and_rename(folder), folder, Strike(at))
    assert ending.killed and not ending.done
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == left


def test_a_failed_action_is_the_process_own_error(folder: Path) -> None:
    ending = supervised(write_and_rename(folder), folder, Strike(2, error=errno.ENOSPC))
    assert ending.refused and "No space left on device" in ending.last
    assert str(ending.struck) == "write aside" and (folder / "aside").read_bytes() == b""


def test_a_child_that_breaks_or_never_ends_is_no_silent_success(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.faults.child.LONGEST", 0.2)
    assert supervised(lambda tell: {}["x"], folder).broke
    assert supervised(lambda tell: os._exit(0), folder).broke
    assert supervised(lambda tell: signal.pause(), folder).broke


SWEEPS: dict[str, Callable[[Path, Ending], Iterator[Case]]] = {
    "kills": lambda folder, plain: releases.kills(plain),
    "kills beside": lambda folder, plain: releases.kills_beside(folder / "beside"),
    "moments": lambda folder, plain: releases.moments(MOMENTS, MOMENT_SECONDS, 1),
    "errors": lambda folder, plain: releases.errors(plain),
    "small files": lambda folder, plain: releases.small_files(folder.parent / "plain"),
    "read-only resumes": lambda folder, plain: releases.read_only_resumes(plain),
    "clocks": lambda folder, plain: clocks.clocks(plain),
    "creations": lambda folder, plain: creations.creations(folder / "creation"),
    "races": lambda folder, plain: races.races(folder, 1),
    "truncations": truncations.truncations,
}


def some(cases: Iterable[Case], each: int = EACH) -> list[Case]:
    """A few cases of each row, from its first to its last."""
    rows = [list(row) for _, row in groupby(sorted(cases, key=lambda c: c.row), key=lambda c: c.row)]
    return [row[i] for row in rows for i in sorted({k * (len(row) - 1) // (each - 1) for k in range(each)})]


@pytest.mark.parametrize("sweep", SWEEPS)
def test_no_promise_is_broken(sweep: str, folder: Path, plain: Ending) -> None:
    cases = some(SWEEPS[sweep](folder, plain), {"moments": MOMENTS, "races": 2, "truncations": 2}.get(sweep, EACH))
    rows = harness.run(cases, folder)
    total = sum(rows.values(), Tally())
    assert total.runs >= len(cases) // 2 and total.runs == total.before + total.after
    assert total.notes == ()


def test_a_charge_that_the_medium_did_not_confirm_is_not_lost(folder: Path, plain: Ending) -> None:
    """The last sync of a charge fails, when the transaction stands already: the run's folder stays, and the release goes on."""
    synced = f"fdatasync {(folder.parent / 'plain').name}"
    last = max(i for i, (step, action) in enumerate(zip(plain.steps, plain.actions, strict=True), 1) if (step, str(action)) == ("charge", synced))
    tally, first = struck(folder / "case", Strike(last, "may_fail", errno.EIO), partial(tiny.release, generator=tiny.STEADY))
    assert first.refused and str(first.struck) == "fdatasync case"
    assert tally == Tally(1, 0, 1, 1, 0)


def test_the_table_adds_up() -> None:
    rows = {"a": Tally(3, 1, 2, 2, 1), "b": Tally(1000, 0, 1000, 1000, 0, ("x", "y"))}
    assert markdown(rows).splitlines()[2:] == [
        "| a | 3 | 1 | 2 | 2 | 1 | 0 |",
        "| b | 1,000 | 0 | 1,000 | 1,000 | 0 | 2 |",
        "| all | 1,003 | 1 | 1,002 | 1,002 | 1 | 2 |",
    ]


# Bugs to plant. Each is put into a process that was forked for one deed, so nothing is undone.


def charged_after_the_rows() -> None:
    real, sample, owed = Ledger.grant, pipeline._Steps.sample, []

    def later(ledger: Ledger, request: Request, release: str = "", attempt: Any = None) -> Grant:
        owed.append((ledger, request, release, attempt))
        return Grant(release, request.cost_in(ledger.currency), {"policy": attempt and attempt.policy})

    def paid_now(steps: pipeline._Steps) -> None:
        for debt in owed:
            real(*debt)
        sample(steps)

    Ledger.grant, pipeline._Steps.sample = later, paid_now  # type: ignore[method-assign,assignment]


def never_charged() -> None:
    def granted(ledger: Ledger, request: Request, release: str = "", attempt: Any = None) -> Grant:
        return Grant(release, request.cost_in(ledger.currency), {"policy": attempt and attempt.policy})

    Ledger.grant = granted  # type: ignore[method-assign,assignment]


def charged_twice() -> None:
    real = Ledger.grant
    Ledger.grant = lambda ledger, request, release, attempt=None: real(ledger, request, str(uuid.uuid4()), attempt)  # type: ignore[method-assign,assignment]


def refunded_after_a_crash() -> None:
    charge, resume = pipeline._Steps.charge, pipeline.resume

    def saved_and_charged(steps: pipeline._Steps) -> None:
        shutil.copy(steps.ledger.path, steps.run.custodian / "before.db")
        charge(steps)

    def refunded_and_resumed(out: Path, *rest: Any) -> pipeline.Outcome:
        if (out / "custodian" / "before.db").exists():
            shutil.copy(out / "custodian" / "before.db", tiny.ledger_of(out.parent))
        return resume(out, *rest)

    pipeline._Steps.charge, pipeline.resume = saved_and_charged, refunded_and_resumed  # type: ignore[method-assign,assignment]


def bundle_built_in_its_place() -> None:
    def straight(out: Path, public: Path, files: dict[str, bytes]) -> None:
        public.mkdir()
        for name, content in files.items():
            (public / name).write_bytes(content)

    bundle._write_folder = straight  # type: ignore[assignment]


def published_before_the_verdict() -> None:
    gate, publish = pipeline._Steps.gate, pipeline._Steps.publish

    def first(steps: pipeline._Steps, document: dict[str, Any]) -> Path:
        path = publish(steps, document)
        gate(steps, document)
        return path

    papers.head_of = lambda *_: "0" * 64
    pipeline._Steps.gate, pipeline._Steps.publish = lambda *_: None, first  # type: ignore[method-assign,assignment]


def answers_forgotten() -> None:
    real = Answers.__init__
    Answers.__init__ = lambda answers, *_: real(answers)  # type: ignore[method-assign,assignment]


def answers_kept_in_their_file_only() -> None:
    real = Answers.__init__
    Answers.__init__ = lambda answers, path=None, keeper=None: real(answers, path)  # type: ignore[method-assign]


def full_disk_ignored() -> None:
    real = bundle.write_new

    def careless(*words: Any) -> None:
        with suppress(OSError):
            real(*words)

    bundle.write_new = careless


def charged_one_after_the_other() -> None:
    real = Ledger.grant

    def apart(ledger: Ledger, request: Request, release: str, attempt: Any = None, *beside: Any) -> Grant:
        granted = real(ledger, request, release, attempt)
        for other, name in beside:
            real(ledger, other, name)
        return granted

    Ledger.grant = apart  # type: ignore[method-assign,assignment]


def everything_fits() -> None:
    Cost.fits = lambda cost, room: True  # type: ignore[method-assign]


PUBLISHING = slice(-50, -10)
BUGS: dict[Callable[[], None], tuple[str, str, slice, str]] = {
    charged_after_the_rows: ("kills", "change, fit", slice(None), "rows were read and nothing is charged"),
    never_charged: ("kills", "change, publish", slice(None), "a bundle without a charge"),
    charged_twice: ("kills", "change, gate", slice(None), "grants in the ledger, not one"),
    refunded_after_a_crash: ("kills", "change, sample", slice(None), "events that were in the ledger are gone or changed"),
    bundle_built_in_its_place: ("kills", "change, publish", slice(None), "half a bundle"),
    published_before_the_verdict: ("kills", "change, publish", slice(None), "a bundle without a PASS of its rows"),
    answers_forgotten: ("kills", "change, fit", slice(None), "was told 2 ways"),
    answers_kept_in_their_file_only: ("truncations", "answers cut at each byte, all told", slice(None), "was told 2 ways"),
    full_disk_ignored: ("errors", "device error", PUBLISHING, "half a bundle"),
    charged_one_after_the_other: ("kills beside", "rows, charge", slice(None), "half spent"),
    everything_fits: ("races", "processes for the last charge", slice(None), "overspent"),
}


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_a_planted_bug_is_seen(bug: Callable[[], None], folder: Path, plain: Ending) -> None:
    sweep, row, part, words = BUGS[bug]
    cases = [case for case in SWEEPS[sweep](folder, plain) if row in case.row][part]
    notes = [note for tally in harness.run(some(cases, 3 * EACH), folder, planted=bug).values() for note in tally.notes]
    assert any(words in note for note in notes), notes
