"""A search on disk goes on with the history that it had, also where that was lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from frmdn.controller.evolution import Evolution, SearchConfig
from frmdn.controller.evolve import evolve
from frmdn.controller.fitness import Returns, Trial
from frmdn.pipeline.saved_search import SavedSearch

SIZE, CONFIG = 3, SearchConfig(population=4, generations=5, episodes=1, validate_every=2, validate_episodes=1)


class Bowl:
    """Nearer to (1, 1, 1) is better."""

    def measure(self, trials: list[Trial]) -> list[Returns]:
        return [self(trial.theta, trial.seeds) for trial in trials]

    def __call__(self, thetas: np.ndarray, seeds: Any) -> Returns:
        total = -((thetas - 1) ** 2).sum(1, keepdims=True).repeat(len(seeds), 1)
        return Returns(total, np.ones(total.shape, np.int64))


@pytest.fixture
def lines(tmp_path: Path) -> list[dict[str, Any]]:
    saved = SavedSearch(tmp_path)
    evolution = saved.open(SIZE, CONFIG, 7)
    evolve(Bowl(), evolution, CONFIG, seed=0, on_generation=saved.history.append, checkpoint=saved.save)
    return saved.lines()


def test_a_search_whose_history_is_lost_tells_it_again(tmp_path: Path, lines: list[dict[str, Any]]) -> None:
    (tmp_path / "history.jsonl").unlink()
    evolution = SavedSearch(tmp_path).open(SIZE, CONFIG, 7)
    told = SavedSearch(tmp_path).lines()
    assert [line["generation"] for line in told] == [1, 2, 3, 4, 5] and evolution.generation == 5
    for line, lost in zip(told, lines, strict=True):
        known = {key: lost[key] for key in lost if key not in ("episodes", "steps", "seconds", "steps_per_second")}
        assert line == pytest.approx(known)
    assert any("validation" in line for line in told)


def test_lines_that_are_there_stay_as_they_are(tmp_path: Path, lines: list[dict[str, Any]]) -> None:
    path = tmp_path / "history.jsonl"
    texts = path.read_text().splitlines()
    path.write_text("\n".join([*texts[:2], '{"generation": 3}', *texts[3:]]) + "\n")
    SavedSearch(tmp_path).open(SIZE, CONFIG, 7)
    told = SavedSearch(tmp_path).lines()
    assert told[:2] == lines[:2] and len(told) == 5 and "steps" not in told[2] and "mean" in told[2]


def test_a_search_that_is_not_this_one_is_named(tmp_path: Path, lines: list[dict[str, Any]]) -> None:
    with pytest.raises(ValueError, match=r"search\.safetensors: the saved search is another one"):
        SavedSearch(tmp_path).open(SIZE, CONFIG, 8)
    assert isinstance(SavedSearch(tmp_path).open(SIZE, CONFIG, 7), Evolution)
