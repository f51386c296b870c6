"""Nothing is made on another device than the one that computes, and nobody waits for it without need.

No GPU is needed: torch's `meta` device has shapes and no numbers. Everything that runs there is watched, operation by
operation: whatever appears on the CPU would on a GPU be a copy, or an error. Random numbers must come from a generator
of the device on which they are drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import optimizer
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from frmdn.agent import seeds, training
from frmdn.agent.agent import Agent, AgentConfig
from frmdn.agent.batch import SequenceBatch
from frmdn.agent.density.catalogue import MODELS
from frmdn.agent.dream import Dream, DreamState
from frmdn.agent.memory import Memory, MemoryConfig
from frmdn.agent.open_loop import open_loop, warm_up, watch
from frmdn.agent.rows import map_rows
from frmdn.agent.state_space import StateSpace, StateSpaceAgent, StateSpaceConfig, StateSpaceWorld, Trajectories
from frmdn.agent.training import FitConfig
from frmdn.agent.vision import ConvVAE, VisionConfig
from frmdn.controller.batched import Batch, BatchedDreams
from frmdn.controller.hidden import HiddenController
from frmdn.controller.linear import LinearController
from frmdn.envs import get_spec
from frmdn.envs.spec import ActionCodec
from frmdn.pipeline.density.model import ModelConfig, NextStep
from frmdn.rollouts.job import StallRule
from frmdn.rollouts.sources import Steps

META = torch.device("meta")
CAR = get_spec("CarRacing-v3")
B, T, Z, A, H = 3, 5, 4, 3, 8


aten = torch.ops.aten
QUESTIONS = {aten._local_scalar_dense.default, aten.is_nonzero.default, aten.item.default}


class Operations(TorchDispatchMode):
    """Every operation: whether its results are on the device, and how often somebody asks for a number."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = 0
        self.found: set[int] = set()  # answers of `any`, which are no here: nothing bad was found
        self.kept: list[Tensor] = []  # for an id is free again when its tensor is gone

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in QUESTIONS:
            self.waits += 1
            return id(args[0]) not in self.found  # all is well: no NaN, no padding
        if func is aten._fused_adam_.default:  # has no shapes to tell, only weights to change
            assert all(tensor.is_meta for tensor in tree_leaves(args[:6])), "Adam's tensors lie on several devices"
            return None
        made = func(*args, **(kwargs or {}))
        if func.overloadpacket is aten.any:
            self.found.add(id(made))
            self.kept.append(made)
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor) and not tensor.is_meta:
                raise AssertionError(f"{func} made {list(tensor.shape)} on {tensor.device}: say device=")
        return made


class Draws(TorchFunctionMode):
    """Every call with a generator: whether that lives where the numbers are drawn."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        source = kwargs.get("generator")
        if isinstance(source, torch.Generator):
            target = (
                args[0].device if args and isinstance(args[0], Tensor) else torch.device(kwargs.get("device", "cpu"))
            )
            assert source.device == target, f"{func.__name__} draws on {target} by a generator of {source.device}"
        return func(*args, **kwargs)


class MetaGenerator(torch.Generator):
    """A generator that says it lives on the device; torch has none there."""

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return META


class Watched:
    """Run something on the device: the waits that it took."""

    def __call__(self, work: Callable[[], Any]) -> int:
        operations = Operations()
        with Draws(), operations:
            work()
        return operations.waits


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    def autocast(kind: str, *args: Any, **more: Any) -> Any:
        return nullcontext() if kind == "meta" else torch.amp.autocast(kind, *args, **more)

    monkeypatch.setattr(torch, "autocast", autocast)  # which does not know this device

    monkeypatch.setattr(optimizer, "_get_fused_kernels_supported_devices", lambda: ["meta"])

    def generator(root: int, *names: str | int, device: torch.device | str = "cpu") -> torch.Generator:
        made = MetaGenerator() if torch.device(device) == META else torch.Generator(device=device)
        return made.manual_seed(seeds.derive(root, *names))

    monkeypatch.setattr(training, "generator", generator)
    return Watched()


def made(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.zeros(shape, dtype=dtype, device=META)


def one_step(model: nn.Module, batch: Any, watched: Watched) -> int:
    """A whole update by the training loop: loss, gradient, clipping, Adam."""
    config = FitConfig(1, 1e-3, clip=1.0, log_every=2)
    loop = training._Loop(model, config, 0)
    return watched(lambda: loop.update(batch, 0))


def sequences() -> SequenceBatch:
    mask = made(B, T, dtype=torch.bool)
    return SequenceBatch(made(B, T + 1, Z), made(B, T, A), made(B, T), made(B, T), mask)


@pytest.mark.parametrize("decoder", ["paper", "fast"])
def test_the_vision_trains_encodes_and_draws(decoder: str, watched: Watched) -> None:
    vision = ConvVAE(VisionConfig(decoder=decoder)).to(META)
    frames = made(2, 64, 64, 3, dtype=torch.uint8)
    assert one_step(vision, frames, watched) == 1, "finite or not: the one question of a step"
    assert watched(lambda: vision.loss(frames, MetaGenerator())) == 0
    assert watched(lambda: vision.decode(vision.encode_mean(frames))) == 0


MEMORIES = [
    {"density": density, "precision": precision, "reward_head": head, "end_balance": balance}
    for density, precision, head, balance in (
        ("rmdn", "diagonal", "mean", 1.0),
        ("frmdn", "diagonal", "mean", 5.0),
        ("frmdn", "low_rank", "two_hot", 1.0),
        ("frmdn", "semi_tied", "mean", 1.0),
        ("rmdn", "semi_tied", "two_hot", 1.0),
    )
]


def memory(**more: Any) -> Memory:
    return Memory(MemoryConfig(latent=Z, action=A, hidden=H, **more)).to(META).eval()


@pytest.mark.parametrize("kind", MEMORIES, ids=lambda kind: "-".join(map(str, kind.values())))
def test_the_memory_trains_remembers_and_expects(kind: dict[str, Any], watched: Watched) -> None:
    model = memory(**kind)
    assert one_step(model.train(), sequences(), watched) <= 3 + 2 * (kind["reward_head"] == "two_hot")
    model.eval()

    def sees() -> None:
        with torch.no_grad():
            state = model.step(made(B, Z), made(B, A), model.initial(B))
            model.predict(state.h).latent.sample(temperature=1.15, generator=MetaGenerator())
            start = warm_up(model, made(B, T + 1, Z), made(B, T, A))
            watch(model, made(B, T + 1, Z), made(B, T, A))
            open_loop(Dream(model), start, made(B, T, A), MetaGenerator())
            open_loop(Dream(model), start, made(B, T, A))

    assert watched(sees) == 0


@pytest.mark.parametrize("kind", MEMORIES, ids=lambda kind: "-".join(map(str, kind.values())))
@pytest.mark.parametrize("threshold", [None, 0.5])
def test_a_dream_never_waits(kind: dict[str, Any], threshold: float | None, watched: Watched) -> None:
    dream = Dream(memory(**kind), done_threshold=threshold)
    state = dream.initial(made(B, Z))
    assert watched(lambda: dream.step(state, made(B, A), MetaGenerator())) == 0


def search(
    dreams: list[Dream], controller: LinearController | HiddenController, action: ActionCodec, features: str = "zh"
) -> Batch:
    """The batch of a search; how it begins is the host's affair."""
    spec = type(CAR)(id="Any-v0", action=action, build=CAR.build, max_steps=64, idle_reward=-0.1)
    starts = [map_rows(lambda t: t.clone(), dream.initial(made(9, Z))) for dream in dreams]
    stall = StallRule(6, spec.idle_reward)
    return Batch(BatchedDreams(spec, controller, features, dreams, starts, max_steps=64, stall=stall), rows=10, seeds=5)


@pytest.mark.parametrize("kind", MEMORIES, ids=lambda kind: "-".join(map(str, kind.values())))
def test_a_search_in_dreams_never_waits(kind: dict[str, Any], watched: Watched) -> None:
    members = [Dream(memory(**kind), done_threshold=None) for _ in range(2)]
    batch = search(members, LinearController(Z + H, A), CAR.action)
    assert watched(batch.step) == 0
    parts = [getattr(batch, name) for name in ("theta", "z", "uniform", "normal", "alive", "total", "steps", "t")]
    assert all(part.is_meta for part in parts)


def test_a_search_with_hidden_units_discrete_actions_and_a_state_space_never_waits(watched: Watched) -> None:
    buttons = ActionCodec("discrete", n=A)
    batch = search([Dream(memory())], HiddenController(Z + 2 * H, A, 4), buttons, "zhc")
    assert watched(batch.step) == 0
    world = StateSpaceWorld(StateSpace(StateSpaceConfig(latent=Z, control=A)).to(META))
    assert watched(search([Dream(world)], LinearController(Z, A), CAR.action, "z").step) == 0


@pytest.mark.parametrize("features", ["z", "zh"])
def test_the_agent_sees_decides_and_remembers(features: str, watched: Watched) -> None:
    vision = ConvVAE(VisionConfig(latent=Z))
    controller = LinearController(Z + H * (len(features) - 1), A)
    here = Agent(vision, Memory(MemoryConfig(latent=Z, hidden=H)), controller, CAR.action.squash, AgentConfig(features))
    there = here.to(META)
    assert there is not here and next(here.vision.parameters()).is_cpu and there.to(META) is there
    state, theta = there.initial(B), made(B, controller.size)
    frames = made(B, 64, 64, 3, dtype=torch.uint8)
    # NaN among raw numbers, and among actions: the world waits for them anyway.
    assert watched(lambda: there.act(frames, state, theta)) <= 2


@pytest.mark.parametrize("name", MODELS)
def test_every_density_trains_and_draws(name: str, watched: Watched) -> None:
    model = NextStep(ModelConfig(name, inputs=3, outputs=2, components=2, hidden=H)).to(META)
    batch = Steps(made(B, T, 3), made(B, T, 2), made(B, T, dtype=torch.bool), made(B, T))
    assert one_step(model, batch, watched) <= 4

    def draws() -> None:
        with torch.no_grad():
            density, state = model.density(made(B, T, 3))
            density, _ = model.density(made(B, 1, 3), state)
            density.sample(temperature=0.8, generator=MetaGenerator())

    assert watched(draws) == 2, "contexts are looked through for NaN"


def test_a_batch_of_any_kind_is_brought_to_the_weights(watched: Watched) -> None:
    """Batches are read on the host; a GPU found that only some of them travelled."""
    model = NextStep(ModelConfig("rmdn", inputs=3, outputs=2, components=2, hidden=H)).to(META)
    ones = torch.ones(B, T)
    one_step(model, Steps(torch.ones(B, T, 3), torch.ones(B, T, 2), ones > 0, ones), watched)
    world = StateSpace(StateSpaceConfig(latent=Z, control=A, steps=T)).to(META)
    one_step(world, Trajectories(torch.ones(B, T + 1, 3), torch.ones(B, T, A), ones), watched)


@pytest.mark.parametrize("variant", ["dvbf", "gaussian", "iaf-step", "iaf-trajectory"])
def test_every_state_space_model_trains_and_generates(variant: str, watched: Watched) -> None:
    config = StateSpaceConfig(variant=variant, latent=Z, control=A, steps=T)  # type: ignore[arg-type]
    model = StateSpace(config).to(META)
    data = Trajectories(made(B, T + 1, 3), made(B, T, A), made(B, T))
    assert one_step(model, data, watched) == 1
    assert watched(lambda: model.generate(data.observations, data.controls, MetaGenerator())) == 0
    assert watched(lambda: model.generate(data.observations, data.controls)) == 0
    if variant == "iaf-trajectory":
        return
    agent = StateSpaceAgent(model, LinearController(Z, A), CAR.action.squash_unchecked)
    state = agent.initial(B)
    assert watched(lambda: agent.act(made(B, 3), state, made(B, agent.controller.size))) == 0


def test_a_generator_of_the_processor_may_serve_any_device() -> None:
    """Samples by one seed are then the same wherever they are needed."""
    model = memory()
    latent = model.predict(model.initial(B).h).latent
    with Draws():
        assert latent.sample(generator=torch.Generator()).is_meta
        world = StateSpaceWorld(StateSpace(StateSpaceConfig(latent=Z, control=A)).to(META))
        drawn = world.predict(world.initial(B).h).latent
        assert drawn.sample(generator=torch.Generator()).is_meta


def test_faults_of_every_kind_are_noticed(watched: Watched) -> None:
    """The watch itself: a tensor without a device, a generator that lives elsewhere, a question, a second memory."""
    with pytest.raises(AssertionError, match=r"made \[3\] on cpu: say device="):
        watched(lambda: made(3) + torch.zeros(3))
    with pytest.raises(AssertionError, match="draws on meta by a generator of cpu"):
        watched(lambda: torch.randn(3, generator=torch.Generator(), device=META))
    assert watched(lambda: bool((made(3) > 0).any())) == 1
    at_home = DreamState(torch.zeros(B, Z), memory().initial(B, "cpu"))
    with pytest.raises((AssertionError, RuntimeError)):
        watched(lambda: Dream(memory()).step(at_home, torch.zeros(B, A), torch.Generator()))
