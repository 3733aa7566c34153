"""Every fault, its counts, and any promise that it broke.

    python -m benchmarks.faults                       # all of it; exit code 1 if a promise was broken, 2 if faults cannot be made here
    python -m benchmarks.faults --only clock          # the rows whose names hold a word
    python -m benchmarks.faults --seed 7              # the random moments of an earlier run

Needs Linux 5.5 on x86-64, no privilege. `docs/reliability.md` says what is promised and holds the table of the last run.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import time
from pathlib import Path

from benchmarks.faults import clocks, creations, harness, races, releases, truncations
from benchmarks.faults.case import Case
from benchmarks.faults.tally import Tally, markdown

MOMENTS, JOBS, SAID_EVERY = 500, 2, 200


class Progress:
    """How far it is, on standard error; violations at once."""

    def __init__(self, cases: int):
        self.cases = cases
        self.done = 0

    def __call__(self, row: str, tally: Tally) -> None:
        self.done += 1
        for note in tally.notes:
            print(f"{row}: {note}", file=sys.stderr, flush=True)
        if self.done % SAID_EVERY == 0:
            print(f"{self.done:,} of {self.cases:,} cases", file=sys.stderr, flush=True)


def every_case(folder: Path, moments: int, seed: int) -> list[Case]:
    """All cases; `folder` gets what they start from."""
    plain = releases.counted(folder / "plain")
    return [
        *releases.kills(plain),
        *releases.kills_beside(folder / "beside"),
        *releases.moments(moments, releases.duration(folder / "duration"), seed),
        *releases.errors(plain),
        *releases.small_files(folder / "plain"),
        *releases.read_only_resumes(plain),
        *clocks.clocks(plain),
        *creations.creations(folder / "creation"),
        *races.races(folder, seed),
        *truncations.truncations(folder, plain),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moments", type=int, default=MOMENTS, help="how many random moments")
    parser.add_argument("--seed", type=int, default=secrets.randbits(32), help="of the random moments")
    parser.add_argument("--jobs", type=int, default=JOBS, help="cases at a time")
    parser.add_argument("--only", default="", help="a word in the names of the rows that are wanted")
    words = parser.parse_args()
    start = time.perf_counter()
    with harness.workplace() as folder:
        if why := harness.impossible(folder):
            print(f"faults cannot be made here: {why}", file=sys.stderr)
            return 2
        harness.warm(folder)
        cases = [case for case in every_case(folder, words.moments, words.seed) if words.only in case.row]
        rows = harness.run(cases, folder, words.jobs, heard=Progress(len(cases)))
    print(markdown(rows))
    violations = sum(len(tally.notes) for tally in rows.values())
    used = sum(os.times()[:4])
    print(f"\nseed {words.seed}, {violations} violations, {time.perf_counter() - start:.0f} s, {used:.0f} s of CPU")
    return int(violations > 0)


if __name__ == "__main__":
    sys.exit(main())
