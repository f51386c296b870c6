"""Rounds: collect with the agent so far, train on what it met, evolve again; each in a folder that stays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from frmdn.agent.seeds import episode_seeds
from frmdn.controller.fitness import RealFitness
from frmdn.rollouts.episodes.store import EpisodeStore
from frmdn.rollouts.workers import open_pool

from ..config import RoundsConfig, RunConfig
from ..disk import remove
from ..files import History, read_json, write_json
from ..session import Result, Session, Work, kept_record, round_name
from ..settings import to_json
from ..workspace import Workspace
from .evolve import search_runner

# A single round is no contest: these settings are those of the run, and no round is stale when they change.
ALONE = {"count": 1, "finalists": RoundsConfig.finalists, "final_episodes": RoundsConfig.final_episodes}


def run_rounds(session: Session, work: Work, run_stages: Callable[[Session, Sequence[str]], None]) -> Result:
    """Bring round 2 to the last to done, in `round-02/` and so on, and choose whose agent counts: `kept.json`.

    A round is a small run folder: `frmdn status --run DIR/round-02` and the commands of single stages work on it. The
    round before plays its episodes, and its memory and its search go on from there.
    """
    count, history = session.config.rounds.count, History(work.folder / "history.jsonl", "round")
    for number in range(count + 1, len(session.workspace.rounds()) + 2):  # more than asked for
        remove(session.workspace.root / round_name(number))
    (work.folder / "kept.json").unlink(missing_ok=True)  # until the last round is done, no agent counts
    series = work.metrics.series("round", history)
    series.go_on(history.cut(0))
    series.append(_line(session, 0))
    work.report(1, count, "")
    for number in range(2, count + 1):
        session.progress.line(f"rounds    round {number} of {count}")
        each = _open(session, number)
        run_stages(each, list(each.workspace.table))
        series.append(_line(each, history.read()[-1]["real_steps"]))
        work.report(number, count, "")
    lines = history.read()
    kept = _choose(session, lines, work)
    write_json(work.folder / "kept.json", kept)
    value = "" if kept["validation"] is None else f": {kept.get('final', kept['validation']):.0f} on validation seeds"
    return Result(
        count,
        f"{count} rounds, {_real_steps(lines, work):,} real steps; kept the agent of round {kept['round']}{value}",
    )


def _choose(session: Session, lines: list[dict[str, Any]], work: Work) -> dict[str, Any]:
    """The line of the round whose agent counts: best on the validation seeds, or else the last round.

    The best of many noisy figures is a lucky one, so several finalists meet again on further seeds: `finals.jsonl`.
    """
    finals = History(work.folder / "finals.jsonl", "round")
    finals.cut(0)
    checked = sorted((line for line in lines if line["validation"] is not None), key=_rank)
    finalists = checked[: session.config.rounds.finalists]
    if len(finalists) < 2:
        return finalists[0] if finalists else lines[-1]
    for place, line in enumerate(finalists):
        work.report(len(lines), len(lines), f"finalist {place + 1} of {len(finalists)}: round {line['round']}")
        finals.append(line | _final(_last(session, line["round"]), session.config.rounds.final_episodes))
    return max(finals.read(), key=lambda line: line["final"])


def _rank(line: dict[str, Any]) -> tuple[float, int]:
    """Best on the validation seeds first; of equal ones, the latest."""
    return -line["validation"], -line["round"]


def _final(session: Session, episodes: int) -> dict[str, Any]:
    """What a round's agent returns on validation seeds behind those of the checks, and the real steps of that."""
    config, agent = session.config, session.agent()
    seeds = episode_seeds(config.seed, "validate", episodes, config.search.validate_episodes)
    make = partial(search_runner, session.spec, agent, config.search, session.machine.acting)
    with open_pool(make, session.machine.workers, session.machine.address) as pool:
        played = RealFitness(pool)(session.theta(agent)[None], seeds)
    return {"final": float(played.total.mean()), "final_steps": int(played.steps.sum())}


def _real_steps(lines: list[dict[str, Any]], work: Work) -> int:
    """Steps of the real environment in all rounds, their finals included."""
    finals = History(work.folder / "finals.jsonl", "round").read()
    return int(lines[-1]["real_steps"]) + sum(int(line["final_steps"]) for line in finals)


def round_config(config: RunConfig, number: int) -> RunConfig:
    """The settings of a further round, derived from those of the run.

    Its episodes are whole from the first generation on: an agent that outlives the curriculum's short ones scores alike
    with all its neighbours, and the search wanders off.
    """
    rounds = config.rounds
    return replace(
        config,
        collect=replace(config.collect, episodes=rounds.episodes, policy="agent", returning=0.0),
        vision_fit=replace(config.vision_fit, steps=rounds.vision_steps or config.vision_fit.steps),
        memory_fit=replace(config.memory_fit, steps=rounds.memory_steps or config.memory_fit.steps),
        search=replace(config.search, generations=rounds.generations or config.search.generations, first_steps=None),
        rounds=replace(rounds, number=number, **ALONE),
    )


def _open(session: Session, number: int) -> Session:
    """The session of a round; its folder is made anew where the round before is another than it was made from."""
    before = _last(session, number - 1)
    origin = before.workspace.inputs("evolve") | {"evolve": before.workspace.made("evolve")}
    folder, config = session.workspace.root / round_name(number), round_config(session.config, number)
    path = folder / "origin.json"
    if folder.exists() and not (path.exists() and read_json(path) == origin):
        remove(folder)
    write_json(path, origin)
    workspace = Workspace(folder)
    workspace.write_config(to_json(config))
    return replace(session, workspace=workspace, config=config)


def _last(session: Session, number: int) -> Session:
    """The session of round `number`, whose folder is there."""
    return session if number == 1 else session.at(session.workspace.root / round_name(number))


def _line(session: Session, before: int) -> dict[str, Any]:
    """A round in figures; `real_steps` counts all rounds up to it: collected, validated, and searched in reality."""
    workspace = session.workspace
    store = EpisodeStore(workspace.folder("collect") / "episodes")
    summaries = [store.summary(index) for index in range(session.config.collect.episodes)]
    kept = kept_record(workspace)
    stages = [workspace.done(name) or {} for name in workspace.table if name not in ("rounds", "evaluate", "report")]
    return {
        "round": session.config.rounds.number,
        "episodes": len(summaries),
        "collected": sum(s.total for s in summaries) / len(summaries),
        "generation": kept["generation"],
        "validation": kept["validation"],
        "last": kept["last"],
        "real_steps": before + sum(s.steps for s in summaries) + int(kept["real_steps"]),
        "seconds": sum(float(done.get("seconds", 0.0)) for done in stages),
    }
