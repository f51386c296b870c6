"""The stages that look and learn: collect, vision, encode, memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from typing import Any

import numpy as np
import torch

from frmdn.agent.agent import Agent
from frmdn.agent.seeds import derive, generator
from frmdn.agent.training import FitConfig, fit
from frmdn.envs.spec import EnvSpec
from frmdn.rollouts.batches import FrameBatches, LatentBatches, split
from frmdn.rollouts.collect import PolicyFactory, collect
from frmdn.rollouts.episodes.store import EpisodeStore
from frmdn.rollouts.exploring import ExploringPolicy
from frmdn.rollouts.job import Outcome
from frmdn.rollouts.latents import LatentStore, encode_store
from frmdn.rollouts.policy import Policy

from ..files import History
from ..session import Result, Session, Work
from ..weights import load_checkpoint, save_checkpoint, save_model

VALIDATION_BATCHES = 4  # batches of held-out episodes that make one validation figure


def run_collect(session: Session, work: Work) -> Result:
    config, spec, machine = session.config, session.spec, session.machine
    store = EpisodeStore(work.folder / "episodes")
    missing = store.missing(config.collect.episodes)
    if missing:
        steps = config.collect.max_steps or spec.max_steps
        size = store.check_disk(len(missing), steps, spec.frame_shape)
        session.progress.line(
            f"collect: {len(missing)} episodes of up to {steps} steps, about {size / 1e6:.0f} MB of disk"
        )
    work.report(config.collect.episodes - len(missing), config.collect.episodes, "")

    def progress(done: int, total: int, outcome: Outcome) -> None:
        work.report(done, total, f"last return {outcome.total:.0f}")

    summaries = collect(
        spec,
        config.collect,
        store,
        seed=session.seed,
        workers=machine.workers,
        address=machine.address,
        backend=config.backend,
        progress=progress,
        policy_factory=_explorer(session),
    )
    steps, mean = sum(s.steps for s in summaries), sum(s.total for s in summaries) / len(summaries)
    size = sum(path.stat().st_size for path in store.folder.glob("*.h5"))
    return Result(
        len(summaries), f"{len(summaries)} episodes, {steps:,} steps, mean return {mean:.0f}, {size / 1e6:.0f} MB"
    )


def _explorer(session: Session) -> PolicyFactory | None:
    """Who collects: in a further round the agents of the round before, exploring; None leaves it to the settings.

    They are those between the mean that was kept and the last one. Where the search was cheated the memory must see
    what became of the last one, or it will be cheated in the same way for ever.
    """
    if session.before is None:
        return None
    agent, rounds = session.before.agent(), session.config.rounds
    thetas = session.before.theta(agent), session.before.last_theta()
    return partial(_explore, agent, thetas, (rounds.parameter_noise, rounds.action_noise))


def _explore(
    agent: Agent, thetas: tuple[np.ndarray, np.ndarray], noise: tuple[float, float], spec: EnvSpec, slots: int
) -> Policy:
    theta, towards = thetas
    return ExploringPolicy(agent, spec.action, slots, theta, *noise, towards=towards)


def run_vision(session: Session, work: Work) -> Result:
    config, store = session.config, session.episodes()
    seed, size = derive(session.seed, "vision"), config.vision_data.batch
    training, held = session.split("vision", config.vision_data.validation)
    vision = session.new_vision()
    if session.before is not None:
        vision.load_state_dict(session.before.vision().state_dict())
    with closing(FrameBatches(store, held, size, derive(seed, "validation"))) as batches:
        fixed = [batches(i) for i in range(VALIDATION_BATCHES)]
    with closing(FrameBatches(store, training, size, seed)) as batches:
        return _train(session, work, vision, batches, fixed, config.vision_fit)


def held_out_frames(session: Session, count: int = 10) -> np.ndarray:
    """Frames u8[N,H,W,C] of the episodes that the vision was not trained on, spread over them."""
    config = session.config
    store = EpisodeStore(session.workspace.folder("collect") / "episodes")
    _, held = split(range(config.collect.episodes), config.vision_data.validation, derive(config.seed, "vision"))
    chosen = [held[i * len(held) // count] for i in range(count)]
    rows = [(i + 1) * store.summary(index).steps // (count + 1) for i, index in enumerate(chosen)]
    return np.concatenate([store.read_frames(index, np.array([row])) for index, row in zip(chosen, rows, strict=True)])


def run_encode(session: Session, work: Work) -> Result:
    again = session.before is not None and session.config.rounds.vision_steps  # another vision: encode everything
    store = session.episodes() if again else EpisodeStore(session.workspace.folder("collect") / "episodes")
    latents = LatentStore(work.folder)
    vision = session.vision().to(session.machine.device)
    with torch.inference_mode():
        encode_store(vision, store, latents, progress=lambda done, total: work.report(done, total, ""))
    count = len(latents.indices())
    return Result(count, f"{count} episodes as latents of {session.config.vision.latent}")


def run_memory(session: Session, work: Work) -> Result:
    """Train every member of the ensemble, one after the other; the first is the memory that acts."""
    members, steps = session.config.memory_data.members, session.config.memory_fit.steps
    results = []
    for member in range(members):

        def report(done: int, total: int, note: str, before: int = member * steps) -> None:
            work.report(before + done, members * steps, note)

        results.append(_train_member(session, Work(session.memory_folder(member), work.clock, report), member))
    of = "" if members == 1 else f"{members} members; the first: "
    return Result(members * steps, of + results[0].text)


def _train_member(session: Session, work: Work, member: int) -> Result:
    data, latents, memory = session.config.memory_data, session.latents(), session.new_memory(member)
    seed = derive(session.seed, "memory", *([member] if member else []))
    training, held = session.split("memory", data.validation)
    if session.before is not None:
        memory.load_state_dict(session.before.memory(member).state_dict())
    with closing(
        LatentBatches(latents, held, data.batch, data.length, derive(seed, "validation"), noise=data.noise)
    ) as batches:
        fixed = [batches(i) for i in range(VALIDATION_BATCHES)]
    with closing(LatentBatches(latents, training, data.batch, data.length, seed, noise=data.noise)) as batches:
        return _train(session, work, memory, batches, fixed, session.config.memory_fit)


def _train(
    session: Session, work: Work, model: Any, batches: Callable[[int], Any], held: Sequence[Any], config: FitConfig
) -> Result:
    """Fit from the last checkpoint on; the history is cut to it, so that no step stands there twice."""
    torch.set_num_threads(session.machine.threads)
    model, device = model.to(session.machine.device), session.machine.device
    path, seed = work.folder / "checkpoint.safetensors", derive(session.seed, work.folder.name, "fit")
    state, history = load_checkpoint(path), History(work.folder / "history.jsonl", "step")
    log = _Log(work, history, config.steps, history.cut(state.step if state else 0))
    work.report(state.step if state else 0, config.steps, "")

    def batch(step: int) -> Any:
        log.at(step)
        return batches(step).to(device)

    final = fit(
        model,
        batch,
        config,
        seed=seed,
        state=state,
        on_log=log,
        checkpoint=lambda state: save_checkpoint(path, state),
        validate=lambda: _validate(model, held, device, seed),
    )
    save_model(work.folder, model)
    work.report(final.step, config.steps, log.note)
    return Result(final.step, f"{final.step} steps, {log.summary()}")


def _validate(model: Any, held: Sequence[Any], device: torch.device, seed: int) -> dict[str, float]:
    """Mean loss and parts over held-out batches, with the same noise whatever the step."""
    sums: dict[str, float] = {}
    for i, batch in enumerate(held):
        loss = model.loss(batch.to(device), generator(seed, "validation", i, device=device))
        for name, value in {"loss": loss.total, **loss.parts}.items():
            sums[name] = sums.get(name, 0.0) + float(value) / len(held)
    return {f"validation_{name}": value for name, value in sums.items()}


class _Log:
    """Writes history lines with the working time over all resumes, and keeps the figure that people watch."""

    def __init__(self, work: Work, history: History, steps: int, past: list[dict[str, Any]]) -> None:
        self.work, self.history, self.steps = work, history, steps
        self.figures: dict[str, float] = {}
        for line in past:
            self.figures |= line

    def __call__(self, line: dict[str, float]) -> None:
        self.figures |= line
        self.history.append({**line, "seconds": round(self.work.clock.seconds, 3)})

    def at(self, step: int) -> None:
        self.work.report(step, self.steps, self.note)

    @property
    def note(self) -> str:
        return f"loss {self.figures['loss']:.4g}" if "loss" in self.figures else ""

    def summary(self) -> str:
        parts = [
            f"{name.replace('_', ' ')} {self.figures[name]:.4g}"
            for name in ("loss", "validation_loss")
            if name in self.figures
        ]
        return ", ".join(parts)
