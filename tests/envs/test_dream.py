"""Dreams behind the two interfaces that worlds have: slots for our own loop, Gymnasium's vector environment."""

from __future__ import annotations

from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode

from frmdn.agent.dream import Dream, DreamState, Noise
from frmdn.agent.memory import Memory, MemoryConfig
from frmdn.agent.seeds import derive, generator
from frmdn.agent.vision import ConvVAE, VisionConfig
from frmdn.controller.fitness import RealFitness
from frmdn.controller.linear import LinearController
from frmdn.envs import ActionCodec, counting_spec, get_spec, make_slots
from frmdn.envs.dream import BLOCK, CHUNK, DreamEnv, DreamSlots
from frmdn.rollouts.job import Job
from frmdn.rollouts.policy import ControllerPolicy
from frmdn.rollouts.run import Runner, run_episodes
from frmdn.rollouts.workers import SerialPool

CAR = get_spec("CarRacing-v3")
LATENT, HIDDEN, STARTS = 4, 8, 6


@pytest.fixture(scope="module")
def memory() -> Memory:
    torch.manual_seed(0)
    model = Memory(MemoryConfig(latent=LATENT, hidden=HIDDEN, components=3, precision="low_rank", rank=2)).eval()
    with torch.no_grad():
        model.outcome.bias[1] = -3.0  # episodes end now and then
    return model


@pytest.fixture(scope="module")
def starts(memory) -> DreamState:
    source = torch.Generator().manual_seed(1)
    z = torch.randn(STARTS, 3, LATENT, generator=source)
    with torch.no_grad():
        _, state = memory.unroll(z[:, :2], torch.zeros(STARTS, 2, 3))
    return DreamState(z[:, 2], state)


def slots(memory, starts, count: int = 3, max_steps: int = 50, **options) -> DreamSlots:
    dream = Dream(memory, temperature=1.15, done_threshold=None)
    return DreamSlots(CAR, dream, starts, count, max_steps=max_steps, **options)


def test_the_chance_of_the_end_is_the_dreamers(memory, starts):
    """Of every slot, by the memory that dreams it, for the transition that was just taken."""
    torch.manual_seed(5)
    other = Memory(memory.config).eval()
    with torch.no_grad():
        _, state = other.unroll(torch.zeros(STARTS, 2, LATENT), torch.zeros(STARTS, 2, 3))
    both = [Dream(each, done_threshold=0.99) for each in (memory, other)]
    world = DreamSlots(CAR, both, [starts, DreamState(starts.z, state)], 4)
    for slot in range(4):
        world.start(slot, slot + 1)
    assert set(world._who.tolist()) == {0, 1}
    before = world._state
    z, remembered = before.z.clone(), type(before.memory)(*(part.clone() for part in before.memory))
    hands = torch.from_numpy(np.stack([action(t) for t in range(4)]))
    world.step(np.arange(4), hands.numpy())
    with torch.no_grad():
        for slot, who in enumerate(world._who.tolist()):
            model = both[who].memory
            told = model.predict(model.step(z, hands, remembered).h).done_logit[slot]
            assert world.ends()[slot].item() == pytest.approx(torch.sigmoid(told).item(), abs=1e-5)


def action(step: int) -> np.ndarray:
    return np.array([np.sin(step), 0.5, 0.1], np.float32)


def play(world: DreamSlots, slot: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    shown, rewards = [world.start(slot, seed)], []
    for t in range(world.spec.max_steps):
        step = world.step(np.array([slot]), action(t)[None])
        shown.append(step.frames[0])
        rewards.append(step.rewards[0])
        if step.terminated[0] or step.truncated[0]:
            break
    return np.stack(shown), np.array(rewards)


def test_a_slot_dreams_what_the_dream_says(memory, starts):
    """Against `Dream.step` by hand, with the numbers that the seed names, over two edges of a chunk."""
    limit = 2 * CHUNK + 5
    world = DreamSlots(CAR, Dream(memory, temperature=1.15, done_threshold=0.99), starts, 3, max_steps=limit)
    shown, rewards = play(world, 1, seed=7)
    assert len(rewards) == limit
    dream, source = world.dream, generator(7, "dream", "noise")
    row = derive(7, "dream", "start") % STARTS
    state = DreamState(starts.z[row : row + 1], type(starts.memory)(*(part[row : row + 1] for part in starts.memory)))
    for t, reward in enumerate(rewards):
        if t % CHUNK == 0:
            uniform, normal = torch.rand(CHUNK, 2, generator=source), torch.randn(CHUNK, dream.noise, generator=source)
        np.testing.assert_allclose(shown[t], torch.cat((state.z, state.memory.h), 1)[0], atol=1e-5)
        noise = Noise(uniform[t % CHUNK][None], normal[t % CHUNK][None])
        state, expected, done = dream.step(state, torch.from_numpy(action(t))[None], noise=noise)
        assert reward == pytest.approx(expected.item(), abs=1e-5)
        assert not done
    assert len(np.unique(rewards)) > limit // 2  # the dream moves
    ends = DreamSlots(CAR, Dream(memory, temperature=1.15, done_threshold=None), starts, 3, max_steps=limit)
    _, rewards = play(ends, 1, seed=7)
    source, state = generator(7, "dream", "noise"), None
    uniform, normal = torch.rand(CHUNK, 2, generator=source), torch.randn(CHUNK, dream.noise, generator=source)
    state = DreamState(starts.z[row : row + 1], type(starts.memory)(*(part[row : row + 1] for part in starts.memory)))
    assert 1 < len(rewards) < CHUNK  # this one ends by itself, where its own number says so
    for t in range(len(rewards)):
        noise = Noise(uniform[t][None], normal[t][None])
        state, _, done = ends.dream.step(state, torch.from_numpy(action(t))[None], noise=noise)
        assert bool(done) == (t == len(rewards) - 1)


def test_an_episode_does_not_know_its_slot_or_its_neighbours(memory, starts):
    alone, _ = play(slots(memory, starts), 0, seed=3)
    world = slots(memory, starts)
    play(world, 2, seed=8)
    world.start(1, 9)  # a neighbour that stands still
    after, _ = play(world, 2, seed=3)
    assert np.array_equal(alone, after)
    other, _ = play(world, 2, seed=4)
    assert not np.array_equal(alone[1], other[1])


def test_one_of_an_ensemble_dreams_an_episode_and_the_first_one_watches(memory, starts):
    """Latents and rewards are those of the dreamer that the seed names; h is what the acting memory makes of them."""
    torch.manual_seed(5)
    other = Memory(memory.config).eval()
    with torch.no_grad():
        _, warm = other.unroll(starts.z[:, None], torch.zeros(STARTS, 1, 3))
    dreams = [Dream(m, done_threshold=None) for m in (memory, other)]
    begun = [starts, DreamState(starts.z, warm)]
    world = DreamSlots(CAR, dreams, begun, 3, max_steps=20)
    chosen = {seed: derive(seed, "dream", "dreamer") % 2 for seed in range(8)}
    assert set(chosen.values()) == {0, 1}
    for seed, who in chosen.items():
        alone = DreamSlots(CAR, dreams[who], begun[who], 3, max_steps=20)
        world.start(0, 1 - who)
        (shown, rewards), (expected, paid) = play(world, 1, seed), play(alone, 2, seed)
        assert np.array_equal(rewards, paid) and np.array_equal(shown[:, :LATENT], expected[:, :LATENT])
        row = derive(seed, "dream", "start") % STARTS
        state = type(starts.memory)(*(part[row : row + 1] for part in starts.memory))
        for t in range(len(shown)):
            np.testing.assert_allclose(shown[t, LATENT:], state.h[0], atol=1e-5)
            with torch.no_grad():
                z, a = torch.from_numpy(shown[t : t + 1, :LATENT]), torch.from_numpy(action(t))[None]
                state = memory.step(z, a, state)


def test_dreams_of_an_ensemble_begin_alike(memory, starts):
    fewer = DreamState(starts.z[:2], starts.memory)
    with pytest.raises(ValueError, match="same starts"):
        DreamSlots(CAR, [Dream(memory)] * 2, [starts, fewer], 3)
    with pytest.raises(ValueError, match="2 dreams, 1 starts"):
        DreamSlots(CAR, [Dream(memory)] * 2, starts, 3)


def test_more_slots_than_a_block_and_few_that_are_left(memory, starts):
    """Rows are gathered into blocks of one size: who shares a block changes nothing."""
    world = slots(memory, starts, count=BLOCK + 7, max_steps=9)
    full = {}
    for slot in range(world.slots):
        full[slot] = [world.start(slot, slot)]
    alive = np.arange(world.slots)
    for t in range(9):
        step = world.step(alive, np.tile(action(t), (len(alive), 1)))
        for slot, seen in zip(alive.tolist(), step.frames, strict=True):
            full[slot].append(seen)
        alive = alive[~(step.terminated | step.truncated)]
    for slot in (0, BLOCK - 1, BLOCK, BLOCK + 6):
        assert np.array_equal(play(world, 3, slot)[0], np.stack(full[slot]))


def test_survival_is_worth_one_a_transition(memory, starts):
    dream = Dream(memory, reward="survival", done_threshold=0.99)
    _, rewards = play(DreamSlots(CAR, dream, starts, 2, max_steps=5), 0, 1)
    assert (rewards == 1).all() and len(rewards) == 5


def test_seeds_begin_at_different_starts(memory, starts):
    world = slots(memory, starts)
    begun = {world.start(0, seed).tobytes() for seed in range(60)}
    assert len(begun) == STARTS


@pytest.mark.parametrize(("features", "size"), [("z", 4), ("zh", 12), ("zhc", 20)])
def test_it_shows_what_the_controller_sees(memory, starts, features, size):
    world = slots(memory, starts, features=features)
    assert world.start(0, 1).shape == (size,) == world.spec.frame_shape


def test_the_limit_truncates_and_the_end_terminates(memory, starts):
    world = slots(memory, starts, count=64, max_steps=40)
    for slot in range(64):
        world.start(slot, slot)
    alive, ends = np.arange(64), []
    for t in range(40):
        step = world.step(alive, np.tile(action(t), (len(alive), 1)))
        assert not (step.terminated & step.truncated).any()
        ends += [(t, "end") for _ in range(int(step.terminated.sum()))]
        ends += [(t, "limit") for _ in range(int(step.truncated.sum()))]
        alive = alive[~(step.terminated | step.truncated)]
    assert len(ends) == 64 and {t for t, kind in ends if kind == "limit"} == {39}
    assert 10 < sum(kind == "end" for _, kind in ends) < 64  # a chance of some 5 % a step
    with pytest.raises(ValueError, match="call start"):
        world.step(np.array([0]), action(0)[None])


def test_the_one_environment_loop_plays_dreams(memory, starts):
    """A search measures candidates in dreams through the same pool, and one seed means one luck for all."""
    world = slots(memory, starts, count=4)
    controller = LinearController(LATENT + HIDDEN, 3)
    runner = Runner(world, ControllerPolicy(controller, CAR.action.squash, 4))
    theta = np.random.default_rng(0).normal(size=(5, controller.size))
    theta[3] = theta[1]
    with SerialPool(lambda: runner) as pool:
        returns = RealFitness(pool)(theta, [11, 12, 13])
    assert returns.total.shape == (5, 3) and np.array_equal(returns.total[1], returns.total[3])
    assert not np.array_equal(returns.total[0], returns.total[1])
    few = Runner(slots(memory, starts, count=4), ControllerPolicy(controller, CAR.action.squash, 4))
    one = next(iter(run_episodes(few, [Job(0, 12, 0, theta[2].astype(np.float32))])))
    assert one.total == returns.total[2, 1] and one.steps == returns.steps[2, 1]


def test_gymnasium_takes_it_for_one_of_its_own(memory, starts):
    env = DreamEnv(slots(memory, starts), seed=5)
    assert isinstance(env, gymnasium.vector.VectorEnv)
    first, _ = env.reset(seed=5)
    assert first in env.observation_space
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(60)]
    once = [env.step(a) for a in actions]
    again, _ = env.reset(seed=5)
    twice = [env.step(a) for a in actions]
    assert np.array_equal(first, again)
    for (o1, r1, e1, t1, _), (o2, r2, e2, t2, _) in zip(once, twice, strict=True):
        assert o1 in env.observation_space and r1.dtype == np.float64
        assert all(np.array_equal(a, b) for a, b in ((o1, o2), (r1, r2), (e1, e2), (t1, t2)))
    statistics = gymnasium.wrappers.vector.RecordEpisodeStatistics(DreamEnv(slots(memory, starts), seed=5))
    statistics.reset(seed=5)
    infos = [statistics.step(a)[4] for a in actions]
    assert any("episode" in info for info in infos)


def test_what_is_over_begins_anew_in_the_next_step(memory, starts):
    env = DreamEnv(slots(memory, starts, max_steps=2), seed=1)
    assert env.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    env.reset(seed=1)
    still = np.tile(action(0), (3, 1))
    seen = [env.step(still) for _ in range(6)]
    over = [step[2] | step[3] for step in seen]
    for before, (_, reward, terminated, truncated, _) in zip(over, seen[1:], strict=False):
        assert (reward[before] == 0).all() and not (terminated | truncated)[before].any()
    assert over[1].all() or over[0].any()


def test_what_is_over_can_begin_anew_at_once(memory, starts):
    """The same episodes as with a reset in the next step, without the steps that reset takes."""

    def env(autoreset: AutoresetMode) -> DreamEnv:
        return DreamEnv(DreamSlots(CAR, Dream(memory), starts, 3, max_steps=2), seed=1, autoreset=autoreset)

    at_once, later = env(AutoresetMode.SAME_STEP), env(AutoresetMode.NEXT_STEP)
    assert np.array_equal(at_once.reset()[0], later.reset()[0])
    for _ in range(3):
        for t in range(2):
            acts = np.stack([action(t)] * 3)
            shown, rewards, terminated, truncated, infos = at_once.step(acts)
            last, other_rewards, *_ = later.step(acts)
            assert np.array_equal(rewards, other_rewards)
        assert truncated.all() and not terminated.any() and infos["_final_obs"].all()
        assert np.array_equal(np.stack(infos["final_obs"]), last)
        assert np.array_equal(shown, later.step(acts)[0])
    with pytest.raises(ValueError, match="autoreset"):
        env(AutoresetMode.DISABLED)


def test_a_discrete_world_dreams_of_whole_actions():
    real = replace(CAR, action=ActionCodec("discrete", n=4, start=1))
    torch.manual_seed(0)
    model = Memory(MemoryConfig(latent=LATENT, action=real.action.size, hidden=HIDDEN)).eval()
    z = torch.zeros(1, LATENT)
    env = DreamEnv(DreamSlots(real, Dream(model), DreamState(z, model.initial(1)), 2))
    env.reset()
    assert isinstance(env.single_action_space, gymnasium.spaces.Discrete)
    assert env.step(env.action_space.sample())[0] in env.observation_space


def test_it_shows_pictures_of_what_it_dreams(memory, starts):
    vision = ConvVAE(VisionConfig(latent=LATENT, decoder="fast")).eval()
    env = DreamEnv(slots(memory, starts), decode=vision.decode)
    env.reset()
    pictures = env.render()
    assert len(pictures) == 3 and pictures[0].shape == (64, 64, 3) and pictures[0].dtype == np.uint8
    assert DreamEnv(slots(memory, starts)).render() is None


def test_wrong_arguments_are_named(memory, starts):
    with pytest.raises(ValueError, match="slots and starts"):
        slots(memory, starts, count=0)
    with pytest.raises(ValueError, match="made of a Memory"):
        slots(memory, starts).spec.make()
    with pytest.raises(ValueError, match="NaN"):
        world = slots(memory, starts)
        world.start(0, 1)
        world.step(np.array([0]), np.full((1, 3), np.nan, np.float32))
    env = DreamEnv(slots(memory, starts))
    with pytest.raises(ValueError, match="one of each of the 3 dreams"):
        env.reset(seed=[1, 2])
    for mask in (np.ones(2, bool), np.zeros(3, bool), np.ones(3), [True, True, True]):
        with pytest.raises(ValueError, match="reset_mask must be"):
            env.reset(options={"reset_mask": mask})
    env.reset()
    with pytest.raises(ValueError, match="3 dreams take as many actions"):
        env.step(np.zeros((5, 3), np.float32))


def drawn(world: DreamSlots, seed: int, steps: int) -> list[tuple[float, ...]]:
    """The latents that one slot dreams where neither state nor action reaches them: its random numbers alone."""
    world.start(0, seed)
    seen = []
    for _ in range(steps):
        world.step(np.array([0]), np.zeros((1, 3), np.float32))
        seen.append(tuple(world.latents()[0].tolist()))
    return seen


def test_the_noise_of_a_dream_never_repeats_itself(starts):
    """In a world whose next latent depends on nothing but the numbers drawn, no latent comes twice."""
    torch.manual_seed(0)
    still = Memory(MemoryConfig(latent=LATENT, hidden=HIDDEN, components=3)).eval()
    with torch.no_grad():
        for parameter in still.density.trunk.parameters():
            parameter.zero_()
    begun = DreamState(starts.z, still.initial(STARTS))
    world = DreamSlots(CAR, Dream(still, done_threshold=0.999), begun, 2, max_steps=4 * CHUNK)
    first, other = drawn(world, 3, 3 * CHUNK + 1), drawn(world, 4, 3 * CHUNK + 1)
    assert len(set(first) | set(other)) == 2 * (3 * CHUNK + 1)
    assert drawn(world, 3, 3 * CHUNK + 1) == first


def test_slots_that_began_at_other_times_meet_the_edge_of_a_chunk_each_at_its_own(memory, starts):
    """A late neighbour neither takes an episode's numbers nor makes it draw anew."""
    quiet = Dream(memory, done_threshold=0.99)
    alone = play(DreamSlots(CAR, quiet, starts, 3, max_steps=2 * CHUNK), 0, seed=3)[0]
    world = DreamSlots(CAR, quiet, starts, 3, max_steps=2 * CHUNK)
    seen = [world.start(0, 3)]
    world.start(1, 8)
    for t in range(2 * CHUNK):
        if t == 11:
            world.start(2, 9)
        rows = np.array([0, 1] if t < 11 else [0, 1, 2])
        seen.append(world.step(rows, np.tile(action(t), (len(rows), 1))).frames[0])
    assert np.array_equal(np.stack(seen), alone)


@pytest.mark.parametrize("autoreset", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_every_dream_of_the_vector_environment_is_a_new_one(memory, starts, autoreset):
    """Other slots dream other dreams, and what begins anew is another episode; a seed brings all of them back."""
    quiet = Dream(memory, done_threshold=0.99)

    def episodes(env: DreamEnv, seed: int | None, count: int) -> list[bytes]:
        """The observations of `count` episodes of two steps in each of three slots, one text an episode."""
        shown, _ = env.reset(seed=seed)
        told = []
        for _ in range(count):
            rows = [shown]
            for t in range(2):
                shown, _, _, truncated, infos = env.step(np.tile(action(t), (3, 1)))
                rows.append(np.stack(infos["final_obs"]) if infos else shown)
            assert truncated.all()
            if autoreset is AutoresetMode.NEXT_STEP:
                shown = env.step(np.tile(action(0), (3, 1)))[0]
            told += [np.stack(rows)[:, slot].tobytes() for slot in range(3)]
        return told

    env = DreamEnv(DreamSlots(CAR, quiet, starts, 3, max_steps=2), seed=5, autoreset=autoreset)
    first = episodes(env, 5, 6)
    assert len(set(first)) == 18
    assert not set(first) & set(episodes(env, None, 4))  # a reset without a seed goes on from there
    assert episodes(env, 5, 6) == first
    assert not set(first) & set(episodes(env, 6, 4))


def test_a_reset_forgets_what_was_over(memory, starts):
    """Where all dreams had ended and a reset comes in place of the next step, the next step plays."""
    env = DreamEnv(DreamSlots(CAR, Dream(memory, done_threshold=0.99), starts, 2, max_steps=1), seed=1)
    env.reset(seed=1)
    _, first, _, truncated, _ = env.step(np.tile(action(0), (2, 1)))
    assert truncated.all()
    env.reset(seed=1)
    _, again, _, truncated, _ = env.step(np.tile(action(0), (2, 1)))
    assert np.array_equal(first, again) and again.all() and truncated.all()


# Dreams take what reality takes


def discrete_slots(n: int = 4, start: int = 1) -> DreamSlots:
    real = replace(CAR, action=ActionCodec("discrete", n=n, start=start))
    torch.manual_seed(0)
    model = Memory(MemoryConfig(latent=LATENT, action=n, hidden=HIDDEN)).eval()
    dream = Dream(model, done_threshold=0.99)
    return DreamSlots(real, dream, DreamState(torch.zeros(1, LATENT), model.initial(1)), 2)


@pytest.mark.parametrize(("far", "edge"), [([100, 100, 100], [1, 1, 1]), ([-7, -3, 0.5], [-1, 0, 0.5])])
def test_an_action_beyond_the_box_leads_where_its_edge_does(memory, starts, far, edge):
    """In slots, in the vector environment, and in a dream that was told how the world plays."""

    def after(vector) -> list[np.ndarray]:
        vectors = np.tile(np.array(vector, np.float32), (3, 1))
        world, env = slots(memory, starts), DreamEnv(slots(memory, starts), seed=1)
        for slot in range(3):
            world.start(slot, slot)
        env.reset()
        alone = Dream(memory, actions=CAR.action.play)
        source = torch.Generator().manual_seed(1)
        state, *_ = alone.step(alone.initial(starts.z[:3]), torch.from_numpy(vectors), source)
        return [world.step(np.arange(3), vectors).frames, env.step(vectors)[0], torch.cat((state.z, *state.memory), 1)]

    for got, wanted, other in zip(after(far), after(edge), after([0, 0.5, 0.1]), strict=True):
        np.testing.assert_array_equal(got, wanted)
        assert not np.array_equal(got, other)


def test_a_vector_that_is_no_one_hot_leads_where_its_largest_number_does():
    """As in reality, which plays the action of the largest number."""

    def after(vector) -> np.ndarray:
        world = discrete_slots()
        world.start(0, 1)
        return world.step(np.array([0]), np.array([vector], np.float32)).frames

    np.testing.assert_array_equal(after([0.1, 0.2, 7, 0.5]), after([0, 0, 1, 0]))
    assert not np.array_equal(after([0, 0, 1, 0]), after([0, 1, 0, 0]))


@pytest.mark.parametrize("action", [0, -1, 5, 0.9, 1.5, float("nan"), 2**40])
def test_an_action_that_is_none_is_refused(action):
    """Actions are 1 to 4: the last one is not -1, and nothing is cut to a whole number."""
    env = DreamEnv(discrete_slots())
    env.reset()
    with pytest.raises(ValueError, match="is none of this world's: 1 to 4"):
        env.step(np.array([1, action]))
    with pytest.raises(ValueError, match="vectors of 4 numbers"):
        env.world.step(np.array([0]), np.zeros((1, 5), np.float32))


def test_dreams_and_reality_share_one_helper(memory, starts, monkeypatch):
    """What one of them takes, the other takes too, whatever that is."""
    seen = []
    played = ActionCodec.played
    monkeypatch.setattr(ActionCodec, "played", lambda self, vectors: seen.append(len(vectors)) or played(self, vectors))
    world, real = slots(memory, starts), make_slots(counting_spec(5), 2)
    for each, size in ((world, 3), (real, 2)):
        each.start(0, 1)
        seen.clear()
        each.step(np.array([0]), np.zeros((1, size), np.float32))
        assert seen == [1]


def test_a_list_of_seeds_begins_each_dream_with_its_own(memory, starts):
    """Wherever it stands, and whatever stands beside it; None goes on with other episodes."""

    def episode(env: DreamEnv, seed) -> list[np.ndarray]:
        rows = [env.reset(seed=seed)[0]]
        rows += [env.step(np.tile(action(t), (env.num_envs, 1)))[0] for t in range(4)]
        return list(np.stack(rows).swapaxes(0, 1))

    def quiet(count: int) -> DreamEnv:
        return DreamEnv(DreamSlots(CAR, Dream(memory, done_threshold=0.99), starts, count, max_steps=9), seed=5)

    env = quiet(3)
    first = episode(env, [7, 8, 7])
    np.testing.assert_array_equal(first[0], first[2])
    assert not np.array_equal(first[0], first[1])
    np.testing.assert_allclose(episode(quiet(1), 8)[0], first[1], atol=1e-5)
    on = episode(env, [None, 8, 8])
    assert not np.array_equal(on[0], first[0])
    np.testing.assert_array_equal(on[1], first[1])
    np.testing.assert_array_equal(on[2], first[1])
    np.testing.assert_array_equal(episode(env, (7, 8, 7)), first)


def test_a_mask_begins_some_dreams_and_leaves_the_others_where_they_are(memory, starts):
    def run(mask: bool) -> np.ndarray:
        env = DreamEnv(DreamSlots(CAR, Dream(memory, done_threshold=0.99), starts, 3, max_steps=9), seed=5)
        env.reset()
        shown = env.step(np.tile(action(0), (3, 1)))[0]
        if mask:
            begun, _ = env.reset(seed=11, options={"reset_mask": np.array([False, True, False])})
            np.testing.assert_array_equal(begun[[0, 2]], shown[[0, 2]])
            np.testing.assert_array_equal(begun[1], env.reset(seed=11, options={"reset_mask": np.arange(3) == 1})[0][1])
            assert not np.array_equal(begun[1], shown[1])
        return np.stack([env.step(np.tile(action(t), (3, 1)))[0] for t in range(1, 4)], 1)

    masked, plain = run(True), run(False)
    np.testing.assert_array_equal(masked[[0, 2]], plain[[0, 2]])
    assert not np.array_equal(masked[1], plain[1])


def test_a_mask_forgets_the_end_of_the_dreams_that_it_begins(memory, starts):
    """One that was over and begins by the mask plays in the next step; the others begin in it."""
    env = DreamEnv(DreamSlots(CAR, Dream(memory, done_threshold=0.99), starts, 2, max_steps=1), seed=1)
    env.reset()
    assert env.step(np.tile(action(0), (2, 1)))[3].all()
    env.reset(options={"reset_mask": np.array([True, False])})
    _, rewards, _, truncated, _ = env.step(np.tile(action(0), (2, 1)))
    assert truncated.tolist() == [True, False] and rewards[0] != 0 == rewards[1]
