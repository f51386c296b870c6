"""CarRacing with our painter: the official world to the last bit, and pictures that nobody tells from its own."""

from __future__ import annotations

import math
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.box2d import car_racing

from frmdn.envs import get_spec, make_slots
from frmdn.envs.worlds import car_slots
from frmdn.envs.worlds.car_painter import GRAIN, ORIGIN, SHIFT, tones
from frmdn.envs.worlds.car_world import CarWorld, Scalars

CAR = get_spec("CarRacing-v3")
SLOT = np.array([0])
SEEDS = [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (0, *range(2, 20)))]


class Official:
    """`gymnasium.make("CarRacing-v3")`, whose painter rests in steps at whose picture nobody looks."""

    def __init__(self, seed: int) -> None:
        self.env = gymnasium.make("CarRacing-v3")
        self.world = self.env.unwrapped
        self.world._render = lambda mode: np.zeros((96, 96, 3), np.uint8)
        self.env.reset(seed=seed)

    def step(self, action):
        return self.env.step(action)[1:4]

    def frame(self) -> np.ndarray:
        return CAR.pipe(type(self.world)._render(self.world, "state_pixels")).astype(float)


def wild(seed: int):
    """Actions drawn around a drifting mean: on the road, off it, and off the field."""
    rng, mean = np.random.default_rng(seed), np.zeros(3)

    def act(world) -> np.ndarray:
        nonlocal mean
        mean = np.clip(mean + rng.normal(0, 0.1, 3), (-0.5, 0.0, 0.0), (0.5, 0.8, 0.2))
        return np.clip(mean + rng.normal(0, 0.2, 3), (-1, 0, 0), (1, 1, 1)).astype(np.float32)

    return act


def driven(seed: int):
    """A driver who sees the track: towards a tile ahead, slower before bends. Many seeds end with a lap."""

    def act(world) -> np.ndarray:
        places = np.array([(x, y) for _, _, x, y in world.track])
        x, y = world.car.hull.position
        nearest = int(np.hypot(*(places - (x, y)).T).argmin())
        near, far = (places[(nearest + ahead) % len(places)] - (x, y) for ahead in (3, 6))
        turn, bend = (math.remainder(math.atan2(-d[0], d[1]) - world.car.hull.angle, 2 * math.pi) for d in (near, far))
        speed, wanted = math.hypot(*world.car.hull.linearVelocity), 60 if abs(bend) < 0.3 else 30
        return np.array([np.clip(-2 * turn, -1, 1), 0.6 * (speed < wanted), 0.3 * (speed > wanted + 10)], np.float32)

    return act


def bodies(world) -> list[float]:
    """All that the physics knows of the car."""
    told: list[float] = []
    for body in (world.car.hull, *world.car.wheels):
        told += [*body.position, *body.linearVelocity, body.angle, body.angularVelocity]
    return told + [wheel.omega for wheel in world.car.wheels]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("driver", [wild, driven])
def test_an_episode_is_the_official_one(seed, driver):
    official, ours = Official(seed), make_slots(CAR, 1)
    frames, act = [(official.frame(), ours.start(0, seed))], driver(seed)
    world = ours._worlds[0]
    assert world.track == official.world.track
    for t in range(1, 1001):
        action = act(official.world)
        reward, terminated, truncated = official.step(action)
        step = ours.step(SLOT, action[None])
        assert (world.reward, bodies(world)) == (official.world.reward, bodies(official.world)), f"step {t}"
        assert step.rewards[0] == np.float32(reward)
        assert (step.terminated[0], step.truncated[0]) == (terminated, truncated and not terminated)
        if t % 23 == 0 or terminated or truncated:
            frames.append((official.frame(), step.frames[0]))
        if terminated or truncated:
            break
    assert terminated or truncated
    theirs, mine = (np.stack(side).astype(float) for side in zip(*frames, strict=True))
    assert np.abs(theirs - mine).mean() < 0.6  # of 255
    assert np.abs((theirs - mine).mean((0, 1, 2))).max() < 0.4  # each colour's mean
    assert np.abs(theirs - mine).mean((1, 2, 3)).max() < 1.5  # and no picture far off


def test_some_drivers_finish_a_lap():
    world, act = CarWorld(), driven(1)
    world.reset(seed=1)
    for _ in range(1000):
        *_, terminated, _, told = world.step(act(world))
        if terminated:
            break
    assert told == {"lap_finished": True}  # or the tests above say nothing about laps


def regions(theirs: np.ndarray, ours: np.ndarray) -> dict[str, tuple[float, float]]:
    """Mean of the official picture and of ours over the pixels that the official one shows as one even thing."""
    red, green, blue = np.moveaxis(theirs, -1, 0)
    of = {
        "road": (abs(red - green) < 4) & (abs(red - blue) < 4) & (abs(red - 102) < 5),
        "field": abs(theirs - (100, 202, 100)).max(-1) < 2,
        "grass": abs(theirs - (100, 228, 100)).max(-1) < 2,
        "black": theirs.max(-1) < 2,
    }
    return {name: (theirs[mask].mean(), ours[mask].mean()) for name, mask in of.items() if mask.sum() > 20}


def test_every_colour_is_the_official_one():
    """Also of tiles that the car has visited, which turn from three greys into one."""
    seen = set()
    for seed in (0, 1):
        official, ours = Official(seed), make_slots(CAR, 1)
        ours.start(0, seed)
        for t in range(220):
            action = np.array([0, 0.4 * (t < 60), 0.3 * (60 < t < 150)], np.float32)
            official.step(action)
            frame = ours.step(SLOT, action[None]).frames[0].astype(float)
            if t in (2, 5, 100, 140, 219):
                for name, (theirs, mine) in regions(official.frame(), frame).items():
                    seen.add(name)
                    near = 0.35 if t >= 50 else 1.0  # zoomed out, hardly a pixel is of one thing alone
                    assert mine == pytest.approx(theirs, abs=near), f"{name}, seed {seed}, step {t}"
    assert seen == {"road", "field", "grass", "black"}


def test_visited_tiles_turn_to_one_grey():
    """Row by row of the straight road behind and ahead of the car, where three greys differ by two and five levels."""
    official, ours = Official(3), make_slots(CAR, 1)
    ours.start(0, 3)
    world, looked = ours._worlds[0], 0
    for t in range(80):
        action = np.array([0, 0.5, 0], np.float32)
        official.step(action)
        frame = ours.step(SLOT, action[None]).frames[0].astype(float)
        if t >= 60 and t % 4 == 0:
            theirs = official.frame()
            ahead = np.flatnonzero(np.ptp(theirs[:49, 31:33], (1, 2)) <= 2)  # even rows: road, and no kerb in it
            assert np.abs(theirs[ahead, 31:33] - frame[ahead, 31:33]).mean((1, 2)).max() <= 2, f"step {t}"
            assert np.abs(theirs[60:, 31:33] - frame[60:, 31:33]).mean() <= 0.3, f"behind the car, step {t}"
            looked += np.ptp(theirs[30:49, 31:33]) > 4
    changed = [tile.idx for tile in world.road if (tile.color == world.road_color).all() and tile.idx % 3]
    assert len(changed) > 5 and looked > 3


def test_the_car_looks_as_it_does():
    """Hull, wheels and their stripes, in every turn of them, steered to both sides."""
    official, ours = Official(1), make_slots(CAR, 1)
    ours.start(0, 1)
    apart, shown = [], set()
    for t in range(160):
        action = np.array([math.sin(t / 12), 0.25, 0.0], np.float32)
        official.step(action)
        frame = ours.step(SLOT, action[None]).frames[0].astype(float)
        if t >= 55 and t % 2:
            theirs = official.frame()
            apart.append(np.abs(theirs - frame)[50:60, 29:35].mean())
            shown.add(round(float(theirs[50:60, 29:35].min())))
    assert np.mean(apart) < 3 and max(apart) < 5  # of 255, on 60 pixels of many colours
    assert len(shown) > 3


def test_wheels_are_where_the_physics_has_them():
    world = CarWorld()
    world.reset(seed=1)
    steered = []
    for t in range(160):
        world.step(np.array([math.sin(t / 12), 0.25, 0.0], np.float32))
        steered.append(world.car.wheels[0].joint.angle)
        drawn, _ = world.painter._car._moved(16.2)
        for wheel, polygon in zip(world.car.wheels, drawn, strict=True):
            corners = [world.car.hull.GetLocalPoint(wheel.transform * v) for v in wheel.fixtures[0].shape.vertices]
            units = (polygon / 2**SHIFT - ORIGIN) / GRAIN / (16.2, -16.2)
            assert np.hypot(*(units - corners).T).max() < 0.1  # one that is not steered: 0.25
    assert min(steered) < -0.35 and max(steered) > 0.35


def discrete(seed: int):
    rng = np.random.default_rng(seed)
    return lambda world: int(rng.integers(5))


@pytest.mark.parametrize(
    ("options", "driver", "steps"),
    [
        ({"domain_randomize": True}, wild, 120),
        ({"continuous": False}, discrete, 120),
        ({"lap_complete_percent": 0.0}, driven, 2),
    ],
)
def test_options_of_the_official_world_work(options, driver, steps):
    official, ours, act = car_racing.CarRacing(**options), CarWorld(**options), driver(5)
    official._render = lambda mode: None
    for seed in (5, 6):
        official.reset(seed=seed), ours.reset(seed=seed)
        for t in range(steps):
            action = act(official)
            expected, got = official.step(action), ours.step(action)
            assert expected[1:] == got[1:]
            if t % 40 == 0:
                theirs = CAR.pipe(car_racing.CarRacing._render(official, "state_pixels")).astype(float)
                assert np.abs(theirs - ours.paint()).mean() < 1
            if got[2]:
                break
        assert got[2] == ("lap_complete_percent" in options)


def test_a_scalar_is_what_numpy_says():
    quick, rng = Scalars(), np.random.default_rng(0)
    for x in (*rng.normal(0, 100, 2000), 0.0, -0.0, 1.0, 5e-324, 1e150):
        assert quick.sign(float(x)) == np.sign(x) and quick.square(float(x)) == np.square(x)
        assert quick.sqrt(abs(float(x))) == np.sqrt(abs(x))
        assert quick.clip(float(x), 0, 1) == np.clip(x, 0, 1)
    assert quick.array is np.array  # what it does not know is NumPy's


def test_tones_are_smoothscales():
    import pygame

    surface = pygame.Surface((1000, 800))
    for level in (0, 1, 102, 230, 255):
        surface.fill((level, level, level))
        scaled = pygame.surfarray.array3d(pygame.transform.smoothscale(surface, (96, 96)))
        assert (scaled == tones()[level]).all()


@pytest.fixture
def fresh_look():
    car_slots.fault.cache_clear()
    yield
    car_slots.fault.cache_clear()


def blue_road(self, zoom, translation, angle):
    self.surf.fill((0, 0, 255))


@pytest.mark.parametrize(
    ("name", "change", "why"),
    [
        ("_render_road", blue_road, "of 255 away from ours after 1 steps"),
        ("_init_colors", lambda self: None, "AttributeError"),
    ],
)
def test_another_gymnasium_keeps_its_own_painter(monkeypatch, fresh_look, name, change, why):
    monkeypatch.setattr(car_racing.CarRacing, name, change)
    with pytest.warns(RuntimeWarning, match=why) as caught:
        assert make_slots(CAR, 1).painter == "official"
    assert len(caught) == 1 and "\n" not in str(caught[0].message)


def test_this_gymnasium_is_painted_without_a_word(fresh_look):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert make_slots(CAR, 1).painter == "ours"
    assert make_slots(CAR, 1, official=True).painter == "official"


def test_frames_are_written_in_place():
    world = CarWorld()
    world.reset(seed=2)
    batch = np.zeros((3, 64, 64, 3), np.uint8)
    assert world.paint(batch[1]) is not None and batch[1].any()
    assert not batch[0].any() and not batch[2].any()
    np.testing.assert_array_equal(batch[1], world.paint())


def test_a_track_leaves_nothing_on_the_map_of_the_next():
    one, other = CarWorld(), CarWorld()
    for seed in (11, 12, 13):
        one.reset(seed=seed)
        for _ in range(30):
            one.step(np.array([0, 1, 0], np.float32))
    one.reset(seed=14), other.reset(seed=14)
    for before, after in zip(one.painter._map._levels, other.painter._map._levels, strict=True):
        np.testing.assert_array_equal(before, after)


def test_the_order_in_which_tiles_are_touched_changes_nothing():
    """Box2D tells of touches in one step in an order that depends on the episodes before; a job's frames must not."""

    def touched(numbers, at_once=True):
        world = CarWorld()
        world.reset(seed=518)
        for number in numbers:
            tile = world.road[number]
            tile.color[:] = world.road_color
            world.painter.touch(tile)
            if not at_once:
                world.paint()
        world.paint()
        world.painter.touch(world.road[numbers[0]])  # a second visit paints nothing anew
        world.paint()
        return world.painter._map._levels[0]

    forward = touched(range(20))
    np.testing.assert_array_equal(forward, touched(range(19, -1, -1)))
    assert (forward != touched(range(19, -1, -1), at_once=False)).any()  # or the order would not matter anyhow
