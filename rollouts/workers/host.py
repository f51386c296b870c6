"""What runs inside a Ray worker, and the check that it is the driver's own code. Does not import ray."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import WorkerError

if TYPE_CHECKING:
    from ..job import Job, Outcome
    from ..run import Runner


def check_code(here: dict[str, Any], there: dict[str, Any]) -> None:
    """Raise WorkerError if a worker would run other code than the driver, or compute with other packages.

    One path or equal contents of our own code will do; of the packages that decide results, equal versions.
    """
    if here["origins"] != there["origins"] and here["code"] != there["code"]:
        raise WorkerError(
            f"the worker on {there['host']} imports {there['origins']}, which is other code than the driver's "
            f"{here['origins']}; install the same frmdn there, and start from a folder without another one of that name"
        )
    for name, version in here["packages"].items():
        if there["packages"].get(name) != version:
            raise WorkerError(
                f"the worker on {there['host']} has {name} {there['packages'].get(name)}, and the driver has "
                f"{version}: results would depend on who plays; install {name}=={version} there"
            )


def host_class() -> type:
    """The actor's class. Defined inside a function so that it travels by value: a worker can say what it would import
    before it imports any of this project."""

    class Host:
        def survey(self, node: bytes | None = None) -> dict[str, Any]:
            """Where this process finds the packages, their versions, and a digest of our source.

            `node` is a pickled function that tells which node of the cluster this is.
            """
            import hashlib
            import importlib.metadata
            import importlib.util
            import os
            import pickle
            import socket
            from pathlib import Path

            code, origins, packages = hashlib.sha256(), {}, {}
            for name in ("frmdn.agent", "frmdn.envs", "frmdn.rollouts"):
                try:
                    spec = importlib.util.find_spec(name)
                except ModuleNotFoundError:  # no frmdn at all
                    spec = None
                origins[name] = spec.origin if spec else None
                folder = Path(spec.origin).parent if spec and spec.origin else Path("/nowhere")
                for path in sorted(folder.rglob("*.py")):
                    code.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
            for name in ("torch", "numpy", "gymnasium"):
                try:  # without what stands behind +: one version is built for several devices
                    packages[name] = importlib.metadata.version(name).partition("+")[0]
                except importlib.metadata.PackageNotFoundError:
                    packages[name] = "-"
            return {
                "pid": os.getpid(),
                "host": socket.gethostname(),
                "origins": origins,
                "code": code.hexdigest(),
                "packages": packages,
                "node": pickle.loads(node)() if node else "",
            }

        def prepare(self, folder: str, pulse: bytes) -> None:
            """One thread per worker; modules are looked for in the driver's working folder too, where it is there.

            `pulse` is a pickled function that starts the sign of life.
            """
            import os
            import pickle
            import sys

            if folder not in sys.path and os.path.isdir(folder):
                sys.path.append(folder)

            for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
                os.environ[name] = "1"
            pickle.loads(pulse)()
            import cv2
            import torch

            torch.set_num_threads(1)
            cv2.setNumThreads(1)
            self.runners: dict[int, Runner] = {}

        def open(self, key: int, recipe: bytes) -> int:
            """Unpickle and call the factory of a runner; returns the number of its slots."""
            import pickle

            self.runners[key] = pickle.loads(recipe)()
            return self.runners[key].slots

        def advance(self, key: int, jobs: list[Job], seconds: float) -> list[Outcome]:
            return self.runners[key].advance(jobs, seconds=seconds)

        def clear(self) -> None:
            for runner in self.runners.values():
                runner.clear()

    return Host
