"""Who acts in a rollout: noise for collecting data, or an agent. All randomness comes from the job's seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from frmdn.agent.rows import map_rows, put_rows
from frmdn.agent.seeds import derive

if TYPE_CHECKING:
    from frmdn.agent.agent import AgentState, Controller
    from frmdn.envs.spec import ActionCodec

    from .job import Job

CHUNK = 256  # actions that a noise policy draws at a time
REACH = 1.5  # raw outputs of the Brownian walk: tanh(1.5) = 0.91, nearly the whole box
GRID = 8  # RandomLinearPolicy sees GRID x GRID grey cells


class Policy(Protocol):
    """Acts for several slots at once; slot i's actions depend on its job and frames alone."""

    def start(self, slot: int, job: Job) -> None:
        """An episode begins in `slot`."""

    def act(self, slots: np.ndarray, frames: np.ndarray) -> np.ndarray:
        """Vectors f32[n,A] of the action codec for slots i64[n], which show frames u8[n,H,W,C]."""


class Actor(Protocol):
    """Rows of agents with explicit state: an `Agent`, or whatever else infers what it sees and acts on it."""

    controller: Controller

    def to(self, device: torch.device) -> Any:
        """Itself on that device, or a copy."""

    def initial(self, rows: int) -> Any:
        """Named tuples of tensors, one row per agent, with a field `z`."""

    def act(self, frames: Tensor, state: Any, theta: Tensor) -> tuple[Tensor, Any]:
        """Frames or vectors [P,...] and theta f32[P,N] -> actions f32[P,A] and the state after them."""


class NoisePolicy:
    """Actions that ignore the frames: subclasses say how one episode's action path is drawn."""

    def __init__(self, codec: ActionCodec) -> None:
        self.codec = codec
        self._paths: dict[int, Iterator[np.ndarray]] = {}

    def start(self, slot: int, job: Job) -> None:
        rng = np.random.default_rng(derive(job.root, "policy", type(self).__name__))
        self._paths[slot] = (action for chunk in self.chunks(rng) for action in chunk)

    def act(self, slots: np.ndarray, frames: np.ndarray) -> np.ndarray:
        return np.stack([next(self._paths[slot]) for slot in slots.tolist()])

    def chunks(self, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """Endless consecutive pieces f32[CHUNK,A] of one episode's path."""
        raise NotImplementedError


class RandomPolicy(NoisePolicy):
    """Every action uniform over the action space, independent of the one before."""

    def chunks(self, rng: np.random.Generator) -> Iterator[np.ndarray]:
        while True:
            yield self.codec.sample(rng, CHUNK)


class HeldPolicy(NoisePolicy):
    """One action of a discrete world, held down from the first step to the last."""

    def __init__(self, codec: ActionCodec, action: int) -> None:
        super().__init__(codec)
        if codec.kind != "discrete" or not 0 <= action < codec.n:
            raise ValueError(f"action {action} cannot be held: the world takes {codec.n} discrete actions")
        self.vector = np.eye(codec.n, dtype=np.float32)[action]

    def chunks(self, rng: np.random.Generator) -> Iterator[np.ndarray]:
        while True:
            yield np.broadcast_to(self.vector, (CHUNK, self.codec.size))


class BrownianPolicy(NoisePolicy):
    """Actions that wander: a random walk of the raw outputs that a controller would give, or a sticky discrete choice.

    raw walks in [-REACH, REACH], reflected at both ends, and the codec squashes it; `step` is the walk's standard
    deviation per step as a fraction of that width. A discrete action is replaced by a uniform one with probability
    `step` per step. Uniform noise averages out to standing still; a walk drives somewhere (the "brown" sampling of
    world-model replications). It walks before the squashing and not in the box, where a car's brake, on average half
    down, would hold it where it started.
    """

    def __init__(self, codec: ActionCodec, step: float = 0.1) -> None:
        if not 0 < step <= 1:
            raise ValueError(f"step must lie in (0, 1], not {step}")
        super().__init__(codec)
        self.step = step

    def chunks(self, rng: np.random.Generator) -> Iterator[np.ndarray]:
        return self._walk(rng) if self.codec.kind == "box" else self._sticky(rng)

    def _walk(self, rng: np.random.Generator) -> Iterator[np.ndarray]:
        free = rng.random(self.codec.size)  # position in units of the width, as if there were no borders
        while True:
            path = free + self.step * rng.standard_normal((CHUNK, self.codec.size)).cumsum(0)
            free = path[-1]
            unit = 1 - np.abs(1 - path % 2)  # folding the free walk reflects it at 0 and 1
            raw = torch.from_numpy((REACH * (2 * unit - 1)).astype(np.float32))
            yield self.codec.squash(raw).numpy()

    def _sticky(self, rng: np.random.Generator) -> Iterator[np.ndarray]:
        last = self.codec.sample(rng, 1)
        while True:
            drawn = np.concatenate([last, self.codec.sample(rng, CHUNK)])
            fresh = np.where(rng.random(CHUNK) < self.step, np.arange(1, CHUNK + 1), 0)
            chunk = drawn[np.maximum.accumulate(fresh)]  # each step shows the latest redraw
            last = chunk[-1:]
            yield chunk


class OrnsteinUhlenbeckPolicy(NoisePolicy):
    """Actions pulled back to rest and pushed about: x' = (1 - pull) x + push n, clipped to the box (box actions only).

    x counts in half widths of the box, n ~ N(0, 1), and x starts in its stationary distribution of variance
    push^2 / (2 pull - pull^2) (Uhlenbeck and Ornstein 1930). With the defaults its standard deviation is 0.95, so that
    a pendulum's torque, whose box is -2 to 2, is clipped in three steps of ten.
    """

    def __init__(self, codec: ActionCodec, pull: float = 0.15, push: float = 0.5) -> None:
        if codec.kind != "box":
            raise ValueError("an Ornstein-Uhlenbeck policy needs Box actions: use brownian or random for Discrete ones")
        if not 0 < pull <= 1 or not push > 0:
            raise ValueError(f"pull must lie in (0, 1] and push be above 0, not {pull} and {push}")
        super().__init__(codec)
        self.pull, self.push = pull, push

    def chunks(self, rng: np.random.Generator) -> Iterator[np.ndarray]:
        low, high, rest = (np.array(x) for x in (self.codec.low, self.codec.high, self.codec.rest))
        x = rng.standard_normal(self.codec.size) * self.push / np.sqrt(self.pull * (2 - self.pull))
        while True:
            path = np.empty((CHUNK, self.codec.size))
            for t, normal in enumerate(rng.standard_normal((CHUNK, self.codec.size))):
                path[t] = x
                x = (1 - self.pull) * x + self.push * normal
            yield np.clip(rest + path * (high - low) / 2, low, high).astype(np.float32)


class RandomLinearPolicy:
    """A random linear controller on a small grey frame, redrawn per episode: Ha and Schmidhuber's data collector.

    raw = scale * (W x + b), W ~ N(0, 1 / inputs), b ~ N(0, 1), scale log-uniform in `scales`, x = the frame averaged to
    8 x 8 cells, minus its mean; then the codec squashes raw. Small scales idle along, large ones swerve and saturate.
    """

    def __init__(self, codec: ActionCodec, scales: tuple[float, float] = (0.1, 3.0)) -> None:
        if not 0 < scales[0] <= scales[1]:
            raise ValueError(f"scales must be (low, high) with 0 < low <= high, not {scales}")
        self.codec, self.scales = codec, scales
        self._weights: dict[int, np.ndarray] = {}  # f32[GRID*GRID+1,A], the bias in the last row

    def start(self, slot: int, job: Job) -> None:
        rng = np.random.default_rng(derive(job.root, "policy", "linear"))
        scale = np.exp(rng.uniform(*np.log(self.scales)))
        weights = scale * rng.standard_normal((GRID * GRID + 1, self.codec.size))
        self._weights[slot] = weights.astype(np.float32)

    def act(self, slots: np.ndarray, frames: np.ndarray) -> np.ndarray:
        x = grey_cells(frames)  # [n,G*G]
        weights = np.stack([self._weights[slot] for slot in slots.tolist()])  # [n,G*G+1,A]
        # Elementwise product and sum over axis 1: a row's result cannot depend on the number of rows.
        raw = (x[:, :, None] * weights[:, :-1]).sum(1) + weights[:, -1]
        return self.codec.squash(torch.from_numpy(raw)).numpy()


def grey_cells(frames: np.ndarray) -> np.ndarray:
    """Contrast of the frames' cells, f32[n,GRID*GRID] with mean 0 and standard deviation 1 / GRID, from u8[n,H,W,C].

    A flat frame gives zeros. H and W are cropped to a multiple of GRID.
    """
    n, height, width, channels = frames.shape
    h, w = height // GRID, width // GRID
    cropped = frames[:, : h * GRID, : w * GRID].reshape(n, GRID, h, GRID, w * channels)
    x = cropped.sum(axis=2, dtype=np.int32).sum(axis=-1).reshape(n, GRID * GRID).astype(np.float32)
    x -= x.mean(axis=1, keepdims=True)
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-6)


class AgentPolicy:
    """Row `slot` of a batched agent plays slot `slot`, with the job's theta or else the default `theta` f32[N].

    Every act evaluates all `slots` rows, dead ones too: a fixed batch shape keeps a job's result independent of
    what else is alive. Raises ValueError if a job has no theta and there is no default, or its size is wrong.
    """

    def __init__(self, agent: Actor, slots: int, theta: np.ndarray | Tensor | None = None) -> None:
        self.agent, self.slots = agent, slots
        self._fresh = agent.initial(1)
        self._state = map_rows(Tensor.clone, agent.initial(slots))  # initial states may share or expand storage
        self._device = self._fresh.z.device
        self._default = None if theta is None else _parameters(agent.controller, theta, "theta")
        self._theta = torch.zeros(slots, agent.controller.size, device=self._device)  # [S,N]
        self._frames: Tensor | None = None  # u8[S,H,W,C], or f32[S,D]

    @torch.inference_mode()
    def start(self, slot: int, job: Job) -> None:
        if not 0 <= slot < self.slots:
            raise ValueError(
                f"slot {slot} does not exist: AgentPolicy was built for {self.slots}; pass the world's slots"
            )
        self._theta[slot] = _theta_of(job, self.agent.controller, self._default)
        put_rows(self._state, slice(slot, slot + 1), self._fresh)

    @torch.inference_mode()
    def act(self, slots: np.ndarray, frames: np.ndarray) -> np.ndarray:
        rows = torch.from_numpy(slots).to(self._device)
        if self._frames is None:
            shape, dtype = (self.slots, *frames.shape[1:]), torch.from_numpy(frames).dtype
            self._frames = torch.zeros(shape, dtype=dtype, device=self._device)
        self._frames[rows] = torch.from_numpy(frames).to(self._device)
        actions, state = self.agent.act(self._frames, self._state, self._theta)
        if len(slots) == self.slots:
            self._state = state
        else:
            put_rows(self._state, rows, state, rows)
        return actions[rows].cpu().numpy()

    def state_of(self, slot: int) -> AgentState:
        """A copy of the agent's state in one slot, as a batch of one."""
        return map_rows(lambda tensor: tensor[slot : slot + 1].clone(), self._state)


class ControllerPolicy:
    """Row `slot` of a batched controller plays slot `slot` of a world that shows its features: a dream.

    As with `AgentPolicy`, every act evaluates all rows, and a job without theta plays the default `theta` f32[N].
    """

    def __init__(
        self,
        controller: Controller,
        squash: Callable[[Tensor], Tensor],
        slots: int,
        theta: np.ndarray | Tensor | None = None,
    ) -> None:
        self.controller, self.squash, self.slots = controller, squash, slots
        self._default = None if theta is None else _parameters(controller, theta, "theta")
        self._theta = torch.zeros(slots, controller.size)  # [S,N]
        self._features = torch.zeros(slots, controller.inputs)  # [S,F]

    def start(self, slot: int, job: Job) -> None:
        self._theta[slot] = _theta_of(job, self.controller, self._default)

    @torch.inference_mode()
    def act(self, slots: np.ndarray, frames: np.ndarray) -> np.ndarray:
        rows = torch.from_numpy(slots)
        self._features[rows] = torch.from_numpy(frames)
        return self.squash(self.controller.act(self._theta, self._features))[rows].numpy()


def _theta_of(job: Job, controller: Controller, default: Tensor | None) -> Tensor:
    """The parameters f32[N] that a job is played with."""
    theta = default if job.theta is None else _parameters(controller, job.theta, f"theta of job {job.index}")
    if theta is None:
        raise ValueError(f"job {job.index} has no theta, and its policy got no default: pass theta= to either")
    return theta


def _parameters(controller: Controller, theta: np.ndarray | Tensor, name: str) -> Tensor:
    """A copy f32[N] on the CPU, for Ray's arrays are read-only."""
    vector = torch.tensor(np.asarray(theta), dtype=torch.float32)
    if vector.shape != (controller.size,):
        raise ValueError(f"{name} has shape {tuple(vector.shape)}, the controller needs ({controller.size},)")
    return vector
