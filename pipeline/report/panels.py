"""The picture of a drive: three enlarged views side by side, and under them the return so far and the controls."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from .drive import DriveRecord

PANEL, GAP, CAPTION, STRIP = 192, 12, 30, 46  # pixels
GROUND, INK, SOFT, TRACK = (18, 22, 29), (233, 237, 243), (139, 149, 163), (43, 51, 63)
BLUE, GREEN, RED = (91, 155, 245), (72, 187, 134), (232, 103, 103)
CAR_CONTROLS = ("steer", "gas", "brake")
SHOWN = 12  # action bars that fit


def compose(record: DriveRecord, stride: int = 1) -> Iterator[NDArray[np.uint8]]:
    """Draw every `stride`-th instant of a drive, and always the last; each u8[H,W,3] RGB, H and W even."""
    views = [("sees", record.frames), ("reconstructs", record.reconstructions)]
    if record.expected is not None:
        views.append(("expected, before seeing it", record.expected))
    ground = _ground([name for name, _ in views])
    returns = np.concatenate([[0.0], np.cumsum(record.rewards, dtype=np.float64)])
    instants = list(range(0, record.steps + 1, stride))
    for t in instants if instants[-1] == record.steps else [*instants, record.steps]:
        canvas = ground.copy()
        for i, (_, pictures) in enumerate(views):
            x = GAP + i * (PANEL + GAP)
            canvas[CAPTION : CAPTION + PANEL, x : x + PANEL] = enlarge(pictures[t], PANEL)
        top = CAPTION + PANEL + GAP
        canvas[top : top + STRIP] = _strip(record, t, float(returns[t]), canvas.shape[1])
        yield canvas


def enlarge(picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """u8[H,W,1 or 3] -> u8[side,side,3], its pixels left visible as squares: they are all that the agent gets."""
    shrinking = max(picture.shape[:2]) > side
    scaled = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_NEAREST)
    return np.asarray(np.broadcast_to(scaled.reshape(side, side, -1), (side, side, 3)), np.uint8)


def font(size: int) -> ImageFont.FreeTypeFont:
    """Matplotlib brings a font along, so that the picture is the same on every machine."""
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size)


def _ground(captions: list[str]) -> NDArray[np.uint8]:
    width, height = GAP + len(captions) * (PANEL + GAP), CAPTION + PANEL + GAP + STRIP
    image = Image.new("RGB", (width + width % 2, height + height % 2), GROUND)
    draw = ImageDraw.Draw(image)
    for i, caption in enumerate(captions):
        draw.text((GAP + i * (PANEL + GAP), CAPTION // 2), caption, INK, font(12), anchor="lm")
    return np.array(image)


def _strip(record: DriveRecord, t: int, total: float, width: int) -> NDArray[np.uint8]:
    image = Image.new("RGB", (width, STRIP), GROUND)
    draw = ImageDraw.Draw(image)
    figures = {"return": f"{total:.0f}", "step": f"{t}", **{key: f"{told[t]:.0f}" for key, told in record.told.items()}}
    for x, (name, value) in zip((GAP, GAP + 74, GAP + 134), figures.items(), strict=False):
        draw.text((x, 8), name, SOFT, font(10), anchor="lm")
        draw.text((x, 27), value, INK, font(18), anchor="lm")
    action = record.actions[min(t, record.steps - 1)]  # the last frame has no action of its own: show the one before
    if record.names:
        chosen(draw, GAP + PANEL + GAP, record.names[int(action.argmax())])
    else:
        controls(draw, record.env, action, (record.low, record.high), (GAP + PANEL, width - 2 * GAP - PANEL))
    return np.array(image)


def controls(
    draw: ImageDraw.ImageDraw,
    env: str,
    action: NDArray[np.float32],
    limits: tuple[NDArray[np.float32], NDArray[np.float32]],
    place: tuple[int, int],
) -> None:
    """A bar for each number of an action f32[A], between `limits` (low, high) [A], inside `place` (left, width)."""
    action, (left, room) = action[:SHOWN], place
    names = CAR_CONTROLS if env.startswith("CarRacing") else tuple(f"a{i}" for i in range(len(action)))
    for i, value in enumerate(action):
        box = (left + GAP + i * room // len(action), room // len(action) - GAP)
        _bar(draw, box, names[i], float(value), (float(limits[0][i]), float(limits[1][i])))


def chosen(draw: ImageDraw.ImageDraw, left: int, name: str) -> None:
    """The chosen action of a world that names its actions."""
    draw.text((left, 8), "action", SOFT, font(10), anchor="lm")
    draw.text((left, 27), name, BLUE, font(18), anchor="lm")


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
