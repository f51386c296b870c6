"""The lock of a run folder, which the system drops with the process: a kill never leaves a stale one."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .disk import NO_LINK

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]
try:
    import msvcrt
except ImportError:  # everywhere else
    msvcrt = None  # type: ignore[assignment]

FAR = 1 << 30  # Windows locks bytes, and nobody else may read those: one far behind the process id
PATIENCE = 0.2  # seconds: whoever asks for the owner holds the lock for an instant
NAME = ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Own the folder: a second process that tries gets a ValueError with our process id."""
    if fcntl is None and msvcrt is None:
        raise ValueError("this Python can lock no file, for it has neither fcntl nor msvcrt: use another one")
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / NAME, os.O_RDWR | os.O_CREAT | NO_LINK, 0o644)
    try:
        end = time.monotonic() + PATIENCE
        while not _take(handle):
            if time.monotonic() > end:
                raise ValueError(
                    f"{folder} is in use by process {_read(handle) or '?'}: wait for it, stop it, or use another folder"
                )
            time.sleep(0.02)
        os.ftruncate(handle, 0)
        os.lseek(handle, 0, os.SEEK_SET)
        os.write(handle, str(os.getpid()).encode())
        try:
            yield
        finally:
            _give(handle)
    finally:
        os.close(handle)


def owner(folder: Path) -> int | None:
    """The process id that holds the lock, or None."""
    if fcntl is None and msvcrt is None:
        return None
    try:
        handle = os.open(folder / NAME, os.O_RDONLY | NO_LINK)
    except FileNotFoundError:
        return None
    try:
        if _take(handle, shared=True):
            _give(handle)
            return None
        return int(_read(handle) or 0)
    finally:
        os.close(handle)


def _take(handle: int, shared: bool = False) -> bool:
    if fcntl is not None:
        try:
            fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
    os.lseek(handle, FAR, os.SEEK_SET)
    try:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    except OSError:
        return False
    return True


def _give(handle: int) -> None:
    if fcntl is not None:
        fcntl.flock(handle, fcntl.LOCK_UN)
        return
    os.lseek(handle, FAR, os.SEEK_SET)
    msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)


def _read(handle: int) -> str:
    os.lseek(handle, 0, os.SEEK_SET)
    digits = os.read(handle, 20).decode("ascii", "replace").strip()
    return digits if digits.isdecimal() else ""
