"""Generators: each a short reading of its paper, on top of kernel, encoding and graphical models."""

from dpsynth.synthesizers.generator import Generator
from dpsynth.synthesizers.independent import Independent
from dpsynth.synthesizers.model import Model
from dpsynth.synthesizers.mst import MST
from dpsynth.synthesizers.registry import generator_named

__all__ = ["MST", "Generator", "Independent", "Model", "generator_named"]
