"""The episodes of a run as a data set that others read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from frmdn.rollouts.recordings.minari_writer import write_minari

from ..progress import Progress
from ..session import open_session


def export_minari(run: Path, place: str, progress: Progress) -> dict[str, Any]:
    """Write the episodes of all rounds of a run to a Minari data set; what was written, for `--json`.

    Raises:
        ValueError: the run has no whole episodes yet, or `place` is taken.
        MissingExtra: Minari is not installed.
    """
    session = open_session(run)
    status = session.lineage[0].workspace.status()[0]
    if status.state != "done":
        raise ValueError(f"the episodes of {run} are {status.state} ({status.why}): run frmdn run --out {run} first")
    episodes, spec = session.episodes(), session.spec
    about = {
        "description": f"Episodes of {spec.id}, {spec.frame_size} x {spec.frame_size} pixels, collected by frmdn.",
        "algorithm_name": session.config.collect.policy,
    }
    with progress.task("export", "episodes") as task:
        folder = write_minari(place, spec, episodes, about, task.update)
    count = len(episodes.indices())
    progress.line(f"export    {count} episodes in {folder}")
    return {"run": str(run), "minari": str(folder), "episodes": count}
