"""Pictures that changed between two starts of a run: which are refused, which are noted, and by what words."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from configs import quickstart
from esrgan_jax.data.sources import open_pairs
from esrgan_jax.errors import ConfigError
from esrgan_jax.training.claim import claim_pictures
from esrgan_jax.training.pictures import PICTURES_FILE, changed_pictures, describe_pictures


def write(path, height=40, width=48, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, height])
    Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(path)


@pytest.fixture
def pictures(tmp_path):
    """Five to train on, with LR, two held out, and a second set."""
    for number, name in enumerate(("a", "b", "c", "deep/d", "deep/e")):
        write(tmp_path / f"hr/{name}.png", 40 + 4 * number)
        write(tmp_path / f"lr/{name}.png", 10 + number, 12)
    for number, name in enumerate(("x", "y")):
        write(tmp_path / f"held_out/{name}.png", 60 + 4 * number)
        write(tmp_path / f"more/{name}.png", 80 + 4 * number)
    return tmp_path


@pytest.fixture
def claim(pictures):
    """Starts the run: returns its notes. It has a checkpoint from the second start on."""
    run = pictures / "run"
    run.mkdir()

    def start(resume=None, **data):
        config = quickstart.get_config().to_dict()
        config["resume"] = resume
        config["data"] |= {"train": str(pictures / "hr"), "validation": str(pictures / "held_out")} | data
        data = config["data"]
        train, validation = (
            open_pairs(
                data[name], split=name, scale=4, lr=data[f"{name}_lr"], weights=(), held_out=data["held_out"]
            )
            for name in ("train", "validation")
        )
        try:
            return claim_pictures(config, run, train, validation)
        finally:
            (run / "checkpoints/psnr/5").mkdir(parents=True, exist_ok=True)

    return start


def refuse(claim, **data):
    """The sentence; started again as it was told to, the run goes on, says the same, and is content from then on."""
    with pytest.raises(ConfigError) as caught:
        claim(**data)
    text = str(caught.value)
    changes = text.partition("holds a run on other pictures, ")[2].partition(": put the old ones back, ")[0]
    assert text.endswith("choose another --workdir, or go on with other numbers by --config.resume=force.")
    notes = claim(resume="force", **data)
    assert [note for note in notes if "data.train " in note] == [
        f"changed since the last start: {change}" for change in changes.split("; data.train")[:1]
    ]
    assert claim(**data) == []
    return changes


def test_same_pictures(claim):
    assert claim() == []
    assert claim() == []


def test_pictures_that_are_gone(claim, pictures):
    claim()
    (pictures / "hr/b.png").unlink()
    assert refuse(claim) == "data.train (was 5 pictures, is 4: b.png is gone)"
    shutil.rmtree(pictures / "hr/deep")
    assert refuse(claim) == "data.train (was 4 pictures, is 2: deep/d.png, deep/e.png are gone)"


def test_picture_that_is_another_one(claim, pictures):
    claim()
    write(pictures / "hr/deep/d.png", 100)
    (pictures / "hr/a.png").rename(pictures / "hr/z.png")
    assert refuse(claim) == (
        "data.train (was 5 pictures, is 5: a.png is gone; deep/d.png has changed; z.png is new)"
    )


def test_pictures_that_are_new(claim, pictures):
    """A folder may grow."""
    claim()
    for number in range(5):
        write(pictures / f"hr/new{number}.png", 60)
    assert claim() == [
        "changed since the last start: data.train (was 5 pictures, is 10: new0.png, new1.png, new2.png and 2 more "
        "are new)"
    ]
    assert claim() == []


def test_held_out_pictures(claim, pictures):
    claim()
    (pictures / "held_out/x.png").unlink()
    assert claim() == ["changed since the last start: data.validation (was 2 pictures, is 1: x.png is gone)"]


def test_lr_pictures(claim, pictures):
    lr = str(pictures / "lr")
    claim(train_lr=lr)
    write(pictures / "lr/deep/e.png", 14, 12, seed=5)
    data = (pictures / "lr/deep/e.png").read_bytes()
    (pictures / "lr/deep/e.png").write_bytes(data + b"\0")  # of the same size in pixels, not in bytes
    assert refuse(claim, train_lr=lr) == "data.train (was 5 pictures, is 5: LR deep/e.png has changed)"


def test_several_folders(claim, pictures):
    both = f"{pictures / 'hr'},{pictures / 'more'}"
    claim(train=both)
    (pictures / "more/y.png").unlink()
    assert refuse(claim, train=both) == "data.train (was 2 pictures, is 1: y.png is gone)"


def test_folder_that_moves(claim, pictures):
    claim()
    (pictures / "hr").rename(pictures / "elsewhere")
    assert claim(train=str(pictures / "elsewhere")) == []
    (pictures / "link").symlink_to("elsewhere")
    assert claim(train=str(pictures / "link")) == []


def test_folder_with_other_pictures(claim, pictures):
    claim()
    assert refuse(claim, train=str(pictures / "more")).startswith(
        "data.train (was 5 pictures, is 2: a.png, b.png, c.png and 2 more are gone; x.png, y.png are new)"
    )


def test_split_folder(claim, pictures):
    folder = f"split:{pictures / 'hr'}"
    claim(train=folder, validation=folder)
    record = json.loads((pictures / "run" / PICTURES_FILE).read_text())
    counts = {field: [source["count"] for source in sources] for field, sources in record.items()}
    assert counts == {"data.train": [4], "data.validation": [1]}
    (name,) = record["data.validation"][0]["files"]
    (trained, *_) = record["data.train"][0]["files"]
    (pictures / "hr" / trained).unlink()
    held_out = open_pairs(folder, split="validation", scale=4).files
    if held_out == [pictures / "hr" / name]:  # which is chosen by contents
        assert refuse(claim, train=folder, validation=folder) == (
            f"data.train (was 4 pictures, is 3: {trained} is gone)"
        )


def test_sources_without_files(claim):
    assert claim(train="sample") == []
    assert claim(train="sample") == []


def test_shards_of_a_tfds_set(tmp_path):
    """Prepared again, it is told by the sizes of its files, wherever they lie."""

    class Set:
        def __init__(self, count, *shards):
            self.count, self.shards = count, shards

        def __len__(self):
            return self.count

    for folder, size in (("one", 10), ("two", 10), ("three", 11)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "train-0").write_bytes(bytes(size))
    one, two, three, fewer = (
        {"data.train": describe_pictures("tfds:some", None, source)}
        for source in (
            Set(7, tmp_path / "one/train-0"),
            Set(7, tmp_path / "two/train-0"),
            Set(7, tmp_path / "three/train-0"),
            Set(6, tmp_path / "two/train-0"),
        )
    )
    assert changed_pictures(one, two) == ([], [])
    assert changed_pictures(one, three) == (["data.train (was 7 pictures, is 7: train-0 has changed)"], [])
    assert changed_pictures(one, fewer) == (["data.train (was 7 pictures, is 6)"], [])


@pytest.mark.parametrize("content", [None, "", "[]", "{", '{"data.train": []}'])
def test_run_that_does_not_know_its_pictures(claim, pictures, content):
    """Begun by an earlier version, or damaged: nothing is said, and it knows them from now on."""
    claim()
    path = pictures / "run" / PICTURES_FILE
    path.unlink() if content is None else path.write_text(content)
    (pictures / "hr/b.png").unlink()
    assert claim() == []
    (pictures / "hr/a.png").unlink()
    assert "was 4 pictures, is 3: a.png is gone" in refuse(claim)


def test_run_without_a_checkpoint(claim, pictures):
    """There is nothing yet that another set could change."""
    claim()
    shutil.rmtree(pictures / "run/checkpoints")
    (pictures / "hr/b.png").unlink()
    assert claim() == []


def test_picture_that_goes_while_it_is_described(pictures):
    source = open_pairs(str(pictures / "hr"), split="train", scale=4)
    (pictures / "hr/b.png").unlink()
    (pictures / "hr/c.png").unlink()
    (pictures / "hr/c.png").symlink_to("nowhere")
    (described,) = describe_pictures(str(pictures / "hr"), None, source)
    assert [described["files"][f"{name}.png"] > 0 for name in "abc"] == [True, False, False]


def test_names_that_are_no_utf8(claim, pictures):
    name = b"caf\xe9.png".decode(errors="surrogateescape")
    try:
        write(pictures / "hr" / name)
    except OSError:
        pytest.skip("this file system has names in UTF-8 only")
    claim()
    assert claim() == []
    (pictures / "hr" / name).unlink()
    assert f"{name} is gone" in refuse(claim)
