"""The experiments: they load, they hold the fields of base, and x4 the values of the official trainer."""

import dataclasses
from pathlib import Path

import pytest

from configs import base
from esrgan_jax.cli.train import parse
from esrgan_jax.degradation import DegradationOptions
from esrgan_jax.errors import ConfigError
from esrgan_jax.training import configuration
from esrgan_jax.training.optimizers import cosine_restart_schedule, multistep_schedule
from esrgan_jax.training.presets import PRESETS

# How ml_collections loads a file; Python only shows it to people who ask for such warnings.
pytestmark = pytest.mark.filterwarnings(r"ignore:the load_module\(\) method:DeprecationWarning")

FOLDER = Path(__file__).parents[2] / "configs"
FILES = sorted(FOLDER.glob("*.py"))
EXPERIMENTS = [path for path in FILES if path.stem != "base"]


def load(name, *overrides):
    return parse(["train.py", f"--config={FOLDER / name}", *overrides])[0]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_file_loads_with_the_fields_of_base(path):
    config = load(path)
    assert config.name == path.stem
    fields, expected = (
        {
            name: value
            for name, value in configuration.flatten(c.to_dict()).items()
            if not name.startswith("perceptual.layer_weights.")  # the names of which are values
        }
        for c in (config, base.get_config())
    )
    assert set(fields) == set(expected)
    for name, value in fields.items():
        if value is not None and expected[name] is not None:
            assert isinstance(value, type(expected[name])), name


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_every_experiment_has_a_card_and_can_be_run(path):
    card = path.read_text().split('"""')[1]
    for words in ("Command:", f"configs/{path.name}", "Data:", "Cost:"):
        assert words in card
    assert set(load(path.name).stages) <= {"psnr", "gan"}
    for argument, stages in (("", load(path.name).stages), (":psnr", ("psnr",)), (":gan", ("gan",))):
        config = load(
            f"{path.name}{argument}", "--config.perceptual.weights=vgg19.npz", "--config.init_from=run"
        )
        assert config.stages == stages
        assert config.name == path.stem + argument.replace(":", "-")
        configuration.check(config.to_dict(), 1)


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_sets_its_fields(path, preset):
    config = load(f"{path.name}:gan,{preset}")
    fields = configuration.flatten(config.to_dict())
    assert config.name == f"{path.stem}-gan-{preset}"
    assert config.preset == preset
    assert config.stages == ("gan",)
    for name, value in PRESETS[preset].items():
        assert fields[name] == (list(value) if isinstance(value, tuple) else value)


@pytest.mark.parametrize("argument", ["foo", "psnr,foo", "PSNR"])
def test_unknown_stage_or_preset(argument):
    with pytest.raises(ConfigError, match=f"FILE:{argument} .*FILE:psnr, FILE:gan"):
        load(f"x4.py:{argument}")


def test_x4_has_the_official_values():
    """BasicSR 1.4.2, options/train/ESRGAN/train_{RRDBNet_PSNR,ESRGAN}_x4.yml."""
    config = load("x4.py")
    assert config.scale == 4
    assert (config.network_g.num_feat, config.network_g.num_block, config.network_g.num_grow_ch) == (
        64,
        23,
        32,
    )
    assert config.network_d.num_feat == 64
    assert (config.psnr.steps, config.gan.steps) == (1_000_000, 400_000)
    for stage in (config.psnr, config.gan):
        assert (stage.batch_size, stage.gt_size, stage.ema_decay) == (16, 128, 0.999)
    for optimizer, rate in (
        (config.psnr.optim_g, 2e-4),
        (config.gan.optim_g, 1e-4),
        (config.gan.optim_d, 1e-4),
    ):
        assert (optimizer.lr, optimizer.betas, optimizer.weight_decay) == (rate, (0.9, 0.99), 0)
    assert (config.psnr.pixel_weight, config.gan.pixel_weight, config.gan.gan_weight) == (1.0, 1e-2, 5e-3)
    assert (config.gan.net_d_iters, config.gan.net_d_init_iters) == (1, 0)
    perceptual = config.perceptual
    assert (perceptual.perceptual_weight, perceptual.vgg_type) == (1.0, "vgg19")
    assert perceptual.layer_weights.to_dict() == {"conv5_4": 1.0}
    assert perceptual.use_input_norm
    assert not perceptual.range_norm
    assert config.data.train == config.data.validation == "tfds:div2k/bicubic_x4"
    assert config.data.use_hflip
    assert config.data.use_rot


def test_learning_rates_of_x4():
    config = load("x4.py")
    fields = config.psnr.scheduler
    assert fields.type == "cosine_restart"
    rate = cosine_restart_schedule(
        config.psnr.optim_g.lr, fields.periods, fields.restart_weights, fields.eta_min
    )
    for finished, expected in (
        (0, 2e-4),
        (125_000, (2e-4 + 1e-7) / 2),
        (250_000, 1e-7),
        (375_000, (2e-4 + 1e-7) / 2),
        (500_000, 1e-7),
        (1_000_000, 1e-7),
    ):
        assert float(rate(finished)) == pytest.approx(expected, rel=1e-4)
    assert float(rate(250_001)) == pytest.approx(2e-4, rel=1e-4)
    fields = config.gan.scheduler
    assert fields.type == "multistep"
    rate = multistep_schedule(config.gan.optim_g.lr, fields.milestones, fields.gamma)
    for finished, expected in (
        (49_999, 1e-4),
        (50_000, 5e-5),
        (100_000, 2.5e-5),
        (200_000, 1.25e-5),
        (300_000, 6.25e-6),
        (400_000, 6.25e-6),
    ):
        assert float(rate(finished)) == pytest.approx(expected, rel=1e-5)


def test_x2_is_x4_at_another_scale():
    fields, expected = (configuration.flatten(load(name).to_dict()) for name in ("x2.py", "x4.py"))
    assert {name for name in fields if fields[name] != expected[name]} == {
        "name",
        "scale",
        "data.train",
        "data.validation",
    }


def test_degradation_has_the_defaults_of_its_options():
    fields = base.get_config().degradation.to_dict()
    assert not fields.pop("high_order_degradation")
    assert fields.pop("crop_pad_size") == 400
    own = {"scale", "gt_size", "usm_before_crop"}  # which the configuration has elsewhere
    expected = dataclasses.asdict(DegradationOptions())
    assert fields == {name: value for name, value in expected.items() if name not in own}


def test_realesrgan_has_the_official_values():
    """Real-ESRGAN, options/train_realesr{net,gan}_x{4,2}plus.yml, finetune_realesrgan_x4plus_pairdata.yml."""
    for name, stages in (
        ("realesrnet_x4", ("psnr",)),
        ("realesrgan_x4", ("gan",)),
        ("realesrgan_x2", ("psnr", "gan")),
        ("compact_x4", ("psnr", "gan")),
        ("finetune_pairs", ("gan",)),
    ):
        config = load(f"{name}.py")
        paired = name == "finetune_pairs"
        assert config.stages == stages
        assert config.scale == (2 if name == "realesrgan_x2" else 4)
        assert config.strict_load_g == (name != "realesrgan_x2")
        assert config.degradation.high_order_degradation != paired
        assert config.psnr.gt_usm != paired
        assert (config.gan.l1_gt_usm, config.gan.percep_gt_usm, config.gan.gan_gt_usm) == (True, True, False)
        assert (config.data.use_hflip, config.data.use_rot) == (True, False)
        for stage, steps in ((config.psnr, 1_000_000), (config.gan, 400_000)):
            assert (stage.steps, stage.batch_size, stage.gt_size, stage.ema_decay) == (steps, 48, 256, 0.999)
            assert (stage.pixel_type, stage.pixel_weight, stage.tv_weight) == ("l1", 1.0, 0.0)
            assert (stage.scheduler.type, stage.scheduler.milestones) == ("multistep", (steps,))
        for optimizer, rate in (
            (config.psnr.optim_g, 2e-4),
            (config.gan.optim_g, 1e-4),
            (config.gan.optim_d, 1e-4),
        ):
            assert (optimizer.lr, optimizer.betas, optimizer.weight_decay) == (rate, (0.9, 0.99), 0)
        assert (config.gan.gan_type, config.gan.relativistic, config.gan.gan_weight) == (
            "vanilla",
            False,
            0.1,
        )
        assert (config.gan.net_d_iters, config.gan.net_d_init_iters) == (1, 0)
        assert (config.network_d.type, config.network_d.num_feat) == ("UNetDiscriminatorSN", 64)
        perceptual = config.perceptual
        assert (perceptual.vgg_type, perceptual.perceptual_weight, perceptual.criterion) == (
            "vgg19",
            1.0,
            "l1",
        )
        assert perceptual.layer_weights.to_dict() == {
            "conv1_2": 0.1,
            "conv2_2": 0.1,
            "conv3_4": 1.0,
            "conv4_4": 1.0,
            "conv5_4": 1.0,
        }
        assert (perceptual.use_input_norm, perceptual.range_norm, perceptual.style_weight) == (True, False, 0)


def test_quickstart_needs_no_download():
    config = load("quickstart.py")
    assert config.data.train == config.data.validation == "sample"
    assert config.perceptual.perceptual_weight == config.perceptual.style_weight == 0
    assert config.perceptual.weights is None
    configuration.check(config.to_dict(), 1)
    assert sum(config.psnr.scheduler.periods) == config.psnr.steps
