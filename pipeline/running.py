"""Run stages in order: skip what is done, resume what is partial, redo what is stale."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .acting_stages import run_evaluate, run_evolve, run_report
from .progress import duration
from .session import Result, Session, Work
from .stages import BY_NAME
from .training_stages import run_collect, run_encode, run_memory, run_vision

STAGE_FUNCTIONS: dict[str, Callable[[Session, Work], Result]] = {
    "collect": run_collect,
    "vision": run_vision,
    "encode": run_encode,
    "memory": run_memory,
    "evolve": run_evolve,
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
        for source in BY_NAME[name].inputs:
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
    workspace, stage = session.workspace, BY_NAME[name]
    clock = workspace.begin(name)
    with session.progress.task(name, stage.unit) as task:

        def report(done: int, total: int, note: str) -> None:
            clock.tick(done, total)
            task.update(done, total, note)

        result = STAGE_FUNCTIONS[name](session, Work(workspace.folder(name), clock, report))
    clock.finish(result.units, result.text)
    session.progress.line(f"{name:<9} {result.text} ({duration(clock.seconds)})")


def _result(session: Session, name: str) -> str:
    return str((session.workspace.done(name) or {}).get("result", ""))
