"""Audit every generator of this code, and let the build carry the findings that the gate asks for.

    python -m benchmarks.audits            # run, and write dpsynth/resources/audits.json
    python -m benchmarks.audits --check    # run, and fail unless the findings carried are of this very code

About two minutes a generator on one core.
"""

from __future__ import annotations

import argparse
import sys
import time

from dpsynth.releasing.audited import RUNS, audit_generator, carry, finding
from dpsynth.synthesizers.registry import GENERATORS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--runs", type=int, default=RUNS)
    words = parser.parse_args()
    start = time.perf_counter()
    if not words.check:
        found = carry(words.runs)["generators"]
        print("\n".join(f"{name}: {f['words']}" for name, f in found.items()), f"\n{time.perf_counter() - start:.0f} s")
        return int(any(f["violated"] for f in found.values()))
    stale = [name for name in GENERATORS if finding(name) != "passed"]
    if stale:
        print(f"the findings carried do not pass for {', '.join(stale)}: run python -m benchmarks.audits and commit what it writes")
        return 1
    audits = {name: audit_generator(kind, words.runs) for name, kind in GENERATORS.items()}
    print("\n".join(f"{name}: {a.words}" for name, a in audits.items()), f"\n{time.perf_counter() - start:.0f} s")
    return int(any(a.violated for a in audits.values()))


if __name__ == "__main__":
    sys.exit(main())
