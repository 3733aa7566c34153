"""Input that a gate has to stop at: leaks in disguise, sides that are none, and tables that no attack can read.

Except where the fault is in the sides alone, the rows are the training rows themselves, so that letting them through is a leak.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd

from benchmarks.gate.case import Case, fresh, shuffled_rows
from benchmarks.gate.tables import Sample
from dpsynth.schema.column import Column
from dpsynth.schema.schema import PrivacyUnit

FEW, MILLION = 20, 1_000_000
KIN = 1 / 3
ODD = ("a b", "`c`", "d'e", 'f"g', "h&i", "j==1", "k\\l", "m|n", "ö", "0", "class", "p.q", "@r", "{s}", "t;u", "v%", "w,x")


def blanked(sample: Sample, rng: np.random.Generator) -> Case:
    """Numbers missing throughout."""
    return _copied(sample, sample.train.assign(**dict.fromkeys(sample.numbers, "")))


def half_blanked(sample: Sample, rng: np.random.Generator) -> Case:
    """Every other cell missing, wherever it is."""
    rows = sample.train[sample.columns]
    return _copied(sample, rows.mask(rng.random(rows.shape) < 0.5, ""))


def odd_names(sample: Sample, rng: np.random.Generator) -> Case:
    """Column names that break queries written as text."""
    plain = [c for c in sample.columns if c not in sample.schema.unit.columns]
    names = dict(zip(plain, (f"{odd}{i}" for i, odd in enumerate(ODD)), strict=False))
    renamed = [replace(c, name=names.get(c.name, c.name)) for c in sample.schema.columns]
    sides = (side.rename(columns=names) for side in (sample.train, sample.control, sample.reference, sample.train[sample.columns]))
    return Case(*sides, schema=replace(sample.schema.with_columns(tuple(renamed)), target=None))


def dates(sample: Sample, rng: np.random.Generator) -> Case:
    """Numbers written as dates."""
    days = {c: pd.Timestamp("1970-01-01") + pd.to_timedelta(pd.to_numeric(sample.train[c]).clip(0, 90_000), unit="D") for c in sample.numbers}
    return _copied(sample, sample.train.assign(**{c: d.dt.strftime("%Y-%m-%d") for c, d in days.items()}))


def mixed_types(sample: Sample, rng: np.random.Generator) -> Case:
    """Every other number with a unit behind it."""
    odd = np.arange(len(sample.train)) % 2 == 1
    return _copied(sample, sample.train.assign(**{c: sample.train[c].where(~odd, sample.train[c] + " each") for c in sample.numbers}))


def constant_columns(sample: Sample, rng: np.random.Generator) -> Case:
    """Half of the columns the same for everybody, on every side."""
    flat = {c: sample.train[c].iloc[0] for c in sample.columns[::2]}
    sides = (sample.train, sample.control, sample.reference, sample.train[sample.columns])
    return Case(*(side.assign(**flat) for side in sides), schema=sample.schema)


def few_rows(sample: Sample, rng: np.random.Generator) -> Case:
    """Twenty people on each side."""
    sides = (side.head(FEW) for side in (sample.train, sample.control, sample.reference))
    return Case(*sides, synthetic=sample.train[sample.columns].head(FEW), schema=sample.schema)


def few_rows_fresh(sample: Sample, rng: np.random.Generator) -> Case:
    """The same without a leak: nothing that small can be shown to be safe."""
    sides = (side.head(FEW) for side in (sample.train, sample.control, sample.reference))
    return Case(*sides, synthetic=sample.fresh[sample.columns].head(FEW), schema=sample.schema)


def half_in_control(sample: Sample, rng: np.random.Generator) -> Case:
    """Half of those held back were trained on."""
    trained = shuffled_rows(sample.train, rng).head(len(sample.control) // 2)
    return replace(_copied(sample, sample.train), control=pd.concat([sample.control.iloc[len(trained) :], trained]))


def all_in_control(sample: Sample, rng: np.random.Generator) -> Case:
    """All of those held back were trained on."""
    return replace(_copied(sample, sample.train), control=sample.train)


def copies_in_control(sample: Sample, rng: np.random.Generator) -> Case:
    """Those who were copied were held back as well: 1 % of the rows, hidden from anyone who compares the sides."""
    leaked = shuffled_rows(sample.train, rng).head(max(1, len(sample.train) // 100))
    rows = pd.concat([sample.fresh.iloc[len(leaked) :], leaked])
    return replace(_copied(sample, rows), control=pd.concat([sample.control.iloc[len(leaked) :], leaked]))


def relatives(sample: Sample, rng: np.random.Generator) -> Case:
    """A third of the control are relatives of those trained on, half of their cells the same; nobody says so. The leak: 30 % of cells redrawn."""
    rows, other = sample.train[sample.columns].to_numpy(), sample.fresh[sample.columns].to_numpy()
    noisy = np.where(rng.random(rows.shape) < 0.3, np.take_along_axis(other, rng.integers(len(other), size=rows.shape), axis=0), rows)
    return replace(_copied(sample, pd.DataFrame(noisy, columns=sample.columns)), control=_with_kin(sample, rng))


def households(sample: Sample, rng: np.random.Generator) -> Case:
    """The same relatives, with the household's id on either side, and no leak: the split is not one of units."""
    ids = [f"h{i}" for i in range(len(sample.train))]
    strangers = [f"s{i}" for i in range(len(sample.control))]
    kin = round(KIN * len(sample.control))
    schema = replace(sample.schema, columns=(*sample.schema.columns, Column("household of", "id")), unit=PrivacyUnit("household", ("household of",)))
    case = fresh(sample, rng)
    return replace(
        case,
        train=sample.train.assign(**{"household of": ids}),
        control=_with_kin(sample, rng).assign(**{"household of": [*ids[:kin], *strangers[kin:]]}),
        schema=schema,
    )


def diluted(sample: Sample, rng: np.random.Generator) -> Case:
    """The training rows among ten times as many junk ones."""
    junk = [sample.fresh[sample.columns].apply(lambda cells: rng.permutation(cells.to_numpy())) for _ in range(10)]
    return _copied(sample, pd.concat([*junk, sample.train[sample.columns]]))


def million(sample: Sample, rng: np.random.Generator) -> Case:
    """The same among as many as make a million, each cell a stranger's."""
    junk = MILLION - len(sample.train)
    drawn = {c: sample.fresh[c].to_numpy()[rng.integers(len(sample.fresh), size=junk)] for c in sample.columns}
    return _copied(sample, pd.concat([pd.DataFrame(drawn), sample.train[sample.columns]]))


def no_control(sample: Sample, rng: np.random.Generator) -> Case:
    return replace(fresh(sample, rng), control=None)


def missing_column(sample: Sample, rng: np.random.Generator) -> Case:
    case = _copied(sample, sample.train)
    return replace(case, synthetic=case.synthetic.drop(columns=sample.columns[0]))


def extra_column(sample: Sample, rng: np.random.Generator) -> Case:
    """A leak in a column that is not in the schema."""
    case = fresh(sample, rng)
    told = sample.train[sample.columns].agg("|".join, axis=1).to_numpy()
    return replace(case, synthetic=case.synthetic.assign(note=np.resize(told, len(case.synthetic))))


def capitals(sample: Sample, rng: np.random.Generator) -> Case:
    """Other spellings of the same categories."""
    spelt = {c: sample.train[c].str.upper() + " " for c in sample.columns if c not in sample.numbers}
    return _copied(sample, sample.train.assign(**spelt))


def _copied(sample: Sample, rows: pd.DataFrame) -> Case:
    return Case.of(sample, rows)


def _with_kin(sample: Sample, rng: np.random.Generator) -> pd.DataFrame:
    kin = round(KIN * len(sample.control))
    own, theirs = sample.control.head(kin)[sample.columns].to_numpy(), sample.train.head(kin)[sample.columns].to_numpy()
    mixed = pd.DataFrame(np.where(rng.random(own.shape) < 0.5, own, theirs), columns=sample.columns, index=sample.control.index[:kin])
    return pd.concat([sample.control.head(kin).assign(**{c: mixed[c] for c in sample.columns}), sample.control.iloc[kin:]])


SABOTAGES: dict[str, Callable[[Sample, np.random.Generator], Case]] = {
    make.__name__: make
    for make in (
        *(blanked, half_blanked, odd_names, dates, mixed_types, constant_columns, few_rows, few_rows_fresh),
        *(half_in_control, all_in_control, copies_in_control, relatives, households),
        *(diluted, million, no_control, missing_column, extra_column, capitals),
    )
}
