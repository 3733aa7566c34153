"""Graphical models over discrete attributes: domain, factor, junction tree, belief, estimation, network, sampling.

An algebra of immutable values. It knows nothing of privacy, of schemas or of files.
"""

from dpsynth.graphical.domain import Clique, Domain
from dpsynth.graphical.estimation import Measurement, estimate
from dpsynth.graphical.factor import Factor
from dpsynth.graphical.graph import Graph
from dpsynth.graphical.junction_tree import JunctionTree
from dpsynth.graphical.model import GraphicalModel
from dpsynth.graphical.network import network
from dpsynth.graphical.sampling import draw, sample

__all__ = ["Clique", "Domain", "Factor", "Graph", "GraphicalModel", "JunctionTree", "Measurement", "draw", "estimate", "network", "sample"]
