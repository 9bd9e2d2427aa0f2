"""upscale: what it writes, says, and leaves with; real files, real processes, real faults."""

import contextlib
import errno
import os
import re
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import jax
import numpy as np
import pytest
import tifffile
from helpers import profiles, weight_files
from helpers.smooth_network import write_smooth_network
from jax.experimental.compilation_cache import compilation_cache
from PIL import ExifTags, Image

from esrgan_jax.cli.main import main
from esrgan_jax.imaging import imresize
from esrgan_jax.inference import Upscaler
from esrgan_jax.inference.batch import conveyor
from esrgan_jax.weights.formats import containers

PATIENCE = 240  # seconds until a process counts as hanging


@pytest.fixture(scope="module", autouse=True)
def compiled_once(tmp_path_factory):
    """All commands here, and their processes, share a cache of what XLA compiles; other tests know nothing of it."""
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in names}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ESRGAN_JAX_HOME", str(tmp_path_factory.mktemp("home")))
        compilation_cache.reset_cache()
        yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(write_smooth_network(tmp_path_factory.mktemp("models") / "x4.pth"))


def photo(height=40, width=56, channels=3, seed=0):
    small = np.random.default_rng(seed).integers(0, 256, (5, 7, channels), np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC).reshape(height, width, channels)


def save(path, image, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(path, **options)
    return path


def upscale(*words):
    return main(["upscale", *map(str, words)])


def files_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


# ---- what comes out


def test_a_folder_of_everything(tmp_path, model, capfd):
    """Each kind of picture stays what it is; read back by other libraries than the ones that wrote it."""
    folder, out = tmp_path / "in", tmp_path / "out"
    deep = photo(seed=1).astype(np.uint16) * 257 // 200  # dark: 16 bits all the same
    folder.mkdir()
    cv2.imwrite(str(folder / "deep.png"), deep[..., ::-1])
    save(folder / "sub/grey.png", photo(channels=1))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Make] = "Maker"
    profile = profiles.adobe_rgb()
    save(folder / "sub/turned.jpg", photo(), exif=exif, icc_profile=profile, quality=95)
    tifffile.imwrite(folder / "deep.tif", deep, photometric="rgb")
    Image.fromarray(photo()).convert("CMYK").save(folder / "print.jpg")
    save(folder / "picture.webp", photo())

    assert upscale(folder, "-o", out, "--model", model, "--tile", 64) == 0
    assert files_in(out) == files_in(folder)
    upscaler = Upscaler.from_file(model, tile=64)

    image = cv2.imread(str(out / "deep.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(image[..., ::-1], upscaler(deep))
    np.testing.assert_array_equal(tifffile.imread(out / "deep.tif"), upscaler(deep))
    grey = cv2.imread(str(out / "sub/grey.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(grey, upscaler(photo(channels=1))[..., 0])

    with Image.open(out / "sub/turned.jpg") as image:
        assert image.size == (160, 224)  # upright: 40 wide, 56 high
        assert image.getexif()[ExifTags.Base.Orientation] == 1
        assert image.info["icc_profile"] == profile
    with Image.open(folder / "sub/turned.jpg") as image:
        lying = np.asarray(image)
    data = np.fromfile(out / "sub/turned.jpg", np.uint8)
    turned, kinds, contents = cv2.imdecodeWithMetadata(data, cv2.IMREAD_COLOR)
    expected = upscaler(np.ascontiguousarray(np.rot90(lying, -1)))
    assert np.abs(turned[..., ::-1].astype(int) - expected).mean() < 1.5
    metadata = dict(zip(kinds, contents, strict=True))
    assert metadata[cv2.IMAGE_METADATA_ICCP].tobytes() == profile
    assert b"Maker" in metadata[cv2.IMAGE_METADATA_EXIF].tobytes()

    output, errors = capfd.readouterr()
    assert re.fullmatch(r"6 done in .* megapixels/s of output\n", output)
    assert f"{folder / 'print.jpg'}: CMYK without a colour profile" in errors
    assert "56x40 -> 224x160" in errors
    assert "(6 of 6" in errors


def test_transparency_of_a_file(tmp_path, model):
    pixels = photo(channels=4)
    pixels[..., 3] = np.clip(pixels[..., 3].astype(int) * 2 - 120, 0, 255)
    source = save(tmp_path / "a.png", pixels)
    for alpha, channels in (("model", 4), ("bicubic", 4), ("none", 3)):
        assert upscale(source, "-o", tmp_path / "b.png", "--model", model, "--alpha", alpha) == 0
        result = cv2.imread(str(tmp_path / "b.png"), cv2.IMREAD_UNCHANGED)
        assert result.shape == (160, 224, channels)
        if alpha == "model":
            upscaler = Upscaler.from_file(model)
            np.testing.assert_array_equal(result[..., 3], upscaler(np.ascontiguousarray(pixels[..., 3])))


@pytest.mark.parametrize(("suffix", "channels"), [("png", 1), ("png", 2), ("png", 4), ("tif", 2), ("tif", 3)])
def test_streamed_files_are_equal(tmp_path, model, suffix, channels):
    source = save(tmp_path / "a.png", photo(150, 90, channels))
    for name, options in (("whole", []), ("streamed", ["--stream"])):
        target = tmp_path / f"{name}.{suffix}"
        options += ["--alpha", "model"] if suffix == "tif" else []
        assert upscale(source, "-o", target, "--model", model, "--tile", 64, *options) == 0
    # The same pixels, cut into other pieces: compressed data may differ.
    with Image.open(tmp_path / f"whole.{suffix}") as a, Image.open(tmp_path / f"streamed.{suffix}") as b:
        assert a.mode == b.mode
        assert a.size == (360, 600)
        difference = np.abs(np.asarray(a).astype(int) - np.asarray(b)).max()
        # Grey with alpha becomes RGB for TIFF: in front of the network, or behind it.
        assert difference <= (1 if (suffix, channels) == ("tif", 2) else 0)


def test_other_sizes_and_networks_in_a_row(tmp_path, model):
    source = save(tmp_path / "a.png", photo(21, 31))
    twice = write_smooth_network(tmp_path / "x2.pth", scale=2)
    x4, x2 = (Upscaler.from_file(path, tile=128) for path in (model, twice))

    assert upscale(source, "-o", tmp_path / "b.png", "--model", model, "--outscale", 3.5, "--tile", 128) == 0
    expected = imresize(x4(photo(21, 31)).astype(np.float64), 3.5 / 4)
    result = cv2.imread(str(tmp_path / "b.png"))[..., ::-1]
    assert result.shape == (74, 109, 3)
    assert np.abs(result - np.clip(expected, 0, 255)).max() <= 0.5

    words = ("--model", twice, "--model", model, "--tile", 128)
    assert upscale(source, "-o", tmp_path / "c.png", *words) == 0
    result = cv2.imread(str(tmp_path / "c.png"))[..., ::-1]
    assert result.shape == (168, 248, 3)
    assert np.abs(result.astype(int) - x4(x2(photo(21, 31)))).max() <= 1  # which rounds in between


def test_comparison(tmp_path, model):
    source = save(tmp_path / "a.png", photo())
    words = ("--model", model, "--compare", tmp_path / "c.png")
    assert upscale(source, "-o", tmp_path / "b.png", *words) == 0
    both = cv2.imread(str(tmp_path / "c.png"))[..., ::-1]
    np.testing.assert_array_equal(both[:, :224], imresize(photo(), 4))
    np.testing.assert_array_equal(both[:, 224:], cv2.imread(str(tmp_path / "b.png"))[..., ::-1])


def test_formats_and_names(tmp_path, model):
    source = save(tmp_path / "in/a.png", photo())
    words = ("--model", model, "--suffix", "_x4", "--quality", 30)
    for name in ("jpg", "webp", "tiff", "png"):
        assert upscale(source, "-o", tmp_path / "out", *words, "--format", name) == 0
        with Image.open(tmp_path / f"out/a_x4.{name}") as image:
            assert image.format == {"jpg": "JPEG"}.get(name, name.upper())
    assert (tmp_path / "out/a_x4.jpg").stat().st_size < (tmp_path / "out/a_x4.png").stat().st_size / 3


# ---- faults


def test_bad_files_do_not_stop_the_rest(tmp_path, model, capfd):
    folder, out = tmp_path / "in", tmp_path / "out"
    for name in ("a.png", "c.png", "e.png"):
        save(folder / name, photo())
    whole = (folder / "a.png").read_bytes()
    (folder / "b.png").write_bytes(whole[: len(whole) // 2])
    (folder / "d.jpg").write_text("no picture")
    assert upscale(folder, "-o", out, "--model", model) == 1
    assert files_in(out) == ["a.png", "c.png", "e.png"]
    output, errors = capfd.readouterr()
    assert output.startswith("3 done, 2 failed in ")
    assert output.splitlines()[1:] == [f"failed: {folder / 'b.png'}", f"failed: {folder / 'd.jpg'}"]
    assert f"failed: {folder / 'b.png'} is incomplete or damaged" in errors

    before = {name: (out / name).stat().st_mtime_ns for name in files_in(out)}
    save(folder / "b.png", photo())
    (folder / "d.jpg").unlink()
    assert upscale(folder, "-o", out, "--model", model, "--skip-existing") == 0
    assert "1 done, 3 skipped in " in capfd.readouterr().out
    assert {name: (out / name).stat().st_mtime_ns for name in before} == before
    assert upscale(folder, "-o", out, "--model", "not_even_looked_at.pth", "--skip-existing") == 0


def test_what_is_no_picture_file_fails_by_name_and_nothing_waits(tmp_path, model, capfd):
    folder, out = tmp_path / "in", tmp_path / "out"
    save(folder / "a2.png", photo())
    save(folder / "a10.png", photo())
    os.mkfifo(folder / "pipe.png")
    for name, target in {"dead.png": "nothing.png", "endless.jpg": "/dev/zero", "self": "."}.items():
        (folder / name).symlink_to(target)
    for name in ("b.psd", "c.exr", "d.exr"):
        (folder / name).write_bytes(b"")
    start = time.perf_counter()
    assert upscale(folder, "-o", out, "--model", model, "--tile", 64) == 1
    assert time.perf_counter() - start < 60
    assert files_in(out) == ["a10.png", "a2.png"]
    output, errors = capfd.readouterr()
    assert output.startswith("2 done, 3 failed in ")
    assert errors.index("a2.png: 56x40") < errors.index("a10.png: 56x40")
    assert "note: 3 pictures of other formats left out: b.psd (a Photoshop document" in errors
    for name in ("pipe.png is a pipe", "dead.png is a link to nothing.png", "endless.jpg is a device"):
        assert f"failed: {folder / name}" in errors
    assert upscale(folder / "pipe.png", "-o", tmp_path / "b.png", "--model", model) == 1


@pytest.mark.parametrize("stream", [[], ["--stream"]])
def test_one_name_that_cannot_be_written(tmp_path, model, capfd, monkeypatch, stream):
    folder, out = tmp_path / "in", tmp_path / "out"
    longest = "y" * 251 + ".png"
    for name in (longest, "b.png", "c/d.png", "e.png", "f.png"):
        save(folder / name, photo(150, 90))
    assert upscale(folder, "-o", out, "--model", model, "--tile", 64, *stream) == 0
    assert files_in(out) == files_in(folder)
    capfd.readouterr()

    (out / "b_x4.png").mkdir()
    (out / "c/d.png").unlink()
    (out / "c").rmdir()
    (out / "c").write_bytes(b"a file in place of a folder")
    whole_write = conveyor.write_rows

    def refuse_one(path, rows, *args):
        """As a system does that finds out late: before the first row, or when the file gets its name."""
        if path.name != "e_x4.png":
            return whole_write(path, rows, *args)
        if len(args[0]) and late:
            list(rows)
        raise OSError(errno.EINVAL, "Invalid argument")

    for late in (False, True):  # noqa: B007 (refuse_one reads it)
        monkeypatch.setattr(conveyor, "write_rows", refuse_one)
        words = ("-o", out, "--model", model, "--tile", 64, "--suffix", "_x4", *stream)
        assert upscale(folder, *words) == 1
        output, errors = capfd.readouterr()
        assert output.startswith("1 done, 4 failed in ")
        for name, reason in {
            longest.replace(".png", "_x4.png"): "File name too long",
            "b_x4.png": "it is a folder",
            "c/d_x4.png": "Not a directory",
            "e_x4.png": "Invalid argument",
        }.items():
            assert f"failed: {out / name} cannot be written ({reason}): rename the picture" in errors
        assert "f_x4.png" in files_in(out)
        assert not [name for name in files_in(out) if name.startswith(".")]


def test_twice_in_place(tmp_path, model, capfd):
    for name in ("a.png", "sub/b.jfif"):
        save(tmp_path / name, photo()[..., :3], format="JPEG" if name.endswith("f") else "PNG")
    words = (tmp_path, "-o", tmp_path, "--suffix", "_large", "--skip-existing", "--model")
    assert upscale(*words, model, "--tile", 64) == 0
    assert capfd.readouterr().out.startswith("2 done in ")
    assert upscale(*words, "not_even_looked_at.pth") == 0
    assert capfd.readouterr().out == "2 skipped: all results exist.\n"
    assert files_in(tmp_path) == ["a.png", "a_large.png", "sub/b.jfif", "sub/b_large.jfif"]


def test_a_gif_beside_a_png_of_its_name(tmp_path, model, capfd):
    for name in ("a.gif", "a.png", "b.gif"):
        save(tmp_path / "in" / name, photo())
    words = (tmp_path / "in", "-o", tmp_path / "out", "--model", model, "--tile", 64, "--skip-existing")
    for count in ("2 done, 1 failed", "0 done, 2 skipped, 1 failed"):
        assert upscale(*words) == 1
        output, errors = capfd.readouterr()
        assert output.startswith(count)
        assert f"failed: {tmp_path / 'in/a.gif'} and {tmp_path / 'in/a.png'} would both become" in errors
    assert files_in(tmp_path / "out") == ["a.png", "b.png"]


def test_animations(tmp_path, model, capfd):
    frames = [Image.fromarray(photo(seed=seed)) for seed in range(3)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=40)
    words = ("-o", tmp_path / "out", "--model", model, "--tile", 64)
    assert upscale(tmp_path / "a.gif", *words) == 1
    assert (
        "a.gif is animated (3 frames): save each as one file, or take the first one" in capfd.readouterr().err
    )
    assert upscale(tmp_path / "a.gif", *words, "--first-frame", "--compare", tmp_path / "c.png") == 0
    assert "a.gif: it is animated (3 frames): the first was taken" in capfd.readouterr().err
    assert files_in(tmp_path / "out") == ["a.png"]


def test_a_result_that_its_format_cannot_hold(tmp_path, model, capfd):
    source = save(tmp_path / "a.png", photo(2, 4100))
    assert upscale(source, "-o", tmp_path / "b.webp", "--model", model, "--tile", 64) == 1
    assert "choose PNG or TIFF." in capfd.readouterr().err
    assert files_in(tmp_path) == ["a.png"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["missing.png", "-o", "out"], "missing.png does not exist"),
        (["a.png", "-o", "b.gif"], "b.gif ends in .gif"),
        (["a.png", "-o", "."], "would overwrite the input a.png"),
        (["a.png", "a.bmp", "-o", "out"], "would both become out/a.png"),
        (["a.png", "-o", "out", "--quality", "0"], "--quality (=0)"),
        (["a.png", "-o", "out", "--outscale", "-2"], "--outscale (=-2)"),
        (["a.png", "-o", "b.jpg", "--stream"], "--stream writes PNG and TIFF"),
        (["a.png", "-o", "out", "--stream", "--outscale", "2"], "--stream cannot resize"),
        (["a.png", "b.png", "-o", "out", "--compare", "c.png"], "--compare takes one input, but there are 2"),
        (["a.png", "-o", "out", "--compare", "a.png"], "Choose another name"),
    ],
)
def test_mistakes_are_found_before_the_model_is_loaded(tmp_path, monkeypatch, capsys, words, sentence):
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.png", "a.bmp"):
        save(tmp_path / name, photo())
    before = files_in(tmp_path)
    assert upscale(*words, "--model", "not_even_looked_at.pth") == 2
    message = capsys.readouterr().err
    assert sentence in message
    assert message.count("\n") == 1
    assert files_in(tmp_path) == before


def test_unknown_choices_leave_with_2(tmp_path, capsys):
    source = save(tmp_path / "a.png", photo())
    for words in (("--format", "gif"), ("--overlap", "some"), ("--dtype", "float8"), ()):
        with pytest.raises(SystemExit) as caught:
            upscale(source, "-o", tmp_path / "b.png", *(("--model", "x") if words else ()), *words)
        assert caught.value.code == 2
    message = capsys.readouterr().err
    assert "'gif' must be one of png, jpg, jpeg, webp, tif, tiff" in message
    assert "invalid overlap value: 'some'" in message


def test_models_that_cannot_be_used(tmp_path, model, capsys):
    source = save(tmp_path / "a.png", photo())
    whole = Path(model).read_bytes()
    (tmp_path / "broken.pth").write_bytes(whole[: len(whole) // 2])
    containers.write(tmp_path / "d.pth", {"params": weight_files.discriminator()})
    for name in ("broken.pth", "d.pth", "missing.pth"):
        assert upscale(source, "-o", tmp_path / "out/b.png", "--model", tmp_path / name) == 1
        message = capsys.readouterr().err
        assert name in message
        assert message.count("\n") == 1
    assert files_in(tmp_path) == ["a.png", "broken.pth", "d.pth"]


def test_a_file_in_place_of_the_folder(tmp_path, capsys):
    source = save(tmp_path / "a.png", photo())
    (tmp_path / "out").write_text("in the way")
    assert upscale(source, "-o", tmp_path / "out/", "--model", "not_even_looked_at.pth") == 2
    assert (
        f"{tmp_path / 'out/a.png'} cannot be written ({tmp_path / 'out'} is a file)"
        in capsys.readouterr().err
    )


@contextlib.contextmanager
def mounted(folder, options):
    """A small file system of its own; needs root."""
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(words, capture_output=True).returncode:
        pytest.skip("only root may mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_read_only_folder(tmp_path, capsys):
    source = save(tmp_path / "a.png", photo())
    with mounted(tmp_path / "out", "ro,size=1m") as out:
        assert upscale(source, "-o", out, "--model", "not_even_looked_at.pth") == 2
    message = capsys.readouterr().err
    assert f"{out / 'a.png'} cannot be written (Read-only file system). Choose another place." in message


class Command:
    """`esrgan-jax upscale` in a process of its own."""

    def __init__(self, *words, python=("-m", "esrgan_jax.cli.main")):
        # In the background of a shell Ctrl-C is ignored, and children inherit that.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        self.process = subprocess.Popen(
            [sys.executable, *python, "upscale", *map(str, words)],
            env=os.environ | {"JAX_PLATFORMS": "cpu"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        signal.signal(signal.SIGINT, before)
        self._guard = threading.Timer(PATIENCE, self.process.kill)
        self._guard.start()
        self.errors = []

    def wait_for(self, text):
        for line in self.process.stderr:
            self.errors.append(line)
            if text in line:
                return
        raise AssertionError(f"{text!r} never came: {self.errors}")

    def end(self):
        """Everything it printed, and its exit code."""
        output, errors = self.process.communicate()
        self._guard.cancel()
        return output, "".join([*self.errors, errors]), self.process.returncode


def many_pictures(folder, count=30, side=300):
    for number in range(count):
        save(folder / f"{number:02d}.png", photo(side, side, seed=number))
    return folder


def assert_whole(out, errors):
    """Nothing is half-written: what is there can be read, and was announced."""
    names = files_in(out)
    assert not [name for name in names if name.startswith(".")], names
    for name in names:
        assert cv2.imread(str(out / name)).shape == (1200, 1200, 3)
    assert {name for name in names if f"{out / name}: " not in errors} == set()
    return names


def test_interruption(tmp_path, model):
    out = tmp_path / "out"
    command = Command(many_pictures(tmp_path / "in"), "-o", out, "--model", model, "--tile", 64)
    command.wait_for("(2 of 30")
    start = time.perf_counter()
    command.process.send_signal(signal.SIGINT)
    _, errors, code = command.end()
    assert code == 130, errors
    assert time.perf_counter() - start < 20
    assert "Traceback" not in errors
    assert re.search(r"interrupted; \d+ done in .* --skip-existing upscales the rest", errors)
    names = assert_whole(out, errors)
    assert 2 <= len(names) < 30


LIMIT_FILES = """
import resource, runpy
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
runpy.run_module("esrgan_jax.cli.main", run_name="__main__")
"""


@pytest.mark.parametrize("stream", [[], ["--stream"]])
def test_a_file_that_grows_too_large(tmp_path, model, stream):
    """A limit of the system on file sizes, as a quota is: the small result stays, the large one leaves nothing."""
    folder, out = tmp_path / "in", tmp_path / "out"
    save(folder / "a.png", photo())
    noise = np.random.default_rng(0).integers(0, 256, (400, 400, 3), np.uint8)  # 2 MB as PNG
    save(folder / "b.png", noise)
    save(folder / "c.png", photo())
    command = Command(folder, "-o", out, "--model", model, "--tile", 64, *stream, python=("-c", LIMIT_FILES))
    _, errors, code = command.end()
    assert code == 1, errors
    assert f"{out / 'b.png'} cannot be written (File too large). Free disk space" in errors
    assert "Traceback" not in errors
    assert files_in(out) == ["a.png"]


def test_full_disk(tmp_path, model):
    folder = many_pictures(tmp_path / "in", 6)
    with mounted(tmp_path / "out", "size=1000k") as out:
        command = Command(folder, "-o", out, "--model", model, "--tile", 64)
        _, errors, code = command.end()
        assert code == 1, errors
        assert re.search(r"\d\d\.png cannot be written \(No space left on device\). Free disk space", errors)
        assert 0 < len(assert_whole(out, errors)) < 6


def test_bar_on_a_terminal(tmp_path, model):
    """One bar over the tiles of all pictures, which reaches the end although one picture is bad."""
    pty, termios, fcntl = (pytest.importorskip(name) for name in ("pty", "termios", "fcntl"))
    folder = many_pictures(tmp_path / "in", 3, side=100)
    (folder / "01.png").write_text("no picture")
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    words = ["upscale", folder, "-o", tmp_path / "out", "--model", model, "--tile", 64]
    process = subprocess.Popen(
        [sys.executable, "-m", "esrgan_jax.cli.main", *map(str, words)],
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
    )
    os.close(theirs)
    guard = threading.Timer(PATIENCE, process.kill)
    guard.start()
    shown = b""
    with contextlib.suppress(OSError):  # the terminal's way to say that the other side has gone
        while piece := os.read(ours, 4096):
            shown += piece
    output, _ = process.communicate()
    guard.cancel()
    os.close(ours)
    assert process.returncode == 1
    assert output.startswith("2 done, 1 failed")
    bars = re.findall(r"(\d+)/(\d+) tiles", shown.decode())
    assert len(bars) > 3
    total = str(2 * Upscaler.from_file(model, tile=64).tile_count(100, 100))
    assert bars[0] == ("0", total)
    assert bars[-1] == (total, total)
    assert " left]" in shown.decode()


COUNT_DEVICES = """
import os, sys
cores = sorted(os.sched_getaffinity(0))
os.sched_setaffinity(0, cores[: int(sys.argv.pop())])
from esrgan_jax.cli.main import main
code = main(sys.argv[1:])
import jax
print(jax.local_device_count(), "devices")
sys.exit(code)
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity to set on this system")
@pytest.mark.parametrize("cores", [1, 2])
def test_one_device_per_core_of_this_process(tmp_path, model, cores):
    if len(os.sched_getaffinity(0)) < cores:
        pytest.skip("not so many cores")
    words = (save(tmp_path / "a.png", photo()), "-o", tmp_path / "b.png", "--model", model, cores)
    output, errors, code = Command(*words, python=("-c", COUNT_DEVICES)).end()
    assert code == 0, errors
    assert output.endswith(f"\n{cores} devices\n")


def test_pipes_that_close(tmp_path, model):
    """`esrgan-jax upscale ... | head -0`: nobody listens, the work is done."""
    command = Command(save(tmp_path / "a.png", photo()), "-o", tmp_path / "b.png", "--model", model)
    command.process.stdout.close()
    command.process.stdout = None
    command.end()
    assert cv2.imread(str(tmp_path / "b.png")).shape == (160, 224, 3)
