"""Train ESRGAN: `python train.py --help`."""

import traceback

from esrgan_jax.cli.train import main
from esrgan_jax.system.exit import exit_now

if __name__ == "__main__":
    try:
        exit_now(main())
    except BaseException:
        traceback.print_exc()
        exit_now(1, explain=True)
