"""One picture of a video: enlarged views side by side with captions, and under them figures and the action."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from frmdn.envs.spec import EnvSpec

Picture = NDArray[np.uint8]  # u8[H,W,3], RGB
Colour = tuple[int, int, int]
PANEL, GAP, CAPTION, STRIP = 192, 12, 30, 46  # pixels
GROUND, INK, SOFT, TRACK = (18, 22, 29), (233, 237, 243), (139, 149, 163), (43, 51, 63)
BLUE, GREEN, RED = (91, 155, 245), (72, 187, 134), (232, 103, 103)
CAR_CONTROLS = ("steer", "gas", "brake")
SHOWN = 12  # action bars that fit


@dataclass(frozen=True)
class Controls:
    """How the actions of a world are drawn: by name where the world names them, as bars otherwise."""

    env: str
    low: NDArray[np.float32]  # [A], range of each number
    high: NDArray[np.float32]  # [A]
    names: tuple[str, ...] = ()


def controls_of(spec: EnvSpec) -> Controls:
    """The controls of a world; a discrete one has a number from 0 to 1 for each action."""
    low, high = (0.0,) * spec.action.size, (1.0,) * spec.action.size
    if spec.action.kind != "discrete":
        low, high = spec.action.low, spec.action.high
    return Controls(spec.id, np.asarray(low, np.float32), np.asarray(high, np.float32), spec.action.names)


def compose(
    views: Sequence[tuple[str, NDArray[np.uint8]]],
    below: Callable[[int, int], Picture],
    stride: int = 1,
    *,
    side: int = PANEL,
    width: int = 0,
) -> Iterator[Picture]:
    """Draw every `stride`-th of T+1 instants, and always the last; each u8[H,W,3] RGB, H and W even.

    `views` are captions with pictures u8[T+1,H,W,C], shown `side` pixels wide, in the middle where `width` is more than
    they need; `below(t, width)` u8[h,width,3] stands under them.
    """
    room, steps = GAP + len(views) * (side + GAP), len(views[0][1]) - 1
    width = max(width, room) + max(width, room) % 2
    height = CAPTION + side + GAP + len(below(0, width))
    places = [(width - room) // 2 + GAP + i * (side + GAP) for i in range(len(views))]
    image, draw = blank(width, height + height % 2)
    for x, (caption, _) in zip(places, views, strict=True):
        draw.text((x, CAPTION // 2), caption, INK, font(12), anchor="lm")
    ground = np.array(image)
    for t in sorted({*range(0, steps + 1, stride), steps}):
        canvas = ground.copy()
        for x, (_, pictures) in zip(places, views, strict=True):
            canvas[CAPTION : CAPTION + side, x : x + side] = enlarge(pictures[t], side)
        canvas[CAPTION + side + GAP : height] = below(t, width)
        yield canvas


def strip(
    width: int, cells: Sequence[tuple[str, str, Colour, int]], controls: Controls, action: NDArray[np.float32]
) -> Picture:
    """Cells (name, value, colour, width) from the left, and the action f32[A] behind them: u8[STRIP,width,3]."""
    image, draw = blank(width, STRIP)
    x = GAP
    for name, value, colour, room in cells:
        draw.text((x, 8), name, SOFT, font(10), anchor="lm")
        draw.text((x, 27), value, colour, font(16), anchor="lm")
        x += room
    x = max(x, PANEL + 2 * GAP)  # under the second view, where the cells leave it free
    if not len(action):
        draw.text((x, 27), "nobody acts", SOFT, font(12), anchor="lm")
    elif controls.names:
        draw.text((x, 8), "action", SOFT, font(10), anchor="lm")
        draw.text((x, 27), controls.names[int(action.argmax())], BLUE, font(16), anchor="lm")
    else:
        _bars(draw, controls, action[:SHOWN], (x, width - x))
    return np.array(image)


def _bars(draw: ImageDraw.ImageDraw, controls: Controls, action: NDArray[np.float32], place: tuple[int, int]) -> None:
    """A bar for each number of an action, inside `place` (left, width)."""
    left, room = place
    names = CAR_CONTROLS if controls.env.startswith("CarRacing") else tuple(f"a{i}" for i in range(len(action)))
    for i, value in enumerate(action):
        box = (left + i * room // len(action), room // len(action) - GAP)
        _bar(draw, box, names[i], float(value), (float(controls.low[i]), float(controls.high[i])))


def _bar(draw: ImageDraw.ImageDraw, box: tuple[int, int], name: str, value: float, limits: tuple[float, float]) -> None:
    """A bar that grows from zero, which is in the middle for a control with two signs and on the left otherwise."""
    left, length = box
    low, high = limits
    draw.text((left, 8), name, SOFT, font(10), anchor="lm")
    draw.rounded_rectangle((left, 22, left + length, 32), 3, TRACK)

    def place(v: float) -> int:
        return left + round(length * (min(max(v, low), high) - low) / max(high - low, 1e-9))

    zero, tip = place(0.0), place(value)
    colour = RED if name == "brake" else GREEN if name == "gas" else BLUE
    if zero != tip:
        draw.rectangle((min(zero, tip), 22, max(zero, tip), 32), colour)
    if low < 0 < high:
        draw.line((zero, 19, zero, 35), SOFT)


def enlarge(picture: NDArray[np.uint8], side: int) -> Picture:
    """u8[H,W,1 or 3] -> u8[side,side,3], its pixels left visible as squares: they are all that the agent gets."""
    shrinking = max(picture.shape[:2]) > side
    scaled = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_NEAREST)
    return np.asarray(np.broadcast_to(scaled.reshape(side, side, -1), (side, side, 3)), np.uint8)


def pixels(pictures: Tensor) -> NDArray[np.uint8]:
    """Pictures f32[...] from 0 to 1, as decoders make them, as u8[...]."""
    return pictures.float().clamp(0, 1).mul(255).round().to(torch.uint8).cpu().numpy()


def blank(width: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """An empty picture, and what draws on it."""
    image = Image.new("RGB", (width, height), GROUND)
    return image, ImageDraw.Draw(image)


def font(size: int) -> ImageFont.FreeTypeFont:
    """Matplotlib brings a font along, so that the picture is the same on every machine."""
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size)
