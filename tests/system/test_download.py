"""Downloads of unknown size, and from hostile servers; tests/weights/test_zoo.py has those of known size."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import socketserver
import threading
import time

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


# From servers that mean harm, or are none.


@pytest.fixture
def answer(monkeypatch):
    """Starts a server that sends these pieces to whoever connects; returns its address and who asked for what."""
    monkeypatch.setattr(module, "PAUSE", 0.0)
    monkeypatch.setattr(module, "TIMEOUT", 5.0)
    with contextlib.ExitStack() as stack:

        def start(*pieces):
            asked = []

            class Handler(socketserver.StreamRequestHandler):
                def handle(self):
                    asked.append(next(iter(self.rfile)))
                    while self.rfile.readline().strip():
                        pass
                    with contextlib.suppress(OSError):  # the other side has had enough
                        for piece in itertools.chain(*pieces):
                            self.wfile.write(piece() if callable(piece) else piece)

            server = stack.enter_context(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler))
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            return f"http://127.0.0.1:{server.server_address[1]}/a.zip", asked

        yield start


@pytest.mark.parametrize(
    "target", ["file://{secret}", "/a.zip", "http://[::1", "data:,secret", "gopher://x/"]
)
def test_being_sent_on_to_where_nothing_may_come_from(target, answer, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    head = f"HTTP/1.1 302 Found\r\nLocation: {target.format(secret=secret)}\r\n\r\n"
    address, asked = answer([head.encode()])
    with pytest.raises(DownloadError):
        download(address, tmp_path / "a.zip", name="a")
    assert [file.name for file in tmp_path.iterdir()] == ["secret"]
    assert len(asked) <= 11  # a circle is left once, not in each of five tries


@pytest.mark.parametrize(
    "start",
    [
        "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        f"HTTP/1.1 200 OK\r\nContent-Length: {'9' * 400}\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Range: bytes 7-9/10\r\n\r\n",
        "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 5-9/10\r\n\r\n",
        "HTTP/1.1 206 Partial Content\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        "HTTP/1.1 416 Nothing\r\nContent-Range: bytes */-1\r\n\r\n",
        "HTTP/1.1 200 OK\r\n" + "X: y\r\n" * 1000,
        "HTTP/1.1 200 " + "OK" * 100_000,
        "SSH-2.0-OpenSSH_9.2\r\n",
        "",
    ],
)
def test_lies_about_lengths_and_other_protocols(start, answer, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "TRIES", 2)
    address, _ = answer([start.encode(), b"<html>no zip file</html>"])
    with pytest.raises(DownloadError):
        download(address, tmp_path / "a.zip", name="a", size=1000, checksum=CHECKSUM)
    assert not (tmp_path / "a.zip").exists()


@pytest.mark.parametrize("head", ["", "Content-Length: 999999999\r\n"])
def test_a_body_without_an_end(head, answer, tmp_path):
    address, asked = answer([f"HTTP/1.1 200 OK\r\n{head}\r\n".encode()], itertools.repeat(bytes(100_000)))
    with pytest.raises(DownloadError, match=r"it has (1\.0 GB, )?more than the 0\.0"):
        download(address, tmp_path / "a.zip", name="a", at_most=3_000_000)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ChecksumError):
        download(address, tmp_path / "a.zip", name="a", size=1_000_000, checksum=CHECKSUM)
    assert list(tmp_path.iterdir()) == []
    assert len(asked) == 2


def test_a_body_that_trickles(answer, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "TIMEOUT", 0.3)
    monkeypatch.setattr(module, "TRIES", 2)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
    address, asked = answer([head], itertools.repeat(lambda: time.sleep(0.05) or b"x"))
    start = time.monotonic()
    with pytest.raises(DownloadError, match="less than 1000 bytes arrive each second"):
        download(address, tmp_path / "a.zip", name="a")
    assert time.monotonic() - start < 5
    assert len(asked) == 2


def test_packed_bodies_are_not_unpacked(answer, tmp_path):
    address, _ = answer([b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"])
    download(address, tmp_path / "a.zip", name="a")
    assert (tmp_path / "a.zip").read_bytes() == b"abc"
