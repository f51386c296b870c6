"""Run stages in order: skip what is done, resume what is partial, redo what is stale."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from frmdn.agent.device import device_name

from ..machine import threads
from ..metrics.journal import NAME, Journal
from ..metrics.line import Sink
from ..metrics.series import Metrics
from ..metrics.tensorboard import TensorBoard
from ..metrics.tracker import Under
from ..progress import duration, noted, told
from ..session import Result, Session, Work
from .collect import run_collect
from .encode import run_encode
from .evaluate import run_evaluate
from .evolve import run_evolve
from .memory import run_memory
from .report import run_report
from .rounds import run_rounds
from .vision import run_vision

STAGE_FUNCTIONS: dict[str, Callable[[Session, Work], Result]] = {
    "collect": run_collect,
    "vision": run_vision,
    "encode": run_encode,
    "memory": run_memory,
    "evolve": run_evolve,
    "rounds": lambda session, work: run_rounds(session, work, run_stages),
    "evaluate": run_evaluate,
    "report": run_report,
}


def run_stages(session: Session, names: Sequence[str]) -> None:
    """Bring the named stages to done, in order; raises ValueError where one needs a stage that is not done."""
    for name in names:
        statuses = {status.name: status for status in session.workspace.status()}
        status = statuses[name]
        if status.state == "done":
            session.progress.line(f"{name:<9} done already: {_result(session, name)}")
            continue
        for source in session.workspace.table[name].inputs:
            if statuses[source].state != "done":
                raise ValueError(
                    f"{name} needs {source}, which is {statuses[source].state}: run "
                    f"frmdn {source} --run {session.workspace.root} first, or frmdn run for all stages"
                )
        if status.state != "missing":
            verb = {"partial": "goes on after", "stale": "is made again:"}[status.state]
            session.progress.line(f"{name:<9} {verb} {status.why}")
        run_stage(session, name)


def run_stage(session: Session, name: str) -> None:
    """Run one stage whose inputs are done, from where it was left."""
    workspace = session.workspace
    clock = workspace.begin(name)
    torch.set_num_threads(threads())  # of the machine and not of `workers`: they change the last digits
    shown = name != "rounds"  # its rounds show those of their own stages
    bar = session.progress.task(name, workspace.table[name].unit, shown)
    with bar as task, noted(session.progress), told(session.progress):

        def report(done: int, total: int, note: str) -> None:
            clock.tick(done, total)
            task.update(done, total, note)

        work = Work(workspace.folder(name), clock, report, _metrics(session, name, clock.begun))
        result = STAGE_FUNCTIONS[name](session, work)
    clock.finish(result.units, result.text, device_name(session.machine.device))
    session.progress.line(f"{name:<9} {result.text} ({duration(clock.seconds)})")


def _metrics(session: Session, name: str, begun: str) -> Metrics:
    """Where the lines of a stage go: into the files of its run folder, and to the trackers of the run."""
    root, number = session.workspace.root, session.config.rounds.number
    sinks: list[Sink] = [TensorBoard(root / "tensorboard")]
    sinks += [Under(tracker, root.name) if number > 1 else tracker for tracker in session.trackers]
    return Metrics(name, begun, Journal(root / NAME), tuple(sinks), session.progress.line)


def _result(session: Session, name: str) -> str:
    return str((session.workspace.done(name) or {}).get("result", ""))
