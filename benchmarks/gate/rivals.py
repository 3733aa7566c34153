"""Other tools on the same planted cells, the same files, each in an environment of its own.

None of them gives a verdict of its own accord. Two say what would be a bad sign, and that is taken for their alarm: mostlyai-qa that the
share of rows closer to train than to control "should not be significantly larger than 50%", anonymeter that a risk beyond the control's is
evidence of a leak. For all of them the table says as well how many leaks score beyond every fresh sample of their table: what a threshold
could do that somebody had tuned to this very data.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.gate.case import Case
from benchmarks.gate.cell import RESULTS, Cell, Line, cell_of, cells, done, keep
from benchmarks.gate.planted import GENERATORS

DRIVERS = Path(__file__).resolve().parent / "drivers"
# Torch first: else pip takes the one with CUDA.
PACKAGES: dict[str, tuple[tuple[str, ...], ...]] = {
    "anonymeter": (("anonymeter==1.1.0",),),
    "sdmetrics": (("sdmetrics==0.32.0",),),
    "syntheval": (("syntheval==1.7.3",),),
    "mostlyai-qa": (("torch==2.13.0",), ("mostlyai-qa==1.10.11",)),
}
PLANTED = ("fresh", "copies_5", "copies_1", "outliers_1", "noisy_50", "smote", "tree_5", "noiseless_2", "decode_leak", "shuffled")
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "POLARS_MAX_THREADS"), "1")


def main(asked: argparse.Namespace) -> int:
    rivals = asked.rivals or list(PACKAGES)
    if asked.step == "environments":
        return sum(not _made(asked.environments / rival, PACKAGES[rival]) for rival in rivals)
    if asked.step == "table":
        print(markdown(_there(asked.results), list(_ours(RESULTS / "gate.jsonl", asked.suite))))
        return 0
    unique = [{"kept": True, "dropped": False}[word] for word in asked.near_unique]
    generators = asked.generators or PLANTED
    every = cells(generators, asked.tables, asked.sizes, range(asked.splits), unique, asked.shares, asked.policy)
    for rival in rivals:
        there = {cell_of(line) for line in _there(asked.results) if line["rival"] == rival}
        _run(rival, [cell for cell in every if cell not in there], asked.environments, asked.results)
    return 0


def _made(folder: Path, steps: Sequence[Sequence[str]]) -> bool:
    python = str(folder / "bin" / "python")
    commands = [[sys.executable, "-m", "venv", str(folder)], *([python, "-m", "pip", "install", "--quiet", *step] for step in steps)]
    return not any(subprocess.run(command).returncode for command in commands)


def _run(rival: str, wanted: Sequence[Cell], environments: Path, results: Path) -> None:
    """Write the cells' files, let the driver read them one after the other, keep what it says of each."""
    from benchmarks.gate.judge import make

    script = DRIVERS / f"with_{rival.replace('-', '_')}.py"
    with tempfile.TemporaryDirectory(prefix="gate-") as folder:
        for i, cell in enumerate(wanted):
            _write(make(cell), Path(folder) / f"{i:04}")
        command = [str(environments / rival / "bin" / "python"), str(script), folder]
        # What the driver prints, a line a case, is the result; a case that breaks it is a line too.
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | ONE_THREAD, cwd=folder) as process:
            for line in process.stdout or ():
                if line.startswith('{"case"'):
                    outcome = json.loads(line)
                    keep(results, wanted[int(outcome.pop("case"))], {"rival": rival} | outcome)
                    print(rival, line.strip(), flush=True)


def _write(case: Case, folder: Path) -> None:
    folder.mkdir()
    columns = [c.name for c in case.schema.synthesised]
    for name in ("train", "control", "synthetic"):
        getattr(case, name)[columns].to_csv(folder / f"{name}.csv", index=False)
    (folder / "numbers.json").write_text(json.dumps([c.name for c in case.schema.synthesised if c.is_number]))


def _there(results: Path) -> list[Line]:
    return [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []


def _ours(results: Path, suites: Sequence[str]) -> Iterator[Line]:
    """This gate's verdicts, by its present code or by those named, on tables without a claim: as alarms that FAIL, and as what is not let out."""
    from benchmarks.gate.judge import suite

    for line in done(results, *(suites or [suite()])).values():
        for words, alarm in (("this gate: FAIL", line["bare"] == "FAIL"), ("this gate: no PASS", line["bare"] != "PASS")):
            yield line | {"rival": words, "alarm": alarm, "scores": {}, "cpu_s": line["cpu_gate"]}


def markdown(lines: Sequence[Line], ours: Sequence[Line]) -> str:
    """Alarms of each tool by generator on the cells that all of its rows share, then what a tuned threshold would see."""
    same = {cell_of(line) for line in lines}
    everything = [*(line for line in ours if cell_of(line) in same), *lines]
    generators = [g for g in GENERATORS if any(cell.generator == g for cell in same)]
    head = ["| tool | measure | CPU s | " + " | ".join(generators) + " |", "|---" * (3 + len(generators)) + "|"]
    rows = []
    for rival in dict.fromkeys(line["rival"] for line in everything):
        own = [line for line in everything if line["rival"] == rival]
        seconds = sorted(line["cpu_s"] for line in own)[len(own) // 2]
        if any(line["alarm"] is not None for line in own):
            alarms = [_share([line["alarm"] for line in own if line["generator"] == g]) for g in generators]
            rows.append(f"| {rival} | its alarm | {seconds:.1f} | {' | '.join(alarms)} |")
        for score in dict.fromkeys(name for line in own for name in line["scores"]):
            seen = _beyond_fresh(own, score)
            rows.append(f"| {rival} | {score} | | {' | '.join(_share(seen[g]) for g in generators)} |")
    return "\n".join([*head, *rows])


def _beyond_fresh(lines: Sequence[Line], score: str) -> Mapping[str, list[bool]]:
    """Whether each cell scores higher than all fresh samples of its table do."""
    highest: dict[str, float] = defaultdict(lambda: float("-inf"))
    for line in lines:
        if line["generator"] == "fresh" and score in line["scores"]:
            highest[line["table"]] = max(highest[line["table"]], line["scores"][score])
    seen = defaultdict(list)
    for line in lines:
        if score in line["scores"]:
            seen[line["generator"]].append(line["scores"][score] > highest[line["table"]])
    return seen


def _share(alarms: Sequence[bool | None]) -> str:
    known = [a for a in alarms if a is not None]
    return f"{sum(known)}/{len(known)}" if known else ""
