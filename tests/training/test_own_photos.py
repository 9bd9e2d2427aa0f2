"""The plan for a folder of one's own photos; iterations are not really timed."""

import json

import pytest
from helpers.commands import write_picture
from ml_collections import ConfigDict

from esrgan_jax.data.sources import open_pairs
from esrgan_jax.errors import ConfigError, DataError
from esrgan_jax.models import RRDBNet
from esrgan_jax.models.network import initial_variables
from esrgan_jax.runs.folder import write_generator
from esrgan_jax.training import batch_size, own_photos
from esrgan_jax.training.config_files import load_config
from esrgan_jax.weights.save import save_generator


@pytest.fixture
def photos(tmp_path):
    for size in range(100, 112):
        write_picture(tmp_path / "photos" / f"{size}.png", size)
    return tmp_path / "photos"


@pytest.fixture(autouse=True)
def timed(monkeypatch):
    """The iterations as they were when they were timed."""
    seen = []
    monkeypatch.setattr(batch_size, "time_iterations", lambda config, used: seen.append(config) or (0.5, 10))
    return seen


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "small.pth"
    module = RRDBNet(scale=2, num_feat=8, num_block=3, num_grow_ch=4)
    params = initial_variables(module, seed=0)["params"]
    save_generator(path, module, params, params)
    return path


def plan(photos, workdir="nowhere", fields=None, **options):
    """The configuration and the lines."""
    config = load_config("own_photos")
    fields = fields or {}
    config.update_from_flattened_dict(fields)
    lines = own_photos.plan(config, photos, photos.parent / workdir, chosen=set(fields), **options)
    return config, lines


def test_the_clock_gives_the_steps(photos):
    config, lines = plan(photos, hours=1)
    assert 6000 < config.psnr.steps <= 7200
    assert config.psnr.scheduler.periods == (config.psnr.steps,)
    assert 0 < config.evaluate_every <= config.psnr.steps
    assert config.stages == ("psnr",)
    assert config.data.train == config.data.validation == f"split:{photos}"
    assert len(config.data.held_out) == 1
    assert plan(photos)[0].psnr.steps == pytest.approx(2 * config.psnr.steps, rel=0.02)  # two hours
    assert plan(photos, hours=1e-6)[0].psnr.steps >= 1
    text = "\n".join(lines)
    for words in (
        "12 in ",
        "11 to train on, 1 held out",
        "RRDBNet x4",
        "MB",
        "esrgan-jax upscale",
        "0.5 s an iteration",
    ):
        assert words in text


def test_what_the_user_sets_stays(photos):
    fields = {
        "psnr.steps": 7,
        "psnr.batch_size": 2,
        "psnr.gt_size": 32,
        "evaluate_every": 3,
        "name": "mine",
        "num_devices": 1,
    }
    config, _ = plan(photos, fields=fields)
    assert {name: config.get(name) for name in ("name", "evaluate_every")} == {
        "name": "mine",
        "evaluate_every": 3,
    }
    assert (config.psnr.steps, config.psnr.batch_size, config.psnr.gt_size) == (7, 2, 32)
    assert config.psnr.scheduler.periods == (7,)


def test_too_few(tmp_path, photos):
    for file in sorted(photos.iterdir())[2:]:
        file.unlink()
    (photos / "copy.png").write_bytes((photos / "100.png").read_bytes())
    with pytest.raises(DataError, match=r"2 different pictures .* at least 3 are needed, of 96x96 pixels"):
        plan(photos)
    write_picture(tmp_path / "others" / "a.png", 64)
    assert plan(photos, validation=tmp_path / "others")[0].data.validation == str(tmp_path / "others")


def test_small_and_damaged_pictures_are_left_out(photos):
    write_picture(photos / "small.png", 40)
    cut = photos / "105.png"
    cut.write_bytes(cut.read_bytes()[:-200])
    _, lines = plan(photos)
    left_out = [line for line in lines if line.startswith("left out")]
    assert len(left_out) == 2
    assert "105.png is incomplete" in left_out[0]
    assert "small.png has 48x40 pixels, and 96x96 are needed" in left_out[1]


def test_small_patches_for_small_pictures(tmp_path):
    for size in (66, 70, 75):
        write_picture(tmp_path / "photos" / f"{size}.png", size)
    assert plan(tmp_path / "photos")[0].psnr.gt_size == 64


def test_fine_tuning_takes_the_network_over(photos, model):
    config, lines = plan(photos, model=str(model))
    assert config.scale == 2
    assert config.network_g.num_block == 3
    assert config.network_g.num_feat == 8
    assert config.init_from == str(model)
    assert config.psnr.optim_g.lr == own_photos.FINE_TUNING_RATE
    assert any("RRDBNet x2" in line and str(model) in line for line in lines)
    assert plan(photos, model=str(model), scale=2, fields={"network_g.num_block": 3})[0].scale == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": 4}, r"small\.pth has scale=2, but scale is 4"),
        (
            {"fields": {"network_g.num_block": 5}},
            r"small\.pth has num_block=3, but network_g\.num_block is 5",
        ),
        ({"scale": 4, "fields": {"scale": 2}}, r"--scale \(=4\) and --config\.scale \(=2\) differ"),
        ({"hours": 0}, r"--hours \(=0\) must be above 0"),
    ],
)
def test_contradictions_name_both_values(photos, model, options, message):
    with pytest.raises(ConfigError, match=message):
        plan(photos, model=str(model), **options)


def begun(photos, config, workdir="run"):
    """A run folder with a checkpoint."""
    module = RRDBNet(num_feat=4, num_block=1, num_grow_ch=2)
    params = initial_variables(module, seed=0)["params"]
    config = config.to_dict() | {
        "network_g": {"type": "RRDBNet", "num_feat": 4, "num_block": 1, "num_grow_ch": 2}
    }
    write_generator(photos.parent / workdir, json.loads(json.dumps(config)), params, params)


def test_a_run_keeps_its_steps_and_its_split(photos, timed):
    before, _ = plan(photos, hours=1)
    begun(photos, before)
    for size in range(120, 150):
        write_picture(photos / f"{size}.png", size)
    moved = photos.rename(photos.parent / "moved")
    timed.clear()
    config, lines = plan(moved, "run", hours=9)
    assert not timed
    assert config.psnr.steps == before.psnr.steps
    assert config.data.held_out == before.data.held_out
    assert config.data.train == f"split:{moved}"
    assert config.network_g.num_feat == 4
    assert isinstance(config.network_g, ConfigDict)
    assert lines[0].startswith("resume")
    assert (
        len(open_pairs(config.data.validation, split="validation", scale=4, held_out=config.data.held_out))
        == 1
    )
    with pytest.raises(ConfigError, match=r"begun with --scale 4, and --scale is 2 now"):
        plan(moved, "run", scale=2)


def test_fine_tuning_a_run_keeps_its_pictures_held_out(photos):
    before, _ = plan(photos)
    begun(photos, before)
    for size in range(120, 160):
        write_picture(photos / f"{size}.png", size)
    config, _ = plan(photos, "new", model=str(photos.parent / "run"))
    assert config.data.held_out == before.data.held_out
