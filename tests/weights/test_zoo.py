"""Downloads from a local server that cuts connections, lies, or is not there."""

import hashlib
import http.server
import threading

import pytest
from helpers import weight_files

from esrgan_jax.errors import WeightFileError
from esrgan_jax.models import RRDBNet
from esrgan_jax.system import download
from esrgan_jax.weights import zoo
from esrgan_jax.weights.architectures import ARCHITECTURES
from esrgan_jax.weights.formats import containers
from esrgan_jax.weights.load import load_model

CONTENT = bytes(range(256)) * 4000  # 1 MB


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT; `server.behaviour` says how badly."""

    def do_GET(self):
        server = self.server
        server.requests.append(self.headers.get("Range"))
        if server.behaviour == "missing":
            self.send_error(404)
            return
        if server.behaviour == "overloaded" and len(server.requests) < 3:
            self.send_error(503)
            return
        start = 0
        if self.headers.get("Range") and server.behaviour != "no ranges":
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            self.send_response(206)
            self.send_header(
                "Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}"
            )
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(server.content) - start))
        self.end_headers()
        end = len(server.content)
        if (
            server.behaviour in ("cut", "no ranges") and len(server.requests) < 4
        ) or server.behaviour == "always cut":
            end = min(end, start + 300_000)
        self.wfile.write(server.content[start:end])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("ESRGAN_JAX_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(download, "PAUSE", 0.0)
    monkeypatch.setattr(download, "TIMEOUT", 5.0)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.requests, server.content, server.behaviour = [], CONTENT, "good"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        register(monkeypatch, f"http://127.0.0.1:{server.server_port}/net.pth", CONTENT)
        yield server
        server.shutdown()
        thread.join()


def register(monkeypatch, address, content):
    file = zoo.ZooFile(
        address, len(content), hashlib.sha256(content).hexdigest(), "none", "a test", "RRDBNet", 4
    )
    monkeypatch.setitem(zoo.ZOO, "net", file)


def test_a_file_is_fetched_once(server, tmp_path, capsys):
    path = zoo.fetch_weights("net")
    assert path == tmp_path / "home" / "weights" / "net.pth"
    assert path.read_bytes() == CONTENT
    assert "download  net, 1 MB" in capsys.readouterr().err
    zoo.fetch_weights("net")
    assert server.requests == [None]
    assert [p.name for p in path.parent.iterdir()] == ["net.pth"]


def test_cut_connections_are_taken_up_where_they_stopped(server):
    server.behaviour = "cut"
    assert zoo.fetch_weights("net").read_bytes() == CONTENT
    assert server.requests == [None, "bytes=300000-", "bytes=600000-", "bytes=900000-"]


def test_a_server_that_cannot_resume(server):
    server.behaviour = "no ranges"
    assert zoo.fetch_weights("net").read_bytes() == CONTENT
    assert len(server.requests) == 4


def test_an_overloaded_server(server):
    server.behaviour = "overloaded"
    assert zoo.fetch_weights("net").read_bytes() == CONTENT


def test_giving_up_keeps_what_came_for_the_next_call(server):
    server.behaviour, zoo_tries = "always cut", 2
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(download, "TRIES", zoo_tries)
        with pytest.raises(
            WeightFileError, match=r"net cannot be downloaded .*cut again and again.*save it as "
        ):
            zoo.fetch_weights("net")
    assert not zoo.ZOO["net"].path.exists()
    server.behaviour = "good"
    assert zoo.fetch_weights("net").read_bytes() == CONTENT
    assert server.requests[-1] == "bytes=600000-"


@pytest.mark.parametrize("content", [b"x" * len(CONTENT), b"short", CONTENT + b"more"])
def test_another_file(server, content):
    server.content = content
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(download, "TRIES", 2)
        with pytest.raises(WeightFileError) as caught:
            zoo.fetch_weights("net")
    assert zoo.ZOO["net"].address in str(caught.value)
    assert str(zoo.ZOO["net"].path) in str(caught.value)
    assert not zoo.ZOO["net"].path.exists()
    server.content = CONTENT
    if len(content) != 5:  # what is too short may still be a beginning
        assert zoo.fetch_weights("net").read_bytes() == CONTENT


def test_a_missing_file_is_asked_for_once(server):
    server.behaviour = "missing"
    with pytest.raises(WeightFileError, match=r"net cannot be downloaded .*Not Found"):
        zoo.fetch_weights("net")
    assert len(server.requests) == 1


def test_offline(server, monkeypatch):
    monkeypatch.setattr(download, "TRIES", 2)
    register(monkeypatch, "http://127.0.0.1:9/net.pth", CONTENT)  # nobody listens there
    with pytest.raises(WeightFileError) as caught:
        load_model("net")
    path = zoo.ZOO["net"].path
    sentence = str(caught.value)
    assert sentence.startswith("net cannot be downloaded (")
    assert "Connection refused" in sentence
    assert sentence.endswith(
        f". Try again, or download http://127.0.0.1:9/net.pth by other means and save it as {path}."
    )
    path.write_bytes(CONTENT)
    assert zoo.fetch_weights("net") == path


def test_a_zoo_name_is_a_model(server, monkeypatch, tmp_path):
    containers.write(tmp_path / "made.pth", {"params_ema": weight_files.generator()})
    server.content = (tmp_path / "made.pth").read_bytes()
    register(monkeypatch, zoo.ZOO["net"].address, server.content)
    module, _ = load_model("net")
    assert module == RRDBNet(**weight_files.SMALL)


def test_the_files_of_the_zoo_are_well_described():
    for name, file in zoo.ZOO.items():
        assert file.address.startswith("https://")
        assert len(bytes.fromhex(file.sha256)) == 32
        assert file.path.name.startswith(name)
        assert file.network in ARCHITECTURES
        assert (file.scale is None) == (ARCHITECTURES[file.network].role != "generator")
    # torchvision names its files after the first digits of their checksums.
    assert zoo.ZOO["vgg19"].address.endswith(f"-{zoo.ZOO['vgg19'].sha256[:8]}.pth")
