"""A generator's options, as an order of a release gives them and as its record keeps them (JSON)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dpsynth.errors import Fault
from dpsynth.synthesizers import workload
from dpsynth.synthesizers.generator import Generator
from dpsynth.synthesizers.registry import generator_named

Options = Mapping[str, Any]


def option_faults(name: str, options: Options) -> Iterator[Fault]:
    """Options that this generator does not take. Raises `BadInput` for an unknown generator."""
    taken = generator_named(name).options
    for option in options:
        if option not in taken:
            yield Fault(f"option {option!r}", f"is none of {name}", f"write one of {', '.join(taken)}" if taken else "leave it out: there are none")


def generator_with(name: str, epsilon: float, delta: float, options: Options) -> Generator:
    """The generator at a budget, with options as given or as recorded."""
    return generator_named(name)(epsilon, delta, **{o: workload.read(v) if o == "workload" else v for o, v in options.items()})


def recorded(options: Options) -> dict[str, Any]:
    """Options in JSON's terms, which has no tuples for keys."""
    return {o: workload.written(v) if o == "workload" else v for o, v in options.items()}
