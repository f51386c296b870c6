"""A search on disk: the state that it goes on from, and its history, which the state can bring back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from frmdn.controller.evolution import Evolution, SearchConfig
from frmdn.controller.evolve import told
from frmdn.controller.subspace import Subspace

from .files import History
from .weights import load_state, save_state


class SavedSearch:
    """`search.safetensors` and `history.jsonl` of a folder.

    Args:
        folder: made where it does not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "search.safetensors"
        self.history = History(folder / "history.jsonl", "generation", ("mean", "best"))

    def open(
        self,
        size: int,
        config: SearchConfig,
        seed: int,
        start: np.ndarray | None = None,
        space: Subspace | None = None,
    ) -> Evolution:
        """The search where it was left, or a new one; the history is cut to it, and mended where lines were lost."""
        sigmas: list[float] = []
        if self.path.exists():
            state = load_state(self.path)
            try:
                evolution = Evolution.resume(
                    size, config, seed, state, start=start, space=space, watch=lambda seen: sigmas.append(seen.sigma)
                )
            except ValueError as error:
                raise ValueError(f"{self.path}: {error}") from None
        else:
            evolution = Evolution(size, config, seed, start, space)
        kept = {line["generation"]: line for line in self.history.read()}
        if any(generation not in kept for generation in range(1, evolution.generation + 1)):
            lost = {line["generation"]: line for line in told(evolution, sigmas[1:])}
            self.history.write([kept.get(generation, line) for generation, line in lost.items()])
        else:
            self.history.cut(evolution.generation)
        return evolution

    def save(self, state: dict[str, np.ndarray]) -> None:
        save_state(self.path, state)

    def lines(self) -> list[dict[str, Any]]:
        return self.history.read()
