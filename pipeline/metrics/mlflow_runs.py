"""MLflow (extra `mlflow`): to the server of MLFLOW_TRACKING_URI, or without one into `mlruns/` of the run folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from frmdn.agent.errors import MissingExtra, first_line

from .line import Line, moment

TAG = "frmdn.number"  # by which a run that goes on is found again
LONGEST = 500  # characters of a parameter that every server takes
MOST = 100  # parameters in one call


class MLflow:
    """One run for a run folder in the experiment MLFLOW_EXPERIMENT_NAME, or `frmdn`."""

    name = "mlflow"

    def __init__(self) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # figures go where people ask, and nothing elsewhere
        try:
            from mlflow import MlflowClient, entities
        except ImportError:
            raise MissingExtra("MLflow", "mlflow", "--log mlflow") from None
        self._make, self._entities = MlflowClient, entities
        self._client: Any = None
        self._run = ""

    def open(self, number: str, folder: Path, config: Mapping[str, Any]) -> None:
        where = os.environ.get("MLFLOW_TRACKING_URI")
        try:
            if not where:
                where = (folder / "mlruns").resolve().as_uri()
                os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # else it wants a database for that
            self._client = self._make(tracking_uri=where)
            self._run = self._found(number, folder.resolve().name, config)
        except Exception as error:  # its errors have no common kind
            raise ValueError(
                f"--log mlflow: {first_line(error)}; see MLFLOW_TRACKING_URI, or unset it to write into the run folder"
            ) from None

    def log(self, line: Line) -> None:
        stamp, entity = round(moment(line.time).timestamp() * 1000), self._entities.Metric
        metrics = [entity(name, value, stamp, line.step) for name, value in line.named().items()]
        self._client.log_batch(self._run, metrics=metrics)

    def close(self, well: bool) -> None:
        self._client.set_terminated(self._run, "FINISHED" if well else "FAILED")

    def _found(self, number: str, name: str, config: Mapping[str, Any]) -> str:
        """The run of this number, which goes on, or a new one with its settings."""
        title = os.environ.get("MLFLOW_EXPERIMENT_NAME", "frmdn")
        experiment = self._client.get_experiment_by_name(title)
        place = experiment.experiment_id if experiment else self._client.create_experiment(title)
        found = self._client.search_runs([place], f"tags.`{TAG}` = '{number}'")
        if found:
            self._client.update_run(found[0].info.run_id, status="RUNNING")
            return str(found[0].info.run_id)
        run = self._client.create_run(place, run_name=name, tags={TAG: number}).info.run_id
        params = [self._entities.Param(key, value) for key, value in _flat(config)]
        for first in range(0, len(params), MOST):
            self._client.log_batch(run, params=params[first : first + MOST])
        return str(run)


def _flat(config: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """`search.population` -> "32"."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", str(value)[:LONGEST]
