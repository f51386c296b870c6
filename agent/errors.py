"""The error of an optional package that is not installed, which every floor raises; and what errors say, in short."""

from __future__ import annotations

SHORT = 300  # characters of what another program's error says


class MissingExtra(ImportError):
    """An optional package is not installed: the message names it and the pip line that brings it.

    >>> print(frmdn.MissingExtra("ViZDoom", "doom", "VizdoomTakeCover-v1"))
    VizdoomTakeCover-v1 needs ViZDoom, which is not installed: pip install 'frmdn[doom]'
    """

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs {package}, which is not installed: pip install 'frmdn[{extra}]'")
        self.package, self.extra = package, extra
        self.purpose = purpose

    def __reduce__(self) -> tuple[type[MissingExtra], tuple[str, str, str]]:
        return type(self), (self.package, self.extra, self.purpose)  # Ray carries errors from worker to driver


def first_line(error: BaseException) -> str:
    """What an error says, in one short line; its kind where it says nothing. A damaged file may be quoted whole."""
    lines = str(error).strip().splitlines()
    return shortened(lines[0], SHORT) if lines else type(error).__name__


def shortened(text: str, most: int) -> str:
    """A text of at most `most` characters: of a longer one the middle goes, for both its ends tell more."""
    end = most // 3
    return text if len(text) <= most else f"{text[: most - end - 3]} … {text[-end:]}"
