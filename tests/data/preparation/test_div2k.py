"""DIV2K's zip files: which, fetched from a local server, checked, and what is found in them."""

from __future__ import annotations

import hashlib
import os
import random
import zipfile

import numpy as np
import pytest
from helpers import div2k_zips
from helpers.web import serve

from esrgan_jax.data.preparation import div2k
from esrgan_jax.data.preparation.div2k import ZipFile, fetch_zip, zip_files, zip_originals
from esrgan_jax.errors import ConfigError, DataError
from esrgan_jax.system import download

HR, LR = div2k_zips.FILES["train", "hr"], div2k_zips.FILES["train", "lr"]


@pytest.fixture(scope="module")
def zips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("zips")
    div2k_zips.write_zips(folder)
    return folder


@pytest.fixture
def server(zips, monkeypatch):
    monkeypatch.setattr(download, "PAUSE", 0.0)
    monkeypatch.setattr(download, "TRIES", 2)
    with serve(zips) as server:
        yield server


@pytest.fixture
def published(zips):
    """The local LR zip file, as if it were the published one."""
    content = (zips / LR).read_bytes()
    return ZipFile(LR, f"http://nowhere.invalid/{LR}", len(content), hashlib.sha256(content).hexdigest())


# Which files.


def test_the_files_of_each_scale():
    files = zip_files(4, with_lr=True)
    assert {kind: file.file for kind, file in files.items()} == {
        f"{part}_{kind}": file for (part, kind), file in div2k_zips.FILES.items()
    }
    assert files["train_hr"].size == 3_530_603_713
    assert {len(bytes.fromhex(file.checksum)) for file in files.values()} == {32}
    assert zip_files(8, with_lr=True)["valid_lr"].file == "DIV2K_valid_LR_x8.zip"
    assert set(zip_files(1, with_lr=False)) == {"train_hr", "valid_hr"}
    with pytest.raises(ConfigError, match=r"--scale 2, 3, 4, 8, not 1"):
        zip_files(1, with_lr=True)


# Fetching.


def test_a_file_is_fetched_once_and_checked_ever_after(server, published, tmp_path, capsys):
    for _ in range(2):
        path = fetch_zip(published, tmp_path / "deep", mirror=f"{server.address}/")
        assert path.read_bytes() == (server.folder / LR).read_bytes()
    assert server.requests == [(LR, None)]
    lines = capsys.readouterr().err
    assert f"download  {server.address}/{LR}, 0 MB" in lines
    assert f"check     {path}" in lines


def test_a_file_that_was_cut_off_is_continued(server, published, tmp_path):
    server.cut_after = published.size // 4
    with pytest.raises(DataError, match=f"{LR} cannot be downloaded .*cut again and again"):
        fetch_zip(published, tmp_path, mirror=server.address)
    assert [file.name for file in tmp_path.iterdir()] == [f"{LR}.part"]
    server.cut_after = None
    fetch_zip(published, tmp_path, mirror=server.address)
    assert server.requests[-1] == (LR, f"bytes={published.size // 4 * 2}-")
    assert (tmp_path / LR).read_bytes() == (server.folder / LR).read_bytes()


def test_another_file_is_refused_unless_it_is_wanted(server, published, tmp_path):
    other = ZipFile(LR, published.address, published.size, "0" * 64)
    with pytest.raises(DataError) as caught:
        fetch_zip(other, tmp_path, mirror=server.address)
    assert f"{server.address}/{LR} is not the {LR} that is published" in str(caught.value)
    assert published.checksum in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    path = fetch_zip(other, tmp_path, mirror=server.address, any_checksum=True)
    with pytest.raises(DataError, match=f"{path} is not the {LR} that is published: remove it"):
        fetch_zip(other, tmp_path, mirror=server.address)
    assert fetch_zip(other, tmp_path, any_checksum=True) == path


def test_a_server_without_the_file_and_an_address_that_is_none(server, published, tmp_path):
    with pytest.raises(DataError) as caught:
        fetch_zip(published, tmp_path, mirror=f"{server.address}/elsewhere")
    assert "Not Found" in str(caught.value)
    assert f"fetch {LR} by other means and put it into {tmp_path}" in str(caught.value)
    with pytest.raises(ConfigError, match="--mirror here is not an address"):
        fetch_zip(published, tmp_path, mirror="here")


# What is in them.


def test_pictures_by_their_numbers(zips):
    originals = zip_originals(zips / HR, zips / LR, 4)
    assert [original.hr.name for original in originals] == [
        f"{zips / HR}/DIV2K_train_HR/{number}.png" for number in div2k_zips.PICTURES["train"]
    ]
    for original, number in zip(originals, div2k_zips.PICTURES["train"], strict=True):
        hr, lr = original.read(4)
        np.testing.assert_array_equal(hr.image, div2k_zips.hr("train", number))
        np.testing.assert_array_equal(lr.image, div2k_zips.lr("train", number))
        assert hr.data == div2k_zips.png(hr.image)
    assert zip_originals(zips / HR, None, 4)[0].read(4)[1] is None


def test_folders_do_not_matter_and_other_files_neither(tmp_path):
    with zipfile.ZipFile(tmp_path / "hr.zip", "w") as archive:
        archive.writestr("0002.png", div2k_zips.png(div2k_zips.hr("train", "0002")))
        archive.writestr("__MACOSX/._0002.png", b"")
        archive.writestr("a/b/0001.png", div2k_zips.png(div2k_zips.hr("train", "0001")))
        archive.writestr("a/00011.png", b"")
    names = [original.hr.member.filename for original in zip_originals(tmp_path / "hr.zip", None, 4)]
    assert names == ["a/b/0001.png", "0002.png"]


def test_an_lr_picture_that_is_not_there(zips, tmp_path):
    with zipfile.ZipFile(tmp_path / "lr.zip", "w") as archive:
        archive.writestr("X4/0002x4.png", div2k_zips.png(div2k_zips.lr("train", "0002")))
    first, second, *_ = zip_originals(zips / HR, tmp_path / "lr.zip", 4)
    second.read(4)
    with pytest.raises(DataError, match=r"0001\.png has no LR image 0001x4\.png in .*lr\.zip"):
        first.read(4)


def test_another_kind_of_zip_file(zips):
    with pytest.raises(DataError, match=f"{LR} holds no picture named like 0001.png"):
        zip_originals(zips / LR, None, 4)
    with pytest.raises(DataError, match=r"no picture named like 0001x2\.png: .* for --scale 2"):
        zip_originals(zips / HR, zips / LR, 2)


def test_a_truncated_zip_file(zips, tmp_path):
    content = (zips / HR).read_bytes()
    (tmp_path / HR).write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=f"{tmp_path / HR} is incomplete or no zip file"):
        zip_originals(tmp_path / HR, None, 4)
    with pytest.raises(DataError, match="cannot be opened"):
        zip_originals(tmp_path / "none.zip", None, 4)


def test_a_damaged_picture_in_a_zip_file(zips, tmp_path):
    content = bytearray((zips / HR).read_bytes())
    content[5000] ^= 255  # in the first picture; zip files have a checksum of each
    (tmp_path / HR).write_bytes(content)
    first, second, *_ = zip_originals(tmp_path / HR, None, 4)
    with pytest.raises(DataError, match=rf"{tmp_path / HR}/DIV2K_train_HR/0001\.png is damaged \(Bad CRC"):
        first.read(4)
    second.read(4)


def test_a_picture_that_was_damaged_before_it_was_packed(tmp_path):
    image = div2k_zips.png(div2k_zips.hr("train", "0001"))
    with zipfile.ZipFile(tmp_path / HR, "w") as archive:
        archive.writestr("DIV2K_train_HR/0001.png", image[: len(image) // 2])
    with pytest.raises(DataError) as caught:
        zip_originals(tmp_path / HR, None, 4)[0].read(4)
    assert str(caught.value).startswith(f"{tmp_path / HR}/DIV2K_train_HR/0001.png is incomplete or damaged")


# What means harm.


@pytest.mark.parametrize(
    "name",
    [
        "../../0001.png",
        "/{outside}/0001.png",
        "C:\\outside\\..\\/0001.png",
        "a/../../../{outside}/0001.png",
        f"{'long/' * 1000}{'x' * 3000}/0001.png",
    ],
)
def test_members_stay_inside_whatever_their_names(name, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "tmp").mkdir()
    image = div2k_zips.hr("train", "0004")
    with zipfile.ZipFile(tmp_path / HR, "w") as archive:
        archive.writestr(name.format(outside=tmp_path / "outside"), div2k_zips.png(image))
    [original] = zip_originals(tmp_path / HR, None, 4)
    with original.hr.unpacked() as path:
        assert path.parent.parent == tmp_path / "tmp"
    np.testing.assert_array_equal(original.read(4)[0].image, image)
    assert sorted(path.name for path in tmp_path.iterdir()) == [HR, "tmp"]
    assert list((tmp_path / "tmp").iterdir()) == []


def test_links_and_folders_in_a_zip_file(tmp_path):
    (tmp_path / "secret.png").write_bytes(div2k_zips.png(div2k_zips.hr("train", "0004")))
    link = zipfile.ZipInfo("0001.png")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / HR, "w") as archive:
        archive.writestr("0002.png/", b"")
        archive.writestr(link, os.fsencode(tmp_path / "secret.png"))
    [original] = zip_originals(tmp_path / HR, None, 4)
    with pytest.raises(DataError, match=rf"{tmp_path / HR}/0001\.png"):
        original.read(4)


def test_bombs(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / HR, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0001.png", bytes(3_000_000))
    assert (tmp_path / HR).stat().st_size < 10_000
    monkeypatch.setattr(div2k, "LARGEST_MEMBER", 2_000_000)
    with pytest.raises(DataError, match=r"holds 0001\.png, which has 0\.0 GB once it is unpacked"):
        zip_originals(tmp_path / HR, None, 4)
    # One that hides its size is unpacked as far as it says.
    content = (tmp_path / HR).read_bytes()
    (tmp_path / HR).write_bytes(
        content.replace((3_000_000).to_bytes(4, "little"), (1000).to_bytes(4, "little"))
    )
    [original] = zip_originals(tmp_path / HR, None, 4)
    with pytest.raises(DataError, match=r"0001\.png is damaged"):
        original.read(4)


def test_members_that_need_more_than_inflating(tmp_path):
    with zipfile.ZipFile(tmp_path / HR, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("0001.png", b"x")
    with pytest.raises(DataError, match=r"0001\.png encrypted or packed in an unusual way"):
        zip_originals(tmp_path / HR, None, 4)


def test_mutated_zip_files(tmp_path):
    """Whatever bytes are changed, the result is a set or a sentence."""
    picture = div2k_zips.png(div2k_zips.hr("train", "0004")[:8, :8])
    with zipfile.ZipFile(tmp_path / HR, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(3):
            archive.writestr(f"DIV2K/000{number}.png", picture)
    content = (tmp_path / HR).read_bytes()
    rng = random.Random(0)
    refused = 0
    for _ in range(300):
        mutated = bytearray(content)
        for _ in range(rng.choice((1, 2, 8))):
            mutated[rng.randrange(len(mutated))] = rng.choice((0, 1, 0x7F, 0xFF, rng.randrange(256)))
        (tmp_path / HR).write_bytes(mutated)
        try:
            for original in zip_originals(tmp_path / HR, None, 4):
                original.read(4)
        except DataError:
            refused += 1
    assert refused > 100
