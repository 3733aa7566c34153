"""The face: `dpsynth COMMAND`. Results on standard output, progress and errors on standard error, exit codes of the contract."""

from __future__ import annotations

import json
import re
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module

from dpsynth.cli.parser import parse
from dpsynth.cli.reply import Reply
from dpsynth.errors import BadInput, DpsynthError

FAULT_OF_OURS = 1
INTERRUPTED = 130
PASSWORD = re.compile(r"(\b\w[\w+.-]*:/{1,2}[^\s:/@]*:)\S*(?=@)|(password\s*=\s*)[^\s&]+", re.IGNORECASE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in words
    try:
        chosen = parse(words)
        module, function = chosen.run.split(":")
        reply: Reply = getattr(import_module(f"dpsynth.cli.{module}"), function)(chosen)
    except DpsynthError as error:
        return _failed(error, as_json)
    except KeyboardInterrupt:
        return _ended(INTERRUPTED, "interrupted; what was charged stays charged; go on with --resume", as_json)
    except Exception as error:
        return _ended(FAULT_OF_OURS, _ours(error), as_json)
    if as_json:
        print(json.dumps(reply.document | {"exit": reply.exit_code}))
    else:
        print("\n".join(reply.lines))
    return reply.exit_code


def _failed(error: DpsynthError, as_json: bool) -> int:
    if isinstance(error, BadInput) and as_json:
        faults = [{name: _plain(words) for name, words in vars(f).items()} for f in error.faults]
        print(json.dumps({"error": _plain(str(error)), "faults": faults, "exit": error.exit_code}))
        return error.exit_code
    return _ended(error.exit_code, str(error), as_json)


def _ended(code: int, words: str, as_json: bool) -> int:
    if as_json:
        print(json.dumps({"error": _plain(words), "exit": code}))
    else:
        print("\n".join(f"dpsynth: {line}" for line in _plain(words).splitlines()), file=sys.stderr)
    return code


def _plain(words: str) -> str:
    """Without passwords: an error repeats what was typed, and that may be an address in the wrong place or misspelt."""
    return PASSWORD.sub(r"\1\2...", words)


def _ours(error: Exception) -> str:
    """Where it broke, without the message: that may hold a value."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    if isinstance(error, OSError) and error.strerror:
        return f"stopped by the machine ({error.strerror}); what was charged stays charged; mend it and go on with --resume"
    return f"a fault of ours: {type(error).__name__} at {frame.filename}:{frame.lineno}; nothing was released; please report this line"
