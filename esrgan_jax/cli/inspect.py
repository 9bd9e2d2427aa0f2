"""Show what a weight file contains and whether it can be loaded.

Prints container, the networks and optimizers in it by their keys and prefixes, and which one is meant (`wrapper`):
dialect of names, sizes, number of parameters, dtype; and the file's sha256. Nothing in the file is executed; Python
objects that are no weights are listed as left out. The exit code is 0 if the file can be read, whether or not its
network is known here.

  esrgan-jax inspect 4x_community_model.pth
  esrgan-jax inspect 4x_community_model.pth --json | jq .fields.scale
"""

import argparse
import json
import math
from collections.abc import Iterable
from typing import Any

from esrgan_jax.cli.convert import KEY_HELP, SOURCE_HELP, add_architecture

MAX_LISTED = 20

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
"""What torch calls a batch norm's state; in a network that is unknown here the rest counts as parameters."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("source", metavar="FILE", help=SOURCE_HELP)
    parser.add_argument("--key", help=f"network in FILE to show: {KEY_HELP}")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_architecture(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    report = _report(args)
    if args.json:
        print(json.dumps(report, indent=2))
        return 0
    report["fields"] = ", ".join(f"{name} {value}" for name, value in report["fields"].items())
    report["holds"] = [f"{wrapper} ({what})" for wrapper, what in report["holds"].items()]
    report["parameters"] = f"{report['parameters']:,}"
    for name, value in report.items():
        if value not in (None, "", "0", []):
            text = _listed(value) if isinstance(value, list) else {True: "yes", False: "no"}.get(value, value)
            print(f"{name.replace('_', ' '):<13} {text}")
    return 0


def _listed(values: list[str]) -> str:
    return ", ".join(values[:MAX_LISTED]) + f" and {len(values) - MAX_LISTED} more" * (
        len(values) > MAX_LISTED
    )


def _report(args: argparse.Namespace) -> dict[str, Any]:
    from esrgan_jax.errors import WeightFileError
    from esrgan_jax.system.download import sha256
    from esrgan_jax.weights import load
    from esrgan_jax.weights.convert import parameter_names
    from esrgan_jax.weights.network import architecture_fields, architecture_name

    load.check_architecture_name(args.arch)
    source = load.open_weights(args.source)
    is_file = source.path.is_file()
    report: dict[str, Any] = {
        "file": str(source.path),
        "bytes": source.path.stat().st_size if is_file else None,
        "sha256": sha256(source.path) if is_file else None,
        "container": source.container,
        "holds": {found.wrapper or "bare": _what(found) for found in sorted(source.found, key=_rank)},
        "left_out": source.left_out,
        "wrapper": None,
        "dialect": None,
        "architecture": None,
        "fields": {},
        "parameters": 0,
        "dtype": [],
        "loadable": False,
        "problem": None,
    }
    try:
        chosen = source.choose(args.key)
        report["wrapper"] = chosen.wrapper or "bare"
        report |= _counted(
            array for name, array in chosen.state_dict.items() if not name.endswith(STATISTICS)
        )
        network = source.recognise(chosen, args.arch, args.scale)
        report["dialect"] = network.dialect
        report["architecture"] = architecture_name(network.module)
        report["fields"] = architecture_fields(network.module)
        report |= _counted(network.state_dict[name] for name in parameter_names(network.module))
        source.variables(network)
        report["loadable"] = True
    except WeightFileError as error:
        report["problem"] = str(error)
    return report


def _rank(found: Any) -> int:
    """Those first that are meant unless something else is asked for."""
    from esrgan_jax.weights.state_dicts import ROLES

    return ROLES.index(found.role) if found.role in ROLES else len(ROLES)


def _what(found: Any) -> str:
    if found.role in ("params", "params_ema") and found.is_known:
        return "generator, averaged" if found.role == "params_ema" else "generator"
    return found.role if found.is_known else "unknown"


def _counted(arrays: Iterable[Any]) -> dict[str, Any]:
    arrays = list(arrays)
    return {
        "parameters": sum(math.prod(array.shape) for array in arrays),
        "dtype": sorted({str(array.dtype) for array in arrays}),
    }
