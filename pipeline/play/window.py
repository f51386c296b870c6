"""The window: pictures side by side, lines of text below them, and the keys that a person holds."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

COMMANDS = {"escape": "quit", "r": "again", "space": "pause", "a": "swap"}  # keys that are no actions
FRAME = 64  # pixels; a scale of 1 shows the pictures this high
TEXT, GAP, WIDTH = 18, 6, 560  # pixels: height of a line, distance between things, least width
INVISIBLE = ("dummy", "offscreen")  # drivers of SDL
BACK, INK = (24, 24, 28), (225, 225, 225)


class Window:
    """Opens at once; ValueError with the remedy where there is no pygame or no display."""

    def __init__(self, title: str, scale: int) -> None:
        self._pygame = _pygame()
        self._height = FRAME * scale
        self._held: set[str] = set()
        self._screen: Any = None
        try:
            if not _has_display():
                raise self._pygame.error("no display")
            self._pygame.display.init()
            if self._pygame.display.get_driver() in INVISIBLE and not os.environ.get("SDL_VIDEODRIVER"):
                raise self._pygame.error("no display")  # SDL falls back to windows that nobody sees
            self._pygame.font.init()
            self._resize(WIDTH, self._height)
        except self._pygame.error as error:
            self._pygame.quit()
            raise ValueError(
                f"no window can be opened here ({error}): play needs a desktop, or ssh -X to a machine with one; "
                "without either, frmdn dream --run DIR --video FILE.webm films the dream"
            ) from error
        self._pygame.display.set_caption(title)
        self._font = self._pygame.font.Font(None, TEXT + 4)
        self._clock = self._pygame.time.Clock()

    def listen(self) -> tuple[list[str], frozenset[str]]:
        """What was asked for since the last call (values of COMMANDS), and the keys that count for a transition.

        Those are the keys that are held now, and those that were pressed and let go in between.
        """
        asked: list[str] = []
        tapped: set[str] = set()
        for event in self._pygame.event.get():
            if event.type == self._pygame.QUIT:
                asked.append("quit")
            elif event.type == self._pygame.WINDOWFOCUSLOST:  # whose releases nobody would tell
                self._held.clear()
            elif event.type in (self._pygame.KEYDOWN, self._pygame.KEYUP):
                name = self._pygame.key.name(event.key)
                if event.type == self._pygame.KEYUP:
                    self._held.discard(name)
                elif name in COMMANDS:
                    asked.append(COMMANDS[name])
                else:
                    self._held.add(name)
                    tapped.add(name)
        return asked, frozenset(self._held | tapped)

    def show(self, pictures: Sequence[NDArray[np.uint8]], lines: Sequence[str]) -> None:
        """Draw pictures u8[H,W,C], all equally high, and the lines below them."""
        shown = [_scaled(picture, self._height) for picture in pictures]
        width = sum(picture.shape[1] for picture in shown) + GAP * (len(shown) - 1)
        self._resize(max(width, WIDTH), self._height + GAP + TEXT * len(lines) + GAP)
        self._screen.fill(BACK)
        left = 0
        for picture in shown:
            self._screen.blit(self._pygame.surfarray.make_surface(picture.swapaxes(0, 1)), (left, 0))
            left += picture.shape[1] + GAP
        for row, line in enumerate(lines):
            text = self._font.render(line, True, INK)
            self._screen.blit(text, (GAP, self._height + GAP + TEXT * row))
        self._pygame.display.flip()

    def wait(self, fps: float) -> None:
        """Sleep until the next transition is due."""
        self._clock.tick(fps)

    def close(self) -> None:
        self._pygame.quit()

    def _resize(self, width: int, height: int) -> None:
        if self._screen is None or self._screen.get_size() != (width, height):
            self._screen = self._pygame.display.set_mode((width, height))


def _has_display() -> bool:
    """False where SDL need not even look, for its libraries would complain in their own words."""
    if sys.platform != "linux":
        return True
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"))


def _pygame() -> Any:
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it greets
            import pygame
    except ImportError as error:
        raise ValueError("play needs pygame, which is not installed: pip install 'gymnasium[box2d]'") from error
    return pygame


def _scaled(picture: NDArray[np.uint8], height: int) -> NDArray[np.uint8]:
    """u8[H,W,C] -> u8[height,W',3]: pixels stay pixels when they grow, and are averaged when they shrink."""
    colour = np.broadcast_to(picture, (*picture.shape[:2], 3))
    width = round(picture.shape[1] * height / picture.shape[0])
    how = cv2.INTER_NEAREST if height >= picture.shape[0] else cv2.INTER_AREA
    return np.asarray(cv2.resize(np.ascontiguousarray(colour), (width, height), interpolation=how), np.uint8)
