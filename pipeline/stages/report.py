"""The last stage: one page with the video and every figure, and what is missing of the TensorBoard files."""

from __future__ import annotations

from pathlib import Path

import torch

from ..files import read_json
from ..metrics.tensorboard import TensorBoard
from ..session import Result, Session, Work
from .vision import held_out_frames


def _typical_seed(root: Path) -> int:
    """The seed of the evaluated episode in the middle of all returns: neither the luckiest drive nor the worst."""
    evaluation = read_json(root / "evaluation.json")
    ranked = sorted(zip(evaluation["returns"], evaluation["seeds"], strict=True))
    return int(ranked[len(ranked) // 2][1])


def run_report(session: Session, work: Work) -> Result:
    from ..report.film import record_agent, record_episode
    from ..report.write import write_report

    torch.set_num_threads(1)  # the drive is one frame at a time: a second thread only waits for the first
    root, agent = session.workspace.root, session.kept.agent()
    work.report(0, 3, "drive")
    held = session.shown()
    if held is not None:
        drive = record_episode(agent, session.episodes().read(held), session.spec)
    else:
        drive = record_agent(agent, session.kept.theta(agent), session.official, _typical_seed(root))
    work.report(1, 3, "TensorBoard")
    TensorBoard(root / "tensorboard").complete(root)
    work.report(2, 3, "page")
    path = write_report(root, agent=agent, drive=drive, held_out=held_out_frames(session))
    work.report(3, 3, "")
    return Result(3, path.name)
