"""How many steps a run's memory dreams close to reality, against the trivial predictor: nothing changes any more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from frmdn.agent.dream import Dream
from frmdn.agent.open_loop import OpenLoop, longest_below, open_loop, spread_of, squared_errors, steps_below, warm_up
from frmdn.agent.seeds import derive, generator
from frmdn.agent.vision import ConvVAE
from frmdn.rollouts.latents import Latents

RESAMPLES = 2000
PICTURED = 25  # horizons at which frames are decoded: enough for a curve, and decoding is what takes the time
CHUNK = 256  # pictures decoded at a time
STILL = "still"


@dataclass(frozen=True)
class OpenLoopPlan:
    """What to measure."""

    warmup: int = 20  # real transitions that a dream watches before it is alone
    horizon: int = 50  # steps that it is alone
    starts: int = 8  # of each episode, evenly spaced
    temperature: float = 1.0  # of the drawn dreams
    threshold: float = 1.0  # relative error from which on a dream is worth nothing; 1: the average knows as much

    def __post_init__(self) -> None:
        for name, least in (("warmup", 0), ("horizon", 1), ("starts", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, not {getattr(self, name)}")
        for name in ("temperature", "threshold"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")


@dataclass(frozen=True)
class Windows:
    """Pieces of real episodes, one row per start; `episode` i64[B] says of which."""

    latents: Tensor  # f32[B,W+H+1,Z]
    actions: Tensor  # f32[B,W+H,A]
    rewards: Tensor  # f32[B,W+H]
    episode: NDArray[np.int64]
    warmup: int

    @property
    def horizon(self) -> int:
        return self.actions.shape[1] - self.warmup


def cut(episodes: Sequence[Latents], plan: OpenLoopPlan) -> Windows:
    """Windows of warm-up and horizon out of episodes.

    Where fewer than half of the episodes are long enough, both shrink to fit the median episode, which the result says.
    """
    if not episodes:
        raise ValueError("episodes is empty: there must be at least one held-out episode to measure dreams by")
    median = sorted(episode.steps for episode in episodes)[len(episodes) // 2]
    warmup, horizon = plan.warmup, plan.horizon
    if warmup + horizon > median:
        warmup = min(warmup, median // 3)
        horizon = median - warmup
    length, pieces = warmup + horizon, []
    for number, episode in enumerate(episodes):
        if episode.steps < length:
            continue
        for start in np.unique(np.linspace(0, episode.steps - length, plan.starts).astype(int)).tolist():
            span = slice(start, start + length)
            frames = slice(start, start + length + 1)
            pieces.append((episode.mean[frames], episode.actions[span], episode.rewards[span], number))
    latents, actions, rewards = (torch.from_numpy(np.stack([p[i] for p in pieces])) for i in range(3))
    return Windows(latents, actions, rewards, np.array([p[3] for p in pieces]), warmup)


def measure_open_loop(
    dream: Dream, vision: ConvVAE, episodes: Sequence[Latents], plan: OpenLoopPlan, seed: int
) -> dict[str, Any]:
    """Errors over the horizon of drawn dreams, of the path of point predictions, and of the still predictor.

    All errors are relative: root mean square distance, in units of the root mean square distance of held-out reality
    from its own average. Latents are measured in units of V's own uncertainty, dimension by dimension, for a drawn
    latent has as much noise as V's posterior in the dimensions that mean nothing. Frames are compared as V decodes
    them, so that M alone is measured and not what V loses. The dream is where the vision is.
    `better_than_still` is the longest run of steps in which the mean error lies below that of the still predictor
    (`since` its first step, `steps` its last), `below_threshold` the steps before the error reaches the threshold, both
    with the 95 % interval of a bootstrap over episodes. A value equal to the horizon means "at least".
    """
    windows = cut(episodes, plan)
    w, h = windows.warmup, windows.horizon
    device = next(vision.parameters()).device
    actions = windows.actions.to(device)
    start = warm_up(dream.memory, windows.latents[:, : w + 1].to(device), actions[:, :w])
    drawn, point = (
        OpenLoop(*(part.cpu() for part in open_loop(dream, start, actions[:, w:], noise)[0]))
        for noise in (generator(seed, "open loop"), None)
    )
    real = windows.latents[:, w + 1 :]
    paths = {"drawn": drawn.latents, "point": point.latents, STILL: windows.latents[:, w : w + 1].expand_as(real)}
    every = np.arange(h)
    shown = np.unique(np.linspace(0, h - 1, min(h, PICTURED)).round().astype(int))
    unit = _uncertainty(episodes)
    spread = spread_of(torch.cat([torch.from_numpy(episode.mean) for episode in episodes]) / unit)
    latents = {name: squared_errors(path / unit, real / unit, spread) for name, path in paths.items()}
    return {
        "episodes": len(np.unique(windows.episode)),
        "sequences": len(windows.episode),
        "warmup": w,
        "horizon": h,
        "temperature": dream.temperature,
        "threshold": plan.threshold,
        "latents": _summary(latents, windows.episode, every, plan.threshold, seed),
        "frames": _summary(*_frame_errors(vision, paths, real, shown, windows), shown, plan.threshold, seed),
        "rewards": _rewards(windows.rewards[:, w:], drawn.rewards),
    }


def _uncertainty(episodes: Sequence[Latents]) -> Tensor:
    """The root mean square standard deviation of V's posterior in each dimension, f32[Z]."""
    return torch.from_numpy(np.concatenate([episode.logvar for episode in episodes])).exp().mean(0).sqrt()


def _frame_errors(
    vision: ConvVAE, paths: dict[str, Tensor], real: Tensor, shown: NDArray[np.int64], windows: Windows
) -> tuple[dict[str, Tensor], NDArray[np.int64]]:
    """Squared errors f32[B,S] of decoded pictures at the horizons `shown`, horizon by horizon: few pictures at once."""
    spread = spread_of(decode(vision, real[:, shown].flatten(0, 1)))
    errors: dict[str, list[Tensor]] = {name: [] for name in paths}
    still = decode(vision, paths[STILL][:, 0])
    for t in shown.tolist():
        actual = decode(vision, real[:, t])
        for name, path in paths.items():
            picture = still if name == STILL else decode(vision, path[:, t])
            errors[name].append(squared_errors(picture[:, None], actual[:, None], spread)[:, 0])
    return {name: torch.stack(columns, 1) for name, columns in errors.items()}, windows.episode


@torch.inference_mode()
def decode(vision: ConvVAE, z: Tensor) -> Tensor:
    """Pictures f32[N,H,W,C] in 0..1 of latents f32[N,Z], some at a time; on the CPU, wherever the vision is."""
    device = next(vision.parameters()).device
    return torch.cat([vision.decode(part.to(device)).float().cpu() for part in z.split(CHUNK)])


def _summary(
    errors: dict[str, Tensor], episode: NDArray[np.int64], places: NDArray[np.int64], threshold: float, seed: int
) -> dict[str, Any]:
    """Curves and steps of squared errors f32[B,S] that stand at the horizons `places` (0 is the first step)."""
    means = {name: _by_episode(values, episode) for name, values in errors.items()}  # f64[E,S]
    curves = {name: values.mean(0) for name, values in means.items()}
    rng = np.random.default_rng(derive(seed, "open loop", "bootstrap"))
    count = len(next(iter(means.values())))
    chosen = rng.integers(count, size=(RESAMPLES, count))

    def better(name: str) -> dict[str, int]:
        def run(rows: Any) -> tuple[int, int]:
            own, still = (torch.from_numpy(means[which][rows].mean(0)) for which in (name, STILL))
            first, last = longest_below(own, still)
            return (int(places[first]) + 1, int(places[last - 1]) + 1) if last else (0, 0)

        since, last = run(slice(None))
        return {"since": since, "steps": last, **_interval([run(rows)[1] for rows in chosen])}

    def below(name: str) -> dict[str, int]:
        def count_steps(rows: Any) -> int:
            kept = steps_below(torch.from_numpy(means[name][rows].mean(0)), threshold**2)
            return int(places[kept - 1]) + 1 if kept else 0

        return {"steps": count_steps(slice(None)), **_interval([count_steps(rows) for rows in chosen])}

    dreams = [name for name in errors if name != STILL]
    return {
        "at": (places + 1).tolist(),
        "error": {name: np.sqrt(curve).tolist() for name, curve in curves.items()},
        "better_than_still": {name: better(name) for name in dreams},
        "below_threshold": {name: below(name) for name in errors},
    }


def _interval(values: Sequence[int]) -> dict[str, int]:
    low, high = np.quantile(values, [0.025, 0.975], method="nearest")
    return {"low": int(low), "high": int(high)}


def _by_episode(values: Tensor, episode: NDArray[np.int64]) -> NDArray[np.float64]:
    """Means over the starts of each episode, f64[E,S]."""
    rows = values.double().numpy()
    return np.stack([rows[episode == number].mean(0) for number in np.unique(episode)])


def _rewards(real: Tensor, dreamt: Tensor) -> dict[str, float | None]:
    """Returns over the horizon: their means, and Pearson's correlation over the sequences (None where one is flat)."""
    a, b = real.double().sum(1), dreamt.double().sum(1)
    scale = float(a.std(correction=0) * b.std(correction=0))
    covariance = float(((a - a.mean()) * (b - b.mean())).mean())
    return {
        "real": float(a.mean()),
        "dreamt": float(b.mean()),
        "correlation": covariance / scale if scale > 1e-12 else None,
    }
