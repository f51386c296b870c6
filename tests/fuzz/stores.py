"""What a run folder holds: episodes, latents, weights, agents, records, histories and the configuration."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from frmdn.agent.training import TrainingState
from frmdn.pipeline.commands.main import main
from frmdn.pipeline.files import read_history
from frmdn.pipeline.session import stored_config
from frmdn.pipeline.trained.file import AgentFile
from frmdn.pipeline.weights import (
    load_checkpoint,
    load_model,
    load_state,
    load_theta,
    save_checkpoint,
    save_model,
    save_state,
)
from frmdn.pipeline.workspace import Workspace
from frmdn.rollouts.episodes.episode import Episode, Origin, encode_episode
from frmdn.rollouts.episodes.store import EpisodeStore
from frmdn.rollouts.latents import Latents, LatentStore

from ..tiny import ENV, register, words
from .subject import Subject


def make_run(folder: Path) -> None:
    """A finished run: made once, and copied from then on."""
    register()
    template = Path(os.environ["FRMDN_FUZZ_SCRATCH"]) / "run"
    if not template.exists():
        assert main(words(template)) == 0
    shutil.copytree(template, folder)


# Episodes and latents


def _make_episode(folder: Path) -> None:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (41, 8, 6, 3), dtype=np.uint8)
    origin = Origin(np.ones((3, 2), np.float32), np.ones(3, np.float32))
    episode = Episode(frames, np.ones((40, 2), np.float32), np.ones(40, np.float32), True, False, 7, origin)
    (folder / "000000.h5").write_bytes(encode_episode(episode, {"env": ENV, "painter": "own", "policy": "random"}))


def _read_episode(folder: Path) -> Any:
    store = EpisodeStore(folder)
    found = store.read(0), store.read_frames(0, np.array([1, 33])), store.read_way(0)
    store.summary(0)
    return found


def _make_latents(folder: Path) -> None:
    rng = np.random.default_rng(0)
    moments = [rng.normal(size=(21, 4)).astype(np.float32) for _ in range(2)]
    ends = np.zeros(20, np.float32)
    latents = Latents(*moments, np.ones((20, 2), np.float32), np.ones(20, np.float32), ends)
    LatentStore(folder).write(0, latents, "of a vision")


def _read_latents(folder: Path) -> Any:
    store = LatentStore(folder)
    found = store.read(0)
    store.shape(0), store.origin(0), store.read_slice(0, 2, 5)
    return found


# Weights


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        from dataclasses import make_dataclass

        self.config = make_dataclass("Config", [("size", int)])(3)
        self.layer = nn.Linear(3, 2)


def _make_weights(folder: Path) -> None:
    torch.manual_seed(0)
    save_model(folder, Net())
    save_checkpoint(folder / "checkpoint.safetensors", TrainingState(3, {"a": torch.ones(4)}))
    save_state(folder / "search.safetensors", {"mean": np.ones(5), "n": np.arange(3)})
    save_state(folder / "theta.safetensors", {"theta": np.ones(6, np.float32)})


def _read_weights(folder: Path) -> Any:
    state = load_checkpoint(folder / "checkpoint.safetensors")
    model = load_model(folder, Net())
    found = load_state(folder / "search.safetensors"), load_theta(folder / "theta.safetensors", 6)
    return list(model.state_dict().values()), state and (state.step, state.tensors), found


# Records


def _make_records(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        run = Path(scratch) / "run"
        make_run(run)
        for path in sorted(run.rglob("*.json*")):
            target = folder / path.relative_to(run)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
        shutil.copytree(run / "rollouts" / "episodes", folder / "rollouts" / "episodes")


def _read_records(folder: Path) -> Any:
    """As `frmdn status` and the stages do."""
    workspace = Workspace(folder)
    config = stored_config(workspace)
    return config, workspace.status(), [workspace.begun(name) for name in workspace.table]


def _read_histories(folder: Path) -> Any:
    return [
        read_history(folder / name / "history.jsonl", keys, bool(keys[1:]))
        for name, keys in (("vision", ("step",)), ("controller", ("generation", "mean")))
    ]


# Agents


def _make_agent(folder: Path) -> None:
    import frmdn

    with tempfile.TemporaryDirectory() as scratch:
        make_run(Path(scratch) / "run")
        frmdn.open(Path(scratch) / "run").export(folder / "agent.safetensors")


def _read_agent(folder: Path) -> Any:
    register()
    file = AgentFile(folder / "agent.safetensors")
    act = file.player().act(np.zeros((64, 64, 3), np.uint8))
    return file.header.text, act, file.first_latents()


def _resealed(rng: Any, name: str, data: bytes, words: Any) -> bytes:
    """The description or a tensor changed, under a checksum that is right: what a stranger would make."""
    from frmdn.pipeline.trained import container

    from .forging import other_value

    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "a.safetensors"
        path.write_bytes(data)
        description, tensors = container.read(path)
        if rng.random() < 0.8:
            description = json.dumps(other_value(rng, json.loads(description), words))
        else:
            key = rng.choice(sorted(tensors))
            odd = (
                torch.zeros(0),
                torch.full_like(tensors[key], float("nan")),
                tensors[key].double(),
                tensors[key][None],
            )
            tensors[key] = rng.choice(odd)
        container.write(path, container.Content(description, tensors))
        return path.read_bytes()


STORES = (
    Subject("episodes", _make_episode, _read_episode, sealed=True),
    Subject("episodes, forged", _make_episode, _read_episode),
    Subject("latents", _make_latents, _read_latents, sealed=True),
    Subject("latents, forged", _make_latents, _read_latents),
    Subject("weights and checkpoints", _make_weights, _read_weights, sealed=True, files=(
        "model.safetensors", "checkpoint.safetensors", "search.safetensors", "theta.safetensors")),
    Subject("weights, forged", _make_weights, _read_weights),
    Subject("agents", _make_agent, _read_agent, sealed=True, share=0.3),
    Subject("agents, forged", _make_agent, _read_agent, change=_resealed, share=0.2),
    Subject("records", _make_records, _read_records, files=(
        "rollouts/done.json", "rollouts/begun.json", "vision/done.json", "controller/done.json")),
    Subject("configuration", _make_records, _read_records, files=("config.json",)),
    Subject("histories", _make_records, _read_histories, files=("vision/history.jsonl", "controller/history.jsonl")),
)  # fmt: skip
