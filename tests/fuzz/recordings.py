"""What others recorded, as `frmdn import` reads it: videos, archives, Minari and LeRobot data sets."""

from __future__ import annotations

import io
import json
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from frmdn.rollouts.recordings.fitting import Fitting, channels
from frmdn.rollouts.recordings.opening import open_source
from frmdn.rollouts.recordings.rows import rows_of
from frmdn.rollouts.recordings.survey import find_actions

from .mutator import WAYS_OUT
from .subject import Subject

STEPS = 6


def _frames() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (STEPS + 1, 16, 12, 3), dtype=np.uint8)


def _read(folder: Path) -> Any:
    """All that an import asks of its source."""
    source = open_source(str(folder))
    codec = find_actions(source)
    found = []
    for take in islice(source.takes, 3):
        pictures = list(islice(take.pictures(), 50))
        rows = rows_of(take.tracks(), codec)
        rows.check(len(pictures))
        fitting = Fitting(8, channels(pictures[0], take.name)) if pictures else None
        found.append((take.name, [fitting(each, take.name) for each in pictures] if fitting else [], rows))
    return source.kind, len(source.takes), codec, found


def _video(path: Path) -> None:
    import cv2

    writer = cv2.VideoWriter(
        str(path), cv2.VideoWriter_fourcc(*("MJPG" if path.suffix == ".avi" else "mp4v")), 30, (16, 16)
    )
    for picture in np.random.default_rng(0).integers(0, 256, (STEPS, 16, 16, 3), dtype=np.uint8):
        writer.write(picture)
    writer.release()


def _make_videos(folder: Path) -> None:
    _video(folder / "a.avi")
    (folder / "a.csv").write_text("steer,gas,reward\n" + "0.5,1,2\n" * STEPS)


def _make_films(folder: Path) -> None:
    _video(folder / "a.mp4")
    np.save(folder / "a.npy", np.ones((STEPS, 2)))


def _make_archive(folder: Path) -> None:
    rows = {"actions": np.ones((STEPS, 2), np.float32), "rewards": np.ones(STEPS), "terminated": np.zeros(STEPS, bool)}
    np.savez_compressed(folder / "a.npz", frames=_frames(), **rows)


def _make_archives(folder: Path) -> None:
    np.savez(folder / "many.npz", frames=_frames(), actions=np.arange(7), lengths=np.array([3, 4]))


def _make_minari(folder: Path) -> None:
    import gymnasium
    import minari
    from minari.data_collector import EpisodeBuffer
    from minari.dataset.minari_storage import MinariStorage

    frames = gymnasium.spaces.Box(0, 255, (16, 12, 3), np.uint8)
    actions = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    storage = MinariStorage.new(folder, frames, actions, data_format="hdf5", jpeg_encoding=False)
    storage.update_metadata({"dataset_id": "fuzz/a-v0", "minari_version": minari.__version__})
    done = [False] * (STEPS - 1) + [True]
    acted = [np.ones(2, np.float32)] * STEPS
    storage.update_episodes([EpisodeBuffer(
        id=0, observations=list(_frames()), actions=acted, rewards=[1.0] * STEPS, terminations=done,
        truncations=[False] * STEPS, infos=None)])  # fmt: skip


def _table(folder: Path, **more: Any) -> None:
    import pyarrow
    from pyarrow import parquet

    path = folder / "data" / "chunk-000" / "episode_000000.parquet"
    path.parent.mkdir(parents=True)
    rows = {"action": [[0.5, 1.0]] * STEPS, "next.reward": [1.0] * STEPS, "next.done": [False] * (STEPS - 1) + [True]}
    parquet.write_table(pyarrow.table({**rows, **more}), path)


def _info(folder: Path, feature: str, **more: Any) -> None:
    info = {
        "codebase_version": "v2.1",
        "total_episodes": 1,
        "chunks_size": 1000,
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
        "features": {"eye": {"dtype": feature}, "action": {"dtype": "float32", "shape": [2]}},
    }
    (folder / "meta").mkdir()
    (folder / "meta" / "info.json").write_text(json.dumps(info))


def _make_lerobot(folder: Path) -> None:
    _info(folder, "video")
    _table(folder)
    path = folder / "videos" / "chunk-000" / "eye" / "episode_000000.mp4"
    path.parent.mkdir(parents=True)
    _video(path)


def _make_lerobot_pictures(folder: Path) -> None:
    from PIL import Image

    cells = []
    for picture in _frames()[:STEPS]:
        stream = io.BytesIO()
        Image.fromarray(picture).save(stream, "PNG")
        cells.append({"bytes": stream.getvalue(), "path": None})
    _info(folder, "image")
    _table(folder, eye=cells)


_LEROBOT = (
    *WAYS_OUT,
    *(
        "{episode_index}",
        "{episode_index.__class__}",
        "{episode_index:099999999d}",
        "{video_key:>999999999}",
        "{0}",
        "{",
        "}",
    ),
    *("{episode_index!r}", "/etc/passwd", "..", "eye", "image", "video", "v3.0", "v2.0"),
)
RECORDINGS = (
    Subject("videos and csv", _make_videos, _read),
    Subject("films and npy", _make_films, _read),
    Subject("archive, one episode", _make_archive, _read, words=("frames.npy", "obs.npy", "dones.npy")),
    Subject("archive, many episodes", _make_archives, _read, words=("lengths.npy", "rewards.npy")),
    Subject("Minari", _make_minari, _read, words=WAYS_OUT, share=0.7),
    Subject("LeRobot, video", _make_lerobot, _read, words=_LEROBOT),
    Subject("LeRobot, description", _make_lerobot, _read, words=_LEROBOT, files=("meta/info.json",)),
    Subject("LeRobot, pictures", _make_lerobot_pictures, _read, words=_LEROBOT),
)
