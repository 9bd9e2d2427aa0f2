"""Python objects beside the weights: whatever they are, they are passed over, and nothing of them is made or run."""

import collections
import datetime
import decimal
import enum
import fractions
import functools
import json
import pathlib
import pickle
import subprocess
import sys
import types
import uuid
import zipfile
from pathlib import Path

import numpy as np
import pytest
from helpers import weight_files

from esrgan_jax.errors import WeightFileError
from esrgan_jax.weights.formats import containers
from esrgan_jax.weights.load import open_weights

hypothesis = pytest.importorskip("hypothesis")
st = hypothesis.strategies

NETWORK = weight_files.generator(**weight_files.TINY)


@pytest.fixture(scope="module")
def entries(tmp_path_factory):
    """{name: bytes} of a .pth of one network, bare; its pickle uses no memo, so that others fit around it."""
    path = tmp_path_factory.mktemp("network") / "net.pth"
    containers.write(path, NETWORK)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path, entries, pickle):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, pickle if name.endswith("data.pkl") else data)
    return path


def body(dumped: bytes) -> bytes:
    """A pickle without the protocol in front and the end."""
    return dumped[2 if dumped[:1] == b"\x80" else 0 : -1]


def text(string: str) -> bytes:
    raw = string.encode()
    return b"X" + len(raw).to_bytes(4, "little") + raw


def beside(entries, others: bytes) -> bytes:
    """The pickle of {"others": ..., "params": the network}."""
    return (
        b"\x80\x05}(" + text("others") + others + text("params") + body(entries["archive/data.pkl"]) + b"u."
    )


def assert_weights(path):
    source = open_weights(path)
    network = source.recognise(source.choose(), role="generator")
    assert network.state_dict.keys() == NETWORK.keys()
    for name, array in NETWORK.items():
        assert network.state_dict[name].tobytes() == array.tobytes()
    return source


# --- objects of invented classes -----------------------------------------------------------------------------


class Invented:
    """Objects of classes with names of one's choice, pickled in one of the ways that classes can choose."""

    def __init__(self, module: str, name: str, way: int, contents: list):
        self.module, self.name, self.way, self.contents = module, name, way, contents

    def make(self):
        contents = self.contents
        base = (object, dict, list, object, object, object, Exception)[self.way]
        members = {
            3: {"__reduce__": lambda me: (type(me), tuple(contents), {"state": contents}, iter(contents))},
            4: {"__slots__": ("a",), "__getstate__": lambda me: (None, {"a": contents})},
            5: {
                "__new__": lambda c, *_, **__: object.__new__(c),
                "__getnewargs_ex__": lambda me: ((1,), {"k": 2}),
            },
        }.get(self.way, {})
        module = sys.modules.setdefault(self.module, types.ModuleType(self.module))
        cls = type(self.name, (base,), {**members, "__module__": self.module, "__qualname__": self.name})
        setattr(module, self.name, cls)
        thing = cls()
        if self.way in (0, 5):
            thing.state = contents
        elif self.way == 1:
            thing.update(enumerate(contents))
        elif self.way == 2:
            thing.extend(contents)
        return thing


class Color(enum.Enum):
    RED = 1


KNOWN_THINGS = [
    fractions.Fraction(1, 3),
    decimal.Decimal("1.5"),
    datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC),
    pathlib.PurePosixPath("/data/HR"),
    uuid.UUID(int=5),
    complex(1, 2),
    range(3),
    Color.RED,
    len,
    collections.OrderedDict,
    functools.partial(print, 1),
    np.float64(1.5),
    np.arange(4.0),
    np.dtype("f4"),
    types.SimpleNamespace(a=1, b=[2]),
    collections.deque([1, 2]),
    collections.defaultdict(list, {"a": 1}),
    collections.Counter("aab"),
    ValueError("x"),
    {1, 2},
    frozenset([3]),
    bytearray(b"ab"),
    2**200,
    float("nan"),
    {-1: 2, 0.5: 3, (1, (2, 3)): 4, None: 5, b"x": 6, 2**70: 7, -(2**70): 8, frozenset([1]): 9},
]
NAME = st.text("abcdefghijABCXYZ_019é日", min_size=1, max_size=10).filter(lambda name: not name[0].isdigit())
MODULE = st.lists(NAME, min_size=1, max_size=3).map(lambda names: "invented." + ".".join(names))


def objects():
    leaves = st.sampled_from(KNOWN_THINGS) | st.integers() | st.floats() | st.text() | st.binary() | st.none()
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.text() | st.integers() | st.floats(), inner, max_size=3)
            | st.lists(inner, max_size=2).map(tuple)
            | st.builds(Invented, MODULE, NAME, st.integers(0, 6), st.lists(inner, max_size=2)).map(
                Invented.make
            )
        ),
        max_leaves=6,
    )


@hypothesis.settings(max_examples=150, deadline=None, derandomize=True, database=None)
@hypothesis.given(thing=objects(), protocol=st.integers(0, 5))
def test_objects_of_any_kind_beside_the_weights(thing, protocol, entries, tmp_path_factory):
    try:
        others = body(pickle.dumps(thing, protocol))
    except (TypeError, AttributeError, pickle.PicklingError, ValueError):
        hypothesis.reject()  # an old protocol has no way to write it
    finally:
        for name in [name for name in sys.modules if name.startswith("invented.")]:
            del sys.modules[name]
    path = write(tmp_path_factory.getbasetemp() / "file.pth", entries, beside(entries, others))
    assert_weights(path)
    assert not [name for name in sys.modules if name.startswith("invented.")]


@pytest.mark.parametrize("way", range(3))
@pytest.mark.parametrize("protocol", [2, 4])
def test_the_state_dict_itself_is_an_object(entries, tmp_path, way, protocol):
    """Of a class that is a dict, of one that is called with a dict, of one that has a dict as its state."""
    network = body(entries["archive/data.pkl"])
    items = network[network.index(b"R(") + 1 :]  # after the empty OrderedDict
    name = (
        b"cinvented.module\nClass\n" if protocol == 2 else text("invented.module") + text("Class") + b"\x93"
    )
    pickled = (name + b")\x81" + items, name + network + b"\x85R", name + b")\x81" + network + b"b")[way]
    for whole in (pickled, b"}" + text("model") + pickled + b"s", b"]" + pickled + b"a"):
        path = write(tmp_path / "file.pth", entries, b"\x80" + bytes([protocol]) + whole + b".")
        assert assert_weights(path).left_out == ["invented.module.Class"]


def test_what_is_left_out_is_named(entries, tmp_path):
    others = b"](cposix\nsystem\n" + text("touch x") + b"\x85Rcmm\x1bengine.logging\nHistory\n)\x81e"
    path = write(tmp_path / "file.pth", entries, beside(entries, others))
    assert assert_weights(path).left_out == ["posix.system", r"mm\x1bengine.logging.History"]


def test_a_whole_module(tmp_path):
    torch = pytest.importorskip("torch")
    from reference import networks

    module = networks.RRDBNet(**weight_files.TINY)
    module.load_state_dict({name: torch.from_numpy(array) for name, array in NETWORK.items()})
    for legacy in (False, True):
        torch.save({"epoch": 3, "net": module}, tmp_path / "a.pth", _use_new_zipfile_serialization=not legacy)
        assert "reference.networks.RRDBNet" in assert_weights(tmp_path / "a.pth").left_out


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_tensors_of_other_kinds(tmp_path):
    torch = pytest.importorskip("torch")
    tree = {name: torch.from_numpy(array) for name, array in NETWORK.items()}
    ones = torch.ones(2, 3)
    others = {
        "quantised": torch.quantize_per_tensor(ones, 0.1, 0, torch.qint8),
        "complex": ones.to(torch.complex64),
        "uint16": ones.to(torch.uint16),
        "sparse": ones.to_sparse(),
        "meta": torch.ones(3, device="meta"),
    }
    for legacy in (False, True):
        path = tmp_path / "a.pth"
        torch.save({"params": tree, "others": others}, path, _use_new_zipfile_serialization=not legacy)
        assert_weights(path)
        float8 = {name: value.to(torch.float8_e4m3fn) for name, value in tree.items()}
        torch.save(float8, path, _use_new_zipfile_serialization=not legacy)
        for name, array in open_weights(path).choose().state_dict.items():
            assert np.array_equal(array.astype(np.float32), float8[name].float().numpy())
        quantised = {
            **tree,
            "conv_hr.weight": torch.quantize_per_tensor(tree["conv_hr.weight"], 0.1, 0, torch.qint8),
        }
        torch.save(quantised, path, _use_new_zipfile_serialization=not legacy)
        source = open_weights(path)
        with pytest.raises(WeightFileError, match=r"has conv_hr\.weight in quantised .* take the originals"):
            source.variables(source.recognise(source.choose()))


# --- nothing happens -------------------------------------------------------------------------------------------

COMMAND = text("touch IT_RAN") + b"\x85"
HOSTILE = {
    "REDUCE": b"cposix\nsystem\n" + COMMAND + b"R",
    "REDUCE eval": b"cbuiltins\neval\n" + text("__import__('os').system('touch IT_RAN')") + b"\x85R",
    "STACK_GLOBAL": text("canary") + text("boom") + b"\x93)R",
    "GLOBAL": b"ccanary\nboom\n",
    "INST": b"(" + text("touch IT_RAN") + b"iposix\nsystem\n",
    "OBJ": b"(cposix\nsystem\n" + text("touch IT_RAN") + b"o",
    "NEWOBJ": b"csubprocess\nPopen\n" + COMMAND + b"\x81",
    "NEWOBJ_EX": b"csubprocess\nPopen\n" + COMMAND + b"}" + text("shell") + b"\x88s\x92",
    "BUILD": b"ccanary\nBoom\n)\x81}" + text("__reduce__") + b"cposix\nsystem\nsb",
    "BUILD with __setstate__": b"ccanary\nBoom\n)\x81}"
    + text("__setstate__")
    + b"cposix\nsystem\nsb"
    + COMMAND
    + b"b",
    "BUILD on a known thing": b"ccollections\nOrderedDict\n)R}" + text("__class__") + b"cposix\nsystem\nsb",
    "SETITEMS": b"ccanary\nBoom\n)\x81(" + text("a") + b"K\1u",
    "APPENDS": b"ccanary\nBoom\n)\x81(K\1K\2e",
    "ADDITEMS": b"ccanary\nBoom\n)\x81(K\1K\2\x90",
    "EXT1": b"\x82\1)R",
    "EXT2": b"\x83\1\1)R",
    "EXT4": b"\x84\1\1\1\1)R",
    "persistent id": b"ccanary\nboom\nQ",
    "persistent id in a tuple": b"("
    + text("storage")
    + b"ccanary\nboom\n"
    + text("0")
    + text("cpu")
    + b"K\1tQ",
    "persistent id of text": b"Pcanary.boom\n",
    "getattr": b"cbuiltins\ngetattr\nccanary\nBoom\n" + text("boom") + b"\x86R)R",
    "a chain": b"cbuiltins\ngetattr\ncbuiltins\n__import__\n"
    + text("os")
    + b"\x85R"
    + text("system")
    + b"\x86R"
    + COMMAND
    + b"R",
    "apply": b"cfunctools\npartial\ncposix\nsystem\n" + text("touch IT_RAN") + b"\x86R)R",
    "torch.load": b"ctorch\nload\n" + text("file.pth") + b"\x85R",
    "dotted name": b"ctorch\n_utils.os.system\n" + COMMAND + b"R",
    "a tensor of it": b"ctorch._utils\n_rebuild_tensor_v2\n(cposix\nsystem\nK\0)))tR",
    "a parameter of it": b"ctorch._utils\n_rebuild_parameter\ncposix\nsystem\n\x85R" + COMMAND + b"R",
    "a subclass of it": b"ctorch._tensor\n_rebuild_from_type_v2\n(cposix\nsystem\nN" + COMMAND + b"NtR",
    "an OrderedDict of it": b"ccollections\nOrderedDict\n(cposix\nsystem\nNt\x85\x85R",
    "as a key": b"}cposix\nsystem\n" + COMMAND + b"RNs",
    "memo": b"cposix\nsystem\nq\x630h\x63" + COMMAND + b"R",
    "deep": b"]" * 3000 + b"cposix\nsystem\n" + COMMAND + b"R" + b"a" * 3000,
    "deep calls": b"ccanary\nBoom\n" * 2000 + b")" + b"R\x85" * 2000,
}

SCRIPT = r"""
import json, random, resource, sys, time
from pathlib import Path

from esrgan_jax.weights.formats import pth
from esrgan_jax.weights.state_dicts import find_state_dicts

folder, mutations, objects = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
sys.path.insert(0, str(folder / "modules"))
events, watching = set(), False


class Archive:
    "A zip .pth in memory."

    def __init__(self, pickle):
        self.entries = {"archive/data.pkl": memoryview(pickle), "archive/data/0": memoryview(bytes(36))}
        self.names, self.read = self.entries.keys, self.entries.__getitem__


def hook(event, arguments):
    if watching and event != "builtins.id":  # ours: an object that occurs often is looked at once
        events.add(f"{event} {arguments!r:.100}")


def read(pickle):
    "Reads a pickle and looks through it; returns whether it is one, and the names of what was left out."
    global watching
    archive, left_out, well = Archive(pickle), {}, False
    watching = True
    try:
        find_state_dicts(pth.read_zip(archive, left_out))
        well = True
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError):
        pass  # what containers.read calls damaged
    watching = False
    return well, list(left_out)


pickles = {file.stem: file.read_bytes() for file in sorted(folder.glob("*.pkl"))}
read(pickles["good"])  # whatever is imported late, is imported now
sys.addaudithook(hook)
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 200_000_000, used + 200_000_000))
named = {name: read(pickle)[1] for name, pickle in pickles.items()}

small = [pickle for pickle in pickles.values() if len(pickle) < 3000]
opcodes = b"(.0123FINBCJKLMPQRSTUVXabcdeghijlopqrstu}]" + bytes(range(0x80, 0x99))
dice = random.Random(0)
slowest, well, reached = 0.0, 0, 0
for _ in range(mutations):
    pickle = bytearray(dice.choice(small))
    for _ in range(dice.randint(1, 3)):
        at = dice.randrange(min(objects, len(pickle) - 1) if dice.random() < 0.8 else 0, len(pickle))
        kind = dice.randrange(4)
        if kind == 0:
            pickle[at] = dice.randrange(256)
        elif kind == 1:
            pickle[at:at] = bytes([dice.choice(opcodes)])
        elif kind == 2:
            del pickle[at : at + dice.randint(1, 3)]
        else:
            other = dice.choice(small)
            start = dice.randrange(len(other))
            pickle[at:at] = other[start : start + dice.randint(1, 40)]
    began = time.process_time()
    whole, left_out = read(bytes(pickle))
    slowest = max(slowest, time.process_time() - began)
    well, reached = well + whole, reached + bool(left_out)
modules = [name for name in sys.modules if name.partition(".")[0] in ("canary", "torch", "invented")]
report = dict(events=sorted(events), named=named, slowest=slowest, well=well, reached=reached, modules=modules)
print(json.dumps(report))
"""


def test_nothing_is_imported_called_or_opened(entries, tmp_path):
    """33 ways to have something run, and 10,000 mutations of them, under Python's audit hooks and a memory limit."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "canary.py").write_text("open('IT_RAN', 'w')\n\ndef boom():\n    pass\n")
    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + b"K\x09tQ"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\0(K\1K\1K\3K\3t(K\x09K\x09K\3K\1t\x89)tR"
    weights = text("conv_first.weight") + tensor
    (tmp_path / "good.pkl").write_bytes(b"\x80\x04}" + weights + b"s.")
    for name, opcodes in HOSTILE.items():
        (tmp_path / f"{name}.pkl").write_bytes(b"\x80\x04}(" + weights + text("x") + opcodes + b"u.")
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path), "10000", str(len(weights) + 10)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    report = json.loads(result.stdout)
    assert report["events"] == []
    assert report["modules"] == []
    assert not list(tmp_path.rglob("IT_RAN"))
    assert report["slowest"] < 10
    assert report["reached"] > 5000  # mutations that get as far as an object
    assert report["well"] > 500
    for name in ("REDUCE", "INST", "OBJ", "memo", "deep", "as a key", "dotted name"):
        assert any("system" in left_out for left_out in report["named"][name]), name
    assert report["named"]["EXT4"] == ["extension 16843009"]


@pytest.mark.parametrize("name", HOSTILE)
def test_weights_beside_hostile_objects_are_read_or_refused_by_name(entries, tmp_path, name):
    path = write(tmp_path / "file.pth", entries, beside(entries, HOSTILE[name]))
    try:
        assert_weights(path)
    except WeightFileError as error:
        assert name in ("persistent id of text", "a tensor of it", "an OrderedDict of it", "a subclass of it")
        assert str(path) in str(error)
    assert not Path("IT_RAN").exists()
