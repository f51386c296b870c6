"""The state of many agents or dreams: nested named tuples of tensors, one row for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor


def map_rows(change: Callable[[Tensor], Tensor], state: Any) -> Any:
    """`change` applied to every tensor; None stays None."""
    if isinstance(state, tuple):
        return type(state)(*(map_rows(change, part) for part in state))
    return change(state) if isinstance(state, Tensor) else state


def put_rows(target: Any, at: Any, source: Any, of: Any = slice(None)) -> None:
    """target[at] = source[of] in every tensor of two equally nested states."""
    if isinstance(target, Tensor):
        target[at] = source[of]
    elif isinstance(target, tuple):
        for mine, theirs in zip(target, source, strict=True):
            put_rows(mine, at, theirs, of)
