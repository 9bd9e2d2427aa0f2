"""Show what a bug report needs: versions, devices, limits, space, and whether JAX starts.

JAX is started in a process of its own, so that a hang or a crash is seen. The exit code is 0 if it starts, 1 if it
does not. What is printed names no person, machine or folder.

  esrgan-jax doctor
"""

import argparse
import json
import textwrap

WIDTH = 80


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from esrgan_jax.system import diagnosis
    from esrgan_jax.system.probe import start_elsewhere
    from esrgan_jax.system.progress import loading

    with loading():
        start = start_elsewhere()
    report = {
        "versions": diagnosis.versions(),
        "devices": diagnosis.devices(start),
        "space": diagnosis.space(),
        "limits": diagnosis.limits(),
        "environment": diagnosis.environment(),
    }
    if args.json:
        print(json.dumps({**report, "starts": start.works}, indent=2))
        return 0 if start.works else 1
    for topic, known in report.items():
        print(topic)
        for name, text in known.items():
            lead = f"  {name:<24} "
            print(textwrap.fill(text, WIDTH, initial_indent=lead, subsequent_indent=" " * 27))
    print(f"\nJAX {'starts' if start.works else 'does not start: see above'}.")
    print("Paste all of this into a bug report, with the command and what it printed.")
    return 0 if start.works else 1
