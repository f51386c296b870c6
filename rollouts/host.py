"""What runs inside a Ray worker, and the check that it is the driver's own code. Does not import ray."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .job import Job, Outcome
    from .run import Runner


class WorkerError(RuntimeError):
    """A worker raised, died or fell silent; the message holds its traceback, or what happened and the remedy."""


def check_code(here: dict[str, Any], there: dict[str, Any]) -> None:
    """Raise WorkerError if a worker would run other code than the driver; one path or equal contents will do."""
    if here["origins"] != there["origins"] and here["code"] != there["code"]:
        raise WorkerError(
            f"the worker on {there['host']} imports {there['origins']}, which is other code than the driver's "
            f"{here['origins']}; install the same frmdn there, and start from a folder without another one of that name"
        )


def host_class() -> type:
    """The actor's class. Defined inside a function so that it travels by value: a worker can say what it would import
    before it imports any of this project."""

    class Host:
        def prepare(self, folder: str) -> None:
            """One thread per worker; modules are looked for in the driver's working folder too, where it is there."""
            import os
            import sys

            if folder not in sys.path and os.path.isdir(folder):
                sys.path.append(folder)

            for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
                os.environ[name] = "1"
            import cv2
            import torch

            torch.set_num_threads(1)
            cv2.setNumThreads(1)

        def survey(self) -> dict[str, Any]:
            """Where this process finds the packages, and a digest of their source."""
            import hashlib
            import importlib.util
            import os
            import socket
            from pathlib import Path

            code, origins = hashlib.sha256(), {}
            for name in ("frmdn.agent", "frmdn.envs", "frmdn.rollouts"):
                try:
                    spec = importlib.util.find_spec(name)
                except ModuleNotFoundError:  # no frmdn at all
                    spec = None
                origins[name] = spec.origin if spec else None
                folder = Path(spec.origin).parent if spec and spec.origin else Path("/nowhere")
                for path in sorted(folder.rglob("*.py")):
                    code.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
            return {"pid": os.getpid(), "host": socket.gethostname(), "origins": origins, "code": code.hexdigest()}

        def open(self, recipe: bytes) -> int:
            """Unpickle and call the factory of the runner; returns the number of its slots."""
            import pickle

            self.runner: Runner = pickle.loads(recipe)()
            return self.runner.slots

        def advance(self, jobs: list[Job], seconds: float) -> list[Outcome]:
            return self.runner.advance(jobs, seconds=seconds)

        def clear(self) -> None:
            self.runner.clear()

    return Host
