"""Train ESRGAN.

usage: python train.py --config FILE[:STAGE,PRESET] [--config.FIELD=VALUE ...] [--workdir FOLDER]

  --config FILE         a file of configs/: quickstart.py, x4.py, x2.py or your own
           FILE:gan     one stage alone, psnr or gan
           FILE:paper   another recipe: basicsr, paper or mmagic; both at once is FILE:gan,paper
  --config.FIELD=VALUE  sets a field, as --config.psnr.batch_size=8; configs/base.py explains them all
  --workdir FOLDER      where everything is written; runs/<name of the configuration> by default

Started again, the same command goes on where it stopped. A first run: --config configs/quickstart.py
"""

import contextlib
import signal
import sys
import traceback

from esrgan_jax.errors import UserError
from esrgan_jax.system.exit import exit_now
from esrgan_jax.training.command_line import parse


def main() -> int:
    """Trains; returns the exit code."""
    if {"-h", "--help"} & set(sys.argv):
        print(__doc__.strip())
        return 0
    interrupt = signal.getsignal(signal.SIGINT)
    try:
        config, workdir = parse(sys.argv)
        # Ctrl-C while modules load ends the process at once: inside of them it prints tracebacks, or gets lost.
        if interrupt is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        from esrgan_jax.system import devices, processes
        from esrgan_jax.training.loop import train_and_evaluate
        from esrgan_jax.training.stopping import Stopped

        count = config.distributed.num_processes or 1
        shares = [config[stage].batch_size // count for stage in config.stages if stage in config]
        devices.prepare(shares, config.num_devices)
        processes.initialize(config.distributed)
        with contextlib.suppress(Stopped):
            train_and_evaluate(config, workdir)
        processes.shutdown()
    except UserError as error:
        print(f"train.py: {error}", file=sys.stderr)
        return error.exit_code
    finally:
        signal.signal(signal.SIGINT, interrupt)
    return 0


if __name__ == "__main__":
    try:
        exit_now(main())
    except BaseException:
        traceback.print_exc()
        exit_now(1, explain=True)
