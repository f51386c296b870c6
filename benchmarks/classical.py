"""The classical way of every hot loop: one Gymnasium environment, batch 1, float32.

So do the public World Models projects. Written fairly: weights loaded once, inference mode,
no needless copies, one thread where one thread is faster.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F


def frame(observation: np.ndarray) -> np.ndarray:
    """Rows 0:84 of the 96x96 picture, resized to 64x64."""
    return cv2.resize(observation[:84], (64, 64), interpolation=cv2.INTER_AREA)


def random_episode(env: gym.Env, seed: int, steps: int, path: Path) -> int:
    """One episode of uniformly random actions, saved as compressed npz; returns its frames."""
    rng = np.random.default_rng(seed)
    observation, _ = env.reset(seed=seed)
    frames, actions, rewards = [frame(observation)], [], []
    for _ in range(steps):
        action = rng.uniform((-1, 0, 0), (1, 1, 1)).astype(np.float32)
        observation, reward, terminated, truncated, _ = env.step(action)
        frames.append(frame(observation))
        actions.append(action)
        rewards.append(reward)
        if terminated or truncated:
            break
    np.savez_compressed(path, frames=np.stack(frames), actions=np.stack(actions), rewards=np.array(rewards, np.float32))
    return len(frames)


class Encoder(nn.Module):
    """The published encoder in float32 and NCHW."""

    def __init__(self, latent: int = 32) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv2d(i, o, 4, 2) for i, o in ((3, 32), (32, 64), (64, 128), (128, 256)))
        self.mean, self.logvar = nn.Linear(1024, latent), nn.Linear(1024, latent)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        for convolution in self.convolutions:
            x = F.relu(convolution(x))
        x = x.flatten(1)
        return self.mean(x), self.logvar(x)


class VAE(nn.Module):
    """The published autoencoder in float32 and NCHW."""

    def __init__(self, latent: int = 32) -> None:
        super().__init__()
        self.encoder, self.fc = Encoder(latent), nn.Linear(latent, 1024)
        shapes = ((1024, 128, 5), (128, 64, 5), (64, 32, 6), (32, 3, 6))
        self.deconvolutions = nn.ModuleList(nn.ConvTranspose2d(i, o, k, 2) for i, o, k in shapes)

    def loss(self, x: Tensor) -> Tensor:
        mean, logvar = self.encoder(x)
        y = self.fc(mean + torch.exp(0.5 * logvar) * torch.randn_like(mean))[:, :, None, None]
        for deconvolution in self.deconvolutions[:-1]:
            y = F.relu(deconvolution(y))
        y = torch.sigmoid(self.deconvolutions[-1](y))
        kl = -0.5 * (1 + logvar - mean.square() - logvar.exp()).sum(1)
        return ((y - x).square().sum((1, 2, 3)) + kl.clamp_min(16)).mean()


class MDNRNN(nn.Module):
    """LSTM and a diagonal Gaussian mixture, on the picture's latents."""

    def __init__(self, latent: int = 32, action: int = 3, hidden: int = 256, components: int = 5) -> None:
        super().__init__()
        self.latent, self.components = latent, components
        self.lstm = nn.LSTM(latent + action, hidden, batch_first=True)
        self.head = nn.Linear(hidden, (2 * latent + 1) * components + 2)

    def forward(self, z: Tensor, a: Tensor, state: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, ...]:
        h, state = self.lstm(torch.cat([z, a], -1), state)
        k, d = self.components, self.latent
        mean, logsd, logits, rest = self.head(h).split([k * d, k * d, k, 2], -1)
        shape = (*mean.shape[:-1], k, d)
        return mean.view(shape), logsd.view(shape), logits.log_softmax(-1), rest, *state

    def loss(self, z: Tensor, a: Tensor, following: Tensor) -> Tensor:
        mean, logsd, logpi = self(z, a)[:3]
        scaled = (following.unsqueeze(-2) - mean) * torch.exp(-logsd)
        log = -0.5 * (scaled.square() + 2 * logsd + np.log(2 * np.pi)).sum(-1)
        return -torch.logsumexp(logpi + log, -1).mean()


@torch.inference_mode()
def drive(env: gym.Env, parts: tuple[Encoder, MDNRNN, Tensor], seed: int, steps: int) -> int:
    """One episode of environment, encoder, controller and memory, a frame at a time; returns its steps."""
    encoder, memory, theta = parts
    observation, _ = env.reset(seed=seed)
    state = (torch.zeros(1, 1, 256), torch.zeros(1, 1, 256))
    for t in range(1, steps + 1):
        picture = torch.from_numpy(frame(observation)).permute(2, 0, 1).unsqueeze(0).float() / 255
        z, _ = encoder(picture)
        raw = torch.tanh(theta @ torch.cat([z[0], state[0][0, 0], torch.ones(1)]))
        action = torch.stack([raw[0], (raw[1] + 1) / 2, raw[2].clamp(0, 1)])
        _, state = memory.lstm(torch.cat([z[0], action])[None, None], state)
        observation, _, terminated, truncated, _ = env.step(action.numpy())
        if terminated or truncated:
            return t
    return steps


@torch.inference_mode()
def dream(memory: MDNRNN, theta: Tensor) -> Iterator[None]:
    """The Memory's dream for one controller, a step at a time."""
    z, state = torch.zeros(1, 1, memory.latent), (torch.zeros(1, 1, 256), torch.zeros(1, 1, 256))
    while True:
        raw = torch.tanh(theta @ torch.cat([z[0, 0], state[0][0, 0], torch.ones(1)]))
        mean, logsd, logpi, _, *hidden = memory(z, raw[None, None], state)
        k = int(torch.multinomial(logpi[0, 0].exp(), 1))
        z = (mean[0, 0, k] + torch.exp(logsd[0, 0, k]) * torch.randn(memory.latent))[None, None]
        state = (hidden[0], hidden[1])
        yield
