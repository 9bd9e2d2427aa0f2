"""What a run leaves for people: numbers, pictures, curves."""

import json

import numpy as np
import pytest
from helpers.disks import fill as fill_disk
from helpers.disks import small_disk
from PIL import Image
from tensorboardX.proto.event_pb2 import Event

from esrgan_jax.errors import CheckpointError
from esrgan_jax.evaluation.scores import Result
from esrgan_jax.imaging.resize import imresize
from esrgan_jax.training.figures import SHOWN_PIXELS, draw_curves, draw_sample
from esrgan_jax.training.writer import Writer, read_metrics


@pytest.fixture
def make_result():
    """A picture of waves, 4 times larger than its LR, with a gray SR."""

    def make(height=64, width=96):
        y, x = np.mgrid[:height, :width]
        hr = np.stack([127 + 120 * np.sin(x / 9), 127 + 120 * np.cos(y / 7), x + 0 * y], axis=-1).astype(
            np.uint8
        )
        sr = np.full_like(hr, 128)
        return Result(
            "waves", {"lr": imresize(hr, 1 / 4), "hr": hr}, sr, {"psnr_y": 12.3456, "psnr_rgb": 11.0}
        )

    return make


@pytest.fixture
def writer(tmp_path):
    return Writer(tmp_path, ("psnr", "gan"))


def read_events(folder):
    """(step, tag, value) of every scalar in a folder of TensorBoard files."""
    found = []
    for path in sorted(folder.glob("events*")):
        data = path.read_bytes()
        while data:  # a record: length, checksum, event, checksum
            length = int.from_bytes(data[:8], "little")
            event = Event.FromString(data[12 : 12 + length])
            found += [(event.step, value.tag, value.simple_value) for value in event.summary.value]
            data = data[16 + length :]
    return found


def test_scalars_go_to_a_line_and_to_tensorboard(writer, tmp_path):
    writer.resume("psnr", 0)
    writer.scalars("psnr", 5, {"l_g_pix": 0.25, "lr": 1e-4})
    writer.scalars("psnr", 6, {"l_g_pix": 0.5})
    writer.scalars("psnr", 6, {"psnr_y": 30.0, "bicubic_psnr_y": 29.0, "skipped_g": 0})
    assert (tmp_path / "metrics.jsonl").read_text() == (
        '{"stage": "psnr", "iteration": 5, "l_g_pix": 0.25, "lr": 0.0001}\n'
        '{"stage": "psnr", "iteration": 6, "l_g_pix": 0.5}\n'
        '{"stage": "psnr", "iteration": 6, "psnr_y": 30.0, "bicubic_psnr_y": 29.0, "skipped_g": 0}\n'
    )
    events = read_events(tmp_path / "tensorboard/psnr")
    assert [(step, tag) for step, tag, _ in events] == [
        (5, "loss/l_g_pix"),
        (5, "rate/lr"),
        (6, "loss/l_g_pix"),
        (6, "score/psnr_y"),
        (6, "score/bicubic_psnr_y"),
        (6, "other/skipped_g"),
    ]
    assert events[2][2] == 0.5


def fill(writer):
    for stage in ("psnr", "gan"):
        writer.resume(stage, 0)
        for iteration in range(1, 6):
            writer.scalars(stage, iteration, {"l_g_pix": 1 / iteration})
            if iteration % 2:
                writer.scalars(stage, iteration, {"psnr_y": 20.0 + iteration, "bicubic_psnr_y": 22.0})


@pytest.mark.parametrize(
    "stage, iteration, kept", [("psnr", 0, 0), ("psnr", 3, 5), ("gan", 0, 8), ("gan", 5, 16)]
)
def test_resuming_takes_back_what_will_be_written_again(tmp_path, writer, stage, iteration, kept):
    fill(writer)
    before = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert len(before) == 16
    again = Writer(tmp_path, ("psnr", "gan"))
    again.resume(stage, iteration)
    assert (tmp_path / "metrics.jsonl").read_text().splitlines() == before[:kept]


def test_line_cut_short_by_a_crash(tmp_path, writer):
    fill(writer)
    path = tmp_path / "metrics.jsonl"
    whole = path.read_text()
    path.write_text(whole[:-9])
    assert len(read_metrics(path)) == 15
    writer.resume("gan", 4)
    writer.scalars("gan", 5, {"l_g_pix": 1 / 5})
    writer.scalars("gan", 5, {"psnr_y": 25.0, "bicubic_psnr_y": 22.0})
    assert path.read_text() == whole


def test_scores_that_are_still_to_be_made(tmp_path, writer):
    """What an evaluation wrote, of which the checkpoint knows nothing, is written again."""
    fill(writer)
    before = (tmp_path / "metrics.jsonl").read_text().splitlines()
    writer.resume("gan", 5, evaluated=False)
    assert (tmp_path / "metrics.jsonl").read_text().splitlines() == before[:-1]


def test_full_disk(tmp_path, make_result):
    """Lines wait until there is room, and none is lost or cut; pictures and points are left out."""
    with small_disk(tmp_path / "disk", "64k") as disk:
        write_on_full_disk(disk, make_result())


def write_on_full_disk(disk, result):
    writer = Writer(disk, ("psnr",))
    writer.resume("psnr", 0)
    writer.scalars("psnr", 1, {"l": 1.0})
    ballast = fill_disk(disk)
    for iteration in range(2, 500):
        writer.scalars("psnr", iteration, {"l": 1.0})
    writer.sample("psnr", 500, result)
    for what in ("metrics.jsonl", "tensorboard", "samples"):
        assert f"{what} cannot be written (No space left on device)" in writer.problem
    lines = (disk / "metrics.jsonl").read_text().splitlines()
    assert 1 < len(lines) < 499
    assert [json.loads(line)["iteration"] for line in lines] == list(range(1, len(lines) + 1))

    ballast.unlink()
    writer.scalars("psnr", 500, {"l": 1.0})
    writer.sample("psnr", 500, result)
    assert writer.problem is None
    assert read_events(disk / "tensorboard/psnr")[-1][0] == 500  # whole, up to the last one
    lines = (disk / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["iteration"] for line in lines] == list(range(1, 501))


def test_resuming_on_a_full_disk(writer, tmp_path, monkeypatch):
    """Lines that will be written again cannot be taken back: the file stays as it is."""
    fill(writer)
    before = (tmp_path / "metrics.jsonl").read_bytes()

    def full(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("esrgan_jax.training.writer.atomic_write", full)
    with pytest.raises(
        CheckpointError, match=r"metrics\.jsonl cannot be written \(No space left on device\)"
    ):
        writer.resume("psnr", 3)
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


def test_metrics_of_a_new_run(tmp_path):
    assert read_metrics(tmp_path / "metrics.jsonl") == []


def test_sample_has_three_labelled_panels(make_result):
    result = make_result(64, 96)
    picture = draw_sample(result)
    assert picture.dtype == np.uint8
    label, gap = 26, 6
    assert picture.shape == (64 + label, 3 * 96 + 2 * gap, 3)
    starts = [0, 96 + gap, 2 * (96 + gap)]
    panels = [picture[label:, start : start + 96] for start in starts]
    np.testing.assert_array_equal(panels[0], imresize(result.pair["lr"], 4))
    np.testing.assert_array_equal(panels[1], result.sr)
    np.testing.assert_array_equal(panels[2], result.pair["hr"])
    for start in starts:  # something black is written on white
        text = picture[:label, start : start + 96]
        assert text.min() < 50
        assert text.max() == 255
    assert (picture[:, 96 : 96 + gap] == 255).all()


def test_large_pictures_are_cut_around_their_centre(make_result):
    result = make_result(600, 400)
    picture = draw_sample(result)
    assert picture.shape == (SHOWN_PIXELS + 26, 3 * 400 + 12, 3)
    np.testing.assert_array_equal(picture[26:, -400:], result.pair["hr"][60:540])


def test_sample_at_scale_one(make_result):
    hr = make_result().pair["hr"]
    picture = draw_sample(Result("same", {"lr": hr, "hr": hr}, hr, {"psnr_y": np.inf, "psnr_rgb": np.inf}))
    np.testing.assert_array_equal(picture[26:, :96], hr)


def test_sample_is_a_file_and_in_tensorboard(writer, tmp_path, make_result):
    writer.resume("gan", 0)
    path = writer.sample("gan", 30, make_result())
    assert path == tmp_path / "samples/gan_0000030.png"
    with Image.open(writer.example) as image:
        np.testing.assert_array_equal(np.asarray(image), make_result().pair["lr"])
    with Image.open(path) as image:
        np.testing.assert_array_equal(np.asarray(image), draw_sample(make_result()))
    assert [(step, tag) for step, tag, _ in read_events(tmp_path / "tensorboard/gan")] == [(30, "sample")]


def size(path):
    with Image.open(path) as image:
        image.load()
        return image.size


def test_curves_have_a_column_for_each_stage_that_ran(writer, tmp_path):
    fill(writer)
    assert writer.curves() == tmp_path / "curves.png"
    assert size(tmp_path / "curves.png") == (1200, 700)
    writer.resume("psnr", 5)
    writer.curves()
    assert size(tmp_path / "curves.png") == (600, 700)


def test_curves_of_next_to_nothing(tmp_path):
    """A loss that is zero or negative everywhere has no place on a logarithmic axis; no evaluation, no loss."""
    path = tmp_path / "curves.png"
    draw_curves([], ("psnr",), path)
    draw_curves([{"stage": "gan", "iteration": 1, "l_d_real": -1.0, "l_g_gan": 0.0}], ("gan",), path)
    draw_curves([{"stage": "gan", "iteration": 1, "psnr_y": 20.0, "bicubic_psnr_y": 30.0}], ("gan",), path)
    assert size(path) == (600, 700)


def test_curves_of_a_run_whose_numbers_are_gone(tmp_path):
    writer = Writer(tmp_path, ("psnr", "gan"))
    assert writer.curves().exists()


def test_numbers_that_are_not_finite_stay_readable(writer, tmp_path, caplog):
    writer.resume("gan", 0)
    writer.scalars("gan", 1, {"l_g_pix": float("nan")})
    assert np.isnan(read_metrics(tmp_path / "metrics.jsonl")[0]["l_g_pix"])
    assert json.loads((tmp_path / "metrics.jsonl").read_text())["iteration"] == 1
    writer.curves()
    assert not caplog.records  # tensorboardX warns of them
