"""Stored episodes as a Minari data set, one at a time."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from frmdn.envs.dream import action_space
from frmdn.envs.spec import ActionCodec, EnvSpec

from ..episodes.episode import Episode
from ..episodes.joined import Episodes
from .minari_reader import ID, import_minari

STAGING = ".unfinished"  # behind the name of a folder that is being written


def minari_folder(place: str) -> tuple[Path, str]:
    """The folder of a data set, and its id. `place` is an id, which stands in Minari's own folder, or a path."""
    if ID.fullmatch(place):
        from minari.storage.datasets_root_dir import get_dataset_path

        return Path(get_dataset_path(place)), place
    path = Path(place).expanduser().resolve()  # Minari cannot write to a relative one
    name = path.name
    return path, name if ID.fullmatch(name) else f"{name}-v0"


def write_minari(
    place: str, spec: EnvSpec, episodes: Episodes, about: dict[str, Any], report: Callable[[int, int], None]
) -> Path:
    """Write all episodes: frames as they are stored, without loss, actions as the world takes them.

    The folder appears once it is whole. A world in which nobody acts gets the one action 0.

    Raises:
        ValueError: there is something in the place already.
        MissingExtra: Minari is not installed.
    """
    minari = import_minari("writing a Minari data set")
    from minari.data_collector import EpisodeBuffer
    from minari.dataset.minari_storage import MinariStorage

    folder, name = minari_folder(place)
    if folder.exists():
        raise ValueError(f"{folder} is there already: choose another name, or delete it")
    staging = folder.with_name(folder.name + STAGING)
    shutil.rmtree(staging, ignore_errors=True)
    (staging / "data").mkdir(parents=True)
    frames = gymnasium.spaces.Box(0, 255, spec.frame_shape, np.uint8)
    actions = action_space(spec.action) if spec.action.size else gymnasium.spaces.Discrete(1)
    storage = MinariStorage.new(staging / "data", frames, actions, data_format="hdf5", jpeg_encoding=False)
    storage.update_metadata({"dataset_id": name, "minari_version": minari.__version__, **about})
    indices = episodes.indices()
    for done, index in enumerate(indices, 1):
        storage.update_episodes([EpisodeBuffer(**_buffer(episodes.read(index), spec.action))])
        report(done, len(indices))
    staging.rename(folder)
    return folder


def _buffer(episode: Episode, codec: ActionCodec) -> dict[str, Any]:
    """An episode as Minari's buffers have it; one that began in the middle of another has no seed that makes it."""
    last = np.arange(episode.steps) == episode.steps - 1
    actions = codec.to_env_batch(episode.actions) if codec.size else np.zeros(episode.steps, np.int64)
    return {
        "seed": episode.seed if episode.origin is None else None,
        "observations": episode.frames,
        "actions": actions,
        "rewards": episode.rewards,
        "terminations": last & episode.terminated,
        "truncations": last & episode.truncated,
    }
