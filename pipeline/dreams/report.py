"""`frmdn dream report`: everything that is measured about a run's dreams, in `dream.json` and in pictures."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frmdn.agent.agent import Agent
from frmdn.agent.device import device_name
from frmdn.agent.dream import Dream
from frmdn.agent.seeds import derive
from frmdn.controller.evaluate import versions
from frmdn.controller.replay import Selected

from ..drawing.figures import to_png
from ..files import write_bytes, write_json
from ..session import Session
from .fidelity import OpenLoopPlan, measure_open_loop
from .figures import open_loop_figure, rho_text, temperature_figure, transfer_figure
from .section import RESULT
from .transfer import TransferPlan, compare, controllers, mean_std, play_for_real, play_in_dreams
from .worlds import held_out


@dataclass(frozen=True)
class ReportPlan:
    """What `frmdn dream report` measures."""

    transfer: TransferPlan = field(default_factory=TransferPlan)
    open_loop: OpenLoopPlan = field(default_factory=OpenLoopPlan)


def make_report(session: Session, plan: ReportPlan) -> dict[str, Any]:
    """Measure, write `dream.json` and `dream/*.png`, and return what was written. Of several rounds, the one kept."""
    session.require("memory", "evolve")
    root, inputs, session = session.workspace.root, made_of(session), session.kept
    begin, agent, seed = time.monotonic(), session.agent(), session.config.seed
    mind = agent.to(session.machine.device)  # the workers move their own
    quality = _open_loop(session, mind, plan.open_loop)
    chosen = controllers(session, agent, plan.transfer.controllers)
    with session.progress.task("real", "episodes") as task:
        real = play_for_real(session, agent, chosen, plan.transfer, task.update)
    rows = []
    for temperature in plan.transfer.temperatures:
        with session.progress.task("dream", "steps") as task:
            dreamt, steps = play_in_dreams(session, mind, chosen, plan.transfer, temperature, task.update)
        rows.append({**compare(chosen, real, dreamt, temperature, seed), "steps": steps})
    result = {
        "env": session.config.env,
        "density": session.config.memory.density,
        "inputs": inputs,
        "plan": {"transfer": asdict(plan.transfer), "open_loop": asdict(plan.open_loop)},
        "controllers": _controllers(chosen, real),
        "temperatures": rows,
        "open_loop": quality,
        "versions": versions(),
        "device": device_name(session.machine.device),
        "seconds": time.monotonic() - begin,
    }
    write_json(root / RESULT, result)
    _draw(root / "dream", result)
    return result


def made_of(session: Session) -> dict[str, Any]:
    """What identifies the vision, the memory and the search that were measured."""
    return session.workspace.inputs("evaluate")


def _open_loop(session: Session, agent: Agent, plan: OpenLoopPlan) -> dict[str, Any]:
    assert agent.memory is not None
    dream, seed = Dream(agent.memory, temperature=plan.temperature), derive(session.config.seed, "dream report")
    quality = measure_open_loop(dream, agent.vision, held_out(session), plan, seed)
    if (quality["warmup"], quality["horizon"]) != (plan.warmup, plan.horizon):
        session.progress.line(
            f"open loop: the held-out episodes are short, so {quality['warmup']} steps of warm-up and "
            f"{quality['horizon']} alone, not {plan.warmup} and {plan.horizon}"
        )
    return quality


def _controllers(chosen: Sequence[Selected], real: NDArray[np.float64]) -> list[dict[str, Any]]:
    return [
        {
            "name": one.name,
            "kind": one.kind,
            "generation": one.generation,
            "told": one.told if np.isfinite(one.told) else None,
            "real": {**mean_std(returns), "returns": returns.tolist()},
        }
        for one, returns in zip(chosen, real, strict=True)
    ]


def _draw(folder: Path, result: dict[str, Any]) -> None:
    for name, draw in (
        ("transfer", transfer_figure),
        ("temperatures", temperature_figure),
        ("open_loop", open_loop_figure),
    ):
        write_bytes(folder / f"{name}.png", to_png(draw(result)))


def lines(result: dict[str, Any]) -> list[str]:
    """The result for people at a terminal."""
    texts = [f"open loop, after {result['open_loop']['warmup']} steps of watching:"]
    for part in ("latents", "frames"):
        found = result["open_loop"][part]
        for name, label in (("point", "point predictions"), ("drawn", "drawn dreams")):
            better, below = found["better_than_still"][name], found["below_threshold"][name]
            run = f"from step {better['since']} to {better['steps']}" if better["steps"] else "never"
            texts.append(
                f"  {part}, {label}: better than the still predictor {run} (last step: {better['low']} to "
                f"{better['high']}), below the threshold for {below['steps']} ({below['low']} to {below['high']})"
            )
    texts.append(f"{len(result['controllers'])} controllers, dream against reality:")
    for row in result["temperatures"]:
        agent, favourite = row["agent"], row["preferred"]
        texts.append(
            f"  temperature {row['temperature']:<5g} Spearman {rho_text(row['spearman'])}; agent: {_scores(agent)}; "
            f"the dream's favourite ({favourite['name']}): {_scores(favourite)}"
        )
    return texts


def _scores(entry: dict[str, Any]) -> str:
    return f"dream {entry['dream']['mean']:.0f}, real {entry['real']['mean']:.0f}"
