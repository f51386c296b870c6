"""The fourth stage: train the memory, or several of them, on latents."""

from __future__ import annotations

from contextlib import closing

from frmdn.agent.seeds import derive
from frmdn.rollouts.batches import LatentBatches

from ..session import Result, Session, Work
from .train import VALIDATION_BATCHES, train


def run_memory(session: Session, work: Work) -> Result:
    """Train every member of the ensemble, one after the other; the first is the memory that acts."""
    session.check_latents()
    members, steps = session.config.memory_data.members, session.config.memory_fit.steps
    results = []
    for member in range(members):

        def report(done: int, total: int, note: str, before: int = member * steps) -> None:
            work.report(before + done, members * steps, note)

        metrics = work.metrics.part(f"member-{member + 1}") if member else work.metrics
        own = Work(session.memory_folder(member), work.clock, report, metrics)
        results.append(_train_member(session, own, member))
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
        return train(session, work, memory, batches, fixed, session.config.memory_fit)
