"""From the command line's text to values; what is no value is returned as it is, for the check that names all faults."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from dpsynth.errors import BadInput, Fault, refuse


def number(text: str | None) -> float | str | None:
    """A float, or the text itself if it is none."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return text


def whole(text: str | None) -> int | str | None:
    """An int, or the text itself if it is none."""
    try:
        return None if text is None else int(text)
    except ValueError:
        return text


def options(texts: Sequence[str] | None) -> dict[str, object]:
    """NAME=VALUE each, the value read as JSON or else taken as text. Raises `BadInput`."""
    pairs = [text.partition("=") for text in texts or ()]
    refuse(Fault(f"--option {name}", "without a value, or given twice", "write for example --option workload=income") for name in _odd(pairs))
    return {name: _value(text) for name, _, text in pairs}


def _odd(pairs: Sequence[tuple[str, str, str]]) -> list[str]:
    counted = Counter(name for name, _, _ in pairs)
    return [name for name, equals, text in pairs if not (name and equals and text) or counted[name] > 1]


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def new_folder(text: str | None) -> Path | None:
    """A path where a folder can be made, its parents too; None for none. Raises `BadInput`."""
    if text is None:
        return None
    target = Path(text)
    try:
        os.lstat(target)
    except (FileNotFoundError, NotADirectoryError):
        nearest = next(p for p in target.absolute().parents if p.exists())
    except (OSError, ValueError):
        raise BadInput(Fault("--out", "not the name of a folder", "give a new folder")) from None
    else:
        raise BadInput(Fault(text, "exists already", "give a new folder"))
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise BadInput(Fault(text, "cannot be made there", "give a new folder in one that you may write to"))
    return target


def new_file(text: str) -> Path:
    """A path where nothing stands yet, in a folder that exists. Raises `BadInput`."""
    target = Path(text)
    if target.exists():
        raise BadInput(Fault(text, "exists already", "give another name"))
    if not target.absolute().parent.is_dir():
        raise BadInput(Fault(text, "its folder does not exist", "make the folder first"))
    return target
