"""The loops that numpy cannot do without large temporaries: sweeps over a clique's cells, elimination, and dealing values to rows.

A *sweep* visits the cells of one clique in blocks. In each block it multiplies what the clique's factors hold there and adds the
product to each of its outputs, so that a clique costs one pass over small tables and no memory, however many cells it has.

Plain loops, scratch arrays given by the caller: in a kernel an array expression, a slice or an allocation takes numba longer to
compile than all the loops around it. Places are unsigned, for a signed one may count from the end, and asking whether it does
keeps a loop from being vectorised.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numba.extending import intrinsic

CONSTANT, CONTIGUOUS, GATHERED = 0, 1, 2
FAST = {"reassoc", "contract", "nsz", "arcp"}
ONE = np.uint64(1)


@numba.njit(inline="always")
def _sweep(store: Any, bases: Any, maps: Any, tables: Any, steps: Any, s: int, row: Any) -> float:
    """Multiply a clique's inputs over its cells and add the product to its outputs; returns its sum. Arguments as in `calibrate`;
    `s` is the sweep."""
    outer, inner, first, middle, last = steps[s, 0], steps[s, 1], steps[s, 2], steps[s, 3], steps[s, 4]
    mass = 0.0
    for o in range(outer):
        scale, total = 1.0, 0.0
        for k in range(inner):
            row[k] = 1.0
        for f in range(first, middle):
            at, place, run = tables[f, 0] + bases[tables[f, 1] + o], tables[f, 2], tables[f, 3]
            if run == CONSTANT:
                scale *= store[at]
            elif run == CONTIGUOUS:
                for k in range(inner):
                    row[k] *= store[at + k]
            else:
                for k in range(inner):
                    row[k] *= store[at + maps[place + k]]
        if scale == 0.0:
            continue
        for k in range(inner):
            row[k] *= scale
            total += row[k]
        mass += total
        for g in range(middle, last):
            at, place, run = tables[g, 0] + bases[tables[g, 1] + o], tables[g, 2], tables[g, 3]
            if run == CONSTANT:
                store[at] += total
            elif run == CONTIGUOUS:
                for k in range(inner):
                    store[at + k] += row[k]
            else:
                for k in range(inner):
                    store[at + maps[place + k]] += row[k]
    return mass


@numba.njit(cache=True, fastmath=FAST, error_model="numpy")
def calibrate(store: Any, bases: Any, maps: Any, tables: Any, steps: Any, links: Any, row: Any) -> bool:
    """Two passes of messages over a tree, sweep by sweep: first from the leaves to the roots, then back. False where the product
    vanished or overflowed: the caller then works in log space.

    Args:
        store: all tables, flat; those of the outputs are 0 at first, and written.
        bases, maps: where a table's cell for an outer (inner) position lies, for all tables, flat.
        tables: one row a table: its place in `store`, in `bases`, in `maps`, how it runs along a block, its cells.
        steps: one row a sweep: the clique's cells as blocks times cells of a block; the first input, the first output and the end
            in `tables`; the link it sends up, the link it hears from above, or a number that is no link's.
        links: one row an edge: place of the upward message, of the parent's sum over the separator, of the downward message; cells.
        row: scratch, as long as the longest block.
    """
    for s in range(len(steps)):
        middle, last, sends, hears = steps[s, 3], steps[s, 4], steps[s, 5], steps[s, 6]
        if hears < len(links):  # the downward message: the parent's sum over the separator without what the child sent up; at most 1
            up, summed, down, cells = links[hears, 0], links[hears, 1], links[hears, 2], links[hears, 3]
            top = 1e-300
            for k in range(cells):
                value = store[summed + k] / store[up + k] if store[up + k] > 0.0 else 0.0
                store[down + k] = value
                if value > top:
                    top = value
            for k in range(cells):
                store[down + k] /= top
        mass = _sweep(store, bases, maps, tables, steps, s, row)
        if not (mass > 1e-250 and mass < 1e250):
            return False
        for g in range(middle, last):
            start, cells, top = tables[g, 0], tables[g, 4], mass
            if sends < len(links):  # a message is at most 1, while a marginal sums to 1
                top = 0.0
                for k in range(cells):
                    if store[start + k] > top:
                        top = store[start + k]
            for k in range(cells):
                store[start + k] /= top
    return True


def _ones(typing: Any, word: Any) -> Any:
    """How many bits of a word are set: one instruction of the processor, a dozen where it is written out."""
    return word(word), lambda context, builder, signature, words: builder.ctpop(words[0])


ones: Any = intrinsic(_ones)


@numba.njit(cache=True, error_model="numpy")
def eliminate(sizes: Any, near: Any, cliques: Any, costs: Any, first: int) -> tuple[int, float]:
    """Eliminate attributes one at a time, each joined to its neighbours. Returns how many maximal cliques that leaves, and the
    cells over all of them.

    Args:
        sizes: values of each attribute, as floating-point numbers.
        near: a row of bits an attribute, 64 to a word: who shares a clique with it, and its own as long as it is there; used up.
        cliques: gets one row of bits a clique.
        costs: what an attribute's elimination costs, shape (2, attributes): twice the edges added, and cells; negative where unknown.
        first: the row of `costs` that decides which attribute is next; the other one decides between equals.
    """
    words, second = near.shape[1], 1 - first
    found, total = 0, 0.0
    for _ in range(len(sizes)):
        chosen, least, then = -1, math.inf, math.inf
        for i in range(len(sizes)):
            if not (near[i, i >> 6] >> np.uint64(i & 63)) & ONE:
                continue
            if costs[0, i] < 0.0:
                apart, cells = np.uint64(0), 1.0
                for w in range(words):
                    left = near[i, w]
                    while left:
                        j = (w << 6) + int(ones(~left & (left - ONE)))
                        left &= left - ONE
                        cells *= sizes[j]
                        for v in range(words):
                            apart += ones(near[i, v] & ~near[j, v])
                costs[0, i], costs[1, i] = apart, cells
            cost, other = costs[first, i], costs[second, i]
            if chosen < 0 or cost < least or (cost == least and other < then):
                chosen, least, then = i, cost, other
        inside = False
        for f in range(found):
            inside = True
            for w in range(words):
                if near[chosen, w] & ~cliques[f, w]:
                    inside = False
                    break
            if inside:
                break
        if not inside:
            for w in range(words):
                cliques[found, w] = near[chosen, w]
            found += 1
            total += costs[1, chosen]
        fills, home, own = costs[0, chosen] > 0.0, chosen >> 6, ONE << np.uint64(chosen & 63)
        near[chosen, home] &= ~own
        for w in range(words):
            left = near[chosen, w]
            while left:
                j = (w << 6) + int(ones(~left & (left - ONE)))
                left &= left - ONE
                near[j, home] &= ~own
                costs[0, j] = -1.0
                for v in range(words):
                    near[j, v] |= near[chosen, v]
        if fills:  # else the neighbours are joined already, and nothing changes beyond them
            for i in range(len(sizes)):
                for w in range(words):
                    if near[i, w] & near[chosen, w]:
                        costs[0, i] = -1.0
    return found, total


@numba.njit(cache=True, nogil=True, error_model="numpy")
def rounded(counts: Any, shares: Any, sizes: Any, wanted: Any, order: Any, rng: Any) -> None:
    """Write whole `counts` (groups, values) in proportion to `shares` that sum to `sizes`: the whole part of what is wanted, then
    the rest by systematic sampling on the fractions, over the values in random order. Equal shares where a group has no mass.

    Args:
        wanted: scratch, as long as there are values.
        order: the values, in any order; stays shuffled.
    """
    values = len(order)
    for g in range(len(sizes)):
        mass, left = 0.0, sizes[g]
        for v in range(values):
            mass += shares[g, v]
        for v in range(values):
            wanted[v] = sizes[g] * shares[g, v] / mass if mass > 0.0 else sizes[g] / values
            counts[g, v] = int(wanted[v])
            left -= counts[g, v]
        if left == 0:
            continue
        ladder, reached, last = rng.random(), 0, 0
        for i in range(values):
            j = i + int(rng.random() * (values - i))
            v = order[j]
            order[j], order[i] = order[i], v
            fraction = wanted[v] - counts[g, v]
            if fraction > 0.0:
                ladder += fraction
                rung = int(ladder)
                if rung > left:
                    rung = left
                counts[g, v] += rung - reached
                reached, last = rung, v
        counts[g, last] += left - reached  # nothing but an error of floating point


@numba.njit(cache=True, nogil=True, error_model="numpy")
def dealt(column: Any, groups: Any, held: Any, starts: Any, left: Any, rng: Any) -> None:
    """Write `column`: each row in turn takes one of the values left to its group, all equally likely.

    Args:
        held: the values of all groups, one group after the other; used up.
        starts, left: where each group's values start, and how many they are; used up.
    """
    for r in range(len(column)):
        g = groups[r]
        start, many = starts[g], left[g]
        chosen = start + int(rng.random() * many)
        column[r] = held[chosen]
        held[chosen] = held[start + many - 1]
        left[g] = many - 1


@numba.njit(cache=True, nogil=True, error_model="numpy")
def balanced(
    column: Any, groups: Any, held: Any, starts: Any, left: Any, beside: Any, wanted: Any, spread: Any, lacking: Any, order: Any, rng: Any
) -> None:
    """Write `column`: each row, in the order given, looks at four of the values left to its group, all equally likely, and takes
    the one whose pairs with the row's other values lack the most of what is due by now, in standard deviations of chance.

    Args:
        held, starts, left: as in `dealt`.
        beside: for each value that the row has in other columns, where it starts in `wanted`, shape (rows, columns).
        wanted: how often that value should meet each value of this column, flat.
        spread, lacking: the square root of `wanted`, and a copy; the copy is used up.
    """
    for i in range(len(order)):
        r, to_come = order[i], 1.0 - i / len(order)
        g = groups[r]
        chosen, most = starts[g], -math.inf
        for _ in range(4):
            at = starts[g] + int(rng.random() * left[g])
            lack = 0.0
            for k in range(beside.shape[1]):
                cell = beside[r, k] + held[at]
                lack += (lacking[cell] - to_come * wanted[cell]) / spread[cell]
            if lack > most:
                chosen, most = at, lack
        column[r] = held[chosen]
        for k in range(beside.shape[1]):
            lacking[beside[r, k] + held[chosen]] -= 1.0
        left[g] -= 1
        held[chosen] = held[starts[g] + left[g]]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def drawn(column: Any, groups: Any, ladders: Any, rng: Any) -> None:
    """Write `column`: for each row a value of its group, `ladders` (groups, values) being the cumulative shares."""
    last = ladders.shape[1] - 1
    for r in range(len(column)):
        g, low, high = groups[r], 0, last
        reached = rng.random() * ladders[g, last]
        while low < high:
            middle = (low + high) // 2
            if ladders[g, middle] > reached:
                high = middle
            else:
                low = middle + 1
        column[r] = low
