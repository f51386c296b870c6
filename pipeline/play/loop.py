"""The loop of `frmdn play`: listen, act, show, wait."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .game import Game, Scene
from .keyboard import Keyboard
from .window import Window

USE = "R: again   SPACE: pause   A: you or the agent   ESC: quit"


@dataclass
class Sitting:
    """One person at one window, from the first episode to the last.

    Args:
        seed: number of an episode, from 0 -> its seed.
        tell: gets a line for every episode that was played, also for those left early.
        agent: whether the agent drives at first.
    """

    game: Game
    window: Window
    seed: Callable[[int], int]
    tell: Callable[[str], None]
    agent: bool = False
    paused: bool = False
    number: int = 0
    hands: str = ""  # who has driven in this episode: "you", "agent", or "you and agent"

    def play(self, fps: float) -> None:
        """Until the window is closed."""
        keyboard = Keyboard(self.game.world.spec.action)
        scene = self._begin()
        while True:
            asked, held = self.window.listen()
            if "quit" in asked:
                break
            scene = self._obey(asked, scene)
            if not (self.paused or scene.over or "again" in asked):
                scene = self.game.step(None if self.agent else keyboard.action(held))
                self._note_hands()
                if scene.over:
                    self._tell(scene)
            self.window.show([picture for _, picture in scene.panels], self._lines(scene, keyboard.help))
            self.window.wait(fps)
        if not scene.over:
            self._tell(scene)

    def _obey(self, asked: list[str], scene: Scene) -> Scene:
        for wish in asked:
            if wish == "pause":
                self.paused = not self.paused
            elif wish == "swap" and self.game.has_agent:
                self.agent = not self.agent
            elif wish == "again":
                if not scene.over:
                    self._tell(scene)
                self.number += 1
                scene = self._begin()
        return scene

    def _begin(self) -> Scene:
        self.hands, self.paused = "", False
        return self.game.begin(self.seed(self.number))

    def _note_hands(self) -> None:
        driver = "agent" if self.agent else "you"
        if driver not in self.hands:
            self.hands = "you and agent" if self.hands else driver

    def _tell(self, scene: Scene) -> None:
        if scene.steps:
            ending = scene.over or "left early"
            self.tell(
                f"episode {self.number + 1}: {scene.steps} steps, return {scene.total:.1f}, {ending} ({self.hands})"
            )

    def _lines(self, scene: Scene, keys: str) -> list[str]:
        figures = [f"step {scene.steps}", f"reward {scene.total:.1f}"]
        if scene.chance is not None:
            figures.append(f"chance of the end {scene.chance:.3f}")
        figures.append("the agent drives" if self.agent else "you drive")
        if scene.over:
            figures.append(f"{scene.over}: R begins anew")
        elif self.paused:
            figures.append("paused")
        captions = " | ".join(caption for caption, _ in scene.panels)
        use = USE if self.game.has_agent else USE.replace("A: you or the agent", "no agent is evolved yet")
        return ["   ".join(figures), f"{captions}   keys: {keys}", use]
