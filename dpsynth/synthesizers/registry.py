"""Generators by name. Those that train are in a room above this one and need an extra, so they are found by name and only when asked for."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from dpsynth.errors import BadInput, Fault
from dpsynth.synthesizers.aim import AIM
from dpsynth.synthesizers.generator import Generator
from dpsynth.synthesizers.independent import Independent
from dpsynth.synthesizers.mst import MST
from dpsynth.synthesizers.mwem import MWEM
from dpsynth.synthesizers.privbayes import PrivBayes

GENERATORS: dict[str, type[Generator]] = {g.name: g for g in (Independent, MST, AIM, PrivBayes, MWEM)}
DEEP = {"gan": "dpsynth.deep.gan:DPGAN", "vae": "dpsynth.deep.vae:DPVAE", "diffusion": "dpsynth.deep.diffusion:DPDiffusion"}
NEEDED = ("torch", "opacus", "dp_accounting")


def generator_named(name: str) -> type[Generator]:
    """The generator class. Raises `BadInput` for an unknown one, or one whose extra is missing."""
    if name in GENERATORS:
        return GENERATORS[name]
    if name not in DEEP:
        raise BadInput(Fault("generator", f"{name!r} is unknown", f"write one of {', '.join([*GENERATORS, *DEEP])}"))
    missing = [m for m in NEEDED if find_spec(m) is None]
    if missing:
        raise BadInput(Fault("generator", f"{name!r} needs the extra deep ({', '.join(missing)} not installed)", 'pip install "dpsynth[deep]"'))
    module, _, kind = DEEP[name].partition(":")
    found: type[Generator] = getattr(import_module(module), kind)
    return found
