"""Configurations that cannot be run are refused by field and value; those of a run folder are compared."""

import json

import pytest

from configs import quickstart, x4
from esrgan_jax.errors import ConfigError
from esrgan_jax.training import configuration


@pytest.fixture
def config():
    return quickstart.get_config()


def refuse(config, device_count=1):
    with pytest.raises(ConfigError) as caught:
        configuration.check(config.to_dict(), device_count)
    return str(caught.value)


def test_quickstart_is_accepted_on_one_to_four_devices(config):
    for device_count in (1, 2, 4):
        configuration.check(config.to_dict(), device_count)


@pytest.mark.parametrize(
    "field, value",
    [
        ("scale", 3),
        ("dtype", "float16"),
        ("seed", -1),
        ("stages", ()),
        ("stages", ("gan", "psnr")),
        ("stages", ("psnr", "psnr")),
        ("stages", ("train",)),
        ("max_to_keep", 0),
        ("log_every", -1),
        ("evaluate_every", -1),
        ("checkpoint_every", -1),
        ("keep_every", -1),
        ("keep_best", "psnr"),
        ("resume", "yes"),
        ("network_g.num_feat", 0),
        ("network_g.num_block", 0),
        ("network_g.num_grow_ch", -4),
        ("network_d.num_feat", 0),
        ("psnr.steps", 0),
        ("psnr.batch_size", 0),
        ("psnr.gt_size", 0),
        ("psnr.gt_size", 33),
        ("psnr.ema_decay", 1.0),
        ("psnr.ema_decay", -0.1),
        ("psnr.optim_g.betas", (0.9,)),
        ("gan.optim_d.betas", (0.9, 1.0)),
        ("psnr.optim_g.lr", float("nan")),
        ("gan.optim_d.lr", 1.5),
        ("gan.optim_g.max_grad_norm", 0.0),
        ("max_skipped", -1),
        ("psnr.scheduler.type", "linear"),
        ("psnr.scheduler.periods", ()),
        ("psnr.scheduler.periods", (5, 6)),
        ("psnr.scheduler.periods", (0,)),
        ("gan.steps", -1),
        ("data.on_bad_image", "ignore"),
        ("gan.gt_size", 96),
        ("gan.net_d_iters", 0),
    ],
)
def test_value_is_refused_by_name(config, field, value):
    config.update_from_flattened_dict({field: value})
    text = refuse(config)
    assert f"{field} (={value})" in text
    assert "\n" not in text


def test_only_stages_that_run_are_checked(config):
    config.gan.steps = 0
    config.stages = ("psnr",)
    configuration.check(config.to_dict(), 1)


def test_patches_of_the_unshuffled_scales(config):
    config.scale = 1  # reads 4 x 4 pixels at once
    config.psnr.gt_size = 34
    assert "psnr.gt_size (=34) must be a multiple of 4" in refuse(config)
    config.scale = 2
    configuration.check(
        config.to_dict() | {"stages": ("psnr",), "psnr": config.psnr.to_dict() | {"gt_size": 36}}, 1
    )


def test_batch_that_the_devices_do_not_divide(config):
    config.gan.batch_size = 6
    text = refuse(config, 4)
    assert "gan.batch_size (=6) must be divisible by the number of devices (=4)" in text
    assert "--config.num_devices" in text


def test_gan_stage_wants_to_know_where_it_starts():
    config = x4.get_config("gan")
    text = refuse(config)
    assert "--config.init_from=" in text
    assert "--config.init_from=scratch" in text
    config.init_from = "scratch"
    config.perceptual.perceptual_weight = 0.0
    configuration.check(config.to_dict(), 1)


def test_full_recipe_wants_vgg_weights():
    config = x4.get_config()
    text = refuse(config)
    assert "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth" in text
    assert "--config.perceptual.weights=FILE" in text
    assert "--config.perceptual.perceptual_weight=0" in text
    config.stages = ("psnr",)
    configuration.check(config.to_dict(), 1)
    config.stages = ("psnr", "gan")
    config.perceptual.weights = "vgg19.npz"
    configuration.check(config.to_dict(), 1)


def test_layers_that_vgg_does_not_have():
    config = x4.get_config()
    config.perceptual.weights = "vgg19.npz"
    config.perceptual.layer_weights = {"conv6_1": 1.0}
    assert "perceptual.layer_weights (=conv6_1)" in refuse(config)
    config.perceptual.vgg_type = "vgg20"
    assert "vgg20" in refuse(config)


def test_flatten():
    nested = {"a": {"b": (1, 2), "c": {"d": None}}, "e": 3}
    assert configuration.flatten(nested) == {"a.b": [1, 2], "a.c.d": None, "e": 3}


def test_what_json_gives_back_is_the_same(config):
    saved = json.loads(json.dumps(config.to_dict()))
    assert configuration.changed_fields(saved, config.to_dict()) == ([], [])


def test_changed_fields_are_named_in_order(config):
    old = config.to_dict()
    config.psnr.optim_g.betas = (0.9, 0.999)
    config.seed = 4
    config.gan.gan_weight = 0.1
    config.log_every = 7
    config.resume = "force"  # belongs to this start alone
    config.distributed.num_processes = 2
    assert configuration.changed_fields(old, config.to_dict()) == (
        [
            "gan.gan_weight (was 0.005, is 0.1)",
            "psnr.optim_g.betas (was [0.9, 0.99], is [0.9, 0.999])",
            "seed (was 0, is 4)",
        ],
        ["log_every (was 20, is 7)"],
    )


def test_field_that_is_new_counts_as_unchanged(config):
    old = config.to_dict()
    del old["psnr"]["ema_decay"]
    assert configuration.changed_fields(old, config.to_dict()) == ([], [])


def test_intervals_lengths_and_paths_may_change(config):
    old = config.to_dict()
    config.update(name="b", log_every=1, evaluate_every=1, checkpoint_every=1, max_to_keep=9)
    config.update(num_devices=2, stages=("gan",), init_from="x")
    config.psnr.steps = config.gan.steps = 5
    config.network_g.remat = True
    config.perceptual.weights = "elsewhere"
    config.data.update(validation="b", validation_lr="c", data_dir="d", num_threads=1)
    numbers, others = configuration.changed_fields(old, config.to_dict())
    assert numbers == []
    assert "psnr.steps (was 1500, is 5)" in others


TEXTS = [
    name
    for name, value in configuration.flatten(quickstart.get_config().to_dict()).items()
    if isinstance(value, str) or name.endswith(("_lr", "_from", "_from_d", "_dir", "_template", ".weights"))
]


@pytest.mark.parametrize("field", TEXTS)
def test_no_text_is_empty(config, field):
    for empty in ("", " "):
        config.update_from_flattened_dict({field: empty})
        assert refuse(config).startswith(f"{field} is empty")


@pytest.mark.parametrize("source", ["HR,", ",HR", "HR, ,LR", "split:", "tfds: "])
@pytest.mark.parametrize("field", ["train", "validation"])
def test_no_source_is_empty(config, field, source):
    config.data[field] = source
    assert refuse(config).startswith(f"data.{field} (={source}) names a source that is empty")


def test_a_source_without_lr_pictures_among_others(config):
    config.data.train, config.data.train_lr = "A,B", "LR,"
    configuration.check(config.to_dict(), 1)


@pytest.mark.parametrize(
    "field, before, after, changes",
    [
        ("train", "a/folder", "another/folder", False),
        ("train", "a/folder", "sample", True),
        ("train", "tfds:div2k", "a/folder", True),
        ("train", "tfds:div2k", "tfds:other", True),
        ("train_lr", "lr", "moved/lr", False),
        ("train_lr", None, "lr", True),
        ("train", "a,tfds:div2k", "b, tfds:div2k", False),
        ("train", "a,b", "a", True),
        ("train", "a,sample", "sample,a", True),
        ("train_lr", "a,", "b,", False),
        ("train_lr", "a,", ",a", True),
        ("train_weights", (1, 2), (2, 1), True),
        ("lr_template", None, "{name}x4", False),
        ("on_bad_image", "error", "skip", False),
    ],
)
def test_data_may_move_but_not_become_another_kind(field, before, after, changes):
    old, new = quickstart.get_config(), quickstart.get_config()
    old.data[field], new.data[field] = before, after
    numbers, others = configuration.changed_fields(old.to_dict(), new.to_dict())
    assert [text.split()[0] for text in numbers] == [f"data.{field}"] * changes
    assert [text.split()[0] for text in others] == [f"data.{field}"] * (not changes)
