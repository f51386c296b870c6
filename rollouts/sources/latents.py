"""The latents of a run folder as sequences: what the Memory learns from, as posterior samples or as means."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..latents import Latents, LatentStore
from .sequences import TEST, Held, Source, Steps, split_names

LENGTH, BATCH = 100, 16  # transitions and segments of a training step


@dataclass(frozen=True)
class LatentScale:
    """Latents are modelled as the Memory sees them, without a transform of their own."""

    latent: int
    action: int

    def native(self, target: Tensor) -> np.ndarray:
        """The latents themselves."""
        return np.asarray(target.detach().cpu())


def latents(path: Path | str, sampled: bool) -> Source:
    """p(z[t+1] | z[0..t], a[0..t]) of a run folder's episodes, in nats per latent dimension.

    With `sampled`, every visit draws z ~ q(z | frame) anew, the context's too, as the Memory's training does; `floor`
    is then the mean entropy of q over the test targets: no model of samples can fall below it. Otherwise z is the mean.
    Whole episodes are held out.

    Args:
        path: a run folder, or its folder of latents; ValueError where it has none, StoreError naming a damaged file.
        sampled: posterior samples, or means.
    """
    store = _store(Path(path))
    indices = store.indices()
    episodes = [store.read(index) for index in indices]
    sizes = {(episode.mean.shape[1], episode.actions.shape[1]) for episode in episodes}
    if len(sizes) > 1:
        raise ValueError(f"{store.folder} mixes latent or action sizes {sorted(sizes)}: encode it again")
    (latent, action) = sizes.pop()
    parts = split_names([f"{index:06d}" for index in indices])
    splits = {name: Held([_rows(episodes[place]) for place in places]) for name, places in parts.items()}
    targets = np.concatenate([episodes[place].logvar[1:] for place in parts[TEST]])
    return Source(
        name="latents-sampled" if sampled else "latents-mean",
        inputs=latent + action,
        outputs=latent,
        unit="nats per latent dimension",
        splits=splits,
        prepare=partial(_prepare, latent, sampled),
        scale=LatentScale(latent, action),
        batch=BATCH,
        length=LENGTH + 1,
        overlap=1,
        floor=float(0.5 * (math.log(2 * math.pi * math.e) + targets.mean(dtype=np.float64))) if sampled else None,
        about={"episodes": {name: len(places) for name, places in parts.items()}},
    )


def _store(path: Path) -> LatentStore:
    folder = path / "latents" if (path / "latents").is_dir() else path
    if not folder.is_dir() or not any(folder.glob("*.safetensors")):
        raise ValueError(f"{path} has no latents: give --path a run folder whose encode stage is done")
    return LatentStore(folder)


def _rows(episode: Latents) -> Tensor:
    """Mean, log-variance and action of each of the T+1 frames, f32[T+1,2Z+A]; the last frame's action is zero."""
    actions = np.concatenate([episode.actions, np.zeros_like(episode.actions[:1])])
    return torch.from_numpy(np.concatenate([episode.mean, episode.logvar, actions], 1))


def _prepare(latent: int, sampled: bool, raw: Tensor, mask: Tensor, noise: torch.Generator) -> Steps:
    """Raw f32[B,T+1,2Z+A] -> T steps: context (z[t], a[t]), target z[t+1]."""
    z, logvar, action = raw.split([latent, latent, raw.shape[-1] - 2 * latent], -1)
    if sampled:
        z = z + torch.exp(0.5 * logvar) * torch.randn(z.shape, generator=noise)
    context = torch.cat([z[:, :-1], action[:, :-1]], -1)
    return Steps(context, z[:, 1:], mask[:, 1:], torch.zeros(mask.shape)[:, 1:])
