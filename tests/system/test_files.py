"""Files appear whole or not at all."""

import os
import stat
from pathlib import Path

import pytest

from esrgan_jax.errors import ConfigError
from esrgan_jax.system.files import (
    atomic_write,
    cache_dir,
    cache_problem,
    check_utf8,
    check_writable,
    user_path,
)


def test_file_appears_whole(tmp_path):
    path = tmp_path / "new/folder/file.tar.gz"
    with atomic_write(path) as temporary:
        assert temporary.parent == path.parent
        assert temporary.suffix == ".gz"
        temporary.write_bytes(b"all of it")
        assert not path.exists()
    assert path.read_bytes() == b"all of it"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_failure_leaves_what_was_there(tmp_path, error):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(error), atomic_write(path) as temporary:
        temporary.write_text("ne")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_permissions_are_those_of_any_new_file(tmp_path):
    before = os.umask(0o027)
    try:
        with atomic_write(tmp_path / "file") as temporary:
            temporary.write_text("")
        (tmp_path / "other").write_text("")
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {0o640}


def test_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError), atomic_write(tmp_path / "file/below"):
        pass


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_what_is_no_file_is_never_replaced(tmp_path):
    path = tmp_path / "pipe.txt"
    os.mkfifo(path)
    (tmp_path / "link.txt").symlink_to(path)
    for name in (path, tmp_path / "link.txt"):
        with pytest.raises(FileExistsError, match="it is a pipe"), atomic_write(name):
            pass
        with pytest.raises(ConfigError, match=r"cannot be written \(it is a pipe\)"):
            check_writable(name)
    assert stat.S_ISFIFO(path.stat().st_mode)
    assert len(list(tmp_path.iterdir())) == 2


def test_where_the_cache_is(monkeypatch):
    monkeypatch.setenv("ESRGAN_JAX_HOME", "/somewhere")
    assert cache_dir() == Path("/somewhere")
    monkeypatch.delenv("ESRGAN_JAX_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert cache_dir() == Path("/cache/esrgan_jax")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert cache_dir() == Path("/home/somebody/.cache/esrgan_jax")


def test_a_user_without_a_home(monkeypatch):
    def no_home(_):
        raise RuntimeError("Could not determine home directory.")

    for name in ("ESRGAN_JAX_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "expanduser", no_home)
    assert user_path("~/photos") == Path("~/photos")
    assert not cache_dir().exists()
    assert cache_problem() == "this user has no home folder, and so no cache"


def test_whether_the_cache_can_be_written(monkeypatch, tmp_path):
    monkeypatch.setenv("ESRGAN_JAX_HOME", str(tmp_path / "deep/cache"))
    assert cache_problem() is None
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ESRGAN_JAX_HOME", str(tmp_path / "file/cache"))
    assert cache_problem() == f"the cache {tmp_path / 'file/cache'} cannot be written (Not a directory)"


def test_folders_that_libraries_cannot_name(tmp_path):
    check_utf8(tmp_path / "ü 画")
    with pytest.raises(ConfigError, match="is no UTF-8"):
        check_utf8(tmp_path / os.fsdecode(b"caf\xe9"))
