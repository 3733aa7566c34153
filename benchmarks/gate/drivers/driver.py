"""What every driver does: read the cases of a folder, let the tool score each, print a line of JSON a case. Runs in each tool's environment."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

Outcome = dict[str, Any]
Score = Callable[[pd.DataFrame, pd.DataFrame, pd.DataFrame, list[str]], Outcome]


def drive(score: Score) -> None:
    """`score` takes train, control and synthetic rows and the names of the numbers; it gives an alarm (None without a criterion) and scores.

    Higher scores say more of a leak.
    """
    for folder in sorted(Path(sys.argv[1]).iterdir()):
        numbers = json.loads((folder / "numbers.json").read_text())
        tables = [_read(folder / f"{name}.csv", numbers) for name in ("train", "control", "synthetic")]
        np.random.seed(0)  # noqa: NPY002 (some draw from numpy's global generator)
        start = time.process_time()
        try:
            outcome = score(*tables, numbers)
        except Exception as error:
            outcome = {"alarm": None, "scores": {}, "error": type(error).__name__}
        print(json.dumps({"case": folder.name} | outcome | {"cpu_s": round(time.process_time() - start, 2)}), flush=True)


def _read(path: Path, numbers: list[str]) -> pd.DataFrame:
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    return frame.assign(**{name: pd.to_numeric(frame[name]) for name in numbers})
