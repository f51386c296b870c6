"""What a world is to the rest of the program: its frames, its actions, its limits, and how to make one.

Gymnasium is imported when a world is made or its spaces are read, and not before: who only acts does not need it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .frames import FramePipe
from .measure import Measure
from .options import WorldConfig

if TYPE_CHECKING:
    import gymnasium

Vectors = NDArray[np.float32]
DEFAULT_MAX_STEPS = 1000  # for a world that sets no limit of its own


@dataclass(frozen=True)
class ActionCodec:
    """Between the real vectors that controllers and memories handle and the actions that a world takes.

    Box: the vector f32[A] is the action. Discrete: the vector is the one-hot f32[n] of the action, A = n.
    A box of no numbers, A = 0, is a world in which nobody acts: one that was only watched.

    >>> codec = frmdn.get_spec("CarRacing-v3").action
    >>> codec.squash(torch.zeros(3)).tolist()  # raw numbers of a controller -> steer, gas, brake
    [0.0, 0.5, 0.0]
    >>> frmdn.ActionCodec("discrete", n=4).to_env(np.array([0, 0, 1, 0], np.float32))
    2
    """

    kind: Literal["box", "discrete"]
    low: tuple[float, ...] = ()  # box only, A numbers each
    high: tuple[float, ...] = ()
    rest: tuple[float, ...] = ()  # box only: the action at raw = 0
    n: int = 0  # discrete only
    start: int = 0  # discrete only: the world's name of the first action
    names: tuple[str, ...] = ()  # what people call the actions (discrete) or their numbers (box); or none

    def __post_init__(self) -> None:
        if self.names and len(self.names) != self.size:
            raise ValueError(f"{self.size} actions need as many names, not {self.names}")
        if self.kind == "discrete":
            if self.n < 1 or self.low or self.high or self.rest:
                raise ValueError(f"a discrete codec needs n >= 1 and no low, high or rest, not {self}")
            return
        if self.kind != "box" or not len(self.low) == len(self.high) == len(self.rest):
            raise ValueError(f"a box codec needs low, high and rest of one length, not {self}")
        for low, rest, high in zip(self.low, self.rest, self.high, strict=True):
            if not (math.isfinite(low) and math.isfinite(high) and low <= rest <= high and low < high):
                raise ValueError(
                    f"a box codec needs finite low < high with low <= rest <= high, not {low}, {rest}, {high}"
                )

    @classmethod
    def from_space(cls, space: gymnasium.Space[Any], rest: tuple[float, ...] | None = None) -> ActionCodec:
        """The codec of a bounded 1-D float Box (rest: by default its middle) or of a Discrete space."""
        import gymnasium

        if isinstance(space, gymnasium.spaces.Discrete):
            return cls("discrete", n=int(space.n), start=int(space.start))
        if not isinstance(space, gymnasium.spaces.Box):
            raise ValueError(f"action space {space} is not supported: use a bounded 1-D Box or a Discrete space")
        if len(space.shape) != 1 or not np.issubdtype(space.dtype, np.floating):
            raise ValueError(f"action space {space} is not supported: a Box must be 1-D and of floats")
        if not np.isfinite([space.low, space.high]).all():
            raise ValueError(f"action space {space} has infinite bounds: say how far to go with WorldConfig(bound=)")
        low, high = space.low.tolist(), space.high.tolist()
        middle = tuple((a + b) / 2 for a, b in zip(low, high, strict=True))
        return cls("box", tuple(low), tuple(high), middle if rest is None else rest)

    @property
    def size(self) -> int:
        """A, the length of an action vector."""
        return self.n if self.kind == "discrete" else len(self.low)

    def squash(self, raw: Tensor) -> Tensor:
        """Raw controller outputs f32[*P,A] to action vectors f32[*P,A].

        Box: clip(rest + max(high - rest, rest - low) * tanh(raw), low, high), so zero rests and both ends are in reach.
        Discrete: the one-hot of the largest output. Raises ValueError on NaN, which no action can stand for.
        """
        if raw.isnan().any():
            raise ValueError("a controller gave NaN as action: its parameters or its features hold NaN")
        return self.squash_unchecked(raw)

    def squash_unchecked(self, raw: Tensor) -> Tensor:
        """The same without a look at the numbers, for which a GPU would have to be waited for."""
        if self.kind == "discrete":
            return torch.zeros_like(raw).scatter_(-1, raw.argmax(-1, keepdim=True), 1.0)
        low, high, rest, reach = _bounds(self, raw.device, raw.dtype)
        return torch.addcmul(rest, reach, raw.tanh()).clamp(low, high)

    def to_env(self, vector: Vectors) -> Any:
        """One action vector f32[A] as the world takes it: f32[A] inside the bounds, or an int."""
        native = self.to_env_batch(np.asarray(vector)[None])[0]
        return int(native) if self.kind == "discrete" else native

    def to_env_batch(self, vectors: Vectors) -> NDArray[Any]:
        """Action vectors f32[P,A] to f32[P,A] clipped to the bounds, or to i64[P]. ValueError names rows with NaN."""
        played = self.played(vectors)
        return played.argmax(1) + self.start if self.kind == "discrete" else played

    def played(self, vectors: Vectors) -> Vectors:
        """What the world plays of action vectors f32[P,A], f32[P,A]: in reality and in dreams.

        Box: clipped to the bounds. Discrete: the one-hot of the largest number. ValueError: another shape, or NaN, with
        the rows that have it.
        """
        vectors = np.asarray(vectors, np.float32)
        if vectors.ndim != 2 or vectors.shape[1] != self.size:
            raise ValueError(f"actions have shape {vectors.shape}, but this world takes vectors of {self.size} numbers")
        bad = np.flatnonzero(np.isnan(vectors).any(1))
        if len(bad):
            raise ValueError(f"actions hold NaN in rows {bad.tolist()}")
        if self.kind == "discrete":
            return np.eye(self.n, dtype=np.float32)[vectors.argmax(1)]
        return np.clip(vectors, np.array(self.low, np.float32), np.array(self.high, np.float32))

    def play(self, actions: Tensor) -> Tensor:
        """As `played`, of a tensor f32[P,A] on any device; what a `Dream` takes as `actions`."""
        return torch.as_tensor(self.played(actions.detach().cpu().numpy())).to(actions)

    def from_env(self, action: Any) -> Vectors:
        """The action vector f32[A] that is played for one action of the world: clipped to the bounds of a Box.

        ValueError: it is none of the world's actions, such as 0.9 or -1 of a Discrete one, or has NaN.
        """
        if self.kind == "discrete":
            number = np.asarray(action)
            index = number.item() - self.start if number.size == 1 and number.dtype.kind in "biuf" else math.nan
            if index not in range(self.n):
                raise ValueError(f"action {action} is none of this world's: {self.start} to {self.start + self.n - 1}")
            return np.eye(self.n, dtype=np.float32)[int(index)]
        vector = np.array(action, np.float32)
        if vector.size != self.size:
            raise ValueError(f"action {action} has {vector.size} numbers, but this world takes {self.size}")
        return self.played(vector.reshape(1, self.size))[0]

    def sample(self, rng: np.random.Generator, n: int) -> Vectors:
        """Action vectors f32[n,A], uniform in the box, or one-hot of uniformly drawn actions."""
        if self.kind == "discrete":
            return np.eye(self.n, dtype=np.float32)[rng.integers(self.n, size=n)]
        return rng.uniform(self.low, self.high, (n, self.size)).astype(np.float32)


@lru_cache(maxsize=32)
def _bounds(codec: ActionCodec, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, ...]:
    with torch.inference_mode(False):  # what the cache keeps must also work where gradients are wanted
        low, high, rest = (torch.tensor(x, device=device, dtype=dtype) for x in (codec.low, codec.high, codec.rest))
        return low, high, rest, torch.maximum(high - rest, rest - low)


@dataclass(frozen=True)
class EnvSpec:
    """A world by its official id. Frozen and picklable, so that it travels to workers; `make` builds one there.

    >>> env = frmdn.get_spec("CarRacing-v3").make()
    >>> frame, info = env.reset(seed=1)
    >>> frame.shape, frame.dtype
    ((64, 64, 3), dtype('uint8'))
    """

    id: str
    action: ActionCodec
    build: Callable[
        ..., gymnasium.Env[Any, Any]
    ]  # build(max_episode_steps=, render_mode=) -> env with pixel observations
    frame_size: int = 64
    channels: int = 3
    rows: tuple[int, int] | None = None  # rows of the picture that become the frame; None: all
    height: int | None = None  # of the world's own picture, in which `rows` count; needed where others may come
    max_steps: int = DEFAULT_MAX_STEPS  # transitions (each of `repeat` steps of the world) before truncation
    repeat: int = 1
    idle_reward: float | None = None  # reward of a transition in which nothing is achieved, where that is a constant
    painted: bool = False  # we paint its frames ourselves, except where they must be official ones
    vector: int = 0  # D > 0: the world shows vectors f32[D] in place of pictures, just as `build` makes them
    world: WorldConfig = WorldConfig()  # the choices that made this description  # noqa: RUF009
    measures: tuple[Measure, ...] = ()  # what the world tells of an episode beside its return
    references: tuple[tuple[str, int], ...] = ()  # (name, action): actions that held down are worth comparing with
    about: tuple[tuple[str, str], ...] = ()  # what results must say of the world: its package, its kind of reward
    hint: str = ""  # what would make it faster on this machine, for whoever waits for it

    def __post_init__(self) -> None:
        for name in ("frame_size", "max_steps", "repeat"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.channels not in (1, 3):
            raise ValueError(f"channels must be 1 or 3, not {self.channels}")
        if self.vector < 0 or (self.vector and (self.repeat > 1 or self.painted)):
            raise ValueError("vector must be 0 or more, and goes with repeat=1 and painted=False only")
        if (self.world.sticky or self.world.pool) and self.painted:
            raise ValueError("sticky actions and pooled frames go with painted=False only")

    @property
    def pipe(self) -> FramePipe:
        return FramePipe(self.frame_size, self.channels, self.rows, self.height)

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """(S,S,C), or (D,) of a world of vectors."""
        return (self.vector,) if self.vector else (self.frame_size, self.frame_size, self.channels)

    @property
    def frame_type(self) -> type[np.generic]:
        return np.float32 if self.vector else np.uint8

    def make(self, seed: int = 0, render_mode: str | None = None) -> gymnasium.Env[Any, Any]:
        """A Gymnasium environment with our frames; its first reset without a seed uses `seed`. Or one with vectors."""
        inner = self.build(max_episode_steps=self.max_steps * self.repeat, render_mode=render_mode)
        if self.vector:
            from .adapters.returned import Checked

            return Checked(inner, self.id, self.frame_shape)
        from gymnasium.envs.registration import EnvSpec as GymnasiumSpec

        from .framed import FrameEnv

        card = GymnasiumSpec(self.id, entry_point=self.make, order_enforce=False, disable_env_checker=True)
        sticky, pool = self.world.sticky, self.world.pool
        return FrameEnv(inner, self.pipe, repeat=self.repeat, sticky=sticky, pool=pool, seed=seed, spec=card)


def build_gymnasium(id: str, *, max_episode_steps: int, render_mode: str | None = None) -> gymnasium.Env[Any, Any]:
    """gymnasium.make without the checker, which costs time in every step."""
    import gymnasium

    return gymnasium.make(id, render_mode=render_mode, max_episode_steps=max_episode_steps, disable_env_checker=True)
