"""How often the gate lets a planted leak through, and how often it stops what is fine.

    python -m benchmarks.gate run --generators fresh copies_1 --tables adult --sizes 500 2000 --splits 300
    python -m benchmarks.gate table
    python -m benchmarks.gate reach
    python -m benchmarks.gate rivals environments
    python -m benchmarks.gate rivals run --splits 20

Each cell is a line of benchmarks/results/gate.jsonl; one that this very code of the attacks has judged is not done again. Without
--generators all are run, and without --splits as many splits as the plan asks for: 300 of fresh rows at 500 and 2,000, 10 of anything
at 15,000, 50 of the rest. `table` takes the latest line of each cell, or with --suite those of some codes.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from attacks.policy import SHIPPED
from benchmarks.gate.cell import RESULTS, Cell, Line, cells, done, keep
from benchmarks.gate.planted import GENERATORS
from benchmarks.gate.tables import POPULATIONS

ONE_THREAD = ("OMP_NUM_THREADS", "POLARS_MAX_THREADS", "NUMBA_NUM_THREADS")
SIZES = (500, 2_000, 15_000)
UNIQUE = {"kept": True, "dropped": False}


def main(words: Sequence[str] | None = None) -> int:
    """The command; `words` are those of the command line."""
    asked = _parser().parse_args(words)
    if asked.command == "run":
        return _run(asked)
    if asked.command == "rivals":
        from benchmarks.gate import rivals

        return rivals.main(asked)
    if asked.command == "reach":
        from benchmarks.gate.reach import markdown as reach

        print(reach())
        return 0
    from benchmarks.gate.summary import markdown

    print(markdown(done(asked.results, *asked.suite)))
    return 0


def splits(generator: str, n: int) -> int:
    """How many splits the plan asks for."""
    if n >= max(SIZES):
        return 10
    return 300 if generator == "fresh" else 50


def _wanted(asked: argparse.Namespace) -> list[Cell]:
    unique = [UNIQUE[word] for word in asked.near_unique]
    most = asked.splits or 300
    every = cells(asked.generators, asked.tables, asked.sizes, range(asked.first, most), unique, asked.shares, asked.policy)
    return [cell for cell in every if asked.splits or cell.split < splits(cell.generator, cell.n)]


def _run(asked: argparse.Namespace) -> int:
    from benchmarks.gate.judge import suite

    there = {} if asked.again else done(asked.results, suite())
    for cell, line in _judged([cell for cell in _wanted(asked) if cell not in there], asked.workers):
        keep(asked.results, cell, line)
        print(f"{cell}: {line['bare']}, claimed {line['claimed']}, {line['cpu_make'] + line['cpu_gate']:.1f} CPU s", flush=True)
    return 0


def _judged(wanted: Sequence[Cell], workers: int) -> Iterator[tuple[Cell, Line]]:
    """The cells with their lines, in the order in which they are done; one worker is this very process."""
    os.environ |= dict.fromkeys(ONE_THREAD, "1")
    from benchmarks.gate.judge import judge

    if workers == 1:
        yield from ((cell, judge(cell)) for cell in wanted)
        return
    # Not forked: numba's and polars' threads do not survive that.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        waiting = {pool.submit(judge, cell): cell for cell in wanted}
        yield from ((waiting[future], future.result()) for future in as_completed(waiting))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run")
    _cell_words(run, RESULTS / "gate.jsonl", generators=list(GENERATORS), sizes=SIZES)
    run.add_argument("--splits", type=int, help="so many of each cell")
    run.add_argument("--first", type=int, default=0, help="the first split")
    run.add_argument("--workers", type=int, default=2)
    run.add_argument("--again", action="store_true", help="judge cells anew that are there already")
    table = commands.add_parser("table")
    table.add_argument("--results", type=Path, default=RESULTS / "gate.jsonl")
    table.add_argument("--suite", nargs="+", default=(), help="only lines that these codes of the attacks judged")
    commands.add_parser("reach")
    rivals = commands.add_parser("rivals")
    rivals.add_argument("step", choices=("environments", "run", "table"))
    _cell_words(rivals, RESULTS / "gate_rivals.jsonl", generators=None, sizes=(2_000,))
    rivals.add_argument("--splits", type=int, default=20)
    rivals.add_argument("--rivals", nargs="+")
    rivals.add_argument("--suite", nargs="+", default=(), help="in `table` our own lines that these codes of the attacks judged, not the present one")
    rivals.add_argument("--environments", type=Path, default=Path("/tmp/gate_rivals"))
    return parser


def _cell_words(command: argparse.ArgumentParser, results: Path, generators: Sequence[str] | None, sizes: Sequence[int]) -> None:
    command.add_argument("--generators", nargs="+", default=generators, choices=list(GENERATORS), metavar="GENERATOR", help=", ".join(GENERATORS))
    command.add_argument("--tables", nargs="+", default=list(POPULATIONS), choices=POPULATIONS)
    command.add_argument("--sizes", nargs="+", type=int, default=sizes)
    command.add_argument("--near-unique", nargs="+", default=["kept", "dropped"], choices=list(UNIQUE))
    command.add_argument("--shares", default="even", choices=("even", "policy"), help="controls: as many as trained on, or as the policy splits")
    command.add_argument("--policy", default="partner-contract", choices=SHIPPED)
    command.add_argument("--results", type=Path, default=results)


if __name__ == "__main__":
    sys.exit(main())
