"""Where networks are trained: on CUDA where it is, else on the processor. `DPSYNTH_DEVICE` (cpu, cuda) says otherwise.

A device is a fact about a machine, not about a release: no result depends on it but for rounding, so it is no option of a generator.
"""

from __future__ import annotations

import os

import torch

from dpsynth.errors import Fault

VARIABLE = "DPSYNTH_DEVICE"


def require_device() -> list[Fault]:
    """What is wrong with the device that was asked for."""
    asked = os.environ.get(VARIABLE, "")
    if asked not in ("", "cpu", "cuda"):
        return [Fault(VARIABLE, "names no device", "write cpu or cuda, or leave it out")]
    if asked == "cuda" and not torch.cuda.is_available():
        return [Fault(VARIABLE, "asks for cuda, and this machine or this torch has none", "write cpu, or install a torch with CUDA")]
    return []


def device_of_choice() -> torch.device:
    """The one asked for, else CUDA where it is."""
    return torch.device(os.environ.get(VARIABLE) or ("cuda" if torch.cuda.is_available() else "cpu"))
