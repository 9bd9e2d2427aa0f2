import json
import subprocess
import sys

from esrgan_jax.cli.main import main
from esrgan_jax.weights.zoo import ZOO


def test_every_model_is_listed(capsys):
    file = ZOO["RealESRGAN_x2plus"]
    assert main(["models"]) == 0
    text = capsys.readouterr().out
    assert [line for line in text.splitlines() if not line.startswith(" ")] == list(ZOO)
    assert "RealESRGAN_x2plus\n  RRDBNet x2: Real-ESRGAN for photographs" in text
    assert "  67 MB, BSD-3-Clause (github.com/xinntao/Real-ESRGAN); not downloaded yet" in text

    file.path.parent.mkdir(parents=True)
    with file.path.open("wb") as whole:
        whole.truncate(file.size)
    assert main(["models", "--json"]) == 0
    report = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert [name for name, entry in report.items() if entry["cached"]] == ["RealESRGAN_x2plus"]
    assert report["RealESRGAN_x2plus"]["scale"] == 2
    assert report["vgg19"]["scale"] is None


def test_it_loads_no_jax():
    script = (
        "import sys; from esrgan_jax.cli.main import main; main(['models'])\n"
        "assert not {'jax', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
