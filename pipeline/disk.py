"""What a disk refuses, in words; and removing, without leaving the folder that is meant."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NO_LINK = getattr(os, "O_NOFOLLOW", 0)  # Windows has none, where making a link takes rights that a stranger has not
KEPT = "run the same command again: what is finished is kept"
FULL = f"there is no space left for it: free some, and {KEPT}"
REFUSALS = {
    errno.ENOSPC: FULL,
    errno.EDQUOT: f"your quota is used up: free some space, and {KEPT}",
    errno.EFBIG: f"it may not become so large (ulimit -f, or the file system): raise the limit, and {KEPT}",
    errno.EROFS: "it lies on a file system that can only be read: use another folder, or mount it for writing",
    errno.EACCES: "you may not: use a folder of your own, or ask its owner for the right",
    errno.EPERM: "that is not permitted: use a folder of your own, or ask its owner for the right",
    errno.ENOTDIR: "a part of this path is a file, not a folder: use another path",
    errno.EEXIST: "something else is there, a file or a link to nothing: take it away, or use another path",
    errno.EISDIR: "a folder is there, where a file should be: take it away, or use another path",
    errno.ENOTEMPTY: f"its folder was being written to: see that nothing else uses it, and {KEPT}",
    errno.ENAMETOOLONG: "this path is too long: use a shorter one",
    errno.ELOOP: "it is a symbolic link, which nothing is written through: put a file or a folder in its place",
    errno.EMFILE: f"too many files are open (ulimit -n): raise the limit, and {KEPT}",
    errno.EIO: f"the disk failed: see the system's log, and {KEPT}",
    errno.ESTALE: f"its network file system went away: mount it again, and {KEPT}",
    errno.EBUSY: "something else is using it: see what, or use another path",
}


@contextmanager
def named(path: Path | str) -> Iterator[None]:
    """An OSError from inside says of which file it is, as those of reading and writing do not by themselves."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def in_words(error: OSError) -> str | None:
    """One line with a remedy; None where the disk has nothing to do with it."""
    refusal = REFUSALS.get(error.errno or 0)
    if refusal is None:
        return None
    return f"{error.filename or 'a file, or the standard output'}: {refusal}"


def remove(path: Path) -> None:
    """Remove a file, a link, or a folder with all that is in it; raises where something stays.

    Of a folder that is a link, what it links to is not ours to delete, and must not stay either: it would pass for what
    is made next. So it raises ValueError unless nothing is there.
    """
    if path.is_symlink() and path.is_dir():
        if any(path.iterdir()):
            raise ValueError(
                f"{path} is a link to {path.resolve()}, and what lies there must go: frmdn deletes nothing outside of "
                f"its own folder. Empty {path.resolve()} yourself, or remove the link, and run the same command again"
            )
    elif path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
