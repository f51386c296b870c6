"""Any environment of Gymnasium by its spaces: described once, and built with the adapters that they need."""

from __future__ import annotations

from functools import partial
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec as GymnasiumSpec

from ..options import WorldConfig
from ..registered import bring
from ..spec import DEFAULT_MAX_STEPS, ActionCodec, EnvSpec
from .actions import playable
from .lens import Lens, lens
from .rendered import Rendered
from .returned import Checked, refusal


def adapted_spec(card: GymnasiumSpec, world: WorldConfig) -> EnvSpec:
    """The description of a registered environment. ValueError: it cannot be made, or is seen or played in no way.

    The registration itself travels to the workers, so they need not have registered anything.
    """
    env = _make(card, world, "rgb_array" if world.render else None)
    try:
        space, _ = playable(card.id, env.action_space, world.bound)
        try:
            action = ActionCodec.from_space(space)
        except ValueError as error:
            raise refusal(card.id, str(error)) from None
        seen = None if world.render else lens(card.id, env.observation_space, world.key, world.axes)
    finally:
        env.close()
    return EnvSpec(
        card.id,
        action,
        partial(build_adapted, card, world, seen),
        channels=3 if seen is None else seen.channels,
        max_steps=card.max_episode_steps or DEFAULT_MAX_STEPS,
    )


def build_adapted(
    card: GymnasiumSpec,
    world: WorldConfig,
    seen: Lens | None,
    *,
    max_episode_steps: int,
    render_mode: str | None = None,
) -> gymnasium.Env[Any, Any]:
    """The environment behind its adapters; `seen` is its lens, or None to see what it renders."""
    bring(world.imports)
    env = _make(card, world, "rgb_array" if world.render else render_mode)
    space, convert = playable(card.id, env.action_space, world.bound)
    if convert is not None:
        env = gymnasium.wrappers.TransformAction(env, convert, space)
    if seen is None:
        env = Rendered(env, card.id)
    elif not seen.plain:
        env = gymnasium.wrappers.TransformObservation(env, seen, seen.space)
    return gymnasium.wrappers.TimeLimit(env, max_episode_steps)


def _make(card: GymnasiumSpec, world: WorldConfig, render_mode: str | None) -> gymnasium.Env[Any, Any]:
    """The environment with Gymnasium's wrappers and our check of what it returns, without a time limit.

    Without Gymnasium's own checker, which costs time in every step. One that knows of no render_mode is made without.
    """
    options: dict[str, Any] = {} if render_mode is None else {"render_mode": render_mode}
    try:
        env = gymnasium.make(card, max_episode_steps=-1, disable_env_checker=True, **options)
    except TypeError as error:
        if render_mode is None or "unexpected keyword argument 'render_mode'" not in str(error):
            raise refusal(card.id, f"it cannot be made: {error}") from error
        if world.render:
            raise refusal(card.id, "its class takes no render_mode, which world.render needs") from error
        return _make(card, world, None)
    except (gymnasium.error.Error, ImportError) as error:
        raise refusal(card.id, f"it cannot be made: {error}") from error
    return Checked(env, card.id)
