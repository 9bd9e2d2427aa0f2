import numpy as np
import pytest
from helpers.commands import write_picture
from PIL import Image

from esrgan_jax.data.sources import open_pairs
from esrgan_jax.data.split import MAX_HELD_OUT, choose_held_out, read_contents
from esrgan_jax.errors import DataError


@pytest.fixture
def folder(tmp_path):
    for size in range(24, 36):
        write_picture(tmp_path / "photos" / f"{size}.png", size)
    return tmp_path / "photos"


def sides(folder, **options):
    """The names on each side."""
    train, held_out = (
        open_pairs(f"split:{folder}", split=split, scale=2, **options) for split in ("train", "validation")
    )
    assert len(train[0]["hr"]) == train.hr_size(0)[0] // 2 * 2
    return [
        {source.name(index).rpartition("/")[2] for index in range(len(source))}
        for source in (train, held_out)
    ]


def test_every_picture_is_on_one_side(folder):
    train, held_out = sides(folder)
    assert len(held_out) == 1
    assert train | held_out == {f"{size}.png" for size in range(24, 36)}
    assert not train & held_out


def test_copies_fall_on_one_side(folder):
    _, (name,) = sides(folder)
    with Image.open(folder / name) as picture:
        picture.save(folder / "saved_again.tif")
    (folder / "below").mkdir()
    (folder / "below" / "copy.png").write_bytes((folder / name).read_bytes())
    (folder / name).rename(folder / "renamed.png")
    train, held_out = sides(folder)
    assert held_out == {"saved_again.tif", "copy.png", "renamed.png"}
    assert len(train) == 11


def test_given_contents_stay_held_out_when_pictures_are_added(folder):
    contents = read_contents(sorted(folder.iterdir()), {})
    _, before = sides(folder)
    for size in range(36, 60):
        write_picture(folder / f"{size}.png", size)
    assert sides(folder, held_out=choose_held_out(contents.values()))[1] == before


def test_how_many():
    contents = [f"{number:016x}" for number in np.random.default_rng(0).permutation(1000)]
    assert [len(choose_held_out(contents[:count])) for count in (1, 3, 14, 16, 120, 1000)] == [
        1,
        1,
        1,
        2,
        12,
        20,
    ]
    assert choose_held_out(contents) == tuple(sorted(contents)[:MAX_HELD_OUT])
    assert choose_held_out(contents[:1] * 50) == tuple(contents[:1])


def test_damaged_pictures_are_on_no_side(folder):
    cut = folder / "24.png"
    cut.write_bytes(cut.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"24\.png is incomplete or damaged"):
        sides(folder)
    skipped = {}
    train, held_out = sides(folder, skipped=skipped)
    assert list(skipped) == [str(cut)]
    assert "24.png" not in train | held_out


def test_nothing_on_a_side(folder):
    with pytest.raises(DataError, match=r"No picture of .*photos is held out"):
        sides(folder, held_out=("0" * 16,))
