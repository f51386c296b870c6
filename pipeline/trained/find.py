"""One door for a trained agent, whether a folder or a file holds it."""

from __future__ import annotations

from pathlib import Path

from ..session import Session, open_session
from .file import AgentFile


def find(path: Path) -> Session | AgentFile:
    """The agent of a run folder, or of a file that `frmdn export` made; of a run in rounds, the one that counts.

    ValueError: it is neither, or damaged.
    """
    path = path.expanduser()
    return AgentFile(path) if path.is_file() else open_session(path)
