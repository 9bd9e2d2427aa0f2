"""TensorBoard's event files, written at once and without threads, so that a full disk stops nothing."""

from __future__ import annotations

import math
import socket
import struct
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tensorboardX import summary
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import masked_crc32c

from esrgan_jax.system.files import append


class EventFile:
    """The events of one stage. tensorboardX's own writer hangs once its thread could not write.

    Args:
      folder: where the event file goes.
      purge_from: what older files say of this iteration and later ones is to be forgotten; None: nothing.
    """

    def __init__(self, folder: Path, purge_from: int | None = None):
        now = time.time()
        # TensorBoard reads files in the order of their names, which begin with the second.
        self._path = folder / f"events.out.tfevents.{int(now)}.{socket.gethostname()}.{time.monotonic_ns()}"
        self._pending_header = [Event(wall_time=now, file_version="brain.Event:2")]
        if purge_from is not None:
            start = SessionLog(status=SessionLog.START)
            self._pending_header.append(Event(wall_time=now, step=purge_from, session_log=start))

    def scalars(self, values: dict[str, float], iteration: int) -> None:
        """Add a point to each curve; what is not finite has no place on one.

        Raises:
          OSError: the disk is full or gone; the points are lost.
        """
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        self._write([summary.scalar(name, value) for name, value in finite.items()], iteration)

    def picture(self, name: str, picture: np.ndarray, iteration: int) -> None:
        """Add a picture, uint8 [h, w, 3].

        Raises:
          OSError: see `scalars`.
        """
        self._write([summary.image(name, picture, dataformats="HWC")], iteration)

    def _write(self, summaries: Sequence, iteration: int) -> None:
        now = time.time()
        events = [
            *self._pending_header,
            *(Event(summary=one, step=iteration, wall_time=now) for one in summaries),
        ]
        self._path.parent.mkdir(parents=True, exist_ok=True)
        append(self._path, b"".join(_record(event.SerializeToString()) for event in events))
        self._pending_header = []


def _record(data: bytes) -> bytes:
    """The TFRecord format: length, its checksum, data, their checksum."""
    length = struct.pack("<Q", len(data))
    return b"".join(
        (length, struct.pack("<I", masked_crc32c(length)), data, struct.pack("<I", masked_crc32c(data)))
    )
