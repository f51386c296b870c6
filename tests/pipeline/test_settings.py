"""One way from a dataclass to a file, to `--set` and to an error message, whatever the settings are of."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from frmdn.pipeline.files import read_json
from frmdn.pipeline.settings import (
    FORMAT,
    Links,
    differences,
    flatten,
    from_json,
    override,
    read_settings,
    settle,
    to_json,
    write_settings,
)


@dataclass(frozen=True)
class Wheel:
    spokes: int = 32
    tyre: Literal["wide", "narrow"] = "wide"

    def __post_init__(self) -> None:
        if self.spokes < 1:
            raise ValueError(f"spokes must be at least 1, not {self.spokes}")


@dataclass(frozen=True)
class Axle:
    left: Wheel = field(default_factory=Wheel)
    right: Wheel = field(default_factory=Wheel)
    load: float | None = None


@dataclass(frozen=True)
class Cart:
    name: str
    front: Axle = field(default_factory=Axle)
    sizes: tuple[int, ...] = (1, 2)


CART = Cart("hay")
LINKS: Links = {"front.right.spokes": ("front.left.spokes", lambda plain: plain["front"]["left"]["spokes"])}


def test_nested_settings_survive_json_and_are_named_by_their_way() -> None:
    assert from_json(Cart, to_json(CART)) == CART
    assert list(flatten(to_json(CART)))[:3] == ["name", "front.left.spokes", "front.left.tyre"]


def test_words_reach_every_depth_and_links_follow_unless_set_by_hand() -> None:
    changed = override(CART, ["front.left.spokes=20", "front.load=3", "sizes=[4]"], LINKS)
    assert changed == Cart("hay", Axle(Wheel(20), Wheel(20), 3.0), (4,))
    assert override(CART, ["front.left.spokes=20", "front.right.spokes=8"], LINKS).front.right == Wheel(8)
    assert override(CART, ["front.load=1.5"], LINKS).front.right == Wheel(32) and Cart("hay") == CART


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("front.left.spokes", r"--set 'front\.left\.spokes' has no '='"),
        ("front.left.spoke=3", r"--set front\.left\.spoke: no such setting; did you mean front\.left\.spokes"),
        ("tyre=wide", r"did you mean front\.left\.tyre, front\.right\.tyre\?"),
        ("front.left=3", r"--set front\.left: no such setting"),
        ("front.left.tyre=flat", r"front\.left\.tyre must be one of wide, narrow, not 'flat'"),
        ("front.left.spokes=many", r"front\.left\.spokes must be of type int, not 'many'"),
        ("front.left.spokes=0", r"front\.left: spokes must be at least 1, not 0"),
        ("sizes=[1,true]", r"sizes\[1\] must be of type int, not True"),
    ],
)
def test_a_bad_word_says_what_and_how(word: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        override(CART, [word])


def test_a_folder_keeps_its_settings_and_refuses_others_naming_them(tmp_path: Path) -> None:
    path, asked = tmp_path / "cart" / "config.json", to_json(CART)
    assert settle(path, asked, "cart build") == [] and read_json(path)["format"] == FORMAT
    assert settle(path, {**asked, "sizes": (1, 2)}, "cart build") == []  # a tuple is a list in JSON
    other = to_json(override(CART, ["front.left.spokes=20"]))
    named = ["front.left.spokes: 32 there, 20 asked for"]
    with pytest.raises(ValueError, match=rf"cart was made with other settings \({named[0]}\): use another folder!"):
        settle(path, other, "cart build", replace=lambda stored: stored != asked, hint="!")
    assert read_settings(path, "cart build") == asked
    assert settle(path, other, "cart build", replace=lambda stored: stored == asked) == named
    assert read_settings(path, "cart build") == other


@pytest.mark.parametrize("found", [None, 1, FORMAT + 1, str(FORMAT)])
def test_another_format_is_refused_with_a_remedy(found: Any, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    write_settings(path, to_json(CART) | ({} if found is None else {"format": found}))
    if found is None:
        path.write_text(path.read_text().replace(f'"format": {FORMAT},', ""))
    with pytest.raises(ValueError, match=r"make it anew with cart build --out NEW, or use the frmdn that made it"):
        read_settings(path, "cart build")
    with pytest.raises(ValueError, match="make it anew"):
        settle(path, to_json(CART), "cart build")


def test_differences_tell_absent_from_null() -> None:
    assert differences({"a": {"b": 1}, "c": None}, {"a": {"b": 2}}) == [
        "a.b: 1 there, 2 asked for",
        "c: null there, absent asked for",
    ]
