"""Dreams for Stable-Baselines3, which has vector environments of its own and no adaptor for those of Gymnasium."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode

from ..dream import DreamEnv
from ..errors import MissingExtra


def stable_baselines(env: DreamEnv) -> Any:
    """The dreams as a `VecEnv` of Stable-Baselines3, for any of its algorithms.

    Args:
        env: dreams that begin anew in the step in which they end, as Stable-Baselines3 expects them:
            `DreamEnv(..., autoreset=AutoresetMode.SAME_STEP)`, or `run.dream_env(8, autoreset=...)`.

    Raises:
        MissingExtra: Stable-Baselines3 is not installed.
        ValueError: the dreams begin anew one step later.

    >>> from gymnasium.vector import AutoresetMode
    >>> dreams = frmdn.open("runs/tiny").dream_env(2, autoreset=AutoresetMode.SAME_STEP)
    >>> env = frmdn.stable_baselines(dreams)  # doctest: +SKIP
    >>> env.reset().shape  # doctest: +SKIP
    (2, 40)
    """
    if env.autoreset is not AutoresetMode.SAME_STEP:
        raise ValueError(f"the dreams must be made with autoreset=AutoresetMode.SAME_STEP, not {env.autoreset.name}")
    return _adaptor()(env)


@lru_cache(maxsize=1)
def _adaptor() -> type:
    """The class; made when it is first asked for, because its base is that of an optional package."""
    try:
        from stable_baselines3.common.vec_env import VecEnv
    except ModuleNotFoundError as error:
        raise MissingExtra("stable-baselines3", "sb3", "stable_baselines") from error

    class StableBaselinesDream(VecEnv):
        """A `DreamEnv` with SAME_STEP resets."""

        def __init__(self, env: DreamEnv) -> None:
            self.env = env
            self.render_mode = env.render_mode
            super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)

        def reset(self) -> np.ndarray:
            """Begin all dreams anew, with the seeds that `seed` named if it was called since the last reset."""
            seeds = list(self._seeds)
            self._reset_seeds()
            self._reset_options()
            return self.env.reset(seed=None if all(each is None for each in seeds) else seeds)[0]

        def step_async(self, actions: np.ndarray) -> None:
            self._actions = actions

        def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
            shown, rewards, terminated, truncated, more = self.env.step(self._actions)
            over = terminated | truncated
            infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
            for slot in np.flatnonzero(over).tolist():
                infos[slot] = {
                    "terminal_observation": more["final_obs"][slot],
                    "TimeLimit.truncated": bool(truncated[slot]),
                }
            return shown, rewards.astype(np.float32), over, infos

        def get_images(self) -> Sequence[np.ndarray | None]:
            return self.env.render() or [None] * self.num_envs

        def close(self) -> None:
            self.env.close()

        def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
            return [getattr(self.env, attr_name)] * len(list(self._get_indices(indices)))

        def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
            raise ValueError("dreams share their attributes: set them on the DreamEnv")

        def env_method(self, method_name: str, *args: Any, indices: Any = None, **options: Any) -> list[Any]:
            raise ValueError("dreams share their methods: call them on the DreamEnv")

        def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> list[bool]:
            return [False] * len(list(self._get_indices(indices)))

    return StableBaselinesDream
