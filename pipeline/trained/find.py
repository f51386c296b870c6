"""One door for a trained agent, whether a folder or a file holds it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..session import Session, open_session
from .file import AgentFile


def find(path: Path, device: str = "cpu", imports: Sequence[str] = ()) -> Session | AgentFile:
    """The agent of a run folder, or of a file that `frmdn export` made; of a run in rounds, the one that counts.

    `device` names where it computes; `imports` are modules that register the world of a file, which a run folder names
    itself. ValueError: it is neither, or damaged.
    """
    path = path.expanduser()
    return AgentFile(path, device, imports) if path.is_file() else open_session(path, device=device)
