"""The command line's words. Values stay text here: the commands check them, all faults at once."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from dpsynth import __version__
from dpsynth.cli.words import number
from dpsynth.errors import BadInput, Fault

LEDGER = "a file's path, or a team's database: postgresql://USER@HOST/DATABASE"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise BadInput(Fault(self.prog, message, f"see `{self.prog} --help`"))


def parse(words: Sequence[str]) -> argparse.Namespace:
    """The command with its options; `run` names the function that does it. Raises `BadInput` on bad usage."""
    return _parser().parse_args(_joined(words))


def _joined(words: Sequence[str]) -> list[str]:
    """`--delta -1e-9` as `--delta=-1e-9`: a negative number is a value to refuse in words, not an unknown option."""
    joined: list[str] = []
    for word in words:
        if joined and joined[-1].startswith("--") and "=" not in joined[-1] and isinstance(number(word), float) and word.startswith("-"):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="dpsynth", description="Differentially private synthetic tables: a durable budget, a gate, a certificate.")
    parser.add_argument("--version", action="version", version=f"dpsynth {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _releasing(commands)
    _budget(commands)
    _auditing(commands)
    _keys(commands)
    doctor = _command(commands, "doctor", "keeping:doctor", "what is installed and works")
    doctor.set_defaults(run="keeping:doctor")
    return parser


def _command(commands: Any, name: str, run: str, words: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=words, description=words)
    command.add_argument("--json", action="store_true", help="one JSON object on standard output, nothing else there")
    command.set_defaults(run=run)
    return command


def _group(commands: Any, name: str, words: str) -> Any:
    return commands.add_parser(name, help=words, description=words).add_subparsers(metavar="ACTION", required=True)


def _releasing(commands: Any) -> None:
    demo = _command(commands, "demo", "releasing:demo", "the whole job on a real health survey: charge, fit, attack, gate, sign, verify")
    demo.add_argument("--out", help="folder to make (default ./dpsynth-demo, the next free name if taken)")
    init = _command(commands, "init", "keeping:init", "draft a schema from names, declared types and a dictionary; never from values")
    init.add_argument("table")
    unit = init.add_mutually_exclusive_group(required=True)
    unit.add_argument("--unit", help="the columns that name a person, separated by commas")
    unit.add_argument("--one-row-per-person", action="store_true")
    init.add_argument("--dictionary", help="CSV or XLSX (name,label,type,min,max,values,missing,unit) or SDV metadata")
    init.add_argument("--separator", default=",")
    init.add_argument("--out", default="schema.toml")
    check = _command(_group(commands, "schema", "look at a schema"), "check", "keeping:schema_check", "every open point, its line and its cost")
    check.add_argument("schema")
    plan = _command(commands, "plan", "releasing:plan", "what a release would be worth and cost; reads no rows")
    _schema_option(plan)
    plan.add_argument("--units", help="how many people the table is about (a guess does)")
    plan.add_argument("--epsilon", default="0.1,0.3,1,3,10", help="one or several, separated by commas")
    plan.add_argument("--delta", default="1e-9")
    plan.add_argument("--policy", default="partner-contract")
    plan.add_argument("--generator", default="mst")
    release = _command(commands, "release", "releasing:release", "charge, fit, sample, attack, gate, sign")
    release.add_argument("table", nargs="?")
    release.add_argument("--resume", metavar="DIR", help="go on with a killed or blocked run; no new charge")
    for option in ("schema", "ledger", "epsilon", "delta", "out", "rows", "key"):
        release.add_argument(f"--{option}")
    release.add_argument("--generator", default="mst")
    release.add_argument("--policy", default="partner-contract")
    release.add_argument("--purpose", default="")
    release.add_argument("--recipient", default="")
    release.add_argument("--gate-epsilon", help="publish how near people come to the synthetic rows, noised; charged beside --epsilon")
    release.add_argument("--option", action="append", metavar="NAME=VALUE", help="of the generator, for example workload=income; may be repeated")
    release.add_argument("--dry-run", action="store_true", help="check everything, spend nothing")
    sample = _command(commands, "sample", "releasing:sample", "more rows from a model, free")
    sample.add_argument("model")
    sample.add_argument("--rows", required=True)
    sample.add_argument("--seed")
    sample.add_argument("--out", required=True)


def _budget(commands: Any) -> None:
    ledger = _group(commands, "ledger", "all that may ever be spent through one on these people")
    create = _command(ledger, "create", "keeping:ledger_create", "make a ledger")
    create.add_argument("path", help=LEDGER)
    create.add_argument("--dataset", required=True, help="the population's name, as in the schema; tables that share people share it")
    create.add_argument("--epsilon", required=True)
    create.add_argument("--delta", required=True)
    create.add_argument("--currency", default="gdp", help="what it counts in for good: gdp (default), or zcdp as most papers do")
    another = "why, where these people may have a ledger already; kept in its history, and its certificates say that there may be two"
    create.add_argument("--another", metavar="REASON", help=another)
    _command(ledger, "show", "keeping:ledger_show", "what is spent and what is left").add_argument("path", help=LEDGER)
    verify = _command(ledger, "verify", "keeping:ledger_verify", "check the whole chain of events, and that none was cut off its end")
    verify.add_argument("path", help=LEDGER)
    words = "a bundle that was released from it, or its certificate.json: is the history still the one it was given on? May be repeated"
    verify.add_argument("--certificate", metavar="FILE", action="append", default=[], help=words)
    reopen = _command(ledger, "reopen", "keeping:ledger_reopen", "let releases go on after three blocked in a row")
    reopen.add_argument("path")
    reopen.add_argument("--reason", required=True)
    profile = _command(commands, "profile", "releasing:profile", "a charged look at missing, unparsable, out-of-bounds and unlisted cells")
    profile.add_argument("table")
    _schema_option(profile)
    profile.add_argument("--ledger", required=True)
    profile.add_argument("--epsilon", required=True)
    profile.add_argument("--delta", help="the ledger's if not given")


def _auditing(commands: Any) -> None:
    split = _command(commands, "split", "auditing:split", "a secret per-unit split with a signed manifest; the vendor gets train only")
    split.add_argument("table")
    _schema_option(split)
    split.add_argument("--policy", default="partner-contract")
    split.add_argument("--out", required=True)
    attack = _command(commands, "attack", "auditing:attack", "attack anybody's synthetic table and judge it")
    for option in ("split", "train", "control", "reference", "schema", "claim-epsilon", "claim-delta", "out"):
        attack.add_argument(f"--{option}")
    attack.add_argument("--subgroup", action="append", default=[])
    audit = _command(commands, "audit", "auditing:audit", "how much a generator's own code leaks at least, from many runs on worst-case neighbours")
    audit.add_argument("generator")
    audit.add_argument("--epsilon", default="1")
    audit.add_argument("--runs", default="1000")
    attack.add_argument("--synthetic", required=True)
    attack.add_argument("--policy", default="partner-contract")
    verify = _command(commands, "verify", "auditing:verify", "check a bundle, offline, without data")
    verify.add_argument("bundle")
    for option in ("public-key", "max-epsilon", "unit", "policy"):
        verify.add_argument(f"--{option}")
    registry = _command(commands, "registry", "auditing:registry", "a verified bundle as an entry for the registry of DP deployments")
    registry.add_argument("bundle")
    for option, words in (
        ("curator", "who publishes"),
        ("curator-type", "Government, Industry or Nonprofit"),
        ("region", "which region the data describe, or whose laws apply"),
        ("out", "file to write, NAME.yaml"),
    ):
        registry.add_argument(f"--{option}", required=True, help=words)
    for option in ("sector", "author", "public-key"):
        registry.add_argument(f"--{option}")


def _keys(commands: Any) -> None:
    key = _group(commands, "key", "signing keys: yours, and those you trust")
    for action, words in (("create", "make your key"), ("show", "your key's fingerprint"), ("list", "the keys you know")):
        _command(key, action, f"keeping:key_{action}", words)
    export = _command(key, "export", "keeping:key_export", "write your public key, for partners")
    export.add_argument("file")
    trust = _command(key, "trust", "keeping:key_trust", "remember a custodian's public key")
    trust.add_argument("file")
    trust.add_argument("--name")


def _schema_option(command: argparse.ArgumentParser) -> None:
    command.add_argument("--schema", required=True, help="JSON or TOML; draft one with `dpsynth init`")
