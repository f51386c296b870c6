"""Keys to actions, for every kind of world."""

from __future__ import annotations

import pytest

from frmdn.envs.spec import ActionCodec
from frmdn.envs.worlds.car_racing import car_racing_spec
from frmdn.envs.worlds.doom import take_cover_spec
from frmdn.envs.worlds.pendulum import pendulum_spec
from frmdn.envs.worlds.super_mario import ACTIONS
from frmdn.pipeline.play.keyboard import Keyboard


@pytest.mark.parametrize(
    ("held", "action"),
    [
        ((), [0, 0, 0]),  # no gas, where the codec itself rests at half of it
        (("left",), [-1, 0, 0]),
        (("right", "up"), [1, 1, 0]),
        (("left", "right", "down"), [0, 0, 1]),
        (("x", "p"), [0, 0, 0]),
    ],
)
def test_car_racing_drives_like_a_racing_game(held: tuple[str, ...], action: list[float]) -> None:
    keyboard = Keyboard(car_racing_spec().action)
    assert keyboard.action(set(held)).tolist() == action
    assert keyboard.help == "left/right, up, down"


def test_one_number_goes_left_and_right_to_its_ends() -> None:
    for spec, end in ((take_cover_spec(), 1.0), (pendulum_spec(), 2.0)):
        keyboard = Keyboard(spec.action)
        actions = [keyboard.action({key}).tolist() for key in ("left", "right", "up")]
        assert actions == [[-end], [end], [0.0]]


def test_a_large_box_uses_no_key_twice_and_leaves_the_rest_at_rest() -> None:
    keyboard = Keyboard(ActionCodec("box", (-1,) * 5 + (0,) * 3, (1,) * 8, (0.25,) * 8))
    keys = ("right", "up", "l", "i", "x", "z")
    for place, key in zip((0, 1, 2, 3, 5, 6), keys, strict=True):
        expected = [0.25] * 5 + [0, 0, 0.25]
        expected[place] = 1
        assert keyboard.action({key}).tolist() == expected
    assert keyboard.action({"left", "j"}).tolist() == [-1, 0.25, -1, 0.25, 0.25, 0, 0, 0.25]


@pytest.mark.parametrize("actions", ACTIONS)
def test_every_combination_of_marios_buttons_is_played_by_holding_its_keys(actions: str) -> None:
    names = ACTIONS[actions]
    keyboard = Keyboard(ActionCodec("discrete", n=len(names), names=names))
    keys = {"A": "x", "B": "z", "wait": None}
    for index, name in enumerate(names):
        held = {keys.get(word, word) for word in name.split()} - {None}
        chosen = keyboard.action({str(key) for key in held})
        assert chosen.argmax() == index and chosen.sum() == 1
    assert "x: A" in keyboard.help and "right" in keyboard.help


def test_buttons_that_no_action_has_together_give_the_first_of_the_nearest() -> None:
    names = ACTIONS["simple"]
    keyboard = Keyboard(ActionCodec("discrete", n=len(names), names=names))
    for held, name in (({"left", "x"}, "A"), ({"right", "x", "z", "up"}, "right A B"), ({"q"}, "wait")):
        assert names[int(keyboard.action(held).argmax())] == name


def test_actions_without_buttons_go_by_number() -> None:
    for names in ((), tuple("abcdefghijkl")):
        keyboard = Keyboard(ActionCodec("discrete", n=12, names=names))
        assert [int(keyboard.action({key}).argmax()) for key in ("0", "3", "9", "q", "w", "e", "right")] == [
            *(0, 3, 9, 10, 11, 0, 0)
        ]
        assert keyboard.help == "0 to w: the actions by number"
