"""MST: every column, then a tree of two-way marginals chosen for what independence misses.

Statement. A fit is (epsilon, delta)-DP: a share of the grant measures every column, a share chooses up to d - 1 pairs by the
exponential mechanism, the rest measures them, all through `PrivateTable`. Sensitivity: `bench.py` and `privacy/table.py`;
the references of the scores are made from the one-way answers alone.

Reference: McKenna, Miklau, Sheldon 2021 (arXiv 2108.04978), Algorithms 1-3. New here: the score of a pair is lowered by the
noise its table would get, pairs may be of coarse views (`views.py`), and the tree ends where nothing is worth its noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar

from dpsynth.graphical import Clique, Graph
from dpsynth.privacy import Attribute, PrivateTable
from dpsynth.synthesizers.bench import Bench
from dpsynth.synthesizers.generator import Fitted, Generator
from dpsynth.synthesizers.zeros import MOST_CELLS

MEASURING = 0.8
MOST_SHARES = 3


@dataclass(frozen=True)
class MST(Generator):
    """Maximum spanning tree of two-way marginals."""

    name: ClassVar[str] = "mst"

    def _measure(self, table: PrivateTable, attributes: tuple[Attribute, ...]) -> Fitted:
        bench = Bench.begin(table, attributes)
        if not bench.affords_structure:
            return bench.finish()
        share = bench.left / (len(attributes) - 1)
        measuring = MEASURING * share
        tree = _choose_tree(bench, (1 - MEASURING) * share, measuring)
        for i, pair in enumerate(tree):
            bench.measure(pair, min(bench.left / (len(tree) - i), MOST_SHARES * measuring))
        return bench.finish()


def _choose_tree(bench: Bench, choosing: float, measuring: float) -> list[Clique]:
    """Up to d - 1 pairs, one at a time among those that join two components (Algorithm 3: Kruskal by the exponential mechanism).

    With what the schema's rules tie already a tree may close a circle; such a pair is open only as long as the model stays small.
    """
    columns = bench.views.columns
    alone = {c: i for i, c in enumerate(columns)}
    component, tied = alone, _joined(alone, *(f.domain.names for f in bench.views.zeros))
    pairs = bench.views.candidates(dict.fromkeys(combinations(columns, 2), 1))
    ends = {pair: [bench.views.column(v) for v in pair] for pair in pairs}
    graph = Graph.of(bench.views.domain, [f.domain.names for f in bench.views.links])
    tree: list[Clique] = []
    for _ in range(len(columns) - 1):
        apart = {pair: w for pair, w in pairs.items() if len({component[c] for c in ends[pair]}) == 2}
        open_pairs = {pair: w for pair, w in apart.items() if len({tied[c] for c in ends[pair]}) == 2 or graph.plus(pair).cells <= MOST_CELLS}
        chosen = bench.choose(open_pairs, choosing, measuring) if open_pairs else None
        if chosen is None:
            break
        tree.append(chosen)
        graph = graph.plus(chosen)
        component, tied = _joined(component, ends[chosen]), _joined(tied, ends[chosen])
    return tree


def _joined(component: dict[str, int], *pairs: Sequence[str]) -> dict[str, int]:
    """Components by column, with each pair's two as one."""
    for one, other in pairs:
        kept, gone = component[one], component[other]
        component = {c: kept if i == gone else i for c, i in component.items()}
    return component
