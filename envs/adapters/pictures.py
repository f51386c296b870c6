"""Pictures as they come, of any type of number, to pictures u8[H,W,C]: converted where that is clear, else refused."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .returned import refusal

FULL = (0.0, 255.0)
DECLARE = "return uint8 from 0 to 255, or declare what you return, e.g. Box(0, 1, shape, numpy.float32)"


def as_bytes(picture: NDArray[Any], bounds: tuple[float, float], name: str) -> NDArray[np.uint8]:
    """Numbers within the declared `bounds` to uint8: the lowest becomes 0 and the highest 255.

    Bounds of 0 and 255 take whole numbers of any type as they are. ValueError names the environment where numbers are
    NaN or beyond the bounds, and where they are fractions of which 0 to 255 would make black.
    """
    if picture.dtype == np.uint8 and bounds == FULL:
        return picture
    if picture.dtype.kind not in "uif" or not picture.size:
        raise refusal(name, f"a picture is {picture.dtype}{list(picture.shape)}, which is none; {DECLARE}")
    low, high = bounds
    darkest, brightest = float(picture.min()), float(picture.max())
    slack = 1e-3 * (high - low)
    if not (darkest >= low - slack and brightest <= high + slack):  # NaN is neither
        raise refusal(
            name,
            f"a picture of {picture.dtype} reaches from {darkest:g} to {brightest:g}, but {low:g} to {high:g} are "
            f"declared; {DECLARE}",
        )
    if bounds == FULL and picture.dtype.kind == "f" and 0 < brightest <= 1:
        raise refusal(
            name, f"a picture of {picture.dtype} reaches from {darkest:g} to {brightest:g}, of 255 declared; {DECLARE}"
        )
    scaled = picture if bounds == FULL else (picture.astype(np.float32) - low) * (255.0 / (high - low))
    if scaled.dtype.kind == "f":
        scaled = np.rint(scaled)
    return scaled.clip(0, 255).astype(np.uint8)


def as_channels(picture: NDArray[np.uint8], channels: int, name: str) -> NDArray[np.uint8]:
    """A picture u8[H,W], u8[H,W,1], u8[H,W,3] or u8[H,W,4] with as many channels as were declared, 1 or 3.

    A fourth channel, which says how opaque a pixel is, is dropped; grey becomes three equal colours. ValueError names
    the environment where colours would have to become grey, or where the axes are others.
    """
    depth = picture.shape[2] if picture.ndim == 3 else 1 if picture.ndim == 2 else 0
    if depth == channels:
        return picture
    if channels == 3 and depth == 4:
        return picture[..., :3]
    if channels == 3 and depth == 1:
        return np.repeat(picture.reshape(*picture.shape[:2], 1), 3, axis=2)
    declared = "(H, W) or (H, W, 1)" if channels == 1 else "(H, W, 3)"
    raise refusal(name, f"a picture has shape {picture.shape}, but {declared} is declared: return what is declared")


def as_picture(shown: Any, channels: int, name: str, bounds: tuple[float, float] = FULL) -> NDArray[np.uint8]:
    """What an environment shows, as a picture u8[H,W] or u8[H,W,C] of the declared channels and bounds."""
    if type(shown) is np.ndarray and shown.dtype == np.uint8 and bounds == FULL:
        if shown.ndim == 3 and shown.shape[2] == channels:
            return shown
        return as_channels(shown, channels, name)
    return as_channels(as_bytes(np.asarray(shown), bounds, name), channels, name)
