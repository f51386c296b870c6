"""Who learns, is checked and is chosen on which episodes: watched at the losses and at the world, in a tiny run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from torch import Tensor

from frmdn.agent.agent import Agent, AgentConfig
from frmdn.agent.batch import SequenceBatch
from frmdn.agent.memory import Memory
from frmdn.agent.seeds import derive, episode_seeds
from frmdn.agent.vision import ConvVAE, VisionConfig
from frmdn.controller.evolution import Evolution, SearchConfig
from frmdn.controller.evolve import Rehearsal
from frmdn.controller.fitness import Returns, Trial
from frmdn.controller.linear import LinearController
from frmdn.envs.spec import EnvSpec
from frmdn.envs.vector import GymnasiumSlots
from frmdn.envs.worlds.counting import counting_spec, read_frame
from frmdn.pipeline.commands.main import main
from frmdn.pipeline.config import from_json, override, to_json
from frmdn.pipeline.files import read_json, write_json
from frmdn.pipeline.presets import preset
from frmdn.pipeline.session import Session, open_session
from frmdn.pipeline.stages import running
from frmdn.pipeline.stages.evolve import search_runner
from frmdn.pipeline.stages.searched import Searched, keep
from frmdn.pipeline.stages.vision import held_out_frames
from frmdn.pipeline.weights import load_state
from frmdn.pipeline.workspace import Workspace
from frmdn.rollouts.exploring import ExploringPolicy
from frmdn.rollouts.job import Job
from frmdn.rollouts.workers import SerialPool

ROUNDS, MEMBERS = 3, 2
SETTINGS = {
    "collect.episodes": 7,
    "vision_data.validation": 0.3,
    "vision_data.batch": 8,
    "vision_fit.checkpoint_every": 4,
    "memory_fit.checkpoint_every": 6,
    "memory_data.validation": 0.3,
    "memory_data.members": MEMBERS,
    "memory_data.batch": 6,
    "memory_fit.steps": 6,
    "search.validate_episodes": 2,
    "evaluate.baselines": "false",
    "rounds.episodes": 5,
    "rounds.vision_steps": 4,
    "rounds.finalists": 2,
    "rounds.final_episodes": 3,
    "rounds.parameter_noise": 0.4,
    "rounds.action_noise": 0.2,
}
MORE = ("--rounds", str(ROUNDS), "--check-every", "1")
Words = Callable[..., list[str]]
Place = tuple[int, str]  # (round, stage)


@dataclass
class Seen:
    """One call of a loss: where, of which model, whether it was a training step, and on what."""

    place: Place
    model: torch.nn.Module
    training: bool
    batch: Any
    weights: dict[str, Tensor]


@dataclass
class Watched:
    """A run folder, and all that was seen while it was made."""

    folder: Path
    losses: list[Seen] = field(default_factory=list)
    started: list[tuple[Place, int]] = field(default_factory=list)  # seeds of real episodes, by stage
    explorers: dict[int, ExploringPolicy] = field(default_factory=dict)  # who collected, by round

    def seeds(self, stage: str, round: int | None = None) -> set[int]:
        return {seed for (number, name), seed in self.started if name == stage and round in (None, number)}

    def models(self, round: int, stage: str) -> list[list[Seen]]:
        """The losses of each model of a stage, in the order in which they were trained."""
        found: dict[int, list[Seen]] = {}
        for seen in self.losses:
            if seen.place == (round, stage):
                found.setdefault(id(seen.model), []).append(seen)
        return list(found.values())

    def session(self, round: int) -> Session:
        workspace = Workspace(self.folder if round == 1 else self.folder / f"round-{round:02d}")
        first = open_session(self.folder)
        return replace(first, workspace=workspace, config=from_json(workspace.read_config()))


@contextmanager
def watching(watched: Watched) -> Iterator[None]:
    """Note every loss and every start of a real episode, with the round and the stage under way."""
    places: list[Place] = []

    def noted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def stage(session: Session, work: Any) -> Any:
            places.append((session.config.rounds.number, name))
            try:
                return function(session, work)
            finally:
                places.pop()

        return stage

    def spied(kind: type[Any]) -> Callable[..., Any]:
        plain = kind.loss

        def loss(self: Any, batch: Any, generator: Any = None) -> Any:
            weights = {name: tensor.clone() for name, tensor in self.state_dict().items()}
            watched.losses.append(Seen(places[-1], self, self.training, batch, weights))
            return plain(self, batch, generator)

        return loss

    start, explore = GymnasiumSlots.start, ExploringPolicy.start

    def begun(self: GymnasiumSlots, slot: int, seed: int) -> Any:
        watched.started.append((places[-1], seed))
        return start(self, slot, seed)

    def explored(self: ExploringPolicy, slot: int, job: Job) -> None:
        watched.explorers[places[-1][0]] = self
        explore(self, slot, job)

    with pytest.MonkeyPatch.context() as patch:
        for name, function in list(running.STAGE_FUNCTIONS.items()):
            patch.setitem(running.STAGE_FUNCTIONS, name, noted(name, function))
        for kind in (ConvVAE, Memory):
            patch.setattr(kind, "loss", spied(kind))
        patch.setattr(GymnasiumSlots, "start", begun)
        patch.setattr(ExploringPolicy, "start", explored)
        yield


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Watched:
    return Watched(tmp_path_factory.mktemp("watched") / "run")


@pytest.fixture
def watched(tiny: Words, once: Watched) -> Watched:
    """A tiny run of three rounds in reality, with an ensemble, a vision trained on, and finals; made once."""
    if not once.folder.exists():
        settings = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]
        with watching(once):
            assert main(tiny(once.folder, *MORE, *settings)) == 0
    return once


def episodes_of(batch: Any, session: Session) -> set[int]:
    """Which of the episodes of all rounds a batch is made of, found by what is in it."""
    store = session.episodes()
    if isinstance(batch, Tensor):
        by_seed = {store.summary(index).seed: index for index in store.indices()}
        return {by_seed[read_frame(frame)[0]] for frame in batch.numpy()}
    assert isinstance(batch, SequenceBatch)
    latents, found = session.latents(), set()
    whole = {index: latents.read(index).actions.tobytes() for index in latents.indices()}
    for actions, mask in zip(batch.actions.numpy(), batch.mask.numpy(), strict=True):
        (index,) = (i for i, text in whole.items() if actions[mask].tobytes() in text)
        found.add(index)
    return found


@pytest.mark.parametrize(("stage", "models"), [("vision", 1), ("memory", MEMBERS)])
def test_what_a_round_holds_out_neither_it_nor_a_later_one_trains_on(watched: Watched, stage: str, models: int) -> None:
    trained: set[int] = set()
    held: set[int] = set()
    for number in range(1, ROUNDS + 1):
        session, each = watched.session(number), watched.models(number, stage)
        data = session.config.vision_data if stage == "vision" else session.config.memory_data
        training, validation = session.split(stage, data.validation)
        count = 7 + 5 * (number - 1)
        assert len(each) == models and sorted(training + validation) == list(range(count))
        for losses in each:
            steps = [episodes_of(seen.batch, session) for seen in losses if seen.training]
            checks = [episodes_of(seen.batch, session) for seen in losses if not seen.training]
            assert set().union(*steps) <= set(training) and set().union(*checks) <= set(validation)
            assert len(set().union(*steps)) > 2 and len(set().union(*checks)) > 1
            trained, held = trained.union(*steps), held.union(*checks)
        assert any(index >= count - 5 for index in trained)  # the newest episodes are learnt from
    assert not trained & held


@pytest.mark.parametrize("seed", range(4))
def test_the_parts_of_later_rounds_contain_those_of_earlier_ones(tmp_path: Path, seed: int) -> None:
    plain = override(to_json(preset("smoke", counting_spec())), [f"seed={seed}", "collect.episodes=20"])
    for number in range(1, 5):
        folder = tmp_path if number == 1 else tmp_path / f"round-{number:02d}"
        Workspace(folder).write_config(override(plain, [f"rounds.number={number}", "rounds.count=1"]))
    last = open_session(tmp_path / "round-04")
    parts = [[set(part) for part in each.split("memory", 0.25)] for each in last.lineage]
    assert [len(training) for training, _ in parts] == [15, 30, 45, 60]
    for (training, held), (more, others) in pairwise(parts):
        assert training < more and held < others and not more & others
    fresh = [{index % 20 for index in held - (parts[n - 1][1] if n else set())} for n, (_, held) in enumerate(parts)]
    assert any(one != fresh[0] for one in fresh[1:])  # every round draws its own
    assert last.split("vision", 0.25)[1] != last.split("memory", 0.25)[1]


def test_the_members_of_an_ensemble_begin_apart_and_learn_from_batches_of_their_own(watched: Watched) -> None:
    first, second = watched.models(1, "memory")
    begun, other = first[0].weights, second[0].weights
    alike = {name for name in begun if begun[name].abs().sum() > 0 and torch.equal(begun[name], other[name])}
    assert not {name for name in alike if "weight" in name and "mask" not in name}
    steps = [[seen.batch.latents for seen in losses if seen.training] for losses in (first, second)]
    assert not any(torch.equal(a, b) for a, b in zip(*steps, strict=True))
    last = [watched.session(ROUNDS).memory(member).state_dict() for member in range(MEMBERS)]
    assert not torch.equal(last[0]["outcome.weight"], last[1]["outcome.weight"])


@pytest.mark.parametrize("stage", ["vision", "memory"])
def test_a_later_round_trains_on_from_the_weights_of_the_one_before(watched: Watched, stage: str) -> None:
    for number in range(2, ROUNDS + 1):
        before = watched.session(number - 1)
        kept = [before.vision()] if stage == "vision" else before.memories()
        for model, losses in zip(kept, watched.models(number, stage), strict=True):
            for name, tensor in model.state_dict().items():
                assert torch.equal(losses[0].weights[name], tensor), name
            after = losses[-1].weights
            assert any(not torch.equal(after[name], tensor) for name, tensor in model.state_dict().items())


def test_a_later_round_searches_on_from_the_controller_of_the_one_before(watched: Watched) -> None:
    """Its search, replayed from that controller, ends where the saved one does; the first round begins at zero."""
    for number in range(1, ROUNDS + 1):
        session = watched.session(number)
        agent, config = session.agent(), session.config.search
        start = session.start(agent)
        assert (start is None) == (number == 1)
        if start is not None:
            assert session.before is not None and np.array_equal(start, session.before.theta(agent))
        lines = (session.workspace.folder("evolve") / "history.jsonl").read_text().splitlines()
        assert ("validation" in json.loads(lines[0])) == (number > 1)  # a start at zero is no agent
        assert len(lines) == config.generations
        state = load_state(session.workspace.folder("evolve") / "search.safetensors")
        seed, size = derive(session.seed, "evolve"), agent.controller.size
        assert Evolution.resume(size, config, seed, state, start=start).generation == config.generations
        for wrong in {0, 1} - {number > 1}:  # from anywhere else the replay ends elsewhere
            with pytest.raises(ValueError, match="ends elsewhere"):
                Evolution.resume(size, config, seed, state, start=np.full(size, 0.5) if wrong else None)


def test_seeds_that_choose_are_met_by_no_other_stage(watched: Watched) -> None:
    """Collecting, searching, the finals and the evaluation play episodes of their own; each is played somewhere."""
    stages = ("collect", "evolve", "rounds", "evaluate")
    seeds = {stage: watched.seeds(stage) for stage in stages}
    assert len(seeds["collect"]) == 7 + 5 * (ROUNDS - 1)
    assert (len(seeds["rounds"]), len(seeds["evaluate"])) == (3, 2)
    for i, one in enumerate(stages):
        for other in stages[i + 1 :]:
            assert not seeds[one] & seeds[other], f"{one} and {other} play the same episodes"
    assert read_json(watched.folder / "evaluation.json")["seeds"] == sorted(
        seeds["evaluate"], key=read_json(watched.folder / "evaluation.json")["seeds"].index
    )
    assert watched.seeds("report") <= seeds["evaluate"]  # the film shows an episode that was evaluated


def test_every_round_is_validated_on_the_same_seeds_and_selects_on_others(watched: Watched) -> None:
    each = [watched.seeds("evolve", number) for number in range(1, ROUNDS + 1)]
    shared = set.intersection(*each)
    assert len(shared) == 2 == SETTINGS["search.validate_episodes"]
    for number, seeds in enumerate(each, 1):
        config = watched.session(number).config.search
        assert len(seeds - shared) == config.episodes * config.generations


def test_the_report_shows_frames_that_the_vision_was_not_trained_on(watched: Watched) -> None:
    session = watched.session(1)
    store = session.episodes()
    _, held = session.split("vision", session.config.vision_data.validation)
    shown = {read_frame(frame)[0] for frame in held_out_frames(session)}
    assert shown == {store.summary(index).seed for index in held}


def played(session: Session, seeds: list[int]) -> list[float]:
    """The returns of the agent that a round kept, in whole real episodes."""
    agent, theta = session.agent(), session.theta(session.agent())
    make = partial(search_runner, session.spec, agent, session.config.search)
    with SerialPool(make) as pool:
        outcomes = list(pool.run([Job(i, seed, theta=theta) for i, seed in enumerate(seeds)]))
    return [outcome.total for outcome in sorted(outcomes, key=lambda outcome: outcome.index)]


def test_the_parameters_that_are_kept_are_those_whose_worth_is_told(watched: Watched) -> None:
    """Of every round, the saved controller earns on the validation seeds what `kept.json` says of it."""
    for number in range(1, ROUNDS + 1):
        session = watched.session(number)
        kept = read_json(session.workspace.folder("evolve") / "kept.json")
        seeds = episode_seeds(session.config.seed, "validate", session.config.search.validate_episodes)
        assert np.mean(played(session, seeds)) == pytest.approx(kept["validation"], rel=1e-6)


@dataclass
class Worth:
    """A world where every agent returns the same; remembers which parameters it was asked about."""

    value: float
    asked: list[Trial] = field(default_factory=list)

    def measure(self, trials: Sequence[Trial]) -> list[Returns]:
        self.asked += trials
        shapes = [(len(trial.theta), len(trial.seeds)) for trial in trials]
        return [Returns(np.full(shape, self.value), np.full(shape, 10)) for shape in shapes]


@pytest.mark.parametrize("dreams", [False, True])
@pytest.mark.parametrize(("worth", "generation"), [(3.0, 1), (9.0, 3), (11.0, 3)])
def test_an_earlier_mean_is_kept_only_where_it_was_better_than_the_last(
    tmp_path: Path, worth: float, generation: int, dreams: bool
) -> None:
    """The mean after one generation was worth 9; the last one, after three, is measured in reality and found worth."""
    config = override(to_json(preset("smoke", counting_spec())), ["rounds.count=2", "search.validate_every=1"])
    Workspace(tmp_path).write_config(config)
    evolution, means = Evolution(6, SearchConfig(population=4), 0), []
    for validation in (float("nan"), 9.0, 5.0):
        means.append(evolution.mean)
        evolution.tell(np.arange(4.0), validation)
    reality, dream = Worth(worth), Worth(1e6)
    rehearsal = Rehearsal(reality) if dreams else None
    world = Searched(dream if dreams else reality, rehearsal, None, [1, 2])
    theta = keep(open_session(tmp_path), world, evolution, tmp_path)
    assert np.array_equal(theta, [*means, evolution.mean][generation])
    kept = read_json(tmp_path / "kept.json")
    assert (kept["generation"], kept["validation"], kept["last"]) == (generation, max(worth, 9.0), worth)
    assert kept["real_steps"] == 20 and not dream.asked
    assert [trial.theta[0].tolist() for trial in reality.asked] == [evolution.mean.tolist()]
    assert [list(trial.seeds) for trial in reality.asked] == [[1, 2]]


def test_the_agent_that_is_evaluated_is_the_one_of_the_round_that_counts(watched: Watched) -> None:
    report = read_json(watched.folder / "evaluation.json")
    returns = [played(watched.session(number), report["seeds"]) for number in range(1, ROUNDS + 1)]
    assert len({tuple(each) for each in returns}) == ROUNDS  # so that another round's agent would show
    counts = read_json(watched.folder / "rounds" / "kept.json")["round"]
    assert report["returns"] == pytest.approx(returns[counts - 1], rel=1e-5)


def test_a_round_is_collected_by_the_agents_of_the_one_before_with_the_noise_that_was_set(watched: Watched) -> None:
    assert sorted(watched.explorers) == list(range(2, ROUNDS + 1))
    for number, policy in watched.explorers.items():
        before = watched.session(number - 1)
        assert (policy.parameter_noise, policy.action_noise) == (0.4, 0.2)
        assert np.array_equal(policy._theta_given, before.theta(before.agent()))
        assert policy._towards is not None and np.array_equal(policy._towards, before.last_theta())
        noisy = policy.agent.memory.state_dict()  # type: ignore[attr-defined]
        assert all(torch.equal(noisy[name], tensor) for name, tensor in before.memory().state_dict().items())


class Poor(gymnasium.RewardWrapper[Any, Any]):
    """The spy, where nothing is ever gained."""

    def reward(self, reward: Any) -> float:
        return -0.5


def build_poor(build: Callable[..., gymnasium.Env[Any, Any]], **settings: Any) -> gymnasium.Env[Any, Any]:
    return Poor(build(**settings))


@pytest.mark.parametrize(("idle", "limit", "owed"), [(-0.25, 20, 17), (-0.25, None, 37), (None, 20, 0)])
def test_a_candidate_that_stalls_is_charged_for_idling_to_the_end(
    idle: float | None, limit: int | None, owed: int
) -> None:
    plain = counting_spec(40)
    spec: EnvSpec = replace(plain, build=partial(build_poor, plain.build), idle_reward=idle)
    vision, controller = ConvVAE(VisionConfig(latent=4, decoder="fast")), LinearController(4, 2)
    agent = Agent(vision, None, controller, spec.action.squash, AgentConfig("z"))
    runner = search_runner(spec, agent, SearchConfig(stall_steps=3, max_steps=limit, slots=2))
    theta = np.zeros(controller.size, np.float32)
    outcomes = runner.advance([Job(i, i, theta=theta) for i in range(2)])
    assert [outcome.stalled for outcome in outcomes] == [True, True]
    assert [outcome.total for outcome in outcomes] == [-0.5 * 3 + (idle or 0.0) * owed] * 2
    runner.close()


class Killed(Exception):
    pass


@pytest.mark.parametrize("generations", [0, 2])
def test_the_time_of_a_search_goes_on_where_it_was_cut(
    finished: Path, monkeypatch: pytest.MonkeyPatch, generations: int
) -> None:
    """Cut after so many generations with its time spent, it plays no further one, or the one that it must have."""
    for name in ("report", "evaluate", "evolve"):
        Workspace(finished).clear(name)
    words = ["evolve", "--run", str(finished), "--workers", "0", "--replace"]
    words += ["--set", "search.generations=4000", "--set", "search.seconds=6"]
    tell = Evolution.tell

    def dying(self: Evolution, *told: Any) -> None:
        if self.generation == generations:
            raise Killed
        tell(self, *told)

    with monkeypatch.context() as patch:
        patch.setattr(Evolution, "tell", dying)
        assert main(words) == 1
    begun = finished / "controller" / "begun.json"
    write_json(begun, {**read_json(begun), "seconds": 6.0})
    assert main(words) == 0
    lines = (finished / "controller" / "history.jsonl").read_text().splitlines()
    assert len(lines) == max(generations, 1)
    assert read_json(finished / "controller" / "done.json")["seconds"] >= 6.0
