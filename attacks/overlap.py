"""Is somebody on both sides of the split? Then the control is no control: what leaked of him counts for both and reads as no leak.

Or in the control and in the reference? Then the reference is nearer to controls than to members, which reads as a leak where there is none.
Or are the tables swapped, so that all is the wrong way round?

Statement. `shared_units` is certain: an id is in both tables. `swapped` has a level of 1e-4, `shared_rows` and `known_controls` two tests each of
that level. Of rows that are alike in pairs a split by lot leaves 2 n m / ((n + m)(n + m - 1)) across; more is a control that was taken from
the training table. And of held-out rows that stand alone among the held-out (`nearest.rare_rows`) hardly any has its like among the trained on:
0 to 1.7 % on eight splits of six real tables, whose near-unique columns were left out; more than 5 % are people with several rows, split by
row. Not seen: one household's members with different rows and no common id; rows of a table so coarse that all have many alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from attacks.evidence import Evidence, Table, known_ids
from attacks.nearest import DIGITS, exact_match
from attacks.scores import Scores, UnanswerableError
from attacks.verdict import KNOWN_CONTROLS
from dpsynth.schema.schema import Schema

ALPHA = 1e-4
USUAL = 0.05


def overlap(
    train: pd.DataFrame, outside: Mapping[str, pd.DataFrame | None], schema: Schema, evidence: Evidence, scores: Mapping[str, Scores]
) -> tuple[str, ...]:
    """What is wrong with the split, in words that hold no value; nothing where nothing was found. `scores` are those of the attacks."""
    held_out = {role: frame for role, frame in outside.items() if frame is not None}
    words = tuple(f"units of train are in the {role} table as well" for role in shared_units(train, held_out, schema))
    words += ("rows of train are among the held-out rows, more than chance puts there",) if shared_rows(evidence) else ()
    words += (KNOWN_CONTROLS,) if known_controls(outside, schema, evidence) else ()
    return words + (("controls look more like trained on than members do: were the tables swapped?",) if swapped(scores) else ())


def shared_units(train: pd.DataFrame, outside: Mapping[str, pd.DataFrame], schema: Schema) -> tuple[str, ...]:
    """Which of the outside tables hold a unit of `train`; a table without the id columns is passed over. A row without an id is nobody else's."""
    if schema.unit.is_row:
        return ()
    trained, columns = _ids(train, schema), set(schema.unit.columns)
    return tuple(role for role, frame in outside.items() if columns <= set(frame.columns) and trained & _ids(frame, schema))


def shared_rows(evidence: Evidence) -> bool:
    """Whether rows of the training table are among controls and reference, more than a split by lot of different people explains."""
    outside = evidence.controls.then(evidence.reference)
    held_out = replace(evidence, members=outside, controls=outside.take(np.arange(0)), synthetic=evidence.train)
    return _pairs_p(evidence.members, outside) < ALPHA or _twins_p(held_out) < ALPHA


def known_controls(outside: Mapping[str, pd.DataFrame | None], schema: Schema, evidence: Evidence) -> bool:
    """Whether people of the control are in the reference, by id, by pairs of like rows, or more often than members are."""
    control, reference = outside["control"], outside["reference"]
    if control is not None and reference is not None and shared_units(control, {"reference": reference}, schema):
        return True
    return _pairs_p(evidence.controls, evidence.reference) < ALPHA or _nearer_p(replace(evidence, synthetic=evidence.reference)) < ALPHA


def swapped(scores: Mapping[str, Scores]) -> bool:
    """Whether some attack scores controls higher than members, surely: no synthetic table made from the members does that.

    A leak with the labels the wrong way round would else read as more than safe. Rank sums (Mann and Whitney 1947), for as many attacks.
    """
    pairs = [pair for each in scores.values() if min(map(len, pair := each.targets())) > 1]
    p = [float(stats.mannwhitneyu(members, controls, alternative="less", method="asymptotic").pvalue) for members, controls in pairs]
    return any(each * len(p) < ALPHA for each in p)


def _ids(frame: pd.DataFrame, schema: Schema) -> set[bytes]:
    return {i for i in known_ids(frame, schema) if i is not None}


def _pairs_p(some: Table, others: Table) -> float:
    """p-value of "pairs of like rows fall on the two sides by lot"; 1 where a side is empty."""
    n, m = len(some), len(others)
    if not n or not m:
        return 1.0
    _, place, count = np.unique(_keys(some.then(others).rounded(DIGITS)), return_inverse=True, return_counts=True)
    inside = np.bincount(place[:n], minlength=len(count))[count == 2]
    return float(stats.binom.sf((inside == 1).sum() - 1, len(inside), 2 * n * m / ((n + m) * (n + m - 1))))


def _nearer_p(evidence: Evidence) -> float:
    """p-value of "of people who stand alone no more controls than members have their like in the synthetic table" (Fisher); 1 with too few."""
    try:
        members, controls = exact_match(evidence, np.random.default_rng(0)).targets()
    except UnanswerableError:
        return 1.0
    met = int(members.sum() + controls.sum())
    return float(stats.hypergeom.sf(controls.sum() - 1, len(members) + len(controls), met, len(controls)))


def _twins_p(evidence: Evidence) -> float:
    """p-value of "of members who stand alone one in twenty at most has his like in the synthetic table"; 1 with too few of them."""
    try:
        hits, _ = exact_match(evidence, np.random.default_rng(0)).targets()
    except UnanswerableError:
        return 1.0
    return float(stats.binom.sf(hits.sum() - 1, len(hits), USUAL))


def _keys(table: Table) -> npt.NDArray[np.uint64]:
    """A number for each row, equal for equal rows."""
    cells = pd.DataFrame(np.concatenate([table.numbers + 0.0, table.codes.astype(np.float64)], axis=1))
    return np.asarray(pd.util.hash_pandas_object(cells, index=False), dtype=np.uint64)
