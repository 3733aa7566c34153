"""What a release takes: seconds of CPU on one core, and memory. Counted from what the code does, times a few constants.

The constants were measured by `benchmarks/plan.py` on a machine of 2026 whose two cores were shared; by the clock a busy or slower
machine takes longer, and several cores less. How far times are from the predicted ones, where two are given from the nearer one, on the tables
that constants were fitted to and on those that were held out: docs/benchmarks.md.

How many marginals a fit buys depends on what columns have to do with each other, which no schema tells. So there are two times: the
usual one, of tables like those of `benchmarks/plan.py`, and the least, of columns that have nothing to do with each other and are spread
evenly: every choice is then of nothing, and no column has a coarse view. Memory does not depend on it.
"""

from __future__ import annotations

import math
from statistics import geometric_mean

import numpy as np

from attacks.evidence import MAX_POOL
from attacks.suite import DISTANCE_WORK, LEAST_POOL
from dpsynth.deep.planning import ROWS_A_STEP, SIGNAL, steps_for
from dpsynth.encoding.binning import LEVELS as LEVELS_OF_CUTS
from dpsynth.graphical.sampling import BALANCED
from dpsynth.privacy.tally import CACHE_BYTES
from dpsynth.releasing.outline import Outline
from dpsynth.synthesizers.aim import ANNEALING, ROUNDS_A_COLUMN
from dpsynth.synthesizers.bench import FRESH_FOR, MEAN_NOISE
from dpsynth.synthesizers.network import USEFUL
from dpsynth.synthesizers.privbayes import MEASURING
from dpsynth.synthesizers.views import MOST_CELLS

# Seconds that any fit takes, and any release beside its fit: imports, compiled code from its cache, attacks' models, reports.
FIT_START, RELEASE_START = 0.5, 8.0
# Seconds for a cell: to be read from a file and split; to become a code; to say whose row it is in, where the unit is not the row; to be made.
READ, ENCODE, IDENTIFY, DECODE = 1.5e-6, 4e-7, 8e-7, 1e-7
# Seconds to balance one row of one pair of columns in a sample: without structure, with it; and for each cell of the pair.
BALANCE_ALONE, BALANCE, BALANCE_CELL = 2e-8, 8e-8, 2e-8
# Seconds for a noised cell (OpenDP's exact sampler); to count a row in a pair.
NOISE, COUNT = 7e-6, 1.1e-8
# How many pairs of views a pair of columns is offered as: 3.0 on adult, 3.8 on bank_marketing.
LEVELS = 3.3
# Seconds to score a candidate in a round: its distance, and the model's counts of it made anew every third time.
SCORE, PROJECT = 2.5e-5, 3e-5
# Seconds for a cell of a pair that is offered: to be counted and to get its reference; to be scored once.
MAKE_CELL, SCORE_CELL = 1.2e-8, 2e-9
# Seconds a column to see how large a model with one clique more would be: 37 microseconds for 17 columns, about 100 for 44.
ELIMINATE = 2.2e-6
# Cells of a usual family of PrivBayes, of coarse views: where noise lets less than that be useful, few are candidates. Views of a column;
# seconds to refit a network for one column more, for each column and for each cell that is useful in a family.
FAMILY, VIEWS, REFIT_NETWORK, REFIT_CELL = 60, 1.8, 6e-4, 6e-5
# Of the rounds that MST could have, those candidates left open: pairs within a component drop out.
OPEN = 0.7
# AIM buys about strength^.15 marginals a column (25 of 15 columns at strength 270, 54 at 1,600, 174 of 50 columns at 3,000), and four rounds only
# raise the stakes. By then its model is of one part, so that a pair is as far apart as there are columns between: seconds for each of these.
BOUGHT_BY_STRENGTH, RAISES, ACROSS = 0.15, 4, 3e-6
# Seconds of AIM to refit once, for a strength of 1 and columns of one code: its cliques have about three columns, and more of them are bought by a
# greater strength. At most so long, the model being full.
REFIT, REFIT_BY_STRENGTH, LONGEST_REFIT = 7.6e-7, 0.5, 0.125
# Of generators that train: seconds to import torch and to solve for a plan; of a step, and of a step for each column.
TRAIN_START = 3.0
STEP, STEP_COLUMN = {"gan": 0.07, "vae": 0.03, "diffusion": 0.03}, {"gan": 5e-4, "vae": 4e-4, "diffusion": 1.4e-3}
# Seconds for a target and a row of the synthetic table to be compared, planted leaks included; for the other attacks, a cell.
COMPARE, ATTACK = 4e-8, 5e-6
# MB of any fit, and bytes a cell of the table: what is read, split, coded; MB of training. MB of any release, and bytes a row and a cell with
# what attacks hold.
FIT_BASE, FIT_CELL = 268, 60
TRAIN_BASE = {"gan": 600, "vae": 400, "diffusion": 300}
RELEASE_BASE, RELEASE_ROW, RELEASE_CELL = 468, 2150, 110


def fit_seconds(outline: Outline) -> float:
    """To fit and to sample, where there is as much structure to buy as tables usually have."""
    return _fit_seconds(outline, True)


def least_fit_seconds(outline: Outline) -> float:
    """The same of a table that has no structure."""
    return min(_fit_seconds(outline, False), fit_seconds(outline))


def release_seconds(outline: Outline) -> float:
    """From the order to the verdict and the reports."""
    return _gate_seconds(outline) + fit_seconds(outline)


def least_release_seconds(outline: Outline) -> float:
    """The same of a table that has no structure."""
    return _gate_seconds(outline) + least_fit_seconds(outline)


def fit_megabytes(outline: Outline) -> float:
    return FIT_BASE + _train_megabytes(outline) + (FIT_CELL * _held(outline) + _offered_bytes(outline)) / 1e6


def release_megabytes(outline: Outline) -> float:
    held = RELEASE_ROW * outline.read + RELEASE_CELL * _held(outline) + _offered_bytes(outline)
    return RELEASE_BASE + _train_megabytes(outline) + held / 1e6


def _fit_seconds(outline: Outline, found: bool) -> float:
    structure = _structure_seconds(outline, found) if outline.buys_structure else 0.0
    return FIT_START + _rows_seconds(outline, found) + NOISE * sum(outline.sizes) + structure


def _gate_seconds(outline: Outline) -> float:
    """What a release takes beside its fit."""
    cells = outline.read * outline.columns
    pool = min(max(DISTANCE_WORK / cells, LEAST_POOL), MAX_POOL)
    targets = min(pool, outline.units * outline.train) + min(pool, outline.units * (1 - outline.train) / 2)  # one row of each unit
    return RELEASE_START + (READ + ATTACK) * cells + COMPARE * targets * outline.rows


def _offered_bytes(outline: Outline) -> float:
    """What is kept of the pairs that are offered: a reference for each cell, and its count while there is room."""
    if outline.trains or not outline.buys_structure:
        return 0.0
    a_cell = np.min_scalar_type(-round(outline.trained)).itemsize
    return outline.pair_cells * a_cell + min(outline.pair_cells * a_cell, CACHE_BYTES)


def _train_megabytes(outline: Outline) -> float:
    return TRAIN_BASE[outline.generator] if outline.trains and outline.buys_structure else 0


def _held(outline: Outline) -> float:
    return outline.read * len(outline.schema.columns)


def _rows_seconds(outline: Outline, found: bool) -> float:
    """Encoding, decoding, balancing: what grows with the rows alone."""
    d = outline.columns
    whose = 0.0 if outline.schema.unit.is_row else IDENTIFY * len(outline.schema.columns)
    row = BALANCE if found and outline.buys_structure else BALANCE_ALONE
    balanced = row * outline.rows * d**2 / 2 + BALANCE_CELL * outline.pair_cells if outline.rows <= BALANCED else 0.0
    codes = d + LEVELS_OF_CUTS * outline.cut
    return outline.read * outline.train * (ENCODE * codes + whose) + outline.rows * DECODE * d + balanced


def _structure_seconds(outline: Outline, found: bool) -> float:
    if outline.trains:
        return TRAIN_START + _steps(outline) * (STEP[outline.generator] + STEP_COLUMN[outline.generator] * outline.columns)
    d, offered = outline.columns, outline.pairs * (LEVELS if found else 1)
    counting = COUNT * outline.read * outline.train
    made = offered * (counting + PROJECT) + MAKE_CELL * outline.pair_cells
    scored = offered * SCORE + SCORE_CELL * outline.pair_cells
    sized = scored + offered * ELIMINATE * d
    renewed = MAKE_CELL / FRESH_FOR * outline.pair_cells if found else 0.0
    apart = offered * PROJECT if found else 0.0
    if outline.generator == "mst":
        return made + scored * (max(OPEN * (d - 1), 1) if found else 1)
    if outline.generator == "mwem":
        return made + (sized + renewed + apart) * d
    if outline.generator == "aim":
        return made + _aims_seconds(outline, sized + renewed + (offered * ACROSS * d if found else 0.0), found)
    # Edges of all steps: those of a step are up to d^2 / 4 where columns have places; of families, two choices among d / 2 further parents.
    edges, grown = (LEVELS * d**3 / 6, VIEWS * d**2) if found else (d**3 / 2, 0.0)
    scoring = edges * scored / offered + grown * (counting + (sized + renewed + apart) / offered)
    useful = min(_useful_cells(outline) / FAMILY, 1.0)
    return made + useful * scoring + (REFIT_NETWORK * d**2 + REFIT_CELL * d * _useful_cells(outline) if found else 0.0)


def _aims_seconds(outline: Outline, a_round: float, found: bool) -> float:
    """All rounds of AIM, without the making of what is offered; where nothing is bought the stakes rise until half of the budget is one of them."""
    if not found:
        return a_round * math.log(ROUNDS_A_COLUMN * outline.columns / 2, ANNEALING)
    refit = REFIT * math.pow(outline.strength, REFIT_BY_STRENGTH) * geometric_mean(outline.sizes) ** 3
    return _aims_rounds(outline) * (a_round + min(refit, LONGEST_REFIT))


def _steps(outline: Outline) -> int:
    """Of noise, as `deep/gan.py` and `deep/learning.py` plan them."""
    if outline.generator == "gan":
        return steps_for(outline.trained / ROWS_A_STEP)
    return steps_for(outline.trained * math.sqrt(outline.amount * (1 - outline.deserved)) / SIGNAL)


def _useful_cells(outline: Outline) -> float:
    """The most cells of a family of PrivBayes that rows outweigh the noise of."""
    sigma = outline.sigma((1 - outline.deserved) * MEASURING)
    return min(outline.trained / (USEFUL * MEAN_NOISE * sigma), MOST_CELLS)


def _aims_rounds(outline: Outline) -> float:
    bought = outline.columns * math.pow(outline.strength, BOUGHT_BY_STRENGTH)
    return min(bought + RAISES, ROUNDS_A_COLUMN * outline.columns)
