"""Generators that train by noised gradients, for tables that marginals serve badly. They need the extra `deep`.

Each is imported when it is first asked for: torch takes seconds. What a fit leaves behind is drawn from without it where it can be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dpsynth.deep.diffusion import DPDiffusion
    from dpsynth.deep.gan import DPGAN
    from dpsynth.deep.vae import DPVAE

__all__ = ["DPGAN", "DPVAE", "DPDiffusion"]
_HOMES = {"DPGAN": "gan", "DPVAE": "vae", "DPDiffusion": "diffusion"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from dpsynth.synthesizers.registry import generator_named

    return generator_named(_HOMES[name])
