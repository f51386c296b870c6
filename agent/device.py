"""Which device computes: named by the user, tried once by a small kernel, refused in one line where it cannot work."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache

import torch

from .errors import first_line

AUTO = "auto"
FORM = re.compile(r"auto|cpu|mps|cuda(:\d+)?")
CPU = torch.device("cpu")


def check_name(name: str) -> str:
    """The name as it is; ValueError unless it is auto, cpu, cuda, cuda:N or mps."""
    if not FORM.fullmatch(name):
        raise ValueError(f"device must be auto, cpu, cuda, cuda:1 or mps, not {name!r:.80}")
    return name


def choose_device(name: str = AUTO, tell: Callable[[str], None] | None = None) -> torch.device:
    """The device of that name, ready to compute; `auto` is the first GPU of CUDA that works, and else the CPU.

    `auto` does not take Apple's GPU by itself: name it. Where `auto` passes a card over, `tell` hears why.

    Raises:
        ValueError: the name is none, or that device is not there or cannot run what this torch was built for.

    >>> from frmdn.agent.device import choose_device
    >>> choose_device("cpu")
    device(type='cpu')
    """
    check_name(name)
    if name == AUTO:
        if not torch.cuda.is_available():
            return CPU
        why = fault(torch.device("cuda", 0))
        if why is None:
            return torch.device("cuda", 0)
        if tell is not None:
            tell(f"computing on the CPU: {why}")
        return CPU
    device = torch.device("cuda", 0) if name == "cuda" else torch.device(name)
    why = fault(device)
    if why is not None:
        raise ValueError(f"device {name}: {why}; use another one, or --device cpu")
    return device


def device_name(device: torch.device | str) -> str:
    """What results say of it: `cpu`, or kind and model of a GPU, as in `cuda:0 (NVIDIA H100 80GB HBM3)`."""
    device = torch.device(device)
    if device.type != "cuda":
        return str(device)
    return f"cuda:{device.index or 0} ({torch.cuda.get_device_name(device)})"


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was told: what a clock needs, and a computation never."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


@cache
def fault(device: torch.device) -> str | None:
    """Why nothing can be computed there; None where a first small kernel has run."""
    missing = {"cuda": _missing_cuda, "mps": _missing_mps}.get(device.type, lambda _: None)(device)
    if missing is not None:
        return missing
    try:
        found = float((torch.ones(2, 2, device=device) @ torch.ones(2, 2, device=device)).sum())
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # torch's own AcceleratorError is the first
        return f"a first small computation failed there ({first_line(error)})"
    return None if found == 8.0 else f"a first small computation gave {found:g} there instead of 8"


def _missing_cuda(device: torch.device) -> str | None:
    if torch.version.cuda is None and torch.version.hip is None:
        return f"this torch ({torch.__version__}) was built for the CPU; install a build for CUDA from pytorch.org"
    if not torch.cuda.is_available():
        return "torch finds no GPU of CUDA here; nvidia-smi says whether there is one and a driver for it"
    count, index = torch.cuda.device_count(), device.index or 0
    if index >= count:
        there = "the one that is there is cuda:0" if count == 1 else f"there are cuda:0 to cuda:{count - 1}"
        return f"there is no such GPU: {there}"
    return None if torch.version.hip else _foreign(torch.cuda.get_device_name(device), *_built_for(device))


def _built_for(device: torch.device) -> tuple[tuple[int, int], list[str]]:
    """The card's compute capability, and the architectures that this torch carries kernels for."""
    return torch.cuda.get_device_capability(device), torch.cuda.get_arch_list()


def _foreign(card: str, capability: tuple[int, int], built: list[str]) -> str | None:
    """Whether a card is too new or too old for what torch was built for.

    sm_XY is machine code for capability X.Y and later minor numbers of X; compute_XY is code that a driver translates
    for anything from X.Y up.
    """
    kernels = [_version(name) for name in built if name.startswith("sm_")]
    portable = [_version(name) for name in built if name.startswith("compute_")]
    major, minor = capability
    if any(m == major and n <= minor for m, n in kernels) or any(low <= capability for low in portable):
        return None
    if not kernels and not portable:
        return None  # a build that does not say what it carries: the first kernel will tell
    age = "new" if capability > max(kernels + portable) else "old"
    return (
        f"{card} has compute capability {major}.{minor}, too {age} for torch {torch.__version__}, which was built for "
        f"{', '.join(built)}; install a build of torch for it from pytorch.org"
    )


def _version(name: str) -> tuple[int, int]:
    """sm_90a -> (9, 0), compute_120 -> (12, 0)."""
    digits = re.sub(r"\D", "", name.split("_")[1])
    return int(digits[:-1]), int(digits[-1])


def _missing_mps(device: torch.device) -> str | None:
    if torch.backends.mps.is_available():
        return None
    return "mps is the GPU of Apple's own processors, and torch finds none here"
