"""What real torch wrote comes out bit for bit: a committed subset always, all containers x dtypes with torch."""

import bz2
import gzip
import io
import lzma
import os
import tarfile
import warnings
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from helpers import weight_files

from esrgan_jax.errors import WeightFileError
from esrgan_jax.weights.formats import containers

DATA = Path(__file__).parents[1] / "data"
DTYPES = ("float32", "float64", "float16", "bfloat16")


def assert_same(read, expected):
    assert list(read) == list(expected)
    for name, value in expected.items():
        if isinstance(value, dict):
            assert_same(read[name], value)
        elif isinstance(value, (np.ndarray, np.generic)):
            assert read[name].dtype == value.dtype, name
            assert read[name].shape == value.shape, name
            assert read[name].tobytes() == value.tobytes(), name
        else:
            assert read[name] == value


# --- committed files --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["zip_odd.pth", "legacy_odd.pth"])
def test_shared_storages_strides_and_scalars(name):
    assert_same(containers.read(DATA / name).tree, weight_files.odd_tensors())


def test_dtypes():
    tree = containers.read(DATA / "zip_dtypes.pth").tree
    for name, array in tree.items():
        assert array.dtype == np.dtype(getattr(ml_dtypes, name, name))
        assert array.tolist() == ([False, True, True] if name == "bool" else [0, 1, 2])


def test_committed_networks():
    tiny = weight_files.generator(**weight_files.TINY)
    contents = containers.read(DATA / "zip_new_both.pth")
    assert contents.container == "zip .pth"
    assert_same(
        contents.tree, {"params": tiny, "params_ema": weight_files.generator(seed=1, **weight_files.TINY)}
    )
    contents = containers.read(DATA / "legacy_old_bare.pth")
    assert contents.container == "legacy .pth"
    assert_same(contents.tree, weight_files.to_old(tiny))
    contents = containers.read(DATA / "tar_old_bare.pth")
    assert contents.container == "tar .pth"
    assert_same(contents.tree, weight_files.to_old(tiny))
    half = weight_files.map_arrays(
        lambda x: x.astype(np.float16), {"state_dict": weight_files.to_middle(tiny)}
    )
    assert_same(containers.read(DATA / "legacy_middle_half.pth").tree, half)
    contents = containers.read(DATA / "new_bfloat16.safetensors")
    assert contents.container == "safetensors"
    bfloat16 = weight_files.map_arrays(lambda x: x.astype(ml_dtypes.bfloat16), tiny)
    assert_same(dict(sorted(contents.tree.items())), dict(sorted(bfloat16.items())))


def test_arrays_are_views_that_cannot_be_written_to():
    tree = containers.read(DATA / "zip_odd.pth").tree
    assert np.shares_memory(tree["plain"], tree["transposed"])
    assert not tree["plain"].flags.writeable


# --- with torch -------------------------------------------------------------------------------------------


def torch_tree(torch, tree, dtype):
    return weight_files.map_arrays(
        lambda x: torch.from_numpy(x.copy()).to(getattr(torch, dtype)) if x.dtype.kind == "f" else x, tree
    )


FLAT = ("bare", "module.", "netG.")  # what a .safetensors file can hold
MATRIX = [
    (wrapper, dialect, container, dtype)
    for wrapper in weight_files.WRAPPERS
    for dialect in weight_files.DIALECTS
    for container in ("zip", "legacy", "tar", "safetensors")
    for dtype in DTYPES
    if (container != "safetensors" or wrapper in FLAT)
    and (container, dtype) != ("tar", "bfloat16")  # torch had no bfloat16 when it wrote tar files
]


@pytest.mark.parametrize(("wrapper", "dialect", "container", "dtype"), MATRIX)
def test_what_torch_writes_is_read_bit_for_bit(tmp_path, wrapper, dialect, container, dtype):
    torch = pytest.importorskip("torch")
    state_dict = weight_files.DIALECTS[dialect](weight_files.generator(**weight_files.TINY))
    expected = weight_files.map_arrays(
        lambda x: x.astype(getattr(ml_dtypes, dtype, dtype)), weight_files.WRAPPERS[wrapper](state_dict)
    )
    tree = torch_tree(torch, weight_files.WRAPPERS[wrapper](state_dict), dtype)
    path = tmp_path / "file"
    if container == "zip":
        torch.save(tree, path)
    elif container == "legacy":
        torch.save(tree, path, _use_new_zipfile_serialization=False)
    elif container == "safetensors":
        save_file = pytest.importorskip("safetensors.torch").save_file
        save_file(tree, path)
        expected = {name: expected[name] for name in containers.read(path).tree}
    else:
        weight_files.write_tar(path, expected)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the old format is deprecated in several ways
            loaded = torch.load(path, weights_only=False)
        assert_same(samples_to_numpy(torch, loaded), expected)
    assert_same(containers.read(path).tree, expected)


def samples_to_numpy(torch, tree):
    if isinstance(tree, dict):
        return {key: samples_to_numpy(torch, value) for key, value in tree.items()}
    return tree.numpy() if isinstance(tree, torch.Tensor) else tree


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickle_protocols(tmp_path, protocol):
    torch = pytest.importorskip("torch")
    path = tmp_path / "file.pth"
    torch.save({"a": torch.arange(3), "n": 2**40, "x": 1.5, "t": (1, None)}, path, pickle_protocol=protocol)
    tree = containers.read(path).tree
    assert tree.pop("a").tolist() == [0, 1, 2]
    assert tree == {"n": 2**40, "x": 1.5, "t": (1, None)}


def test_state_dict_with_metadata_and_training_state(tmp_path):
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    optimizer = torch.optim.Adam(module.parameters())
    module(torch.ones(1, 1, 8, 8)).sum().backward()
    optimizer.step()
    path = tmp_path / "file.pth"
    for legacy in (False, True):
        torch.save(
            {"state_dict": module.state_dict(), "optimizer": optimizer.state_dict(), "names": {"a", "b"}},
            path,
            _use_new_zipfile_serialization=not legacy,
            pickle_protocol=4,
        )
        tree = containers.read(path).tree
        assert_same(tree["state_dict"], {k: v.numpy() for k, v in module.state_dict().items()})
        assert tree["optimizer"]["param_groups"][0]["betas"] == (0.9, 0.999)


def test_big_endian_marker(tmp_path):
    """Torch on a big-endian machine writes its storages that way round and says so."""
    torch = pytest.importorskip("torch")
    import zipfile

    values = {"a": np.arange(5, dtype=np.float32), "b": np.arange(3, dtype=np.int64)}
    path, swapped = tmp_path / "file.pth", tmp_path / "swapped.pth"
    torch.save({k: torch.from_numpy(v) for k, v in values.items()} | {"c": torch.ones(2).bfloat16()}, path)
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(swapped, "w") as target:
        for entry in source.infolist():
            data = source.read(entry)
            if "/data/" in entry.filename:
                size = {"0": 4, "1": 8, "2": 2}[entry.filename[-1]]
                data = np.frombuffer(data, f"u{size}").byteswap().tobytes()
            target.writestr(entry.filename, b"big" if entry.filename.endswith("byteorder") else data)
    expected = values | {"c": np.ones(2, ml_dtypes.bfloat16)}
    assert_same(containers.read(swapped).tree, expected)


def test_python_2_strings_and_ordered_dicts():
    """Python 2 writes byte strings, and hands OrderedDict a list of pairs."""
    from esrgan_jax.weights.formats import pickles

    known = {"collections.OrderedDict": pickles.ordered_dict}
    data = b"\x80\x02ccollections\nOrderedDict\n](](U\x01aK\x01e](T\x01\x00\x00\x00bI99999999999\nee\x85R."
    assert pickles.load(data, 0, known) == ({"a": 1, "b": 99999999999}, len(data))


# --- writing ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [*DTYPES, "int64", "uint8", "bool"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_what_is_written_is_read_by_the_originals(tmp_path, suffix, dtype):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    dtype = np.dtype(getattr(ml_dtypes, dtype, dtype))
    arrays = {
        "matrix": (rng.standard_normal((3, 5)) * 4).astype(dtype).T,
        "scalar": np.ones((), dtype),
        "empty": np.zeros((0, 2), dtype),
        "odd": np.ones(3, dtype),
    }
    path = tmp_path / f"file{suffix}"
    containers.write(path, arrays, {"format": "pt", "architecture": "RRDBNet"})
    if suffix == ".pth":
        loaded = torch.load(path, weights_only=True)
    else:
        loaded = pytest.importorskip("safetensors.torch").load_file(path)
    for name, array in arrays.items():
        as_bytes = loaded[name].contiguous().flatten().view(torch.uint8).numpy().tobytes()
        assert tuple(loaded[name].shape) == array.shape
        assert as_bytes == array.tobytes(), name
    contents = containers.read(path)
    assert_same(dict(sorted(contents.tree.items())), dict(sorted(arrays.items())))
    if suffix == ".safetensors":
        assert contents.metadata == {"format": "pt", "architecture": "RRDBNet"}


def test_the_same_arrays_give_the_same_bytes(tmp_path):
    tree = {"params": weight_files.generator(**weight_files.TINY)}
    for name in ("a.pth", "b.pth"):
        containers.write(tmp_path / name, tree)
    assert (tmp_path / "a.pth").read_bytes() == (tmp_path / "b.pth").read_bytes()


def test_nothing_is_left_of_a_failed_write(tmp_path):
    path = tmp_path / "file.pth"
    containers.write(path, {"a": np.ones(2, np.float32)})
    before = path.read_bytes()
    with pytest.raises(WeightFileError, match="complex"):
        containers.write(path, {"a": np.ones(2, np.complex64)})
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["file.pth"]


def test_npz(tmp_path):
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(2, order="F")}
    np.savez(tmp_path / "a.npz", **arrays)
    assert_same(containers.read(tmp_path / "a.npz").tree, arrays)
    np.savez_compressed(tmp_path / "b.npz", **arrays)
    with pytest.raises(WeightFileError, match="compressed"):
        containers.read(tmp_path / "b.npz")


# --- other files ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "it is empty"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 20, "neither a .pth nor a .safetensors"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"\x80\x02}q\x00.", "none that PyTorch wrote"),
        (b"PK\x03\x04" + b"\0" * 100, "zip directory"),
        (b"7z\xbc\xaf'\x1c" + b"\0" * 50, r"is a 7z archive: unpack it first\.$"),
        (b"Rar!\x1a\x07\x00" + b"\0" * 50, r"is a RAR archive: unpack it first\.$"),
        (gzip.compress(b"tar", mtime=0), r"is a gzip archive: unpack it first\.$"),
        (lzma.compress(b"tar"), r"is an xz archive: unpack it first\.$"),
        (bz2.compress(b"tar"), r"is a bzip2 archive: unpack it first\.$"),
        (b"\x08\x09\x12\x07pytorch\x1a\x052.1.0" + b"\0" * 50, "is an ONNX model: take the .pth or"),
        (b"\x08\x08:\x80\x01" + b"\0" * 50, "is an ONNX model: take the .pth or"),
        (b"\x89HDF\r\n\x1a\n" + b"\0" * 50, "is an HDF5 file, as Keras writes them: take the .pth or"),
    ],
)
def test_other_files(tmp_path, data, sentence):
    path = tmp_path / "file.pth"
    path.write_bytes(data)
    with pytest.raises(WeightFileError, match=sentence) as caught:
        containers.read(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_archives_name_the_weights_in_them(tmp_path, compression):
    path = tmp_path / "model"
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("readme.txt", bytes(5000))
        archive.writestr("a/2x_first.pth", b"x")
        archive.writestr("a/4x_second.safetensors", b"x")
    with pytest.raises(
        WeightFileError, match=r"model is a zip archive with a/2x_first\.pth, a/4x_second\.saf\w+ in it: unp"
    ):
        containers.read(path)
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("a/model.pth"), io.BytesIO())
    with pytest.raises(
        WeightFileError, match=r"model is a tar archive with a/model\.pth in it: unpack it first\.$"
    ):
        containers.read(path)
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("photos/1.png", b"x")
    with pytest.raises(
        WeightFileError, match=r"with photos/1\.png in it, which PyTorch did not write: choose another"
    ):
        containers.read(path)


def test_no_file_and_a_folder(tmp_path):
    with pytest.raises(WeightFileError, match="No such file"):
        containers.read(tmp_path / "missing.pth")
    with pytest.raises(WeightFileError, match="is a folder"):
        containers.read(tmp_path)
    with pytest.raises(WeightFileError, match=r"must end in \.pth or \.safetensors"):
        containers.write(tmp_path / "model.onnx", {})


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "model.pth")
    (tmp_path / "link.pth").symlink_to("model.pth")
    for name in ("model.pth", "link.pth"):
        with pytest.raises(WeightFileError, match=f"{name} is a pipe, which may never end"):
            containers.read(tmp_path / name)
