"""Broken and hostile files: a clear sentence or a well-formed model, nothing run, little memory."""

import io
import os
import pickle
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from helpers import weight_files

from esrgan_jax.errors import WeightFileError
from esrgan_jax.weights.formats import containers
from esrgan_jax.weights.load import load_model

DATA = Path(__file__).parents[1] / "data"
FILES = ("zip_new_both.pth", "legacy_old_bare.pth", "tar_old_bare.pth", "new_bfloat16.safetensors")
LEGACY_HEAD = b"".join(
    pickle.dumps(thing, 2) for thing in (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001})
)


def assert_bounded(path: Path, sentence: str | None = None) -> None:
    """Reading fails with one sentence that names the file, within twice its size and 100 MB."""
    tracemalloc.start()
    try:
        with pytest.raises(WeightFileError, match=sentence) as caught:
            load_model(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert peak < 2 * path.stat().st_size + 100e6


def write_zip(path: Path, entries: dict[str, bytes], compression=zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(f"archive/{name}", data)
    return path


def well_formed(tree) -> None:
    """Every array can be looked at in full."""
    if isinstance(tree, dict):
        for value in tree.values():
            well_formed(value)
    elif isinstance(tree, np.ndarray) and tree.size < 1_000_000:
        assert tree.copy().tobytes() is not None


# --- broken ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_truncation_anywhere(tmp_path, name):
    data = (DATA / name).read_bytes()
    path = tmp_path / name
    for percent in range(100):
        path.write_bytes(data[: len(data) * percent // 100])
        try:
            contents = containers.read(path)
        except WeightFileError as error:
            assert str(path) in str(error)
        else:  # a tar archive ends with padding that says nothing
            assert name.startswith("tar")
            assert percent >= 50
            well_formed(contents.tree)


@pytest.mark.parametrize("kind", ["zip", "legacy", "tar", "safetensors"])
def test_flipped_bytes(kind, tmp_path):
    """10,000 files in all; zip files, which have checksums, never come out changed."""
    hypothesis = pytest.importorskip("hypothesis")
    st = hypothesis.strategies
    if kind == "safetensors":
        source = tmp_path / "odd.safetensors"
        containers.write(source, {name: np.asarray(x) for name, x in weight_files.odd_tensors().items()})
    else:
        source = DATA / f"{kind}_odd.pth"
    data = source.read_bytes()
    original = containers.read(source).tree
    path = tmp_path / "file"
    changes = st.lists(st.tuples(st.integers(0, len(data) - 1), st.integers(1, 255)), min_size=1, max_size=3)

    @hypothesis.settings(
        max_examples=2500, deadline=None, derandomize=True, database=None, phases=[hypothesis.Phase.generate]
    )
    @hypothesis.given(changes)
    def check(changes):
        damaged = bytearray(data)
        for position, mask in changes:
            damaged[position] ^= mask
        path.write_bytes(damaged)
        try:
            tree = containers.read(path).tree
        except WeightFileError as error:
            assert str(path) in str(error)
            return
        well_formed(tree)
        if kind == "zip":
            assert tree.keys() == original.keys()
            for name, value in original.items():
                assert tree[name].tobytes() == value.tobytes()

    check()


@pytest.mark.parametrize("name", FILES)
def test_flipped_bytes_up_to_the_model(name, tmp_path):
    hypothesis = pytest.importorskip("hypothesis")
    data = (DATA / name).read_bytes()
    path = tmp_path / name
    # Names, shapes and offsets are where a change gets furthest: mostly near the beginning.
    positions = hypothesis.strategies.integers(0, min(len(data), 9000) - 1)

    @hypothesis.settings(
        max_examples=100, deadline=None, derandomize=True, database=None, phases=[hypothesis.Phase.generate]
    )
    @hypothesis.given(positions, hypothesis.strategies.integers(1, 255))
    def check(position, mask):
        damaged = bytearray(data)
        damaged[position] ^= mask
        path.write_bytes(damaged)
        try:
            module, variables = load_model(path)
        except WeightFileError as error:
            assert str(path) in str(error)
        else:
            assert variables["params"]["conv_first"]["weight"].shape[-1] == module.num_feat

    check()


def test_a_zip_entry_with_a_wrong_checksum(tmp_path):
    data = bytearray((DATA / "zip_new_both.pth").read_bytes())
    with zipfile.ZipFile(DATA / "zip_new_both.pth") as archive:
        entry = next(e for e in archive.infolist() if e.filename.endswith("/data/5"))
    data[entry.header_offset + 200] ^= 1
    path = tmp_path / "file.pth"
    path.write_bytes(data)
    with pytest.raises(WeightFileError, match="the checksum of 'zip_new_both/data/5' is wrong"):
        containers.read(path)


# --- hostile -------------------------------------------------------------------------------------------------


class Evil:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("kind", ["zip", "legacy", "tar"])
@pytest.mark.parametrize(
    ("function", "name"),
    [(os.system, "system"), (eval, "eval"), (exec, "exec"), (getattr, "getattr"), (Path, "Path")],
)
def test_pickles_that_would_run_code(tmp_path, function, name, kind, protocol):
    marker = tmp_path / "it ran"
    body = pickle.dumps({"params": Evil(function, f"open({str(marker)!r}, 'w')")}, protocol)
    path = tmp_path / "file.pth"
    if kind == "zip":
        write_zip(path, {"data.pkl": body, "version": b"3\n"})
    elif kind == "legacy":
        path.write_bytes(LEGACY_HEAD + body + pickle.dumps([]))
    else:
        import tarfile

        with tarfile.open(path, "w") as tar:
            for member, data in (
                ("storages", pickle.dumps(0, 2) + pickle.dumps([], 2)),
                ("tensors", pickle.dumps(0, 2)),
                ("pickle", body),
            ):
                entry = tarfile.TarInfo(member)
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
    assert_bounded(path, rf"asks for the Python object [\w.]*{name}")
    assert not marker.exists()


def test_a_name_is_printed_harmlessly(tmp_path):
    body = b"\x80\x02cos\x1b[31m\nsys\x07tem\n."
    path = write_zip(tmp_path / "file.pth", {"data.pkl": body})
    assert_bounded(path, r"the Python object os\\x1b\[31m\.sys\\x07tem, ")


BOMBS = {
    "memo index of 2 billion": b"\x80\x02}r\xff\xff\xff\x7f.",
    "a million dicts": b"\x80\x02(" + b"}" * 1_000_000 + b"l.",
    "a million marks": b"\x80\x02" + b"(" * 1_000_000 + b".",
    "a million memos": b"\x80\x04}" + b"\x94" * 1_000_000 + b".",
    "a million copies": b"\x80\x02}" + b"2" * 1_000_000 + b".",
    "protocols without end": b"\x80\x02}" + b"\x80\x02" * 1_000_000 + b".",
    "pushing and popping without end": b"\x80\x02" + b"}0" * 1_000_000 + b".",
    "doubling tuples": b"\x80\x02)" + b"2\x86" * 1_000_000 + b".",
    "deep lists": b"\x80\x02" + b"]" * 300_000 + b"a" * 299_999 + b".",
    "a deep tuple as a key": b"\x80\x02})" + b"\x85" * 300_000 + b"Ns.",
    "text of 4 GB": b"\x80\x02X\xff\xff\xff\xffabc.",
    "bytes of 2^63": b"\x80\x04\x8e" + struct.pack("<Q", 2**63) + b"abc.",
    "a negative length": b"\x80\x02T\xff\xff\xff\xffabc.",
    "an integer of 2 GB": b"\x80\x02\x8b\xff\xff\xff\x7f" + b"\1" * 100 + b".",
    "a million placeholders": b"\x80\x02(" + b"ca\nb\n" * 1_000_000 + b"l.",
    "names without end": b"\x80\x02(" + b"".join(b"c%x\nb\n" % i for i in range(200_000)) + b"l.",
    "long names": b"\x80\x02("
    + b"".join(b"c%x\n%s\n" % (i, b"\xff\xfe" * 40) for i in range(100_000))
    + b"l.",
    "calls of calls": b"\x80\x02ca\nb\n" + b")R" * 500_000 + b".",
    "calls in arguments": b"\x80\x02ca\nb\n0" + b"ca\nb\n" * 30_000 + b")" + b"R\x85" * 30_000 + b".",
    "state in state": b"\x80\x02" + b"ca\nb\n" * 50_000 + b"b" * 49_999 + b".",
    "a placeholder in itself": b"\x80\x02ca\nb\nq\0h\0b(h\0h\0uh\0a.",
    "doubling placeholders": b"\x80\x02ca\nb\nq\0" + b"ca\nb\n(h\0h\0tRq\0" * 60 + b"}X\1\0\0\0ah\0s.",
    "doubling lists": b"\x80\x02]q\0" + b"](h\0h\0eq\0" * 60 + b"}X\1\0\0\0ah\0s.",
    "extensions": b"\x80\x02(" + b"\x82\1" * 300_000 + b"l.",
    "classes as keys": b"\x80\x02}(" + b"ca\nb\nN" * 100_000 + b"u.",
    "20 MB of text with one wide character": b"\x80\x02X"
    + struct.pack("<I", 20_000_004)
    + "\U0001f600".encode()
    + b"a" * 20_000_000
    + b".",
    "colliding keys": b"\x80\x02}("
    + b"".join(b"\x8a\x0b" + ((2**61 - 1) * k).to_bytes(11, "little") + b"N" for k in range(1000))
    + b"u.",
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_pickle_bombs(tmp_path, bomb):
    assert_bounded(write_zip(tmp_path / "file.pth", {"data.pkl": BOMBS[bomb]}))


def test_a_pickle_bomb_in_a_legacy_file(tmp_path):
    (tmp_path / "file.pth").write_bytes(LEGACY_HEAD + BOMBS["a million dicts"])
    assert_bounded(tmp_path / "file.pth", "needs more than 48 MB of memory")


def tensor_pickle(storage: str, offset="K\0", shape=b"(K\2K\3t", strides=b"(K\3K\1t") -> bytes:
    """{'conv_first.weight': a tensor} with sizes of one's choice, as raw opcodes."""
    return (
        b"\x80\x02}X\x11\x00\x00\x00conv_first.weightctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storage"
        + f"ctorch\n{storage}\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x06tQ".encode()
        + (offset.encode() if isinstance(offset, str) else offset)
        + shape
        + strides
        + b"\x89ccollections\nOrderedDict\n)RtRs."
    )


BIG = b"\x8a\x08" + struct.pack("<q", 2**50)
NEGATIVE = b"J\xff\xff\xff\xff"
TENSORS = {
    "beyond its storage": {"shape": b"(K\3K\3t"},
    "offset beyond": {"offset": b"K\1"},
    "huge offset": {"offset": BIG},
    "negative offset": {"offset": NEGATIVE},
    "negative stride": {"strides": b"(K\3" + NEGATIVE + b"t"},
    "negative size": {"shape": b"(" + NEGATIVE + b"K\3t"},
    "huge shape of nothing": {"shape": b"(K\0" + BIG + BIG + b"t", "strides": b"(K\0K\0K\0t"},
    "huge shape of stride 0": {"shape": b"(" + BIG + b"K\3t", "strides": b"(K\0K\0t"},
    "a hundred axes": {"shape": b"(" + b"K\1" * 100 + b"t", "strides": b"(" + b"K\1" * 100 + b"t"},
    "strides of another length": {"strides": b"(K\1t"},
    "a shape that is a number": {"shape": b"K\6"},
    "sizes that are text": {"shape": b"(X\1\0\0\0aX\1\0\0\0bt"},
}


@pytest.mark.parametrize("tensor", TENSORS)
def test_impossible_tensors(tmp_path, tensor):
    good = {"data.pkl": tensor_pickle("FloatStorage"), "data/0": bytes(24)}
    tree = containers.read(write_zip(tmp_path / "good.pth", good)).tree
    assert tree["conv_first.weight"].shape == (2, 3)
    entries = {"data.pkl": tensor_pickle("FloatStorage", **TENSORS[tensor]), "data/0": bytes(24)}
    assert_bounded(write_zip(tmp_path / "file.pth", entries))


def test_a_storage_of_another_size(tmp_path):
    for data in (bytes(20), bytes(28), b""):
        path = write_zip(tmp_path / "file.pth", {"data.pkl": tensor_pickle("FloatStorage"), "data/0": data})
        assert_bounded(path, "another size than it says")


def test_tensors_that_repeat_one_element_are_limited(tmp_path):
    shape = b"(M\x00\x20M\x00\x20t"  # 8192 x 8192 float32 are 256 MB
    entries = {
        "data.pkl": tensor_pickle("FloatStorage", shape=shape, strides=b"(K\0K\0t"),
        "data/0": bytes(24),
    }
    assert_bounded(write_zip(tmp_path / "file.pth", entries), "far larger than the file")


def test_zip_bombs(tmp_path):
    zeros = bytes(200_000_000)
    entries = {"data.pkl": tensor_pickle("FloatStorage"), "data/0": zeros}
    path = write_zip(tmp_path / "bomb.pth", entries, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1_000_000
    assert_bounded(path, "zip bomb")
    assert_bounded(write_zip(tmp_path / "a.pth", {"data.pkl": b"}" * 9999}, zipfile.ZIP_DEFLATED), "zip bomb")
    small = {"data.pkl": tensor_pickle("FloatStorage"), "data/0": bytes(24), "rest": os.urandom(3000)}
    assert_bounded(write_zip(tmp_path / "small.pth", small, zipfile.ZIP_DEFLATED), "compressed or encrypted")


def test_zip_entries_that_overlap(tmp_path):
    """Many directory entries for the same bytes: the directory is copied a hundred times."""
    path = write_zip(tmp_path / "file.pth", {"data.pkl": b"\x80\x02}.", "data/0": bytes(100_000)})
    data = path.read_bytes()
    directory = data.index(b"PK\x01\x02")
    end = data.index(b"PK\x05\x06")
    entry = data[data.index(b"PK\x01\x02", directory + 4) : end]
    many = data[:end] + entry * 100
    tail = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 102, 102, len(many) - directory, directory, 0)
    path.write_bytes(many + tail)
    # Equal names are one entry to the reader; different ones are added up.
    renamed = b"".join(entry.replace(b"data/0", b"data/%c" % (i + 48)) for i in range(50))
    many = data[:end] + renamed
    tail = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 52, 52, len(many) - directory, directory, 0)
    path.write_bytes(many + tail)
    assert_bounded(path, "zip")


def test_a_zip_directory_without_end(tmp_path):
    path = tmp_path / "file.pth"
    path.write_bytes(b"PK\x03\x04" + b"PK\x01\x02" * 200_000)
    assert_bounded(path, "absurdly long")


def test_names_with_dots_are_only_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outside = tmp_path / "outside"
    path = tmp_path / "in" / "file.pth"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../outside", b"x")
        archive.writestr(
            "../archive/data.pkl",
            tensor_pickle("FloatStorage"),
        )
        archive.writestr("../archive/data/0", bytes(24))
    assert containers.read(path).tree["conv_first.weight"].shape == (2, 3)
    assert not outside.exists()
    import tarfile

    with tarfile.open(path, "w") as tar:
        for name in ("../outside", "/etc/outside", "storages"):
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    assert_bounded(path, "tar archive without tensors")
    assert not outside.exists()


def safetensors_file(path: Path, header: bytes, data: bytes = bytes(24)) -> Path:
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)
    return path


HEADERS = {
    "not JSON": b"{abc",
    "deep JSON": b'{"a":' + b"[" * 200_000,
    "a list": b"{}".replace(b"{}", b'{"a":[1,2]}'),
    "no dtype": b'{"a":{"shape":[1],"data_offsets":[0,4]}}',
    "unknown dtype": b'{"a":{"dtype":"F6_E2M3","shape":[4],"data_offsets":[0,4]}}',
    "beyond the data": b'{"a":{"dtype":"F32","shape":[100],"data_offsets":[0,400]}}',
    "offsets that do not fit": b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}',
    "offsets the wrong way": b'{"a":{"dtype":"F32","shape":[0],"data_offsets":[8,4]}}',
    "huge shape": b'{"a":{"dtype":"F32","shape":[1073741824,1073741824,1073741824],"data_offsets":[0,24]}}',
    "huge numbers": b'{"a":{"dtype":"F32","shape":[' + b"9" * 10_000 + b'],"data_offsets":[0,24]}}',
    "huge and empty": b'{"a":{"dtype":"F32","shape":[0,1152921504606846975],"data_offsets":[0,0]}}',
    "negative": b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,-4]}}',
    "true": b'{"a":{"dtype":"F32","shape":[true],"data_offsets":[0,4]}}',
    "text": b'{"a":{"dtype":"F32","shape":"1","data_offsets":"04"}}',
    "metadata of another kind": b'{"__metadata__":{"scale":4}}',
    "many tensors of one place": b"{"
    + b",".join(b'"t%d":{"dtype":"F32","shape":[6],"data_offsets":[0,24]}' % i for i in range(50))
    + b"}",
}


@pytest.mark.parametrize("header", HEADERS)
def test_safetensors_headers(tmp_path, header):
    assert_bounded(safetensors_file(tmp_path / "file.safetensors", HEADERS[header]))


def test_a_safetensors_header_of_absurd_length(tmp_path):
    path = tmp_path / "file.safetensors"
    for length in (2**63, 100, 30_000_000):
        path.write_bytes(struct.pack("<Q", length) + b"{" + bytes(50))
        assert_bounded(path, "cut off or absurdly long")
    path = safetensors_file(path, b'{"a":' + b"[]," * 10_000_000)
    assert_bounded(path, "cut off or absurdly long")


def test_a_model_of_absurd_width(tmp_path):
    """Sizes are read off one array; that they are real is checked before anything of that size is made."""
    state_dict = weight_files.generator(**weight_files.TINY)
    state_dict["conv_first.weight"] = np.zeros((200_000, 3, 3, 3), np.float32)
    containers.write(tmp_path / "file.safetensors", state_dict)
    assert_bounded(tmp_path / "file.safetensors", "has .* of shape")


def test_quantised_weights(tmp_path):
    state_dict = {
        name: value.astype(np.int8) for name, value in weight_files.generator(**weight_files.TINY).items()
    }
    containers.write(tmp_path / "file.safetensors", state_dict)
    assert_bounded(tmp_path / "file.safetensors", "int8: quantised weights cannot be used")
