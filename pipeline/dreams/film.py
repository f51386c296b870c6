"""What is seen in a dream: reality, its reconstruction and an open-loop dream, or an agent that acts in its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from frmdn.agent.agent import Agent
from frmdn.agent.dream import Dream
from frmdn.agent.open_loop import OpenLoop, open_loop, warm_up, watch
from frmdn.agent.seeds import episode_seeds, generator
from frmdn.controller.evaluate import SLOTS
from frmdn.envs.vector import make_slots
from frmdn.rollouts.episodes.episode import Episode
from frmdn.rollouts.job import Job
from frmdn.rollouts.policy import AgentPolicy, ControllerPolicy
from frmdn.rollouts.run import Runner, run_episodes

from ..drawing import canvas
from ..drawing.canvas import Controls, controls_of
from ..trained.trained import Trained
from .fidelity import CHUNK, decode
from .worlds import dream_slots

Pictures = NDArray[np.uint8]


@dataclass(frozen=True)
class Shot:
    """How to film."""

    steps: int = 250  # that the dream is alone
    warmup: int = 50  # real steps that an open-loop dream watches before
    temperature: float = 1.0
    seed: int = 0  # of the dream's noise, of its start, and of the real drive where there is one


@dataclass(frozen=True)
class Film:
    """N transitions to be drawn: pictures have N+1 instants, everything else an entry for each transition."""

    summary: str  # one line for people
    panels: tuple[tuple[str, Pictures], ...]  # caption and u8[N+1,H,W,C]
    alone: int  # the instant from which on the dream sees nothing
    actions: NDArray[np.float32]  # [N,A]
    controls: Controls
    real: NDArray[np.float32] | None  # rewards [N], where there is a reality
    dreamt: NDArray[np.float32]  # rewards [N]; during the warm-up what was expected one step ahead
    ends: NDArray[np.float32]  # [N], predicted chance that the episode ends with this transition
    weights: NDArray[np.float32]  # [N,K] of the mixture

    @property
    def steps(self) -> int:
        return len(self.actions)


def film_open_loop(trained: Trained, shot: Shot, episode: int | None = None) -> Film:
    """A dream that watches the first steps of a real episode and is then given its actions alone.

    `episode` is the number of a stored one; None: the agent drives a new one, on a seed that nothing else uses. Where
    there is no agent because all was imported, it is the first of those held out.
    """
    episode = trained.shown() if episode is None else episode
    trained.require("evolve" if episode is None else "memory")
    agent = trained.agent().to(trained.device)
    if episode is None:
        source, name = drive(trained, agent, shot), "a new drive of the agent"
    else:
        source, name = _stored(trained, episode), f"stored episode {episode}"
    total = min(source.steps, shot.warmup + shot.steps)
    warmup = min(shot.warmup, max(1, total // 2))  # of a short episode, the dream shall have its part
    latents, actions = encode(agent, source.frames[: total + 1]), torch.from_numpy(source.actions[:total])[None]
    lived, dreamt = _through(agent, latents[None], actions, warmup, shot)
    z = torch.cat([latents[:1], lived.latents[0], dreamt.latents[0]])
    merged = OpenLoop(*(torch.cat(parts, 1) for parts in zip(lived, dreamt, strict=True)))
    return Film(
        summary=f"{name}: {warmup} steps watched, {total - warmup} dreamt alone at temperature {shot.temperature:g}",
        panels=(
            ("reality", source.frames[: total + 1]),
            ("reconstruction", pixels(agent, latents)),
            ("dream", pixels(agent, z)),
        ),
        alone=warmup,
        actions=source.actions[:total],
        controls=controls_of(trained.official),
        real=source.rewards[:total],
        **_drawn(merged),
    )


def _through(agent: Agent, latents: Tensor, actions: Tensor, warmup: int, shot: Shot) -> tuple[OpenLoop, OpenLoop]:
    """What was expected while watching latents f32[1,N+1,Z], and what was dreamt after `warmup` of the N actions."""
    assert agent.memory is not None
    device = next(agent.memory.parameters()).device
    latents, actions = latents.to(device), actions.to(device)
    head, tail = actions[:, :warmup], actions[:, warmup:]
    lived = watch(agent.memory, latents[:, : warmup + 1], head)
    start = warm_up(agent.memory, latents[:, : warmup + 1], head)
    dream = Dream(agent.memory, temperature=shot.temperature)
    return _here(lived), _here(open_loop(dream, start, tail, generator(shot.seed, "film"))[0])


def _here(run: OpenLoop) -> OpenLoop:
    """On the CPU, where pictures are made."""
    return OpenLoop(*(part.cpu() for part in run))


def film_agent(trained: Trained, shot: Shot) -> Film:
    """The agent acting in its own dream, from the first latent of a real episode until the dream ends it."""
    trained.require("evolve")
    agent = trained.agent().to(trained.device)
    assert agent.memory is not None
    world = dream_slots(trained, agent, [agent.memory], shot.temperature, 1, shot.steps)
    policy = ControllerPolicy(agent.controller, agent.squash, 1, trained.theta(agent))
    runner = Runner(world, policy, record=lambda episode: episode)
    seed = episode_seeds(trained.root_seed, "transfer", 1, shot.seed)[0]
    (outcome,) = run_episodes(runner, [Job(index=0, seed=seed)])
    episode: Episode = outcome.payload
    # Features begin with the latent; replayed with an empty memory, they give the densities that were dreamt from.
    latents = torch.from_numpy(episode.frames[:, : agent.vision.config.latent])
    device = next(agent.memory.parameters()).device
    lived = _here(watch(agent.memory, latents[None].to(device), torch.from_numpy(episode.actions)[None].to(device)))
    ending = "the dream ended it" if outcome.terminated else "still going"
    return Film(
        summary=f"{outcome.steps} steps at temperature {shot.temperature:g}, return {outcome.total:.0f}, {ending}",
        panels=(("the agent in its own dream", pixels(agent, latents)),),
        alone=0,
        actions=episode.actions,
        controls=controls_of(trained.official),
        real=None,
        **_drawn(lived),
    )


def drive(trained: Trained, agent: Agent, shot: Shot) -> Episode:
    """A new real episode of the agent, as long as the film."""
    runner = Runner(
        make_slots(trained.official, 1, official=True),
        AgentPolicy(agent, SLOTS, trained.theta(agent)),
        max_steps=shot.warmup + shot.steps,
        record=lambda episode: episode,
    )
    seed = episode_seeds(trained.root_seed, "transfer", 1, shot.seed)[0]
    try:
        (outcome,) = run_episodes(runner, [Job(index=0, seed=seed)])
    finally:
        runner.close()
    episode: Episode = outcome.payload
    return episode


def _stored(trained: Trained, episode: int) -> Episode:
    store = trained.episodes()
    indices = store.indices()
    if episode not in indices:
        raise ValueError(f"episode {episode} is not stored: this run has episodes 0 to {max(indices, default=-1)}")
    return store.read(episode)


@torch.inference_mode()
def encode(agent: Agent, frames: Pictures) -> Tensor:
    """Latents f32[N,Z] of frames u8[N,H,W,C], as the agent sees them; on the CPU."""
    pieces, device = torch.from_numpy(np.ascontiguousarray(frames)).split(CHUNK), next(agent.vision.parameters()).device
    return torch.cat([agent.vision.encode_mean(piece.to(device)).float().cpu() for piece in pieces])


def pixels(agent: Agent, z: Tensor) -> Pictures:
    """What latents f32[N,Z] look like, u8[N,H,W,C]."""
    return canvas.pixels(decode(agent.vision, z))


def _drawn(run: OpenLoop) -> dict[str, NDArray[np.float32]]:
    return {
        "dreamt": run.rewards[0].float().numpy(),
        "ends": run.ends[0].float().numpy(),
        "weights": run.weights[0].float().numpy(),
    }
