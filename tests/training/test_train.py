"""`esrgan_jax.train`: a configuration by name, file or object, in this process."""

import pytest
from helpers.commands import write_pictures

import esrgan_jax
from configs import quickstart
from esrgan_jax.errors import ConfigError
from esrgan_jax.training.config_files import load_config

TINY = {
    "network_g.num_feat": 4,
    "network_g.num_block": 1,
    "network_g.num_grow_ch": 2,
    "psnr.gt_size": 32,
    "psnr.batch_size": 2,
    "num_devices": 1,
}


def test_train_by_name_and_again_by_object(tmp_path):
    write_pictures(tmp_path)
    data = {"data.train": str(tmp_path / "train"), "data.validation": str(tmp_path / "held_out")}
    scores = esrgan_jax.train("quickstart:psnr", tmp_path / "run", **{"psnr.steps": 2}, **data, **TINY)
    assert scores.keys() == {"psnr_y", "psnr_rgb", "ssim_y", "ssim_rgb"}
    assert (tmp_path / "run/net_g_2.pth").exists()

    config = quickstart.get_config("psnr")
    more = esrgan_jax.train(config, tmp_path / "run", **{"psnr.steps": 4}, **data, **TINY)
    assert config.psnr.steps == 1500  # the caller's object stays as it is
    assert more != scores
    lines = (tmp_path / "run/train.log").read_text().splitlines()
    assert any("restore   psnr stage at iteration 2" in line for line in lines)


def test_configurations_by_name_and_path(tmp_path):
    assert load_config("x2").scale == 2
    assert load_config("x4:gan,paper").stages == ("gan",)
    own = tmp_path / "own.py"
    own.write_text(
        "from configs import base\n\n\ndef get_config():\n"
        "    config = base.get_config()\n    config.seed = 5\n    return config\n"
    )
    assert load_config(own).seed == 5


def test_what_cannot_be_trained(tmp_path):
    with pytest.raises(
        ConfigError,
        match="no configuration x8: give the path of a file, or one of base, compact_x4, finetune_pairs, own_photos",
    ):
        esrgan_jax.train("x8")
    with pytest.raises(ConfigError, match=r"pnsr\.steps"):
        esrgan_jax.train("quickstart", tmp_path, **{"pnsr.steps": 2})
    (tmp_path / "broken.py").write_text("1 / 0")
    with pytest.raises(
        ConfigError, match=r"broken\.py cannot be loaded \(ZeroDivisionError: division by zero\)"
    ):
        esrgan_jax.train(tmp_path / "broken.py")
    for name, message in (
        ("network_g.type", r"network_g\.type \(=Nothing\) must be one of RRDBNet"),
        ("network_d.type", r"network_d\.type \(=Nothing\) must be one of VGGStyleDiscriminator"),
    ):
        with pytest.raises(ConfigError, match=message):
            esrgan_jax.train("quickstart", tmp_path / "run", num_devices=1, **{name: "Nothing"})
    with pytest.raises(
        ConfigError, match=r"network_g\.num_block is no field of VGG|network_g\.type \(=VGGStyle"
    ):
        esrgan_jax.train(
            "quickstart", tmp_path / "run", num_devices=1, **{"network_g.type": "VGGStyleDiscriminator"}
        )
