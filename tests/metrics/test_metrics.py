"""The entries of METRICS, and what importing them costs."""

import subprocess
import sys
from pathlib import Path

from esrgan_jax.metrics import METRICS


def test_how_scores_are_written():
    psnr, ssim = METRICS["psnr_rgb"], METRICS["ssim_y"]
    assert (psnr.title, psnr.heading, psnr.number(28.421), psnr.text(28.421)) == (
        "PSNR RGB",
        "PSNR RGB [dB]",
        "28.42",
        "28.42 dB",
    )
    assert (ssim.title, ssim.heading, ssim.text(0.81044)) == ("SSIM Y", "SSIM Y", "0.8104")


def test_importing_them_loads_no_jax():
    script = "import sys, esrgan_jax.metrics; print({'jax', 'cv2', 'scipy', 'PIL'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "set()\n"
