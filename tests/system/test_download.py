"""Downloads of which the size is not known in advance; tests/weights/test_zoo.py has those of which it is."""

from __future__ import annotations

import hashlib

import pytest
from helpers.web import serve

from esrgan_jax.system import download as module
from esrgan_jax.system.download import ChecksumError, DownloadError, download

CONTENT = bytes(range(256)) * 4000  # 1 MB
CHECKSUM = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PAUSE", 0.0)
    monkeypatch.setattr(module, "TIMEOUT", 5.0)
    (tmp_path / "web").mkdir()
    (tmp_path / "web/a.zip").write_bytes(CONTENT)
    with serve(tmp_path / "web") as server:
        yield server


def ranges(server):
    return [wanted for _, wanted in server.requests]


def test_the_size_is_learnt_from_the_server(server, tmp_path):
    server.cut_after = 400_000
    download(f"{server.address}/a.zip", tmp_path / "deep/a.zip", name="a")
    assert (tmp_path / "deep/a.zip").read_bytes() == CONTENT
    assert ranges(server) == [None, "bytes=400000-", "bytes=800000-"]
    assert [file.name for file in (tmp_path / "deep").iterdir()] == ["a.zip"]


def test_a_part_from_before_is_continued(server, tmp_path):
    (tmp_path / "a.zip.part").write_bytes(CONTENT[:700_000])
    download(f"{server.address}/a.zip", tmp_path / "a.zip", name="a")
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert ranges(server) == ["bytes=700000-"]


@pytest.mark.parametrize("size", [None, len(CONTENT)])
def test_a_part_that_is_whole_is_not_fetched_again(size, server, tmp_path):
    (tmp_path / "a.zip.part").write_bytes(CONTENT)
    download(f"{server.address}/a.zip", tmp_path / "a.zip", name="a", size=size, checksum=CHECKSUM)
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert ranges(server) == ([f"bytes={len(CONTENT)}-"] if size is None else [])


def test_a_part_that_is_longer_than_the_file_is_thrown_away(server, tmp_path):
    (tmp_path / "a.zip.part").write_bytes(CONTENT + b"more")
    download(f"{server.address}/a.zip", tmp_path / "a.zip", name="a")
    assert (tmp_path / "a.zip").read_bytes() == CONTENT


def test_a_server_that_sends_no_parts(server, tmp_path):
    server.ranges = False
    (tmp_path / "a.zip.part").write_bytes(b"x" * 700_000)
    download(f"{server.address}/a.zip", tmp_path / "a.zip", name="a")
    assert (tmp_path / "a.zip").read_bytes() == CONTENT


def test_a_server_that_tells_no_size(server, tmp_path):
    server.length = False
    download(f"{server.address}/a.zip", tmp_path / "a.zip", name="a")
    assert (tmp_path / "a.zip").read_bytes() == CONTENT


def test_another_checksum_leaves_nothing(server, tmp_path):
    with pytest.raises(ChecksumError, match=f"its sha256 is {CHECKSUM}, {'0' * 64} expected"):
        download(f"{server.address}/a.zip", tmp_path / "a.zip", name="a", checksum="0" * 64)
    assert [file.name for file in tmp_path.iterdir()] == ["web"]


def test_giving_up_keeps_what_came(server, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "TRIES", 2)
    server.cut_after = 100_000
    with pytest.raises(DownloadError, match="cut again and again"):
        download(f"{server.address}/a.zip", tmp_path / "a.zip", name="a")
    assert (tmp_path / "a.zip.part").stat().st_size == 200_000
    assert not (tmp_path / "a.zip").exists()
    with pytest.raises(DownloadError, match="Not Found"):
        download(f"{server.address}/none.zip", tmp_path / "none.zip", name="none")
