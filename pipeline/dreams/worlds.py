"""Dreams of a trained agent, and which part of a run's reality is held out to judge them."""

from __future__ import annotations

from collections.abc import Sequence

from frmdn.agent.agent import Agent
from frmdn.agent.dream import Dream
from frmdn.agent.memory import Memory
from frmdn.envs.dream import DreamSlots
from frmdn.rollouts.latents import Latents

from ..session import Session
from ..trained.trained import Trained


def held_out(session: Session) -> list[Latents]:
    """The encoded episodes that the memory was not trained on (the same split as in its training)."""
    _, held = session.split("memory", session.config.memory_data.validation)
    return [session.latents().read(index) for index in held]


def dream_slots(
    trained: Trained,
    agent: Agent,
    members: Sequence[Memory],
    temperature: float,
    slots: int,
    max_steps: int | None = None,
) -> DreamSlots:
    """Dreams of these memories that begin as real episodes did, with an empty memory, and show what is seen of them.

    They are on the agent's device. Where the search dreamt, they reward and end as its dreams did.
    """
    ends, reward = trained.rules
    device = next(agent.vision.parameters()).device
    dreams = [Dream(m.to(device), temperature=temperature, done_threshold=ends, reward=reward) for m in members]
    first = trained.first_latents().to(device)
    return DreamSlots(
        trained.official,
        dreams,
        [dream.initial(first) for dream in dreams],
        slots,
        features=agent.config.features,
        max_steps=max_steps,
    )
