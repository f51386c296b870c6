"""A small controller evolved in the dream of a trained state-space model, and played in the real environment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from frmdn.agent.dream import Dream, DreamState
from frmdn.agent.seeds import derive
from frmdn.agent.state_space import StateSpaceAgent, StateSpaceWorld
from frmdn.controller.batched import BatchedDreams
from frmdn.controller.evaluate import SLOTS, evaluate
from frmdn.controller.evolution import SearchConfig
from frmdn.controller.evolve import evolve
from frmdn.controller.fitness import Fitness, RealFitness
from frmdn.controller.hidden import HiddenController
from frmdn.envs.dream import DreamSlots
from frmdn.envs.spec import EnvSpec
from frmdn.envs.vector import make_slots
from frmdn.envs.worlds.pendulum import angle, pendulum_spec
from frmdn.rollouts.collect import PolicyFactory, agent_policy, named_policy
from frmdn.rollouts.job import Job
from frmdn.rollouts.policy import ControllerPolicy
from frmdn.rollouts.run import Runner, run_episodes
from frmdn.rollouts.workers import SerialPool

from ..drawing.figures import to_png
from ..files import read_json, write_bytes, write_json
from ..progress import Progress
from ..saved_search import SavedSearch
from .seed import Data, load_seed

if TYPE_CHECKING:
    from .settings import StateSpaceSettings

SEARCH = SearchConfig(population=32, episodes=16, generations=150, sigma=0.5, validate_every=0)
HIDDEN, EPISODES, SHOWN = 8, 50, 12  # units of the controller; episodes of the evaluation; of them drawn
SEED = 0  # the model in whose dream the controller is evolved


def control(settings: StateSpaceSettings, data: Data, out: Path, progress: Progress) -> dict[str, Any]:
    """Evolve in the dream of seed 0, evaluate in the real environment beside the random policy, draw `control.png`.

    Resumes by generation. Raises ValueError where the model cannot filter, which acting needs.
    """
    folder, path = out / "control", out / "control" / "result.json"
    if path.exists():
        return read_json(path)
    model, spec = load_seed(settings, data, SEED, out), pendulum_spec(settings.observation)
    agent = StateSpaceAgent(model, HiddenController(model.config.latent, spec.action.size, HIDDEN), spec.action.squash)
    theta, history = _search(agent, data, spec, folder, progress)
    act = agent_policy(agent, theta)
    reports = {
        name: evaluate(spec, policy, name=name, episodes=EPISODES, seed=SEED, workers=0)
        for name, policy in (("dreamt", act), ("random", partial(named_policy, "random")))
    }
    angles = _angles(act, settings, reports["dreamt"].seeds[:SHOWN])
    from .plots import control_figure

    figures = {name: report.flat() for name, report in reports.items()}
    write_bytes(folder / "control.png", to_png(control_figure(history, figures, angles)))
    result = {
        "dream": history[-1]["mean"],
        "real": {name: {key: figures[name][key] for key in ("mean", "std", "ci95", "episodes")} for name in figures},
        "upright": float((np.abs(angles[:, -50:]) < 0.5).mean()),
    }
    write_json(path, result)
    real = result["real"]
    progress.line(
        f"control: dreamt {result['dream']:.0f}; real {real['dreamt']['mean']:.0f} ± {real['dreamt']['std']:.0f}, "
        f"random policy {real['random']['mean']:.0f} ± {real['random']['std']:.0f}"
    )
    return result


def _search(
    agent: StateSpaceAgent, data: Data, spec: EnvSpec, folder: Path, progress: Progress
) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """CMA-ES from the saved generation on: its mean f64[N], and one history line per generation."""
    saved, seed = SavedSearch(folder), derive(SEED, "statespace", "control")
    evolution = saved.open(agent.controller.size, SEARCH, seed)
    with progress.task("dream", "generations") as task, _dreaming(agent, data, spec) as fitness:

        def log(line: dict[str, Any]) -> None:
            saved.history.append(line)
            task.update(line["generation"], SEARCH.generations, f"mean return {line['mean']:.0f}")

        evolve(
            fitness,
            evolution,
            SEARCH,
            seed=seed,
            on_generation=log,
            checkpoint=saved.save,
        )
    return evolution.mean, saved.lines()


@contextmanager
def _dreaming(agent: StateSpaceAgent, data: Data, spec: EnvSpec) -> Iterator[Fitness]:
    """Where the generations dream: in this process, or as one batch on the GPU where the data are."""
    device = data.train.observations.device
    if device.type == "cpu":
        with SerialPool(partial(dreamer, agent, data, spec)) as pool:
            yield RealFitness(pool)
    else:
        world, starts = _begun(agent.to(device), data)
        yield BatchedDreams(spec, agent.controller, "z", [Dream(world)], [starts], max_steps=spec.max_steps)


def _begun(agent: StateSpaceAgent, data: Data) -> tuple[StateSpaceWorld, DreamState]:
    """The world of a model, and where its dreams begin."""
    model, x = agent.model, data.train.observations
    world = StateSpaceWorld(model)
    with torch.no_grad():
        z = model.initial_state(x, data.train.controls, x.new_zeros(len(x), model.config.latent))
    return world, DreamState(z, world.initial(len(z)))


def dreamer(agent: StateSpaceAgent, data: Data, spec: EnvSpec) -> Runner:
    """A dream for every episode of a generation, all in one batch, begun where the training trajectories began.

    The controller sees the state there, as it does by filtering in the real world.
    """
    (world, starts), slots = _begun(agent, data), SEARCH.population * SEARCH.episodes
    dreams = DreamSlots(spec, Dream(world), starts, slots, features="z", block=slots)
    return Runner(dreams, ControllerPolicy(agent.controller, agent.squash, slots))


def _angles(act: PolicyFactory, settings: StateSpaceSettings, seeds: list[int]) -> np.ndarray:
    """The real angle over time f[N,T+1] of some of the evaluated episodes."""
    spec = pendulum_spec("state")
    runner = Runner(make_slots(spec, SLOTS), act(spec, SLOTS), record=lambda episode: angle(episode.frames))
    outcomes = run_episodes(runner, [Job(i, seed) for i, seed in enumerate(seeds)])
    return np.stack([outcome.payload for outcome in sorted(outcomes, key=lambda outcome: outcome.index)])
