"""Audit every generator of this code, and let the build carry the findings that the gate asks for.

    python -m benchmarks.audits            # run, and write dpsynth/resources/audits.json
    python -m benchmarks.audits --check    # run, and fail unless the findings carried are of this very code

One to six minutes of one core a generator. What it looks at, and what it would see: docs/audits.md.
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

from attacks.audit import Audit
from dpsynth.releasing.audited import ALPHA, RUNS, audit_generator, carry, finding
from dpsynth.releasing.audited_once import audit_once
from dpsynth.synthesizers.registry import DEEP, generator_named
from dpsynth.synthesizers.registry import GENERATORS as COUNTING

GENERATORS = COUNTING | {name: generator_named(name) for name in DEEP}
# Once in a thousand times this script accuses any generator of sound code: by many runs or, of one that counts, by one run.
SHARE = ALPHA / (len(GENERATORS) + len(COUNTING))


def audit_all(runs: int) -> dict[str, Audit]:
    """Every generator, two at a time; the one that takes longest first."""
    names = sorted(GENERATORS, key=lambda name: name != "aim")
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        audits = pool.map(partial(audit_generator, runs=runs, alpha=SHARE), [GENERATORS[n] for n in names])
        found = dict(zip(names, audits, strict=True))
    return {name: found[name] for name in GENERATORS}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--runs", type=int, default=RUNS)
    words = parser.parse_args()
    start = time.perf_counter()
    stale = [name for name in GENERATORS if finding(name) != "passed"] if words.check else []
    if stale:
        print(f"the findings carried do not pass for {', '.join(stale)}: run python -m benchmarks.audits and commit what it writes")
        return 1
    found = audit_all(words.runs)
    once = {name: audit_once(kind, delta=1e-9, alpha=SHARE) for name, kind in COUNTING.items()}
    refuted = any(o.refuted for o in once.values())
    if not words.check and not refuted:
        carry(found)
    said = [f"{name}: {a.words}" + (f"\n  {once[name].words}" if name in once else "") for name, a in found.items()]
    print("\n".join(said), f"\n{time.perf_counter() - start:.0f} s")
    return int(any(a.violated for a in found.values()) or refuted)


if __name__ == "__main__":
    sys.exit(main())
