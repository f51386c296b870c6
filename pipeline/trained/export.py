"""Out of a finished run folder, into one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from frmdn.controller.evaluate import versions

from ..session import Session
from . import container
from .file import pack
from .header import Header, World


def export(session: Session, path: Path, evaluation: dict[str, Any] | None) -> None:
    """Write the agent of a run that is evolved, whole or not at all.

    ValueError: `path` is no name for an agent file, or that of something else.
    """
    agent, config = session.agent(), session.config
    assert agent.memory is not None
    ends, reward = session.rules
    header = Header(
        world=World.of(session.official),
        vision=agent.vision.config,
        memory=agent.memory.config,
        agent=agent.config,
        seed=config.seed,
        episodes=config.evaluate.episodes,
        done_threshold=ends,
        reward=reward,
        versions=versions(),
        evaluation=evaluation,
    )
    container.write(path, pack(header, agent, session.theta(agent), session.first_latents()))
