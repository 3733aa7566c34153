"""What `plan` predicts beside what is measured: CPU seconds, peak memory, error of a column.

    python -m benchmarks.plan run --tables adult survey --generators mst aim --epsilons 1 10
    python -m benchmarks.plan run --tables adult --generators mst --release
    python -m benchmarks.plan run --tables random-20x20 woven-12x60 --units 20000 --generators mst
    python -m benchmarks.plan table
    python -m benchmarks.plan constants

`random-20x20` is a made table of 20 columns of 20 categories that have nothing to do with each other; in `woven` ones categories fall off
and columns follow the first. `constants` says what would make the constants of the candidates' cells fit the lines best.
Lines made with `run --held-out` judge the constants, the others fit them.

Each cell is a line of benchmarks/results/plan.jsonl; one that is there is not done again. A fit is read, split by the policy, fitted and
sampled as a release does it, in a fresh process on one thread; a release is all of it, attacks and reports included. The predictions are
made when the table is printed, by the code as it is then; from the schema and the number of units alone.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from itertools import pairwise, product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dpsynth.schema import Schema
from dpsynth.tables.survey import SurveyTable, survey_schema

if TYPE_CHECKING:
    import pandas as pd

    from dpsynth.synthesizers import Model

DATA = Path(__file__).parents[1].parent / "shared" / "data"
RESULTS = Path(__file__).parent / "results" / "plan.jsonl"
MADE_ROWS = 10_000
CACHE = Path("/tmp/plan-tables")
SURVEY = "survey"
TABLES = (SURVEY, "acs_national2019_1000", "adult", "bank_marketing", "rand_hie", "diabetes130", "cps_tax_units")
GENERATORS = ("independent", "mst", "mwem", "privbayes", "aim")
MADE = re.compile(r"(random|woven)-(\d+)x(\d+)")
# The constants that `constants` tries, and by what factors.
TRIED, FACTORS = ("MAKE_CELL", "SCORE_CELL", "ELIMINATE"), (0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0)
POLICY, DELTA = "partner-contract", 1e-9
ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "NUMBA")} | {"POLARS_MAX_THREADS": "1"}

Line = dict[str, Any]


class Cell(NamedTuple):
    """One measurement; `units` is None for the whole table."""

    table: str
    generator: str
    epsilon: float
    units: int | None
    release: bool


def main() -> None:
    words = _words()
    if words.command == "constants":
        print("\n".join(_better([line for line in _done().values() if line["status"] == "ok" and not line.get("held_out")])))
    elif words.command == "table":
        print(_summary(_done().values()))
    elif words.command == "cell":
        print(json.dumps(_measured(Cell(*json.loads(words.cell)), Path(words.path))))
    else:
        for cell in _cells(words):
            if cell not in _done():
                _keep(cell, _outcome(cell, words.cap) | ({"held_out": True} if words.held_out else {}))


def _words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plan", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("table")
    commands.add_parser("constants")
    one = commands.add_parser("cell")
    one.add_argument("cell")
    one.add_argument("path")
    run = commands.add_parser("run")
    run.add_argument("--tables", nargs="+", type=_table, default=TABLES)
    run.add_argument("--generators", nargs="+", choices=GENERATORS, default=GENERATORS)
    run.add_argument("--epsilons", nargs="+", type=float, default=[1.0, 10.0, 0.3, 3.0])
    run.add_argument("--units", nargs="+", type=int, default=[None])
    run.add_argument("--release", action="store_true")
    run.add_argument("--held-out", action="store_true")
    run.add_argument("--cap", type=float, default=900, help="seconds by the clock that a cell may take")
    return parser.parse_args()


def _table(name: str) -> str:
    if name not in TABLES and not MADE.fullmatch(name):
        raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(TABLES)}, and not written like random-20x20 or woven-12x60")
    return name


def _cells(words: argparse.Namespace) -> Iterator[Cell]:
    for units, epsilon, table, generator in product(words.units, words.epsilons, words.tables, words.generators):
        yield Cell(table, generator, epsilon, units, words.release)


def _done() -> dict[Cell, Line]:
    lines = map(json.loads, RESULTS.read_text().splitlines()) if RESULTS.exists() else ()
    return {Cell(*(line[name] for name in Cell._fields)): line for line in lines}


def _keep(cell: Cell, outcome: Line) -> None:
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("a") as file:
        file.write(json.dumps(cell._asdict() | outcome) + "\n")
    print(cell._asdict() | outcome, flush=True)


def _outcome(cell: Cell, cap: float) -> Line:
    """What a fresh process says of a cell; a cap or a failure is an outcome too."""
    path = _sampled(cell.table, cell.units)
    command = [sys.executable, "-m", "benchmarks.plan", "cell", json.dumps(cell), str(path)]
    start = time.perf_counter()
    try:
        ended = subprocess.run(command, env=os.environ | ONE_THREAD, capture_output=True, text=True, timeout=cap)
    except subprocess.TimeoutExpired:
        return {"status": f"not done after {cap:g} s"}
    if ended.returncode:
        return {"status": ended.stderr.strip().splitlines()[-1][:300]}
    line: Line = json.loads(ended.stdout.splitlines()[-1])
    return {"status": "ok"} | line | {"wall": round(time.perf_counter() - start, 1), "on": time.strftime("%Y-%m-%d")}


def schema_of(table: str) -> Schema:
    made = MADE.fullmatch(table)
    if made:
        codes = [f"v{i}" for i in range(int(made[3]))]
        columns = [{"name": f"c{i}", "type": "categorical", "categories": codes, "categories_basis": "publisher"} for i in range(int(made[2]))]
        return Schema.from_dict({"name": table, "privacy_unit": {"unit": "row"}, "columns": columns})
    return survey_schema() if table == SURVEY else Schema.load(DATA / f"{table}.schema.json")


def _sampled(table: str, units: int | None) -> Path:
    """A file with `units` people of a table drawn at random (all, if None)."""
    stored = next(iter(DATA.glob(f"{table}.[cp]*")), None)
    if units is None and stored is not None:
        return stored
    suffix = ".csv" if stored is None or ".csv" in stored.name else ".parquet"
    path = CACHE / f"{table}-{units or 'all'}{suffix}"
    if not path.exists():
        CACHE.mkdir(exist_ok=True)
        rows = _made(table, units or MADE_ROWS) if MADE.fullmatch(table) else _drawn(_rows(table, stored), schema_of(table), units)
        _write(rows, path, schema_of(table))
    return path


def _rows(table: str, stored: Path | None) -> pd.DataFrame:
    from dpsynth.tables import open_table

    schema = schema_of(table)
    return SurveyTable(schema).rows() if stored is None else open_table(stored, schema).rows()


def _made(table: str, units: int) -> pd.DataFrame:
    """Columns that have nothing to do with each other, or such that fall off and follow the first half of the time."""
    import numpy as np
    import pandas as pd

    schema, rng = schema_of(table), np.random.default_rng(0)
    size = len(schema.columns[0].categories or ())

    def column() -> Any:
        return rng.integers(0, size, units) if table.startswith("random") else np.minimum(rng.geometric(3 / size, units) - 1, size - 1)

    first = column()
    codes = [np.where(rng.random(units) < 0.5, first, column()) if table.startswith("woven") else column() for _ in schema.names]
    return pd.DataFrame({name: "v" + pd.Series(found).astype(str) for name, found in zip(schema.names, codes, strict=True)})


def _drawn(frame: pd.DataFrame, schema: Schema, units: int | None) -> pd.DataFrame:
    if units is None:
        return frame
    if schema.unit.is_row:
        return frame.sample(units, random_state=0)
    ids = frame[list(schema.unit.columns)].astype(str).agg("|".join, axis=1)
    return frame[ids.isin(ids.drop_duplicates().sample(units, random_state=0))]


def _write(frame: pd.DataFrame, path: Path, schema: Schema) -> None:
    if path.suffix == ".parquet":
        frame.to_parquet(path, index=False)
    else:
        frame.to_csv(path, index=False, sep=schema.file.separator)


def _measured(cell: Cell, path: Path) -> Line:
    return _released(cell, path) if cell.release else _fitted(cell, path)


def _fitted(cell: Cell, path: Path) -> Line:
    """Read, divide, fit and sample."""
    from attacks.policy import Policy
    from dpsynth.privacy import GDP, PrivateTable
    from dpsynth.privacy.unit import kept_rows, new_key
    from dpsynth.releasing.split import divide, shares_of
    from dpsynth.synthesizers.registry import GENERATORS as KINDS
    from dpsynth.tables import open_table

    schema, policy = schema_of(cell.table), Policy.load(POLICY)
    seconds = [time.process_time()]
    frame = open_table(path, schema).rows()
    seconds.append(time.process_time())
    train = divide(frame, schema, new_key(), shares_of(policy)).train
    seconds.append(time.process_time())
    key = new_key()
    table = PrivateTable(train, schema, lambda request: request.cost_in(GDP), "unledgered", key=key)
    model = KINDS[cell.generator](cell.epsilon, DELTA).fit(table)
    seconds.append(time.process_time())
    made = model.sample(max(1, round(model.total / policy.split["train"])))
    seconds.append(time.process_time())
    peak = _peak_mb()
    known = {"rows": len(frame), "people": _units(frame, schema)}
    counted = (part.iloc[kept_rows(part, schema, key)] for part in (train, frame))
    return _facts(model, seconds, peak) | known | _errors(model, schema, made, *counted)


def _facts(model: Model, seconds: list[float], peak: float) -> Line:
    """What the fit took and, to understand it, what was measured."""
    sizes = [a.values.size for a in model.answers if len(a.attributes) > 1]
    steps = dict(zip(("read", "divide", "fit", "sample"), (round(b - a, 2) for a, b in pairwise(seconds)), strict=True))
    tree = sum(model.graphical.domain.project(c).cells for c in model.graphical.tree.cliques)
    return {
        "cpu": steps,
        "peak_mb": peak,
        "measured": len(sizes),
        "cells": sum(sizes),
        "tree_cells": tree,
        "views": len(model.graphical.domain.names),
    }


def _peak_mb() -> float:
    """The most this process held, by Linux: unlike `ru_maxrss` it starts anew with a new program."""
    held = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return round(int(held.split()[1]) * 1024 / 1e6)


def _units(frame: pd.DataFrame, schema: Schema) -> int:
    return len(frame) if schema.unit.is_row else int(frame[list(schema.unit.columns)].drop_duplicates().shape[0])


def _errors(model: Model, schema: Schema, made: pd.DataFrame, train: pd.DataFrame, table: pd.DataFrame) -> Line:
    """Mean total variation of a column in the sample, from the training part and from the whole table; of the rows that count."""
    from dpsynth.privacy import Merged
    from dpsynth.utility.fidelity import mean_total_variation

    attributes = [a.base if isinstance(a, Merged) else a for a in model.codec.attributes]
    return {
        "error": round(mean_total_variation(train, made, attributes, 1, schema.file.decimal), 5),
        "error_table": round(mean_total_variation(table, made, attributes, 1, schema.file.decimal), 5),
    }


def _released(cell: Cell, path: Path) -> Line:
    """A whole release; its verdict does not matter here."""
    from dpsynth.privacy import Ledger
    from dpsynth.releasing.pipeline import release
    from dpsynth.tables import open_table

    schema = schema_of(cell.table)
    with tempfile.TemporaryDirectory(prefix="plan-") as folder:
        ledger = Ledger.create(Path(folder) / "ledger.db", schema.name, cell.epsilon, DELTA)
        os.environ["HOME"] = os.environ["XDG_CONFIG_HOME"] = folder
        outcome = release(path, schema, ledger, epsilon=cell.epsilon, delta=DELTA, out=Path(folder) / "out", generator=cell.generator, policy=POLICY)
    seconds, peak = time.process_time(), _peak_mb()
    frame = open_table(path, schema).rows()
    return {"cpu": {"release": round(seconds, 2)}, "peak_mb": peak, "verdict": outcome.verdict, "rows": len(frame), "people": _units(frame, schema)}


def _summary(lines: Iterable[Line]) -> str:
    """Measured and, in brackets, how many times what was predicted; and how far off the worst are, where constants were fitted and elsewhere."""
    made = [line for line in lines if line["status"] == "ok"]
    ratios = [_ratios(line) for line in made]
    head = ["| table | people | generator | epsilon | CPU s | peak MB | error, training part | error, table |", f"|{'---|' * 8}"]
    parts = {held: [found for line, found in zip(made, ratios, strict=True) if line.get("held_out", False) == held] for held in (False, True)}
    worst = [f"{'held out' if held else 'fitted'}, {words}" for held, part in parts.items() for words in _worst(part)]
    return "\n".join([*head, *map(_row, made, ratios), "", "Measured / predicted, of a span its nearer end; 1 inside it.", *worst])


def _worst(ratios: list[dict[str, tuple[float, float]]]) -> Iterator[str]:
    for name, found in _by_measure(ratios).items():
        within = sum(1 / 2 <= ratio <= 2 for ratio in found)
        yield f"{name}: {min(found):.2f} to {max(found):.2f}; {within} of {len(found)} within two"


def _ratios(line: Line) -> dict[str, tuple[float, float]]:
    """What was measured, and how many times what is predicted from schema and number of people."""
    from attacks.policy import Policy
    from dpsynth.releasing.plan import predict

    plan = predict(schema_of(line["table"]), line["people"], line["epsilon"], DELTA, Policy.load(POLICY), line["generator"])
    if line["release"]:
        spans = {"release s": (line["cpu"]["release"], plan.least_seconds, plan.seconds)}
        points = {"release MB": (line["peak_mb"], plan.megabytes)}
    else:
        spans = {"fit s": (line["cpu"]["fit"] + line["cpu"]["sample"], plan.least_fit_seconds, plan.fit_seconds)}
        points = {"fit MB": (line["peak_mb"], plan.fit_megabytes)}
        points |= {"error": (line["error"], plan.noise_error), "error, table": (line["error_table"], plan.column_error)}
    beyond = {name: (found, _beyond(found, *span)) for name, (found, *span) in spans.items()}
    return beyond | {name: (found, found / expected) for name, (found, expected) in points.items()}


def _beyond(found: float, least: float, usual: float) -> float:
    """How many times the nearer end of what the plan tells: of one figure where it tells one."""
    from dpsynth.cli.releasing import NEAR

    if usual <= NEAR * least:
        return found / usual
    return min(found / least, max(found / usual, 1.0))


def _better(lines: list[Line]) -> Iterator[str]:
    """For each constant tried alone, the factor that brings the lines nearest to what is predicted."""
    from dpsynth.releasing import effort

    def apart() -> float:
        return math.fsum(math.log(ratio) ** 2 for line in lines for name, (_, ratio) in _ratios(line).items() if "error" not in name)

    for name in TRIED:
        stands = getattr(effort, name)
        tried = {}
        for factor in FACTORS:
            setattr(effort, name, factor * stands)
            tried[factor] = apart()
        setattr(effort, name, stands)
        best = min(tried, key=tried.__getitem__)
        yield f"{name}: {stands:g} times {best:g}, squares of logarithms {tried[1.0]:.2f} to {tried[best]:.2f}"


def _by_measure(ratios: list[dict[str, tuple[float, float]]]) -> dict[str, list[float]]:
    names = dict.fromkeys(name for line in ratios for name in line)
    return {name: [line[name][1] for line in ratios if name in line] for name in names}


def _row(line: Line, ratios: dict[str, tuple[float, float]]) -> str:
    cells = [f"{found:.4g} ({ratio:.2f})" for found, ratio in ratios.values()] + [""] * (4 - len(ratios))
    what = f"{line['generator']}{', whole release' if line['release'] else ''}"
    return f"| {line['table']} | {line['people']:,} | {what} | {line['epsilon']:g} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
