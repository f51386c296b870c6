"""The stored latents: per episode the mean and log-variance of every frame (never samples), and its transitions."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from torch import Tensor

from frmdn.agent.errors import first_line

from .episodes.episode import Episode, EpisodeSummary, StoreError
from .episodes.store import IndexedFolder

FORMAT = "frmdn-latents-1"


class Encoder(Protocol):
    """What `encode_store` asks of Vision."""

    def moments(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance f32[B,Z] of frames u8[B,H,W,C]."""
        ...


class EpisodeSource(Protocol):
    """What is encoded: an `EpisodeStore`, or several joined."""

    def indices(self) -> list[int]: ...

    def summary(self, index: int) -> EpisodeSummary: ...

    def read(self, index: int) -> Episode: ...


@dataclass(frozen=True)
class Latents:
    """One episode as Vision sees it; T transitions between T+1 latents."""

    mean: np.ndarray  # f32[T+1,Z]
    logvar: np.ndarray  # f32[T+1,Z]
    actions: np.ndarray  # f32[T,A]
    rewards: np.ndarray  # f32[T]
    end: np.ndarray  # f32[T], 1 where the transition terminated the episode (truncation is not an end)

    @property
    def steps(self) -> int:
        return len(self.rewards)

    @property
    def nbytes(self) -> int:
        return sum(getattr(self, field.name).nbytes for field in fields(self))


NAMES = tuple(field.name for field in fields(Latents))


class LatentStore(IndexedFolder):
    """One safetensors file per episode, `NNNNNN.safetensors`, written atomically.

    Args:
        folder: made where it does not exist.
    """

    def __init__(self, folder: Path | str) -> None:
        super().__init__(folder, ".safetensors")

    def write(self, index: int, latents: Latents, origin: str = "") -> None:
        """Store an episode's latents; `origin` says of which episode and Vision they are."""
        arrays = {name: np.ascontiguousarray(getattr(latents, name)) for name in NAMES}
        about = {"format": FORMAT, "origin": origin, "checksum": str(_checksum(latents))}
        # one key: safetensors writes several in an order that changes from process to process
        self.put(index, save(arrays, metadata={"about": json.dumps(about)}))

    def read(self, index: int) -> Latents:
        """The latents of a whole episode, checksum verified; raises StoreError naming a damaged file."""
        with self._open(index) as file:
            latents = Latents(**{name: file.get_tensor(name) for name in NAMES})
            if str(_checksum(latents)) != _about(file).get("checksum"):
                raise ValueError("its checksum does not match")
            return latents

    def read_slice(self, index: int, start: int, stop: int) -> Latents:
        """Transitions start to stop-1 and the latents around them, reading nothing else (and so no checksum)."""
        with self._open(index) as file:
            ends = {"mean": stop + 1, "logvar": stop + 1}
            return Latents(**{name: file.get_slice(name)[start : ends.get(name, stop)] for name in NAMES})

    def shape(self, index: int) -> tuple[int, int, int]:
        """(T, Z, A) of an episode, from the header alone."""
        with self._open(index) as file:
            (_, latent), (steps, action) = (file.get_slice(name).get_shape() for name in ("mean", "actions"))
            return steps, latent, action

    def origin(self, index: int) -> str:
        """Of which episode and Vision the stored latents are."""
        with self._open(index) as file:
            return _about(file).get("origin", "")

    @contextmanager
    def _open(self, index: int) -> Iterator[Any]:
        path = self.path(index)
        remedy = "delete it and run the same command again: only that episode is encoded anew"
        try:
            with safe_open(path, framework="numpy") as file:
                if _about(file).get("format") != FORMAT:
                    raise ValueError("it was not written by frmdn, or by another version")
                yield file
        except FileNotFoundError as error:
            raise StoreError(f"{path} does not exist; encode this episode first") from error
        except (SafetensorError, ValueError, KeyError, OSError) as error:
            raise StoreError(f"{path} is damaged or foreign ({first_line(error)}); {remedy}") from error


def _about(file: Any) -> dict[str, str]:
    """What `write` noted in the file; nothing where another program wrote it."""
    about = json.loads((file.metadata() or {}).get("about", "{}"))
    return about if isinstance(about, dict) else {}


def encode_store(
    vision: Encoder,
    store: EpisodeSource,
    latents: LatentStore,
    *,
    batch: int = 64,
    progress: Callable[[int, int], None] | None = None,
) -> list[int]:
    """Encode every episode of the store that has no latents of this very Vision yet, one episode at a time.

    Args:
        vision: anything with `moments`; a module's weights are part of the origin, so retraining makes latents stale.
        store: the episodes.
        latents: where the moments go.
        batch: frames per call; the last call is padded, so that a latent never depends on how many frames follow.
        progress: called with (episodes done, episodes in the store) after each.

    Returns:
        The indices that were encoded by this call.
    """
    latents.sweep()
    indices, present, name = store.indices(), set(latents.indices()), identity(vision)
    encoded = []
    for done, index in enumerate(indices, start=1):
        origin = _origin_of(name, store.summary(index))
        if index not in present or _origin(latents, index) != origin:
            latents.write(index, encode(vision, store.read(index), batch), origin)
            encoded.append(index)
        if progress is not None:
            progress(done, len(indices))
    return encoded


def check_latents(vision: Encoder, store: EpisodeSource, latents: LatentStore) -> None:
    """Raise StoreError unless the latents of all episodes of the store are those that this Vision makes of them."""
    name = identity(vision)
    for index in store.indices():
        if latents.origin(index) != _origin_of(name, store.summary(index)):
            raise StoreError(
                f"{latents.path(index)} is of another run, or of another vision; delete it and run the same command "
                "again: only that episode is encoded anew"
            )


def _origin_of(name: str, at: EpisodeSummary) -> str:
    return f"{name}/{at.env}/{at.seed}/{at.steps}/{at.total!r}"


@torch.inference_mode()
def encode(vision: Encoder, episode: Episode, batch: int = 64) -> Latents:
    """The moments of an episode's frames in calls of exactly `batch` frames; raises ValueError if one is not finite."""
    frames, means, logvars = episode.frames, [], []
    device = next((p.device for p in vision.parameters()), None) if isinstance(vision, torch.nn.Module) else None
    for start in range(0, len(frames), batch):
        part = frames[start : start + batch]
        padded = np.concatenate([part, np.repeat(part[-1:], batch - len(part), axis=0)]) if len(part) < batch else part
        mean, logvar = vision.moments(torch.from_numpy(padded).to(device))
        means.append(mean[: len(part)].float().cpu().numpy())
        logvars.append(logvar[: len(part)].float().cpu().numpy())
    moments = np.concatenate(means), np.concatenate(logvars)
    if not all(np.isfinite(array).all() for array in moments):
        raise ValueError(f"vision gives latents that are not finite for the episode of seed {episode.seed}; retrain it")
    end = np.zeros(episode.steps, np.float32)
    end[-1] = episode.terminated
    return Latents(*moments, episode.actions, episode.rewards, end)


def identity(vision: Encoder) -> str:
    """A name for a Vision that changes with any weight; just its class where it has none."""
    if not isinstance(vision, torch.nn.Module):
        return type(vision).__name__
    digest = hashlib.sha256()
    for name, tensor in sorted(vision.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:32]


def _origin(latents: LatentStore, index: int) -> str | None:
    try:
        return latents.origin(index)
    except StoreError:  # damaged, but made again in a second: no reason to bother anyone
        return None


def _checksum(latents: Latents) -> int:
    total = 0
    for name in NAMES:
        array = np.ascontiguousarray(getattr(latents, name))
        total = zlib.crc32(f"{name}{array.shape}".encode(), total)
        total = zlib.crc32(array.view(np.uint8).reshape(-1).data, total)
    return total
