"""The curves of a run for TensorBoard, written from the history files once a stage is done."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from ..disk import named, remove
from ..files import read_history

AXES = ("step", "generation")  # what numbers the lines of a history, in order of preference
HISTORIES = {"vision": "vision", "memory": "memory", "evolve": "controller"}  # stage -> folder with its history.jsonl


class TensorBoardLog:
    """Event files under `folder`, one subfolder a stage: `tensorboard --logdir folder`.

    They are made anew from the histories each time, so that a run that was killed and resumed has every point once.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)

    def write_run(self, run: Path | str) -> list[str]:
        """Write every stage of a run folder that has a history; returns their names."""
        found = {stage: read_history(Path(run) / place / "history.jsonl") for stage, place in HISTORIES.items()}
        return [stage for stage, lines in found.items() if self.write(stage, lines)]

    def write(self, stage: str, lines: Iterable[Mapping[str, Any]]) -> int:
        """Replace the events of one stage by the finite numbers of these history lines; returns how many were written.

        Each line needs a `step` or a `generation`; ValueError otherwise. `validation_x` stands beside `x` in one chart.
        """
        from torch.utils.tensorboard import SummaryWriter  # slow to import, and only this method needs it

        folder = self.folder / stage
        remove(folder)
        points = [point for line in lines for point in _points(stage, line)]
        if not points:
            return 0
        with named(folder), closing(SummaryWriter(str(folder))) as writer:
            for tag, value, step in points:
                writer.add_scalar(tag, value, step)
        return len(points)


def _points(stage: str, line: Mapping[str, Any]) -> list[tuple[str, float, int]]:
    axis = next((name for name in AXES if name in line), None)
    if axis is None:
        raise ValueError(f"a history line of {stage} has neither {' nor '.join(AXES)}: {dict(line)}")
    numbers = {key: value for key, value in line.items() if key != axis and not isinstance(value, bool)}
    return [
        (f"{stage}/{_tag(key)}", float(value), int(line[axis]))
        for key, value in numbers.items()
        if isinstance(value, int | float) and math.isfinite(value)
    ]


def _tag(key: str) -> str:
    """`validation_kl` -> `kl/validation`: TensorBoard sorts it next to `kl`."""
    return f"{key.removeprefix('validation_')}/validation" if key.startswith("validation_") else key
