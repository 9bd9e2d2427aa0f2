"""Real-ESRGAN's training: what the flags change, the same losses on any devices, networks that fit in part, a run."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.commands import read_lines, write_pictures
from helpers.variables import random_variables

import esrgan_jax
from configs import compact_x4, finetune_pairs, realesrgan_x4
from esrgan_jax.data.pipeline import make_train_iterator
from esrgan_jax.data.samples import SampleSource
from esrgan_jax.degradation.usm import add_sharpened, sharpen
from esrgan_jax.errors import ConfigError
from esrgan_jax.models import RRDBNet, UNetDiscriminatorSN, VGGFeatureExtractor
from esrgan_jax.system import parallel
from esrgan_jax.training import configuration
from esrgan_jax.training.losses import GANLoss, Perceptual
from esrgan_jax.training.optimizers import Optimizer
from esrgan_jax.training.recipe import GanRecipe, PixelRecipe, degradation_from_config, recipe_from_config
from esrgan_jax.training.restore import initial_states

SMALL = RRDBNet(num_feat=4, num_block=1, num_grow_ch=2)
OPTIMIZER = Optimizer(lambda _: 1e-4)


@pytest.fixture(autouse=True)
def quick_to_compile():
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def small_recipe(**fields):
    vgg = VGGFeatureExtractor("vgg11", ("conv1_1",))
    perceptual = Perceptual(vgg, random_variables(vgg), {"conv1_1": 0.1}, **fields.pop("perceptual", {}))
    discriminator = UNetDiscriminatorSN(num_feat=2)
    plain = GANLoss(relativistic=False)
    return GanRecipe(
        SMALL, discriminator, OPTIMIZER, OPTIMIZER, perceptual=perceptual, gan_loss=plain, **fields
    )


def iterate_once(recipe, iterate, batch, devices):
    params = random_variables(recipe.generator)["params"]
    given = {"d_variables": random_variables(recipe.discriminator)} if isinstance(recipe, GanRecipe) else {}
    states = parallel.replicate(recipe.initial_states(0, params, **given), devices)
    _, metrics = iterate(states, parallel.shard(batch, devices), 1)
    return {name: float(value) for name, value in metrics.items() if not name.startswith("grad_norm")}


def pictures():
    hr = np.random.default_rng(3).integers(0, 256, (2, 32, 32, 3), np.uint8)
    return {"lr": hr[:, ::4, ::4], "hr": hr}


def test_each_target_changes_its_own_terms():
    targets = {"pixel_target": "a", "perceptual_target": "b", "gan_target": "c"}
    recipe, devices = small_recipe(**targets), jax.local_devices()[:1]
    iterate, batch = recipe.build(devices), pictures()
    sharp = np.asarray(add_sharpened(batch, None)["hr_usm"])
    plain = dict.fromkeys(targets.values(), batch["hr"] / np.float32(255)) | {"lr": batch["lr"]}
    without = iterate_once(recipe, iterate, plain, devices)
    for name, terms in (("a", {"l_g_pix"}), ("b", {"l_g_percep"}), ("c", {"l_d_real", "out_d_real"})):
        found = iterate_once(recipe, iterate, plain | {name: sharp}, devices)
        assert {term for term in found if found[term] != pytest.approx(without[term], rel=1e-6)} == terms


def test_losses_are_those_of_the_whole_batch():
    """The Frobenius norm is no mean over pictures."""
    recipe = small_recipe(
        pixel_type="charbonnier", tv_weight=0.5, perceptual={"criterion": "fro", "style_weight": 1.0}
    )
    found = []
    for count in (1, 2):
        devices = jax.local_devices()[:count]
        found.append(iterate_once(recipe, recipe.build(devices), pictures(), devices))
    assert set(found[0]) >= {"l_g_pix", "l_g_tv", "l_g_percep", "l_g_style", "l_g_gan"}
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def test_the_first_stage_has_these_losses_too():
    recipe = PixelRecipe(SMALL, OPTIMIZER, pixel_type="mse", tv_weight=0.5, accumulate=2)
    devices, batch = jax.local_devices()[:1], pictures()
    lr, hr = (batch[name] / np.float32(255) for name in ("lr", "hr"))
    metrics = iterate_once(recipe, recipe.build(devices), batch, devices)
    sr = np.asarray(SMALL.apply(random_variables(SMALL), lr))
    tv = np.abs(np.diff(sr, axis=1)).mean() + np.abs(np.diff(sr, axis=2)).mean()
    assert metrics["l_g_pix"] == pytest.approx(np.mean((sr - hr) ** 2), rel=1e-5)
    assert metrics["l_g_tv"] == pytest.approx(0.5 * tv, rel=1e-5)


def test_sharpened_pairs_keep_everything_else():
    hr = np.random.default_rng(1).integers(0, 256, (2, 32, 40, 3), np.uint8)
    batch = add_sharpened({"lr": hr[:, ::4, ::4], "hr": hr}, None)
    assert set(batch) == {"lr", "hr", "hr_usm"}
    np.testing.assert_allclose(batch["hr_usm"][1], sharpen(jnp.asarray(hr[1], jnp.float32) / 255), atol=1e-6)


def recipe_of(config, stage, **fields):
    config.perceptual.perceptual_weight = 0.0
    config.update_from_flattened_dict(fields)
    configuration.check(config.to_dict(), 1)
    return recipe_from_config(config, stage)


def test_configurations_become_recipes():
    config = realesrgan_x4.get_config()
    recipe = recipe_of(config, "gan", **{"degradation.jpeg_range2": (50.0, 60.0)})
    assert (recipe.pixel_target, recipe.perceptual_target, recipe.gan_target) == ("hr_usm", "hr_usm", "hr")
    assert recipe.prepare not in (None, add_sharpened)
    for stage in ("psnr", "gan"):
        options = degradation_from_config(config, stage)
        assert (options.scale, options.gt_size, options.jpeg_range2) == (4, 256, (50.0, 60.0))
        assert options.usm_before_crop == (stage == "psnr")
    paired = finetune_pairs.get_config("gan")
    assert recipe_of(paired, "gan").prepare is add_sharpened
    assert recipe_of(paired, "psnr").prepare is None
    flags = {"gan.l1_gt_usm": False, "gan.percep_gt_usm": False, "gan.gt_size": 264}
    assert recipe_of(paired, "gan", **flags).prepare is None


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"degradation.noise_range": (3.0, 1.0)}, r"degradation\.noise_range \(=\(3\.0, 1\.0\)\) must be"),
        ({"psnr.gt_size": 256, "degradation.crop_pad_size": 200}, r"psnr\.gt_size .*crop_pad_size \(=200\)"),
        ({"data.train_lr": "LR"}, r"data\.train_lr \(=LR\) is never read"),
        ({"psnr.pixel_type": "l2"}, r"psnr\.pixel_type \(=l2\) must be one of l1, mse, charbonnier"),
        ({"psnr.pixel_weight": 0.0}, r"psnr\.pixel_weight"),
        (
            {"degradation.high_order_degradation": False, "gan.gt_size": 24},
            r"gan\.gt_size \(=24\) must be more than 25",
        ),
    ],
    ids=str,
)
def test_what_cannot_be_trained(fields, sentence):
    with pytest.raises(ConfigError, match=sentence):
        recipe_of(compact_x4.get_config(), "psnr", **fields)


def test_patches_without_lr():
    data = make_train_iterator(
        SampleSource("train", 1), scale=1, gt_size=48, batch_size=2, seed=1, number_patches=True, hr_only=True
    )
    batch = next(data)
    data.close()
    assert {name: x.shape for name, x in batch.items()} == {"hr": (2, 48, 48, 3), "patch": (2,)}


@dataclasses.dataclass
class Given:
    init_from: str
    strict_load_g: bool
    seed: int = 0
    param_key_g: str | None = None
    init_from_d: str | None = None


def test_weights_that_fit(tmp_path):
    """From x4 to x2, whose first convolution has four times the inputs."""
    from esrgan_jax.weights.save import save_generator

    path = tmp_path / "x4.pth"
    loaded = random_variables(SMALL)["params"]
    save_generator(path, SMALL, loaded, loaded)
    wanted = PixelRecipe(SMALL.clone(scale=2), OPTIMIZER)
    with pytest.raises(ConfigError, match="scale is 4"):
        initial_states(Given(str(path), True), wanted, None)
    said = []
    g = initial_states(Given(str(path), False), wanted, None, said.append)["g"]
    assert said == [
        f"note      the generator starts from {path}, but for conv_first.weight, random; its EMA as a copy of it"
    ]
    random = wanted.initial_states(0)["g"].params
    for params in (g.params, g.ema):
        np.testing.assert_array_equal(params["conv_first"]["weight"], random["conv_first"]["weight"])
        np.testing.assert_array_equal(params["conv_first"]["bias"], loaded["conv_first"]["bias"])
        jax.tree.map(np.testing.assert_array_equal, params["body"], loaded["body"])


def test_a_run(tmp_path, capsys):
    """The second stage with the degradation, of one size: that compiles in less time."""
    write_pictures(tmp_path)
    fields = {
        "network_g.num_feat": 4,
        "network_g.num_conv": 1,
        "network_d.num_feat": 2,
        "perceptual.perceptual_weight": 0.0,
        "degradation.crop_pad_size": 80,
        "degradation.resize_range": (1.0, 1.0),
        "data.train": str(tmp_path / "train"),
        "data.validation": str(tmp_path / "held_out"),
        "init_from": "scratch",
        "gan.steps": 2,
        "gan.batch_size": 2,
        "gan.gt_size": 32,
        "num_devices": 1,
        "log_every": 1,
    }
    esrgan_jax.train("compact_x4:gan", tmp_path / "run", **fields)
    assert "preset    realesrgan\n" in capsys.readouterr().out
    logged = [line for line in read_lines(tmp_path / "run") if "l_g_pix" in line]
    assert [line["iteration"] for line in logged] == [1, 2]
    for line in logged:
        for name in ("l_g_pix", "l_g_gan", "l_d_real", "l_d_fake", "out_d_real", "out_d_fake"):
            assert np.isfinite(line[name])
