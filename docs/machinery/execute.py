"""Run a notebook in an empty folder and keep what it printed and drew: `python docs/machinery/execute.py NOTEBOOK`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode


def execute(notebook: NotebookNode, folder: Path, seconds: int = 600) -> NotebookNode:
    """The notebook with its outputs; a cell that fails raises nbclient's CellExecutionError."""
    client = NotebookClient(notebook, timeout=seconds, kernel_name="python3", resources={"metadata": {"path": folder}})
    done: NotebookNode = client.execute()
    return done


def stripped(notebook: NotebookNode) -> NotebookNode:
    """Without times of execution, so that a second run leaves a small difference or none."""
    notebook.metadata = {key: notebook.metadata[key] for key in ("kernelspec", "language_info")}
    notebook.metadata["language_info"] = {"name": "python"}
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    return notebook


if __name__ == "__main__":
    for name in sys.argv[1:]:
        path = Path(name)
        with tempfile.TemporaryDirectory() as folder:
            notebook = execute(nbformat.read(path, as_version=4), Path(folder))
        nbformat.write(stripped(notebook), path)
