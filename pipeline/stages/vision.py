"""The second stage: train the ConvVAE on stored frames."""

from __future__ import annotations

from contextlib import closing

import numpy as np

from frmdn.agent.seeds import derive
from frmdn.rollouts.batches import FrameBatches, split
from frmdn.rollouts.episodes.store import EpisodeStore

from ..session import Result, Session, Work
from .train import VALIDATION_BATCHES, train


def run_vision(session: Session, work: Work) -> Result:
    session.check_episodes()
    config, store = session.config, session.episodes()
    seed, size = derive(session.seed, "vision"), config.vision_data.batch
    training, held = session.split("vision", config.vision_data.validation)
    vision = session.new_vision()
    if session.before is not None:
        vision.load_state_dict(session.before.vision().state_dict())
    with closing(FrameBatches(store, held, size, derive(seed, "validation"))) as batches:
        fixed = [batches(i) for i in range(VALIDATION_BATCHES)]
    with closing(FrameBatches(store, training, size, seed)) as batches:
        return train(session, work, vision, batches, fixed, config.vision_fit)


def held_out_frames(session: Session, count: int = 10) -> np.ndarray:
    """Frames u8[N,H,W,C] of the episodes that the vision was not trained on, spread over them."""
    config = session.config
    store = EpisodeStore(session.workspace.folder("collect") / "episodes")
    _, held = split(range(config.collect.episodes), config.vision_data.validation, derive(config.seed, "vision"))
    chosen = [held[i * len(held) // count] for i in range(count)]
    rows = [(i + 1) * store.summary(index).steps // (count + 1) for i, index in enumerate(chosen)]
    return np.concatenate([store.read_frames(index, np.array([row])) for index, row in zip(chosen, rows, strict=True)])
