"""What a density asks of the tensors that it is given: each mistake has one line that names the tensor and the remedy.

torch would broadcast most of these mistakes away, and a model would learn rubbish without a word.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence


def check_tensor(name: str, value: Any) -> None:
    """ValueError unless it is a tensor of floating point numbers."""
    if isinstance(value, PackedSequence):
        raise ValueError(
            f"{name} is a PackedSequence: unpack it by torch.nn.utils.rnn.pad_packed_sequence(..., batch_first=True), "
            "and pass a mask that is False in the padding"
        )
    if not isinstance(value, Tensor):
        kind = f"{type(value).__module__}.{type(value).__name__}"
        remedy = "torch.as_tensor(x, dtype=torch.float32)"
        raise ValueError(f"{name} is a {kind.removeprefix('builtins.')}, not a tensor: pass {remedy}")
    if not value.is_floating_point():
        raise ValueError(f"{name} holds {value.dtype}, not floating point numbers: pass {name}.float()")


def check_value(value: Tensor, batch: torch.Size, event: int) -> None:
    """ValueError unless the value is [*S,*B,D] for a density of batch shape B over D = event dimensions.

    An axis of size 1 stands for all rows, and [D] alone for one point everywhere. Fewer axes than that are refused:
    [B,D] against [B,T] would match rows with times.
    """
    check_tensor("value", value)
    wanted = f"[{', '.join(['*S', *map(str, batch), str(event)])}]"
    if value.ndim == 0 or value.shape[-1] != event:
        add = value.shape[-len(batch) :] == batch if batch and event == 1 else False
        remedy = "add the last axis by unsqueeze(-1)" if add else f"its last axis must be the {event} dimensions"
        raise ValueError(f"value is {list(value.shape)}, but this density takes {wanted}: {remedy}")
    rows = value.shape[:-1]
    if rows and len(rows) < len(batch):
        raise ValueError(f"value is {list(value.shape)}, but this density takes {wanted}: an axis is missing")
    for got, want in zip(reversed(rows), reversed(batch), strict=False):
        if got != want and 1 not in (got, want):
            raise ValueError(f"value is {list(value.shape)}, but this density takes {wanted}: the rows do not match")


def check_context(context: Tensor, inputs: int, weight: Tensor, time: bool) -> None:
    """ValueError unless the context is [*B,C] with C = inputs ([B,T,C] with `time`), of the weights' own type."""
    check_tensor("context", context)
    wanted = f"[{'B, T' if time else '*B'}, {inputs}]"
    if time and context.ndim != 3:
        remedy = "add the axis of time by unsqueeze(1)" if context.ndim == 2 else "B sequences of T steps"
        raise ValueError(f"context is {list(context.shape)}, but this model takes {wanted}: {remedy}")
    if context.ndim == 0 or context.shape[-1] != inputs:
        raise ValueError(
            f"context is {list(context.shape)}, but this model takes {wanted}: {inputs} features at the end"
        )
    if time and context.shape[1] == 0:
        raise ValueError(f"context is {list(context.shape)}: a sequence needs at least one step")
    if context.dtype != weight.dtype and not torch.is_autocast_enabled(context.device.type):
        raise ValueError(
            f"context holds {context.dtype}, but the weights {weight.dtype}: "
            f"pass context.to({weight.dtype}), or turn the model by .to({context.dtype})"
        )


def check_mask(name: str, mask: Tensor | None, rows: torch.Size) -> None:
    """ValueError unless the mask is None or bool[*B] for tensors [*B,D] with these rows."""
    if mask is None:
        return
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        raise ValueError(f"mask must be a tensor of bool, True where {name} counts: pass mask.bool()")
    if mask.shape != rows:
        raise ValueError(f"mask is {list(mask.shape)}, but {name} has the rows {list(rows)}: one bool for each row")


def check_finite(name: str, value: Tensor) -> None:
    """ValueError where a number is missing: one NaN would spread to the gradient of every weight."""
    if bool(torch.isfinite(value).all()):
        return
    bad = ~torch.isfinite(value).all(-1)
    raise ValueError(
        f"{name} has NaN or infinity in {int(bad.sum())} of {bad.numel()} rows: pass mask=, bool of the shape "
        f"{list(bad.shape)}, False where a row is missing"
    )
