"""Dreams as environments: the same slots that reality has, and a Gymnasium vector environment for everybody else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray
from torch import Tensor

from frmdn.agent.agent import select_features
from frmdn.agent.dream import Dream, DreamState, Noise
from frmdn.agent.rows import map_rows, put_rows
from frmdn.agent.seeds import derive, generator

from .slots import SEEDS, Slots, Step
from .spec import ActionCodec, EnvSpec, Vectors

CHUNK = 32  # transitions for which an episode draws its random numbers at a time
BLOCK = 128  # rows computed together: half as many cost nearly as much, twice as many save a few per cent


def dream_spec(real: EnvSpec, features: int, max_steps: int | None = None) -> EnvSpec:
    """The description of dreams of a world: its actions and limits, and `features` numbers in place of pictures."""
    return EnvSpec(
        id=f"dream of {real.id}",
        action=real.action,
        build=_not_built,
        max_steps=max_steps or real.max_steps,
        idle_reward=real.idle_reward,
        vector=features,
    )


def _not_built(**_: Any) -> NoReturn:
    raise ValueError("a dream is made of a Memory and of latents to begin at: use DreamSlots or DreamEnv")


class DreamSlots(Slots):
    """A `SlotEnv` whose slots are rows of one batched dream: what plays reality plays this too.

    It shows the features that a controller sees (`agent.agent.FEATURES`), f32[n,F]. An episode depends on its seed and
    its actions alone, not on its slot or its neighbours: the seed names the dreamer, the start and all random numbers,
    so candidates with one seed share their luck. Rows are computed in blocks of one size, so that their last digits do
    not depend on who else is alive, and a few late episodes do not cost as much as a full house.

    Args:
        real: the world that the dream is of.
        dream: the transition, on the device of the starts; or several, an ensemble: each episode is dreamt by one of
            them.
        starts: N states to begin at, for each dream the same N; the memory of each is that of what came before it.
        slots: S, episodes at once; some hundreds keep the processor busy.
        features: what the controller sees; a dream of a Markov world has "z" only.
        max_steps: transitions before an episode is truncated; None: as in reality.
        block: rows computed together; as many as slots where all episodes are equally long, so that none is in vain.

    >>> spec = frmdn.get_spec("CarRacing-v3")
    >>> dream = frmdn.Dream(frmdn.Memory(frmdn.MemoryConfig(action=spec.action.size)))
    >>> slots = frmdn.DreamSlots(spec, dream, dream.initial(torch.zeros(1, 32)), slots=2)
    >>> slots.start(0, seed=7).shape
    (288,)
    """

    painter = "dream"

    def __init__(
        self,
        real: EnvSpec,
        dream: Dream | Sequence[Dream],
        starts: DreamState | Sequence[DreamState],
        slots: int,
        *,
        features: str = "zh",
        max_steps: int | None = None,
        block: int = BLOCK,
    ) -> None:
        self.dreams = (dream,) if isinstance(dream, Dream) else tuple(dream)
        self.starts = (starts,) if isinstance(starts, DreamState) else tuple(starts)
        if len(self.dreams) != len(self.starts) or not self.dreams:
            raise ValueError(
                f"every dream needs starts of its own: {len(self.dreams)} dreams, {len(self.starts)} starts"
            )
        if slots < 1 or not all(len(begin.z) for begin in self.starts):
            raise ValueError(f"slots and starts must be at least 1, not {slots} and {len(self.starts[0].z)}")
        if len({begin.z.shape for begin in self.starts}) > 1:
            raise ValueError("every dream needs the same starts, each with its own memory of what came before them")
        self.features = features
        self.device = self.starts[0].z.device  # random numbers are drawn on the CPU: the same everywhere
        rows = torch.zeros(slots, dtype=torch.int64, device=self.device)
        self._state: DreamState = map_rows(lambda tensor: tensor[rows].clone(), self.starts[0])
        self._seen = self._state.memory  # what the first dream's memory knows
        if len(self.dreams) > 1:
            self._seen = map_rows(Tensor.clone, self._seen)
        super().__init__(dream_spec(real, self._shown(slice(0, 1)).shape[1], max_steps), slots)
        self._t = np.zeros(slots, np.int64)
        self._who = np.zeros(slots, np.int64)  # the dream that dreams the slot's episode
        self._sources: list[torch.Generator | None] = [None] * slots
        like = self._state.z
        self._uniform = torch.zeros((slots, CHUNK, 2), dtype=like.dtype)
        self._normal = torch.zeros((slots, CHUNK, self.dream.noise), dtype=like.dtype)
        self._actions = torch.zeros((slots, self.spec.action.size), dtype=like.dtype, device=self.device)
        self._block = min(block, slots)

    @property
    def dream(self) -> Dream:
        """The dream, or the first of an ensemble."""
        return self.dreams[0]

    def start(self, slot: int, seed: int) -> NDArray[np.float32]:
        """Begin the dream of this seed in this slot: its features f32[F]."""
        self._check_start(slot, seed)
        who = derive(seed, "dream", "dreamer") % len(self.dreams)
        row = derive(seed, "dream", "start") % len(self.starts[who].z)
        put_rows(self._state, slot, self.starts[who], row)
        put_rows(self._seen, slot, self.starts[0].memory, row)
        self._sources[slot] = generator(seed, "dream", "noise")
        self._t[slot], self._who[slot], self._alive[slot] = 0, who, True
        return self._shown(slice(slot, slot + 1))[0].cpu().numpy().astype(np.float32)

    def step(self, slots: NDArray[np.int64], actions: Vectors) -> Step:
        """One transition of the named slots (distinct, i64[n]) with action vectors f32[n,A], as reality plays them."""
        slots, actions = np.asarray(slots, np.int64), np.asarray(actions, np.float32)
        self._check_step(slots, actions)
        actions = self.spec.action.played(actions)
        self._draw(slots)
        self._actions[self._rows(slots)] = torch.as_tensor(actions, dtype=self._actions.dtype, device=self.device)
        rewards, done = np.zeros(self.slots, np.float32), np.zeros(self.slots, bool)
        for who, dream in enumerate(self.dreams):
            mine = slots if len(self.dreams) == 1 else slots[self._who[slots] == who]
            for first in range(0, len(mine), self._block):
                rows = mine[first : first + self._block]
                rewards[rows], done[rows] = self._advance(dream, rows)
        self._t[slots] += 1
        terminated = done[slots]
        truncated = ~terminated & (self._t[slots] >= self.spec.max_steps)
        self._alive[slots] = ~(terminated | truncated)
        shown = self._shown(self._rows(slots)).cpu().numpy().astype(np.float32, copy=False)
        return Step(shown, rewards[slots], terminated, truncated)

    def latents(self) -> Tensor:
        """Where the dreams are, f[S,Z]: what a vision can decode."""
        return self._state.z

    @torch.no_grad()
    def ends(self) -> Tensor:
        """The chance that its dreamer saw for the last transition of each slot to be the end, f[S]."""
        chances = [torch.sigmoid(dream.memory.predict(self._state.memory.h).done_logit) for dream in self.dreams]
        return torch.stack(chances)[self._rows(self._who), torch.arange(self.slots, device=self.device)]

    def close(self) -> None:
        self._alive[:] = False

    def _rows(self, slots: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(slots).to(self.device)

    def _shown(self, rows: Any) -> Tensor:
        memory = None if self.features == "z" else map_rows(lambda tensor: tensor[rows], self._seen)
        return select_features(self.features, self._state.z[rows], memory)

    def _draw(self, slots: NDArray[np.int64]) -> None:
        for slot in slots[self._t[slots] % CHUNK == 0].tolist():
            source = self._sources[slot]
            self._uniform[slot].uniform_(generator=source)
            self._normal[slot].normal_(generator=source)

    def _advance(self, dream: Dream, slots: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Dream one transition of at most a block of slots: rewards and ends [n]. Idle rows repeat the first one."""
        n = len(slots)
        drawn = torch.from_numpy(np.concatenate([slots, np.repeat(slots[:1], self._block - n)]))
        at, rows = torch.from_numpy(self._t % CHUNK)[drawn], drawn.to(self.device)
        noise = Noise(self._uniform[drawn, at].to(self.device), self._normal[drawn, at].to(self.device))
        before, actions = map_rows(lambda tensor: tensor[rows], self._state), self._actions[rows]
        state, reward, done = dream.step(before, actions, noise=noise)
        put_rows(self._state, rows[:n], state, slice(0, n))
        if len(self.dreams) > 1:
            seen = state.memory if dream is self.dream else self._watch(before.z, actions, rows)
            put_rows(self._seen, rows[:n], seen, slice(0, n))
        return reward[:n].cpu().numpy(), done[:n].cpu().numpy()

    @torch.no_grad()
    def _watch(self, z: Tensor, actions: Tensor, rows: Tensor) -> Any:
        """What the first dream's memory knows after a transition that another one dreams."""
        return self.dream.memory.step(z, actions, map_rows(lambda tensor: tensor[rows], self._seen))


class DreamEnv(gymnasium.vector.VectorEnv[NDArray[np.float32], Any, Any]):
    """Dreams as a Gymnasium vector environment, for any library that takes one.

    Observations are the features that a controller sees, f32[n,F]; actions are those of the real world, and clipped or
    refused as there. An episode that
    is over begins anew in the next step, whose action is ignored (`AutoresetMode.NEXT_STEP`, Gymnasium's default); or,
    with `AutoresetMode.SAME_STEP`, at once, and its last observation stands in `infos["final_obs"]`.

    Args:
        slots: the dreams; not to be used elsewhere at the same time.
        decode: latents f[n,Z] -> pictures in 0..1, f[n,H,W,C], for `render`; a vision's `decode`.
        seed: of a first reset that names none.
        autoreset: when an episode that is over begins anew.

    >>> spec = frmdn.get_spec("CarRacing-v3")
    >>> dream = frmdn.Dream(frmdn.Memory(frmdn.MemoryConfig(action=spec.action.size)))
    >>> env = frmdn.DreamEnv(frmdn.DreamSlots(spec, dream, dream.initial(torch.zeros(1, 32)), slots=2))
    >>> features, info = env.reset(seed=0)
    >>> features, reward, terminated, truncated, info = env.step(env.action_space.sample())
    >>> features.shape
    (2, 288)
    """

    def __init__(
        self,
        slots: DreamSlots,
        *,
        decode: Callable[[Tensor], Tensor] | None = None,
        seed: int = 0,
        autoreset: AutoresetMode = AutoresetMode.NEXT_STEP,
    ) -> None:
        if autoreset not in (AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP):
            raise ValueError(
                f"autoreset must be NEXT_STEP or SAME_STEP, not {autoreset}: dreams begin anew by themselves"
            )
        self.autoreset = autoreset
        self.world, self.decode = slots, decode
        self.num_envs = slots.slots
        self.render_mode = None if decode is None else "rgb_array"
        self.metadata = {"autoreset_mode": autoreset, "render_modes": ["rgb_array"]}
        self.single_observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (slots.spec.vector,), np.float32)
        self.single_action_space = action_space(slots.spec.action)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._roots = [(seed, slot) for slot in range(self.num_envs)]  # of each dream's random numbers
        self._episodes = np.zeros(self.num_envs, np.int64)
        self._over = np.zeros(self.num_envs, bool)
        self._shown = np.zeros(self.observation_space.shape, np.float32)

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begin dreams anew: their features f32[n,F], and no info.

        seed: one number, from which every dream derives its own, or a list with one of each dream: dream i is then the
        first one of an environment with that seed, whatever stands beside it. None, also in a list, goes on with other
        episodes of the seed before.
        options: {"reset_mask": bool[n]} begins those dreams alone; the others go on, and their features are as before.

        ValueError: a list or a mask of another length.
        """
        mask = self._mask(options)
        if isinstance(seed, list | tuple | np.ndarray):
            if len(seed) != self.num_envs:
                raise ValueError(f"seed must be one number, or one of each of the {self.num_envs} dreams, not {seed}")
            roots = [None if each is None else (int(each), 0) for each in seed]
        else:
            roots = [None if seed is None else (int(seed), slot) for slot in range(self.num_envs)]
        for slot in np.flatnonzero(mask).tolist():
            root = roots[slot]
            if root is not None:
                self._roots[slot], self._episodes[slot] = root, 0
            self._shown[slot] = self._begin(slot)
        self._over[mask] = False
        return self._shown.copy(), {}

    def step(
        self, actions: Any
    ) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """One transition of every dream; under NEXT_STEP those that were over begin anew instead, with reward 0."""
        actions = np.asarray(actions)
        if actions.shape[:1] != (self.num_envs,):
            raise ValueError(f"{self.num_envs} dreams take as many actions, not an array of shape {actions.shape}")
        going, again = np.flatnonzero(~self._over), np.flatnonzero(self._over)
        observations = np.zeros((self.num_envs, self.world.spec.vector), np.float32)
        rewards = np.zeros(self.num_envs)
        terminated, truncated = np.zeros(self.num_envs, bool), np.zeros(self.num_envs, bool)
        if len(going):
            codec = self.world.spec.action
            vectors = np.stack([codec.from_env(actions[slot]) for slot in going.tolist()])
            step = self.world.step(going, vectors)
            observations[going], rewards[going] = step.frames, step.rewards
            terminated[going], truncated[going] = step.terminated, step.truncated
        for slot in again.tolist():
            observations[slot] = self._begin(slot)
        self._over = terminated | truncated
        infos = self._begin_at_once(observations) if self.autoreset is AutoresetMode.SAME_STEP else {}
        self._shown[:] = observations
        return observations, rewards, terminated, truncated, infos

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:
        """The pictures of all dreams, u8[H,W,C] each; None without `decode`."""
        if self.decode is None:
            return None
        with torch.inference_mode():
            pictures = self.decode(self.world.latents()).mul(255).round().clamp(0, 255).to(torch.uint8)
        return tuple(pictures.cpu().numpy())

    def close_extras(self, **_: Any) -> None:
        self.world.close()

    def _begin_at_once(self, observations: NDArray[np.float32]) -> dict[str, Any]:
        """First observations in place of the last ones of dreams that are over, which go into the infos."""
        over, last = self._over.copy(), np.full(self.num_envs, None, object)
        for slot in np.flatnonzero(over).tolist():
            last[slot] = observations[slot].copy()
            observations[slot] = self._begin(slot)
        self._over[:] = False
        return {"final_obs": last, "_final_obs": over} if over.any() else {}

    def _mask(self, options: dict[str, Any] | None) -> NDArray[np.bool_]:
        """Which dreams a reset begins anew, bool[n]."""
        mask = (options or {}).get("reset_mask")
        if mask is None:
            return np.ones(self.num_envs, bool)
        if not isinstance(mask, np.ndarray) or mask.dtype != bool or mask.shape != (self.num_envs,) or not mask.any():
            raise ValueError(f"reset_mask must be a NumPy array of {self.num_envs} bools, one of them true, not {mask}")
        return mask

    def _begin(self, slot: int) -> NDArray[np.float32]:
        seed, number = self._roots[slot]
        seed = derive(seed, "dream", number, int(self._episodes[slot])) % SEEDS
        self._episodes[slot] += 1
        return self.world.start(slot, seed)


def action_space(codec: ActionCodec) -> gymnasium.Space[Any]:
    """The real world's action space, as its codec tells it."""
    if codec.kind == "discrete":
        return gymnasium.spaces.Discrete(codec.n, start=codec.start)
    return gymnasium.spaces.Box(np.array(codec.low, np.float32), np.array(codec.high, np.float32), dtype=np.float32)
