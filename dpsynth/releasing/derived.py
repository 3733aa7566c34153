"""More rows from a released model: free, and marked for what they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from dpsynth.synthesizers import Model

if TYPE_CHECKING:
    import pandas as pd


def write_sample(frame: pd.DataFrame, model: Model, target: Path) -> str:
    """Write rows to `target` (Parquet or CSV by its ending) with the mark that they are derived; returns the mark.

    A CSV has no place for a mark, so it stands in `TARGET.note.txt` beside it.
    """
    mark = note(model)
    if target.suffix in (".parquet", ".pq"):
        import pyarrow as pa
        import pyarrow.parquet as pq

        marks = {"synthetic": "true", "dpsynth": json.dumps({"note": mark, "derived_from": model.certificate})}
        pq.write_table(pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(marks), target)
        return mark
    markers = {c.name: c.marker for c in model.schema.synthesised}
    spelled = {name: frame[name].astype(object).where(frame[name].notna(), marker) for name, marker in markers.items()}
    type(frame)(spelled).to_csv(target, index=False)
    target.with_name(f"{target.name}.note.txt").write_text(mark + "\n", encoding="utf-8")
    return mark


def note(model: Model) -> str:
    """What the rows are."""
    if model.stamp != "ledgered":
        return f"synthetic rows of a model that is {model.stamp}: not for release"
    origin = f"certificate {model.certificate}" if model.certificate else "a model without a certificate"
    return f"synthetic rows derived from {origin}, not themselves gated"
