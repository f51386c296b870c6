"""Weights & Biases (extra `wandb`): `WANDB_MODE=offline` needs no network, and `wandb sync` sends it later."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from frmdn.agent.errors import MissingExtra, first_line

from .line import Line


class WandB:
    """One run for a run folder, with an axis for each stage. Its own files stand in `wandb/` of the folder."""

    name = "wandb"

    def __init__(self) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # figures go where people ask, and nothing elsewhere
        try:
            import wandb
        except ImportError:
            raise MissingExtra("wandb", "wandb", "--log wandb") from None
        self._wandb, self._run = wandb, None
        self._axes: set[str] = set()

    def open(self, number: str, folder: Path, config: Mapping[str, Any]) -> None:
        quiet = self._wandb.Settings(console="off", silent=True)  # the terminal is the run's
        name, project = folder.resolve().name, os.environ.get("WANDB_PROJECT", "frmdn")
        try:
            self._run = self._wandb.init(
                project=project,
                name=name,
                id=number,
                resume="allow",
                dir=str(folder),
                config=dict(config),
                settings=quiet,
            )
        except Exception as error:  # its errors have no common kind
            raise ValueError(
                f"--log wandb: {first_line(error).rstrip('.')}; call wandb login, or set WANDB_MODE=offline and send "
                "it later with wandb sync"
            ) from None
        self._axes = set()

    def log(self, line: Line) -> None:
        assert self._run is not None
        axis = f"{line.stage}/{line.unit}"
        if axis not in self._axes:
            self._run.define_metric(axis, hidden=True)
            self._run.define_metric(f"{line.stage}/*", step_metric=axis)
            self._axes.add(axis)
        self._run.log({**line.named(), axis: line.step})

    def close(self, well: bool) -> None:
        if self._run is not None:
            self._run.finish(exit_code=0 if well else 1)
            self._run = None
