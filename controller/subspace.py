"""Fewer numbers to search: controllers that see only the leading principal components of their features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from frmdn.agent.agent import Agent, select_features
from frmdn.rollouts.episodes.joined import LatentSource
from frmdn.rollouts.sources.segments import padded

EPISODES = 48  # whose features are looked at; more of them change the components by little


@dataclass(frozen=True)
class Subspace:
    """The controllers theta = u E of a linear controller, with u f64[M] in place of theta f64[N].

    A feature vector x f[F] is seen as y = (x - mean) V / s: its K leading principal components y f[K], each of
    variance 1 over the episodes that were looked at. A controller over them, raw = U y + c, is a linear controller
    over x with W = U (V / s)^T and b = c - W mean. So M = (K + 1) A, where N = (F + 1) A; a row of u holds U [A,K],
    row after row, and then c [A], as theta does.

    The features of an agent are far from independent: of 160, two dozen components hold 95 % of the variance. A search
    that has to tell good from bad by few noisy returns needs the fewer generations the fewer numbers it must find.
    """

    basis: np.ndarray  # f64[M,N], E

    @property
    def size(self) -> int:
        """M, the numbers to search."""
        return len(self.basis)

    def expand(self, u: np.ndarray) -> np.ndarray:
        """theta f64[...,N] of u f64[...,M]."""
        return np.asarray(u @ self.basis)


def principal(features: np.ndarray, components: int, outputs: int) -> Subspace:
    """The subspace of the `components` leading principal components of features f[n,F], for A = `outputs` actions.

    Raises ValueError where there are fewer features, or fewer vectors, than components.
    """
    count, size = features.shape
    if not 1 <= components <= min(size, count - 1):
        raise ValueError(
            f"search.subspace is {components}, but a controller sees {size} features (looked at {count} times): "
            f"give 1 to {min(size, count - 1)}, or null to search all of its parameters"
        )
    mean = features.mean(0, dtype=np.float64)
    variances, vectors = np.linalg.eigh(np.cov(features.T.astype(np.float64)).reshape(size, size))
    order = np.argsort(-variances)[:components]
    least = 1e-12 * variances.max() + 1e-30  # a feature that never changes has no component to divide by
    looks = (vectors[:, order] / np.sqrt(np.maximum(variances[order], least))).T  # [K,F]
    basis = np.zeros(((components + 1) * outputs, (size + 1) * outputs))
    for a in range(outputs):
        rows = slice(a * components, (a + 1) * components)
        basis[rows, a * size : (a + 1) * size] = looks
        basis[rows, outputs * size + a] = -looks @ mean
        basis[outputs * components + a, outputs * size + a] = 1.0
    return Subspace(basis)


@torch.inference_mode()
def seen(agent: Agent, latents: LatentSource, indices: Sequence[int]) -> np.ndarray:
    """What a controller of `agent` would have seen before each step of the stored episodes, f32[n,F]."""
    episodes = [latents.read(index) for index in list(indices)[:EPISODES]]
    device = next(agent.vision.parameters()).device
    latent, there = padded([torch.from_numpy(episode.mean[:-1]) for episode in episodes])
    z, mask = latent.to(device), there.to(device)  # [B,T,Z], [B,T]
    actions = padded([torch.from_numpy(episode.actions) for episode in episodes])[0].to(device)
    memory = None if agent.memory is None else agent.memory.initial(len(episodes), device=device)
    rows = []
    for t in range(z.shape[1]):
        rows.append(select_features(agent.config.features, z[:, t], memory)[mask[:, t]])
        if agent.memory is not None and memory is not None:
            memory = agent.memory.step(z[:, t], actions[:, t], memory)
    return torch.cat(rows).cpu().numpy()
