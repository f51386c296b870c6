"""What `reset` and `step` of anybody's environment return: taken apart, converted where that is clear, else refused."""

from __future__ import annotations

import inspect
from typing import Any

import gymnasium
import numpy as np

Began = tuple[Any, dict[str, Any]]
Stepped = tuple[Any, float, bool, bool, dict[str, Any]]
OLD = "it is of the kind before Gymnasium 0.26: change it, or wrap it with the package shimmy (GymV21Environment)"


def began(result: Any, name: str) -> Began:
    """(observation, info) of a reset. ValueError names the environment that returns anything else."""
    if not isinstance(result, tuple) or len(result) != 2 or not isinstance(result[1], dict):
        raise refusal(name, f"reset must return (observation, info), not {_shape(result)}; {OLD}")
    return result


def stepped(result: Any, name: str) -> Stepped:
    """(observation, reward, terminated, truncated, info) of a step, with plain numbers for reward and ends.

    A reward of any shape that holds one number is that number, and so are ends. ValueError names the environment that
    returns anything else.
    """
    if not isinstance(result, tuple) or len(result) != 5:
        wanted = "(observation, reward, terminated, truncated, info)"
        raise refusal(name, f"step must return {wanted}, not {_shape(result)}; {OLD}")
    observation, reward, terminated, truncated, info = result
    if type(reward) is not float:
        reward = _number(reward, "reward", name)
    if type(terminated) is not bool:
        terminated = bool(_number(terminated, "terminated", name))
    if type(truncated) is not bool:
        truncated = bool(_number(truncated, "truncated", name))
    return observation, reward, terminated, truncated, info


class Checked(gymnasium.Wrapper[Any, Any, Any, Any]):
    """An environment whose `reset` and `step` keep Gymnasium's promises; directly around it, inside all time limits.

    Gymnasium's own wrappers take results apart without a look, and fail without a name. Raises ValueError where the
    environment cannot be seeded, and where `shape` is given, where an observation has another one.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], name: str, shape: tuple[int, ...] | None = None) -> None:
        super().__init__(env)
        self.name, self.shape = name, shape
        taken = inspect.signature(env.unwrapped.reset).parameters
        free = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in taken.values())
        missing = [word for word in ("seed", "options") if word not in taken and not free]
        if missing:
            raise refusal(name, f"reset must take {' and '.join(missing)} by name; {OLD}")

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Began:
        observation, info = began(self.env.reset(seed=seed, options=options), self.name)
        self._measure(observation)
        return observation, info

    def step(self, action: Any) -> Stepped:
        result = stepped(self.env.step(action), self.name)
        self._measure(result[0])
        return result

    def _measure(self, observation: Any) -> None:
        if self.shape is not None and np.shape(observation) != self.shape:
            raise refusal(self.name, f"an observation has shape {np.shape(observation)}, not the declared {self.shape}")


def called(env: gymnasium.Env[Any, Any]) -> str:
    """How messages call an environment: by its id, or by its class where it has none."""
    return env.spec.id if env.spec is not None else type(env.unwrapped).__name__


def refusal(name: str, text: str) -> ValueError:
    """The error of an environment that does something else than it should."""
    return ValueError(f"environment {name!r}: {text}")


def _number(value: Any, what: str, name: str) -> float:
    array = np.asarray(value)
    if array.dtype.kind not in "buif":
        raise refusal(name, f"{what} must be a number, not {value!r}")
    if array.size != 1:
        raise refusal(
            name, f"{what} must be one number, not {array.shape}: combine them in a gymnasium.Wrapper of yours"
        )
    return float(array.item())


def _shape(result: Any) -> str:
    """What was returned, in a few words."""
    if isinstance(result, tuple):
        return f"a tuple of {len(result)}"
    return f"an array of shape {result.shape}" if isinstance(result, np.ndarray) else f"a {type(result).__name__}"
