"""`frmdn bench`: every hot loop against the classical way."""

from __future__ import annotations

from typing import Any

from .options import add_command


def add_bench(commands: Any, wanted: bool) -> None:
    """`bench`; its own arguments only where it is `wanted`, for the benchmarks must be imported for them."""
    command = add_command(commands, "bench", "measure this machine against the classical way", "", None)
    if wanted:
        from frmdn.benchmarks.main import add_arguments, run

        add_arguments(command)
        command.set_defaults(function=run)
