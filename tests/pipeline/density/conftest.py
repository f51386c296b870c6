"""Sources so small that a run takes a fraction of a second."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from frmdn.rollouts.latents import Latents, LatentStore
from frmdn.rollouts.sources import Source
from frmdn.rollouts.sources.audio import Clips
from frmdn.rollouts.sources.speech import speech
from frmdn.rollouts.sources.toy import inverse_sine


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Source:
    """The inverse sine with few points, also for the command line."""
    source = inverse_sine((256, 64, 128))
    monkeypatch.setattr("frmdn.rollouts.sources.toy.inverse_sine", lambda: source)
    return source


@pytest.fixture
def voices() -> Source:
    """Noise in frames; what counts is its shape."""
    sizes = [8000, 16_000, 8000, 8000]
    return speech(
        clips=Clips(list("abcd"), lambda i: np.random.default_rng(i).normal(0, 900, sizes[i]).astype(np.int16))
    )


@pytest.fixture
def latent_folder(tmp_path: Path) -> Path:
    """A folder of the latents of six short episodes."""
    store = LatentStore(tmp_path / "run" / "latents")
    rng = np.random.default_rng(0)
    for i in range(6):
        mean = rng.normal(size=(41, 3)).astype(np.float32)
        logvar = np.full((41, 3), -2, np.float32)
        action, zero = rng.random((40, 2), np.float32), np.zeros(40, np.float32)
        store.write(i, Latents(mean, logvar, action, zero, zero))
    return tmp_path / "run"
