"""How a run ends that its workers cannot go on with, and what to do then."""

from __future__ import annotations

KEPT = "what is finished is kept: run the same command again, and it resumes"
HINT = "If memory ran out, use fewer workers or slots; if an environment crashed, workers=0 shows its own messages"
REMEDY = f"{KEPT}. {HINT}"


class WorkerError(RuntimeError):
    """A worker raised, or none is left to play: one line with what happened and the remedy; a note has the traceback
    of the worker where there is one."""
