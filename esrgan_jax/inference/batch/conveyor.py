"""Read the next picture, upscale one and write the previous one at the same time, in bounded memory."""

from __future__ import annotations

import contextlib
import dataclasses
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from esrgan_jax.errors import DataError, InferenceError, UserError
from esrgan_jax.imaging.picture import Picture
from esrgan_jax.imaging.read_picture import read_picture
from esrgan_jax.imaging.write_picture import (
    STREAMED,
    check_size,
    fit_to_format,
    format_of,
    write_picture,
    write_rows,
)
from esrgan_jax.inference.batch.names import check_name, unwritable
from esrgan_jax.inference.batch.queues import End, StoppableQueue, Stopped
from esrgan_jax.inference.batch.tasks import UpscaleTask
from esrgan_jax.inference.picture_upscaler import PictureUpscaler
from esrgan_jax.inference.progress import Progress
from esrgan_jax.system.files import is_about_the_name

_ROWS_PER_WRITE = 256  # rows written between two checks whether to stop


@dataclasses.dataclass(frozen=True)
class Tiles:
    """Tiles of a picture: how many are done, and how many there are."""

    job: UpscaleTask
    done: int
    total: int


@dataclasses.dataclass(frozen=True)
class Done:
    """A picture has been written; sizes are (height, width)."""

    job: UpscaleTask
    before: tuple[int, int]
    after: tuple[int, int]
    notes: tuple[str, ...]
    seconds: float


@dataclasses.dataclass(frozen=True)
class Failed:
    """A picture could not be read or upscaled."""

    job: UpscaleTask
    error: UserError


Event = Tiles | Done | Failed


class Conveyor:
    """Upscales pictures from file to file in three threads, and reports progress.

    At most five pictures are in memory: one being read and one waiting, one being upscaled, one waiting to be
    written and one being written. With `stream`, enlarged ones are in memory only strip by strip.

    Args:
      upscaler: enlarges the pictures.
      quality: of JPEG and WebP, 1 to 100.
      stream: write strip by strip while the network works; for PNG and TIFF.
      first_frame: of files with several frames or pages take the first one; otherwise they fail.
    """

    def __init__(
        self, upscaler: PictureUpscaler, *, quality: int, stream: bool = False, first_frame: bool = False
    ):
        self._upscaler = upscaler
        self._quality = quality
        self._stream = stream
        self._first_frame = first_frame
        self._stop = threading.Event()
        self._events: queue.Queue[Any] = queue.Queue()

    def run(self, jobs: Iterable[UpscaleTask]) -> Iterator[Event]:
        """Upscale all pictures; yield events as they happen.

        If the caller stops iterating (an exception, Ctrl-C), no further file is started and the one being written is
        discarded; the upscaling thread may continue in JAX until its tile is done.

        Raises:
          DataError: a result cannot be written, and not because of its name; this ends the whole run.
        """
        read, upscaled = StoppableQueue(self._stop, 1), StoppableQueue(self._stop, 1)
        writer = self._start("write", self._write, upscaled)
        self._start("read", self._read, jobs, read)
        self._start("upscale", self._upscale, read, upscaled)
        try:
            while True:
                try:  # with a time limit: on some systems Ctrl-C does not interrupt a wait without one
                    event = self._events.get(timeout=1)
                except queue.Empty:
                    continue
                if isinstance(event, End):
                    if event.error is not None:
                        raise event.error
                    return
                yield event
        finally:
            self._stop.set()
            writer.join()

    def _start(self, name: str, work: Callable, *args: Any) -> threading.Thread:
        def guarded() -> None:
            try:
                work(*args)
            except Stopped:
                pass
            except BaseException as error:  # of any kind: the caller of `run` gets it
                self._events.put(End(error))

        thread = threading.Thread(target=guarded, name=f"esrgan-jax {name}", daemon=True)
        thread.start()
        return thread

    def _read(self, jobs: Iterable[UpscaleTask], out: StoppableQueue) -> None:
        for job in jobs:
            try:
                if job.problem is not None:
                    raise DataError(job.problem)
                check_name(job.destination)
                out.put((job, read_picture(job.source, first_frame=self._first_frame)))
            except DataError as error:
                self._events.put(Failed(job, error))
        out.put(End())

    def _upscale(self, pictures: StoppableQueue, out: StoppableQueue) -> None:
        for job, picture in pictures:
            start = time.perf_counter()
            try:
                check_size(job.destination, *self._upscaler.size(picture.height, picture.width))
                if self._stream:
                    self._upscale_strips(job, picture, out, start)
                else:
                    out.put((job, picture, self._upscaler(picture, self._progress(job)), start))
            except UserError as error:
                self._events.put(Failed(job, error))
            except MemoryError:
                self._events.put(Failed(job, _too_large(job)))
            del picture
        out.put(End())

    def _upscale_strips(self, job: UpscaleTask, picture: Picture, out: StoppableQueue, start: float) -> None:
        # Before the network, because strips follow: grey with alpha becomes RGB for TIFF.
        picture = fit_to_format(self._upscaler.without_dropped_alpha(picture), job.destination)
        strips = StoppableQueue(self._stop, 1)  # a strip of a large picture has hundreds of megabytes
        out.put((job, picture, strips, start))
        try:
            for rows in self._upscaler.strips(picture, self._progress(job)):
                strips.put(rows)
                del rows  # or it stays in memory until the next one is ready
            strips.put(End())
        except UserError as error:
            strips.put(End(error))  # the writing thread discards the file
        except MemoryError:
            strips.put(End(_too_large(job)))

    def _progress(self, job: UpscaleTask) -> Progress:
        def report(done: int, total: int) -> None:
            if self._stop.is_set():
                raise Stopped
            self._events.put(Tiles(job, done, total))

        return report

    def _write(self, results: StoppableQueue) -> None:
        for job, picture, larger, start in results:
            after = self._upscaler.size(picture.height, picture.width)
            strips = iter(larger if self._stream else ())
            try:
                notes = (
                    self._write_strips(job, picture, strips) if self._stream else self._write_one(job, larger)
                )
            except UserError as error:
                self._events.put(Failed(job, error))
                continue
            except OSError as error:
                if is_about_the_name(error):
                    self._events.put(Failed(job, unwritable(job.destination, error.strerror)))
                    with contextlib.suppress(UserError):
                        for _ in strips:  # or the thread that makes them would wait
                            pass
                    continue
                raise DataError(
                    f"{job.destination} cannot be written ({error.strerror or error}). Free disk space or choose "
                    "another -o; with --skip-existing the same command upscales only what is missing."
                ) from error
            seconds = time.perf_counter() - start
            self._events.put(Done(job, (picture.height, picture.width), after, notes, seconds))
            del picture, larger, strips
        self._events.put(End())

    def _write_one(self, job: UpscaleTask, picture: Picture) -> tuple[str, ...]:
        if format_of(job.destination) not in STREAMED:
            return write_picture(job.destination, picture, self._quality)
        picture = fit_to_format(picture, job.destination)
        samples = picture.samples()
        write_rows(job.destination, self._pieces(samples), samples.shape, samples.dtype, picture.metadata)
        return picture.notes

    def _pieces(self, samples: Any) -> Iterator[Any]:
        for y in range(0, len(samples), _ROWS_PER_WRITE):
            if self._stop.is_set():
                raise Stopped
            yield samples[y : y + _ROWS_PER_WRITE]

    def _write_strips(self, job: UpscaleTask, picture: Picture, strips: Iterator[Any]) -> tuple[str, ...]:
        height, width = self._upscaler.size(picture.height, picture.width)
        rows = next(strips)
        shape = (height, width, rows.shape[2])

        def all_rows() -> Iterator[Any]:
            nonlocal rows
            yield rows
            rows = None
            yield from strips

        write_rows(job.destination, all_rows(), shape, picture.pixels.dtype, picture.metadata)
        return picture.notes


def _too_large(job: UpscaleTask) -> InferenceError:
    return InferenceError(
        f"{job.source} is too large for this machine's memory. Write PNG or TIFF with --stream."
    )
