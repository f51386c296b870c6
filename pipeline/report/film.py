"""Watching an agent: one drive recorded through its eyes, and written as a WebM that browsers play."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from frmdn.agent.agent import Agent, AgentState
from frmdn.controller.evaluate import SLOTS
from frmdn.envs.spec import EnvSpec
from frmdn.envs.vector import SlotEnv, Step, make_slots
from frmdn.rollouts.episodes.episode import Episode
from frmdn.rollouts.job import Job
from frmdn.rollouts.policy import AgentPolicy
from frmdn.rollouts.run import Runner, run_episodes

from .drive import DriveRecord
from .panels import compose

CODECS = ("VP80", "VP90")  # browsers play both from WebM; VP8 encodes four times faster at the same size here
FPS = 30
SECONDS = 20.0
LIMIT = 1_600_000  # bytes of a video: base64 adds a third, and the report around it should stay under 3 MiB
CHUNK = 128  # frames encoded or decoded at a time


class Watcher(AgentPolicy):
    """Acts as the evaluated agent does, to the last digit, and keeps its state after each action."""

    def __init__(self, agent: Agent, theta: NDArray[np.float32]) -> None:
        super().__init__(agent, SLOTS, theta)
        self.states: list[AgentState] = []  # entry t: after action t, before frame t+1

    def act(self, slots: NDArray[np.int64], frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        actions = super().act(slots, frames)
        self.states.append(self.state_of(0))
        return actions


class Listener:
    """A world of one slot that keeps what it tells of its episode after each step."""

    def __init__(self, world: SlotEnv) -> None:
        self.world, self.spec, self.slots, self.backend = world, world.spec, world.slots, world.backend
        self.told: list[dict[str, float]] = []

    def start(self, slot: int, seed: int) -> NDArray[np.uint8]:
        frame = self.world.start(slot, seed)
        self.told = [self.measures(slot)]
        return frame

    def step(self, slots: NDArray[np.int64], actions: NDArray[np.float32]) -> Step:
        step = self.world.step(slots, actions)
        self.told.append(self.measures(0))
        return step

    def measures(self, slot: int) -> dict[str, float]:
        return self.world.measures(slot)

    def close(self) -> None:
        self.world.close()


def record_agent(
    agent: Agent, theta: Tensor | NDArray[np.floating], spec: EnvSpec, seed: int, max_steps: int | None = None
) -> DriveRecord:
    """Drive one episode of the official Gymnasium environment and keep what the agent sees, reconstructs and expects.

    theta f32[N] are the controller's parameters. `max_steps` ends the episode early; None: the environment's limit.
    """
    watcher = Watcher(agent, np.asarray(theta, np.float32))
    world = Listener(make_slots(spec, 1, "gymnasium"))
    runner = Runner(world, watcher, max_steps=max_steps, record=lambda episode: episode)
    try:
        (outcome,) = run_episodes(runner, [Job(index=0, seed=seed)])
    finally:
        runner.close()
    episode: Episode = outcome.payload
    reconstructions = reconstruct(agent, episode.frames)
    expected = None if agent.memory is None else _expect(agent, watcher.states, episode.frames.shape[1:])
    discrete = spec.action.kind == "discrete"
    low = np.zeros(spec.action.size, np.float32) if discrete else np.asarray(spec.action.low, np.float32)
    high = np.ones(spec.action.size, np.float32) if discrete else np.asarray(spec.action.high, np.float32)
    pictures = (episode.frames, reconstructions, expected)
    shown = [measure.name for measure in spec.measures if measure.kind == "mean"]
    told = {name: np.array([values[name] for values in world.told]) for name in shown}
    return DriveRecord(spec.id, seed, *pictures, episode.actions, episode.rewards, low, high, spec.action.names, told)


def reconstruct(agent: Agent, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """frames u8[N,H,W,C] -> what V keeps of them, u8[N,H,W,C]: the decoded mean of each frame's latent."""
    pieces = (torch.from_numpy(np.ascontiguousarray(frames[i : i + CHUNK])) for i in range(0, len(frames), CHUNK))
    return np.concatenate([_pixels(agent.reconstruct(piece)) for piece in pieces])


def _expect(agent: Agent, states: Sequence[AgentState], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Row t is what was expected after action t-1; row 0 is black."""
    pieces = [np.zeros((1, *shape), np.uint8)]
    for start in range(0, len(states), CHUNK):
        pieces.append(_pixels(agent.expect_next(_stack(states[start : start + CHUNK]))))
    return np.concatenate(pieces)


def _stack(states: Sequence[AgentState]) -> AgentState:
    """States of one row each -> one state of many rows."""
    memories = [state.memory for state in states if state.memory is not None]
    memory = type(memories[0])(*map(torch.cat, zip(*memories, strict=True)))
    return AgentState(torch.cat([state.z for state in states]), memory)


def _pixels(pictures: Tensor) -> NDArray[np.uint8]:
    return pictures.float().clamp(0, 1).mul(255).round().to(torch.uint8).numpy()


def save_drive(path: Path, record: DriveRecord, *, seconds: float = SECONDS, limit: int = LIMIT) -> Path:
    """Write the three-panel video of a drive: every k-th step, so that it fits `seconds` and `limit` bytes."""
    return save_thinned(path, record.steps, lambda stride: compose(record, stride), seconds=seconds, limit=limit)


def save_thinned(
    path: Path,
    steps: int,
    draw: Callable[[int], Iterable[NDArray[np.uint8]]],
    *,
    seconds: float = SECONDS,
    limit: int = LIMIT,
) -> Path:
    """Write the frames `draw(k)`, every k-th of `steps` + 1 instants, with the least k that fits seconds and bytes."""
    stride = max(1, -(-(steps + 1) // int(seconds * FPS)))
    for _ in range(4):
        write_video(path, draw(stride), FPS)
        size = path.stat().st_size
        if size <= limit:
            return path
        stride = max(stride + 1, -(-stride * size // limit))
    raise ValueError(f"{path.name} needs {size} bytes even at every {stride}th step; allow more than limit={limit}")


def write_video(path: Path, frames: Iterable[NDArray[np.uint8]], fps: float = FPS) -> Path:
    """Write frames (each u8[H,W,3], RGB, all of one even size) as WebM, and put it in place only when it is whole.

    Raises ValueError when there is no frame, a frame has another shape, or this OpenCV writes neither VP8 nor VP9.
    """
    stream = iter(frames)
    first = next(stream, None)
    if first is None:
        raise ValueError("frames is empty; a video needs at least one frame")
    if first.ndim != 3 or first.shape[2] != 3 or first.shape[0] % 2 or first.shape[1] % 2:
        raise ValueError(f"frames must be u8[H,W,3] with even height and width, not {first.shape}")
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.stem}.tmp.webm")  # the name's end tells FFmpeg the container
    try:
        count = _encode(draft, chain([first], stream), first.shape, fps)
        if not draft.exists() or draft.stat().st_size == 0 or _length(draft) != count:
            raise ValueError(
                f"OpenCV wrote no playable {path.name}; reinstall opencv-python and check the disk's space"
            )
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return path


def _encode(path: Path, frames: Iterable[NDArray[np.uint8]], shape: tuple[int, ...], fps: float) -> int:
    writer = _open_writer(path, (shape[1], shape[0]), fps)
    count = 0
    try:
        for frame in frames:
            if frame.shape != shape or frame.dtype != np.uint8:
                raise ValueError(f"frame {count} is {frame.dtype}{frame.shape}, but the video is uint8{shape}")
            writer.write(np.ascontiguousarray(frame[..., ::-1]))  # OpenCV's order is BGR
            count += 1
    finally:
        writer.release()
    return count


def _open_writer(path: Path, size: tuple[int, int], fps: float) -> cv2.VideoWriter:
    for codec in CODECS:
        with _quiet_stderr():
            writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), fps, size)
        if writer.isOpened():
            return writer
        writer.release()
    raise ValueError(
        f"OpenCV {cv2.__version__} cannot write WebM here ({' or '.join(CODECS)}); install opencv-python's own wheel"
    )


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """FFmpeg inside OpenCV prints a harmless line about the tag straight to descriptor 2; no log level stops it."""
    try:
        saved = os.dup(2)
    except OSError:  # stderr is closed: nothing to silence
        yield
        return
    try:
        with open(os.devnull, "wb") as sink:
            os.dup2(sink.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def _length(path: Path) -> int:
    return len(read_video(path))


def read_video(path: Path) -> list[NDArray[np.uint8]]:
    """All frames of a video, each u8[H,W,3] RGB."""
    capture = cv2.VideoCapture(str(path))
    frames: list[NDArray[np.uint8]] = []
    try:
        while True:
            ok, frame = capture.read()
            if not ok:
                return frames
            frames.append(np.asarray(frame[..., ::-1], np.uint8))
    finally:
        capture.release()


def poster(path: Path, where: float = 0.4) -> bytes:
    """A PNG of the picture at the fraction `where` of a video. Raises ValueError if the file holds no picture."""
    frames = read_video(path)
    if not frames:
        raise ValueError(f"{path} holds no video; delete it and run `frmdn report` again")
    chosen = frames[min(len(frames) - 1, int(where * len(frames)))]
    ok, data = cv2.imencode(".png", np.ascontiguousarray(chosen[..., ::-1]))
    assert ok
    return data.tobytes()
