"""Downloads of large files: resumed where they were cut off, checked before they get their name."""

from __future__ import annotations

import errno
import hashlib
import http.client
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from esrgan_jax.system.progress import Bar, bar

TRIES = 5
TIMEOUT = 30.0  # seconds without a byte
SLOWEST = 1000  # bytes per second over that time; a server that sends less is given up
PAUSE = 1.0  # seconds before the second try; doubled for each further one
CHUNK = 1 << 20


class DownloadError(Exception):
    """A failed download; the message is the reason, without a full stop."""


class ChecksumError(DownloadError):
    """A download whose contents are not those expected."""


def download(
    address: str,
    path: Path,
    *,
    name: str,
    size: int | None = None,
    checksum: str | None = None,
    at_most: int | None = None,
) -> None:
    """Download the file at `address` to `path`, with a progress bar on a terminal.

    Until it is complete and checked it is called `path`.part. A download that is cut off, by the network or a kill,
    is resumed there, now or by a later call, if the server can send parts of a file.

    Args:
      address: an http, https or file URL.
      path: of the result; an existing file is replaced.
      name: shown by the bar.
      size: in bytes; None: as the server says.
      checksum: sha256 in hexadecimal digits; None: not checked.
      at_most: bytes that a server may send where `size` is None; None: any number.

    Raises:
      ChecksumError: the file is not the expected one; it is deleted.
      DownloadError: it cannot be fetched or written; what has been received is kept for the next try.
    """
    part = path.with_name(path.name + ".part")
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        if size is not None and file_size(part) > size:
            part.unlink()
        _download_with_retries(address, part, name, size, at_most)
        found = sha256(part) if checksum is not None else None
        if size not in (None, file_size(part)) or found != checksum:
            found = found or sha256(part)
            part.unlink()
            raise ChecksumError(f"its sha256 is {found}, {checksum} expected")
        part.replace(path)
    except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: sent on to no address
        raise DownloadError(str(getattr(error, "reason", None) or error)) from None


def _download_with_retries(
    address: str, part: Path, name: str, size: int | None, at_most: int | None
) -> None:
    """Download the rest of `part`, in several connections if necessary."""
    with bar(total=size, initial=file_size(part), name=name, unit="B", unit_scale=True) as shown:
        for attempt in range(TRIES):
            known = size
            try:
                if known is None or file_size(part) < known:
                    known = _download_rest(address, part, size, at_most, shown)
            except (OSError, http.client.HTTPException) as error:
                if attempt == TRIES - 1 or _is_final(error):
                    raise
            else:
                if known is None or file_size(part) >= known:
                    return
            time.sleep(PAUSE * 2**attempt)
    raise OSError("the connection was cut again and again")


def _download_rest(address: str, part: Path, size: int | None, at_most: int | None, shown: Bar) -> int | None:
    """Append what one connection sends; return the size of the whole file, None if it is not known."""
    done = file_size(part)
    headers = {"User-Agent": "esrgan-jax"} | ({"Range": f"bytes={done}-"} if done else {})
    request = urllib.request.Request(
        urllib.parse.quote(address, safe="%/:?&=#[]@!$'()*+,;~"), headers=headers
    )
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)  # which is not sent on to a file:
    except urllib.error.HTTPError as error:
        error.close()
        # If nothing is left, the server answers with an error that has the size.
        _, total = _range(error.headers.get("Content-Range"))
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and total is not None:
            if total != done:
                part.unlink()
            return total
        raise
    with response:
        goes_on = response.status == http.client.PARTIAL_CONTENT
        start, total = _range(response.headers.get("Content-Range"))
        if goes_on and start != done:
            part.unlink(missing_ok=True)
            raise OSError("the server sent another part of the file than it was asked for")
        length = re.fullmatch(r"[0-9]{1,18}", response.headers.get("Content-Length") or "")
        left = int(length[0]) if length else None  # of this connection
        known = size or (total if goes_on else left)
        end = at_most if known is None else known
        if known is not None and at_most is not None and known > at_most:
            raise DownloadError(f"it has {known / 1e9:.1f} GB, more than the {at_most / 1e9:.1f} that may be")
        with part.open("ab" if goes_on else "wb") as target:
            shown.total, shown.n = known, done if goes_on else 0
            since, received = time.monotonic(), 0
            # One byte more than expected shows that it is another file.
            while left != 0 and (end is None or target.tell() <= end) and (chunk := response.read1(CHUNK)):
                target.write(chunk)
                shown.update(len(chunk))
                left = None if left is None else max(0, left - len(chunk))
                received += len(chunk)
                seconds = time.monotonic() - since
                if seconds >= TIMEOUT:
                    if received < SLOWEST * seconds:
                        raise TimeoutError(f"less than {SLOWEST} bytes arrive each second")
                    since, received = time.monotonic(), 0
    if at_most is not None and file_size(part) > at_most:
        part.unlink()
        raise DownloadError(f"it has more than the {at_most / 1e9:.1f} GB that may be")
    return known


def _range(content_range: str | None) -> tuple[int | None, int | None]:
    """Return the first byte and the size of the file in "bytes 5-9/10", "bytes 5-9/*" or "bytes */10"."""
    match = re.fullmatch(r"bytes (?:([0-9]{1,18})-[0-9]+|\*)/(?:([0-9]{1,18})|\*)", content_range or "")
    start, total = match.groups() if match else (None, None)
    return None if start is None else int(start), None if total is None else int(total)


def _is_final(error: Exception) -> bool:
    """Return whether another try would fail in the same way."""
    if isinstance(error, urllib.error.HTTPError):  # 3xx: in a circle, or to an address that may not be
        return 300 <= error.code < 500 and error.code not in (408, 429)
    return isinstance(error, OSError) and error.errno in (
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EROFS,
        errno.EACCES,
    )


def file_size(path: Path) -> int:
    """Return the size in bytes; 0 if there is no such file, or none that can be seen."""
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:
        return 0


def sha256(path: Path) -> str:
    """Return the sha256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
