"""Which tiles are chosen, and what is said where none fits."""

import jax
import pytest

from esrgan_jax.errors import ConfigError, InferenceError
from esrgan_jax.inference import tile_sizes
from esrgan_jax.inference.tile_sizes import DEFAULT_OVERLAP, TileSizes, tile_bytes
from esrgan_jax.models import RRDBNet
from esrgan_jax.system.memory import free_bytes, host_bytes

FULL = RRDBNet()


def sizes(module=FULL, tile=None, overlap=None, memory=None, monkeypatch=None):
    if memory is not None:
        monkeypatch.setattr(tile_sizes, "free_bytes", lambda devices: memory)
    return TileSizes(module, tile, overlap, "float32", jax.local_devices()[:1])


@pytest.mark.parametrize(
    ("picture", "tile"),
    [((1, 1), 64), ((64, 64), 64), ((65, 3), 128), ((200, 256), 256), ((512, 300), 512), ((4000, 6000), 512)],
)
def test_the_smallest_that_holds_the_picture(picture, tile, monkeypatch):
    assert sizes(memory=8 << 30, monkeypatch=monkeypatch).choose(*picture).tile == tile


def test_the_least_work(monkeypatch):
    """A picture that is a little larger than a tile is not cut into four of that size."""
    chosen = sizes(memory=8 << 30, monkeypatch=monkeypatch).choose(530, 530)
    assert chosen.count * chosen.tile**2 < 4 * 512**2


def test_memory_bounds_the_tile(monkeypatch):
    for tile in (64, 128, 256, 512):
        enough = tile_bytes(FULL, tile, 4)
        assert sizes(memory=enough, monkeypatch=monkeypatch).choose(4000, 4000).tile == tile
        if tile > 64:
            assert sizes(memory=enough - 1, monkeypatch=monkeypatch).choose(4000, 4000).tile == tile // 2


def test_the_default_overlap_shrinks_with_the_tile(monkeypatch):
    assert sizes(memory=8 << 30, monkeypatch=monkeypatch).choose(4000, 4000).overlap == DEFAULT_OVERLAP
    assert sizes(memory=0, monkeypatch=monkeypatch).choose(4000, 4000).overlap == 32
    assert sizes(tile=128).choose(4000, 4000).overlap == min(DEFAULT_OVERLAP, 64)


def test_exact_tiles_hold_twice_the_radius(monkeypatch):
    chosen = sizes(overlap="exact", memory=1 << 40, monkeypatch=monkeypatch).choose(5000, 5000)
    assert (chosen.tile, chosen.overlap, chosen.blend) == (4096, 698, 0)
    assert sizes(overlap="exact", tile=512).choose(512, 512).count == 1  # no neighbours, no halo
    with pytest.raises(ConfigError, match="more than 698 pixels for this network, but tile is 512"):
        sizes(overlap="exact", tile=512).choose(512, 513)
    little = sizes(overlap="exact", memory=tile_bytes(FULL, 512, 4), monkeypatch=monkeypatch)
    with pytest.raises(ConfigError, match=r"memory allows at most 512\. Give overlap as a number"):
        little.choose(600, 600)
    small = RRDBNet(2, num_block=6)  # 94 pixels of its trunk are 188 of its input
    with pytest.raises(ConfigError, match="more than 376 pixels"):
        sizes(small, overlap="exact", tile=256).choose(200, 200)


def test_an_overlap_that_no_tile_holds(monkeypatch):
    with pytest.raises(
        ConfigError, match=r"overlap \(=100\) must be at most half a tile.*tiles of at most 128"
    ):
        sizes(overlap=100, memory=tile_bytes(FULL, 128, 4), monkeypatch=monkeypatch).choose(600, 600)


def test_lengths_are_of_the_input():
    chosen = sizes(RRDBNet(2), tile=512, overlap=101).choose(4000, 4000)
    assert (chosen.tile, chosen.overlap) == (256, 51)


def test_shrinking_ends_at_the_smallest(monkeypatch):
    chooser = sizes(memory=8 << 30, monkeypatch=monkeypatch)
    for tile in (512, 256, 128):
        assert chooser.choose(4000, 4000).tile == tile
        with pytest.warns(
            UserWarning, match=f"{tile} x {tile} pixels; going on with {tile // 2} x {tile // 2}"
        ):
            chooser.halve(tile)
    with pytest.raises(InferenceError, match="too small even for tiles of 64 x 64"):
        chooser.halve(64)


def test_estimate_is_not_below_what_xla_takes():
    from esrgan_jax.inference.tile_network import _tile_function
    from esrgan_jax.weights.convert import variable_shapes

    module = RRDBNet(num_block=2, num_feat=16, num_grow_ch=8, remat=False)
    tile = jax.ShapeDtypeStruct((1, 256, 256, 3), "float32")
    inside = jax.ShapeDtypeStruct((1, 4), "int32")
    compiled = (
        jax.jit(_tile_function(module)).lower(variable_shapes(module)["params"], tile, inside).compile()
    )
    used = compiled.memory_analysis()
    taken = used.temp_size_in_bytes + used.output_size_in_bytes
    assert taken <= tile_bytes(module, 256, 4) <= 4 * taken


def test_memory_of_the_host(tmp_path):
    """The system's, or what a container leaves; caches that can be dropped do not count as used."""
    proc, groups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable: 4000 kB\n")
    assert host_bytes(proc, groups) == 4_096_000
    (proc / "self/cgroup").write_text("4:cpu,memory:/box\n0::/outer/inner\n")
    for folder, limit in ((groups / "outer/inner", "max"), (groups / "outer", "3000000")):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "memory.max").write_text(f"{limit}\n")
        (folder / "memory.current").write_text("1500000\n")
        (folder / "memory.stat").write_text("anon 1000000\ninactive_file 500000\n")
    assert host_bytes(proc, groups) == 2_000_000
    (groups / "memory/box").mkdir(parents=True)
    for name, value in (("limit", 1_200_000), ("usage", 400_000)):
        (groups / f"memory/box/memory.{name}_in_bytes").write_text(f"{value}\n")
    (groups / "memory/box/memory.stat").write_text("cache 3\ntotal_inactive_file 100000\n")
    assert host_bytes(proc, groups) == 900_000


def test_devices_share_the_host():
    half = host_bytes() // 2
    assert free_bytes(jax.local_devices()) == pytest.approx(half // 8, rel=0.1)
