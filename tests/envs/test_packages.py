"""Atari and MiniGrid, by the way that any package goes: the module's name, and the id."""

from __future__ import annotations

import numpy as np
import pytest

from frmdn.envs import WorldConfig, get_spec, make_slots
from frmdn.envs.spec import EnvSpec


def frames(spec: EnvSpec, seed: int, steps: int = 40) -> np.ndarray:
    """Frames of one episode, its actions drawn by the seed."""
    slots = make_slots(spec, 1)
    shown = [slots.start(0, seed)]
    for vector in spec.action.sample(np.random.default_rng(seed), steps):
        step = slots.step(np.array([0]), vector[None])
        shown.append(step.frames[0])
        if step.terminated[0] or step.truncated[0]:
            break
    slots.close()
    return np.stack(shown)


def test_atari_is_seen_and_played() -> None:
    pytest.importorskip("ale_py", reason="Atari is not installed: pip install 'frmdn[atari]'")
    spec = get_spec("ALE/Pong-v5", world=WorldConfig(imports=("ale_py",), max_steps=30))
    assert (spec.frame_shape, spec.action.n, spec.max_steps) == ((64, 64, 3), 6, 30)
    first, again, other = frames(spec, 1), frames(spec, 1), frames(spec, 2)
    np.testing.assert_array_equal(first, again)
    assert first.shape == (31, 64, 64, 3) and not np.array_equal(first, other)
    assert first[-1].std() > 5 and (first[0] != first[-1]).any()


def test_atari_in_grey_and_stacked_is_seen_too() -> None:
    """A stack of grey frames, registered by somebody as is usual, shows its newest picture."""
    pytest.importorskip("ale_py", reason="Atari is not installed: pip install 'frmdn[atari]'")
    import gymnasium

    def stacked(**options):
        env = gymnasium.make("ALE/Pong-v5", obs_type="grayscale", repeat_action_probability=0.0, **options)
        return gymnasium.wrappers.FrameStackObservation(env, 4)

    gymnasium.register("StackedPong-v0", entry_point=stacked, max_episode_steps=20)
    try:
        spec = get_spec("ale_py:StackedPong-v0")
        assert (spec.frame_shape, spec.max_steps) == ((64, 64, 1), 20)
        seen = frames(spec, 1)
        assert len(seen) == 21 and seen[-1].std() > 5 and (seen[-1] != seen[-5]).any()
    finally:
        del gymnasium.registry["StackedPong-v0"]


def test_a_grid_world_is_seen_as_it_renders(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("minigrid", reason="MiniGrid is not installed: pip install 'frmdn[minigrid]'")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    with pytest.raises(
        ValueError, match=r"observes direction, image, mission: .*world.key=image, or .*world.render=true"
    ):
        get_spec("minigrid:MiniGrid-Empty-5x5-v0")
    spec = get_spec("minigrid:MiniGrid-Empty-5x5-v0", world=WorldConfig(render=True))
    assert (spec.frame_shape, spec.action.n, spec.world.imports) == ((64, 64, 3), 7, ("minigrid",))
    seen = frames(spec, 1)
    assert (seen[0] != seen[-1]).any() and seen[0].std() > 5
    codes = get_spec("minigrid:MiniGrid-Empty-5x5-v0", world=WorldConfig(key="image"))
    assert codes.frame_shape == (64, 64, 3) and (frames(codes, 1)[0] > 0).any()
