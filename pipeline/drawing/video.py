"""Videos as WebM, which browsers play: written whole or not at all, thinned until they fit, and read back."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

CODECS = ("VP80", "VP90")  # browsers play both from WebM; VP8 encodes four times faster at the same size here
FPS = 30
SECONDS = 20.0
LIMIT = 1_600_000  # bytes of a video: base64 adds a third, and the report around it should stay under 3 MiB


def save_video(
    path: Path,
    steps: int,
    draw: Callable[[int], Iterable[NDArray[np.uint8]]],
    *,
    seconds: float = SECONDS,
    limit: int = LIMIT,
) -> Path:
    """Write the frames `draw(k)`, every k-th of `steps` + 1 instants, with the least k that fits seconds and bytes."""
    stride = max(1, -(-(steps + 1) // int(seconds * FPS)))
    for _ in range(4):
        write_video(path, draw(stride), FPS)
        size = path.stat().st_size
        if size <= limit:
            return path
        stride = max(stride + 1, -(-stride * size // limit))
    raise ValueError(f"{path.name} needs {size} bytes even at every {stride}th step; allow more than limit={limit}")


def write_video(path: Path, frames: Iterable[NDArray[np.uint8]], fps: float = FPS) -> Path:
    """Write frames (each u8[H,W,3], RGB, all of one even size) as WebM, and put it in place only when it is whole.

    Raises ValueError when there is no frame, a frame has another shape, or this OpenCV writes neither VP8 nor VP9.
    """
    stream = iter(frames)
    first = next(stream, None)
    if first is None:
        raise ValueError("frames is empty; a video needs at least one frame")
    if first.ndim != 3 or first.shape[2] != 3 or first.shape[0] % 2 or first.shape[1] % 2:
        raise ValueError(f"frames must be u8[H,W,3] with even height and width, not {first.shape}")
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.stem}.tmp.webm")  # the name's end tells FFmpeg the container
    try:
        count = _encode(draft, chain([first], stream), first.shape, fps)
        if not draft.exists() or draft.stat().st_size == 0 or len(read_video(draft)) != count:
            raise ValueError(
                f"OpenCV wrote no playable {path.name}; reinstall opencv-python and check the disk's space"
            )
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return path


def _encode(path: Path, frames: Iterable[NDArray[np.uint8]], shape: tuple[int, ...], fps: float) -> int:
    writer = _open_writer(path, (shape[1], shape[0]), fps)
    count = 0
    try:
        for frame in frames:
            if frame.shape != shape or frame.dtype != np.uint8:
                raise ValueError(f"frame {count} is {frame.dtype}{frame.shape}, but the video is uint8{shape}")
            writer.write(np.ascontiguousarray(frame[..., ::-1]))  # OpenCV's order is BGR
            count += 1
    finally:
        writer.release()
    return count


def _open_writer(path: Path, size: tuple[int, int], fps: float) -> cv2.VideoWriter:
    for codec in CODECS:
        with _quiet_stderr():
            writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), fps, size)
        if writer.isOpened():
            return writer
        writer.release()
    raise ValueError(
        f"OpenCV {cv2.__version__} cannot write WebM here ({' or '.join(CODECS)}); install opencv-python's own wheel"
    )


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """FFmpeg inside OpenCV prints a harmless line about the tag straight to descriptor 2; no log level stops it."""
    try:
        saved = os.dup(2)
    except OSError:  # stderr is closed: nothing to silence
        yield
        return
    try:
        with open(os.devnull, "wb") as sink:
            os.dup2(sink.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def read_video(path: Path) -> list[NDArray[np.uint8]]:
    """All frames of a video, each u8[H,W,3] RGB."""
    capture = cv2.VideoCapture(str(path))
    frames: list[NDArray[np.uint8]] = []
    try:
        while True:
            ok, frame = capture.read()
            if not ok:
                return frames
            frames.append(np.asarray(frame[..., ::-1], np.uint8))
    finally:
        capture.release()


def poster(path: Path, where: float = 0.4) -> bytes:
    """A PNG of the picture at the fraction `where` of a video. Raises ValueError if the file holds no picture."""
    frames = read_video(path)
    if not frames:
        raise ValueError(f"{path} holds no video; delete it and run `frmdn report` again")
    chosen = frames[min(len(frames) - 1, int(where * len(frames)))]
    ok, data = cv2.imencode(".png", np.ascontiguousarray(chosen[..., ::-1]))
    assert ok
    return data.tobytes()
