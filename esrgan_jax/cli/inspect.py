"""Say what is in a weight file, and whether it can be used.

Container, wrappers, dialect of names, network and its sizes, parameters, dtype, sha256. Nothing in the file
is executed. Leaves with 0 if the file can be read, whether or not its network is known here.

  esrgan-jax inspect 4x_community_model.pth
  esrgan-jax inspect 4x_community_model.pth --json | jq .fields.scale
"""

import argparse
import json
import math
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    from esrgan_jax.cli.convert import add_architecture

    parser.add_argument("source", metavar="FILE", help="a weight file, a run folder, or a name of the zoo")
    parser.add_argument(
        "--key", help="look at this of FILE: params, params_ema, discriminator, or a wrapper in it"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_architecture(parser)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    report = _report(args)
    if args.json:
        print(json.dumps(report, indent=2))
        return 0
    report["fields"] = ", ".join(f"{name} {value}" for name, value in report["fields"].items())
    report["parameters"] = f"{report['parameters']:,}"
    for name, value in report.items():
        if value not in (None, "", "0", []):
            text = (
                ", ".join(value) if isinstance(value, list) else {True: "yes", False: "no"}.get(value, value)
            )
            print(f"{name:<13} {text}")
    return 0


def _report(args: argparse.Namespace) -> dict[str, Any]:
    from esrgan_jax.errors import WeightFileError
    from esrgan_jax.system.download import sha256
    from esrgan_jax.weights import load, save

    load.check_architecture_name(args.arch)
    source = load.open_weights(args.source)
    is_file = source.path.is_file()
    report: dict[str, Any] = {
        "file": str(source.path),
        "bytes": source.path.stat().st_size if is_file else None,
        "sha256": sha256(source.path) if is_file else None,
        "container": source.container,
        "holds": [found.wrapper or "bare" for found in source.found],
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
        counted = {
            name: array
            for name, array in chosen.state_dict.items()
            if not name.endswith(("running_mean", "running_var", "num_batches_tracked"))
        }
        report["wrapper"] = chosen.wrapper or "bare"
        report["parameters"] = sum(math.prod(array.shape) for array in counted.values())
        report["dtype"] = sorted({str(array.dtype) for array in counted.values()})
        network = source.recognise(chosen, args.arch, args.scale)
        report["dialect"] = network.dialect
        report["architecture"] = save.architecture_name(network.module)
        report["fields"] = save.architecture_fields(network.module)
        source.variables(network)
        report["loadable"] = True
    except WeightFileError as error:
        report["problem"] = str(error)
    return report
