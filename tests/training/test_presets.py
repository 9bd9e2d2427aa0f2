"""Presets: nothing of one gets into another unseen."""

import pytest

from configs import x4
from esrgan_jax.errors import ConfigError
from esrgan_jax.training import configuration
from esrgan_jax.training.presets import PRESETS, changed_from_preset


def fields_of(argument):
    return configuration.flatten(x4.get_config(argument).to_dict())


@pytest.mark.parametrize("preset", PRESETS)
def test_preset_departs_from_itself_nowhere(preset):
    assert changed_from_preset(preset, fields_of(preset)) == []


def test_departures_are_named():
    found = changed_from_preset("paper", fields_of("mmagic"))
    assert "gan.detach_means=True" in found
    assert "network_g.initialization=mmagic" in found
    assert not any(field.startswith("gan.ema_decay") for field in found)


def test_published_values():
    paper, mmagic = fields_of("paper"), fields_of("mmagic")
    assert paper["psnr.optim_g.betas"] == mmagic["gan.optim_d.betas"] == [0.9, 0.999]
    assert paper["psnr.scheduler.type"] == "multistep"
    assert paper["psnr.scheduler.milestones"] == [200_000, 400_000, 600_000, 800_000]
    assert mmagic["psnr.scheduler.type"] == "cosine_restart"
    assert paper["gan.ema_decay"] == mmagic["gan.ema_decay"] == 0


def test_accumulation_is_for_the_pixel_stage():
    config = x4.get_config()
    config.init_from, config.perceptual.perceptual_weight = "scratch", 0.0
    config.psnr.accumulate = 4
    configuration.check(config.to_dict(), 4)
    with pytest.raises(ConfigError, match=r"psnr.batch_size \(=16\) must be divisible by psnr.accumulate"):
        configuration.check(config.to_dict(), 8)
    config.gan.accumulate = 2
    with pytest.raises(ConfigError, match=r"gan.accumulate \(=2\) must be 1"):
        configuration.check(config.to_dict(), 4)
