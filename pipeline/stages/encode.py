"""The third stage: episodes become latents."""

from __future__ import annotations

import torch

from frmdn.rollouts.episodes.store import EpisodeStore
from frmdn.rollouts.latents import LatentStore, encode_store

from ..session import Result, Session, Work


def run_encode(session: Session, work: Work) -> Result:
    session.check_episodes()
    again = session.before is not None and session.config.rounds.vision_steps  # another vision: encode everything
    store = session.episodes() if again else EpisodeStore(session.workspace.folder("collect") / "episodes")
    latents = LatentStore(work.folder)
    vision = session.vision().to(session.machine.device)
    with torch.inference_mode():
        encode_store(vision, store, latents, progress=lambda done, total: work.report(done, total, ""))
    count = len(latents.indices())
    return Result(count, f"{count} episodes as latents of {session.config.vision.latent}")
