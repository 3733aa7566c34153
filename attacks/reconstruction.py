"""Whose secret follows from the counts of the synthetic table, when all other columns are known of everybody?

Each column in turn is the secret: which half of a number, which of a few categories. Each cell of one, two or three other columns gives
one linear equation: the secrets of the people in the cell add up to what the shares of the synthetic rows in it say. People's secrets are
the solution of all equations at once, members and controls alike, since the attacker does not know which is which. Counts of the
training table pull a member's secret towards the truth; a control was in no count, so what is right about controls is what the columns
tell of anybody. Members' right guesses beyond controls' are what leaked.

With s_i the secret of person i (0 or 1) and p its share among synthetic rows, a cell c of n_c people and m_c synthetic rows of which a
share r_c has the secret says sum_{i in c} (s_i - p) = n_c (r_c - p), up to a sampling error of variance p (1 - p)(n_c^2 / m_c + n_c). The
solution is the least squares one so weighted, with s_i - p drawn towards 0 as one of variance p (1 - p). The guess is the category that
rises most above its share, so that a rare one is guessed too.

Reference: Annamalai, Gadotti and Rocher (USENIX Security 2024, arXiv 2301.10053), who solve for the members alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse.linalg import lsqr

from attacks.evidence import Evidence
from attacks.membership import Coding
from attacks.scores import Scores, UnanswerableError

Codes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Columns = tuple[int, ...]

MOST_SETS = 160
MOST_WIDTH = 40
LARGEST_SET = 3
MOST_ANSWERS = 6
STEPS = 8


def reconstruction(evidence: Evidence, rng: np.random.Generator) -> Scores:
    """1 where a target's secret is reconstructed, else 0, for each column that can be one; shape (targets, secret columns).

    Raises `UnanswerableError` without two columns, without synthetic rows, or if no column of them has two answers.
    """
    if evidence.pool.width < 2 or not len(evidence.synthetic):
        raise UnanswerableError("underpowered", "one column, or no synthetic rows")
    coding = Coding.of(evidence.synthetic)
    people, synthetic = coding.encode(evidence.pool), coding.encode(evidence.synthetic)
    secrets = _secrets(synthetic, coding)
    if not secrets:
        raise UnanswerableError("underpowered", "no column of the synthetic table has two answers")
    equations = Equations.of(people, synthetic, coding.sizes, secrets, column_sets(people.shape[1], rng))
    right = np.column_stack([equations.guesses(i) == s.answer[people[:, s.column]] for i, s in enumerate(secrets)]).astype(np.float64)
    n = len(evidence.members)
    return Scores(right[:n], right[n:], columns=tuple(evidence.names[s.column] for s in secrets))


def column_sets(width: int, rng: np.random.Generator) -> tuple[Columns, ...]:
    """Which columns are counted together: each by itself, pairs, threes; at most 160, the pairs and threes random where there are more."""
    drawn = sorted(rng.permutation(width)[:MOST_WIDTH].tolist())
    sets: list[Columns] = []
    for size in range(1, LARGEST_SET + 1):
        more = list(combinations(drawn, size))
        sets += [more[i] for i in rng.permutation(len(more))[: MOST_SETS - len(sets)]]
    return tuple(sets)


@dataclass(frozen=True)
class Secret:
    """What is asked of a person: the half of a number, one of the frequent categories or another, or that the cell is missing.

    Attributes:
        column: the position of the column.
        answer: the answer for each code of the column.
        share: of each answer among the synthetic rows.
    """

    column: int
    answer: Codes
    share: Floats


@dataclass(frozen=True)
class Equations:
    """One equation a cell of a set of columns, of cells with people in them; cells are numbered through all sets.

    Attributes:
        sets: the sets of columns.
        cells: the cell of each person by each set, shape (people, sets).
        people: how many people are in each cell.
        rows: how many synthetic rows are.
        told: for each secret how many of those rows have each answer, shape (cells, answers).
        secrets: the secrets.
    """

    sets: tuple[Columns, ...]
    cells: Codes
    people: Floats
    rows: Floats
    told: tuple[Floats, ...]
    secrets: tuple[Secret, ...]

    @classmethod
    def of(cls, people: Codes, synthetic: Codes, sizes: tuple[int, ...], secrets: tuple[Secret, ...], sets: tuple[Columns, ...]) -> Equations:
        """Count; codes have the shape (n, columns)."""
        answers = [s.answer[synthetic[:, s.column]] for s in secrets]
        cells, sizes_of, rows, told, start = [], [], [], [], 0
        for columns in sets:
            many = math.prod(sizes[j] for j in columns)
            own, other = _cells(people, columns, sizes), _cells(synthetic, columns, sizes)
            inside = np.bincount(own, minlength=many)
            used = inside > 0
            cells.append((np.cumsum(used) - 1)[own] + start)
            sizes_of.append(inside[used])
            rows.append(np.bincount(other, minlength=many)[used])
            told.append([_counts(other, a, many, len(s.share))[used] for a, s in zip(answers, secrets, strict=True)])
            start += int(used.sum())
        by_secret = tuple(np.concatenate(part) for part in zip(*told, strict=True))
        return cls(sets, np.column_stack(cells), _float(sizes_of), _float(rows), by_secret, secrets)

    def guesses(self, which: int) -> Codes:
        """The answer that rises most above its share, for each person."""
        rises = self.rises(which)
        return np.asarray(rises.argmax(axis=1))

    def rises(self, which: int) -> Floats:
        """s - p of each answer to a secret, shape (people, answers); answers that no synthetic row gives do not rise.

        They add up to 0 over the answers, so the last is not solved for.
        """
        secret = self.secrets[which]
        usable = [i for i, columns in enumerate(self.sets) if secret.column not in columns]
        weight = np.sqrt(self.rows / (self.people * (self.people + self.rows)))
        cells = self.cells[:, usable]
        matrix = sparse.csr_array(
            (weight[cells].ravel(), cells.ravel(), np.arange(0, cells.size + 1, len(usable))), shape=(len(cells), len(weight))
        ).T
        share = self.told[which] / np.maximum(self.rows, 1)[:, None]
        wanted = (weight * self.people)[:, None] * (share - secret.share)
        given = np.flatnonzero(secret.share > 0)
        rises = np.full((len(cells), len(secret.share)), -np.inf)
        for answer in given[:-1]:
            rises[:, answer] = lsqr(matrix, wanted[:, answer], damp=1.0, iter_lim=STEPS)[0]
        rises[:, given[-1]] = -rises[:, given[:-1]].sum(axis=1)
        return rises


def _secrets(synthetic: Codes, coding: Coding) -> tuple[Secret, ...]:
    found = []
    for column, size in enumerate(coding.sizes):
        counts = np.bincount(synthetic[:, column], minlength=size)
        answer = _half(counts) if column < len(coding.edges) else _frequent(counts)
        share = np.bincount(answer, weights=counts) / len(synthetic)
        if np.count_nonzero(share) > 1:
            found.append(Secret(column, answer, share))
    return tuple(found)


def _half(counts: Codes) -> Codes:
    """0 for missing, 1 for the lower bins, 2 for the upper, cut where the rows are halved best."""
    below = np.cumsum(counts[1:])
    cut = int(np.argmin(np.abs(below - below[-1] / 2)))
    return np.concatenate([[0], np.where(np.arange(len(below)) <= cut, 1, 2)])


def _frequent(counts: Codes) -> Codes:
    """0 for missing, one answer for each of the most frequent categories, one for all others."""
    answer = np.full(len(counts), MOST_ANSWERS - 1)
    first = np.argsort(-counts[1:], kind="stable")[: MOST_ANSWERS - 2] + 1
    answer[first] = np.arange(1, len(first) + 1)
    answer[0] = 0
    return answer


def _cells(codes: Codes, columns: Columns, sizes: tuple[int, ...]) -> Codes:
    return np.asarray(np.ravel_multi_index([codes[:, j] for j in columns], [sizes[j] for j in columns]))


def _counts(cells: Codes, answers: Codes, many: int, size: int) -> Codes:
    return np.bincount(cells * size + answers, minlength=many * size).reshape(many, size)


def _float(parts: list[Codes]) -> Floats:
    return np.concatenate(parts).astype(np.float64)
