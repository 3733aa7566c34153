"""dpsynth: any generator of its registry."""

from __future__ import annotations

import subprocess
from dataclasses import fields
from pathlib import Path
from typing import Any

import pandas as pd
from driver import Job, Work, drive

import dpsynth
from dpsynth.schema import Schema
from dpsynth.synthesizers.registry import generator_named


def prepare(job: Job) -> Work:
    kind = generator_named(job.method)
    options: dict[str, Any] = {"workload": job.workload} if "workload" in {f.name for f in fields(kind)} else {}
    generator = kind(job.epsilon, job.delta, **options)
    schema = Schema.from_dict(_document(job))
    rows = job.rows.astype({c: str for c in job.sizes if c not in job.numbers})

    def work() -> pd.DataFrame:
        return generator.fit(rows, schema).sample(len(rows))

    return work


def _document(job: Job) -> dict[str, Any]:
    """Each code is a value of its own; a missing cell, which no row has, is the generator's to model."""
    columns = [_number(c, n) if c in job.numbers else _names(c, n) for c, n in job.sizes.items()]
    return {"name": "benchmark", "privacy_unit": {"unit": "row"}, "columns": columns}


def _number(column: str, size: int) -> dict[str, Any]:
    return {"name": column, "type": "integer", "bounds": [0, size - 1], "bounds_basis": "publisher", "bins": size}


def _names(column: str, size: int) -> dict[str, Any]:
    return {"name": column, "type": "categorical", "categories": list(map(str, range(size))), "categories_basis": "publisher"}


def _state() -> str:
    """The commit that the code is of, since its version changes too seldom; `-dirty` where files were edited since."""
    folder = Path(dpsynth.__file__).parent
    return subprocess.run(["git", "-C", folder, "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    drive(prepare, dpsynth=_state())
