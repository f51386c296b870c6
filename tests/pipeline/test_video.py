"""The video: a file that plays, of the size and colours that were given, and a drive whose columns are aligned."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from frmdn.agent.agent import Agent, AgentConfig
from frmdn.agent.memory import Memory, MemoryConfig
from frmdn.agent.vision import ConvVAE, VisionConfig
from frmdn.controller.linear import LinearController
from frmdn.envs import get_spec
from frmdn.envs.measure import Measure
from frmdn.envs.worlds.counting import counting_spec
from frmdn.pipeline.drawing.canvas import Controls, enlarge
from frmdn.pipeline.drawing.video import poster, read_video, save_video, write_video
from frmdn.pipeline.report.drive import DriveRecord
from frmdn.pipeline.report.film import record_agent


def make_record(steps: int = 40, memory: bool = True) -> DriveRecord:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (3, steps + 1, 8, 8, 3), np.uint8).repeat(8, axis=2).repeat(8, axis=3)
    return DriveRecord(
        seed=3,
        frames=pictures[0],
        reconstructions=pictures[1],
        expected=pictures[2] if memory else None,
        actions=rng.uniform(0, 1, (steps, 3)).astype(np.float32),
        rewards=np.ones(steps, np.float32),
        controls=Controls("CarRacing-v3", np.array([-1, 0, 0], np.float32), np.ones(3, np.float32)),
    )


def make_agent(spec, features: str = "zh") -> tuple[Agent, np.ndarray]:
    torch.manual_seed(0)
    vision = ConvVAE(VisionConfig(channels=spec.channels, latent=8, decoder="fast"))
    memory = Memory(MemoryConfig(latent=8, action=spec.action.size, hidden=16)) if features != "z" else None
    controller = LinearController(8 + (16 if memory is not None else 0), spec.action.size)
    agent = Agent(vision, memory, controller, spec.action.squash, AgentConfig(features))
    return agent, np.random.default_rng(0).normal(size=controller.size) * 0.1


def test_a_video_keeps_order_number_and_colour_of_its_frames(tmp_path: Path) -> None:
    colours = [(220, 30, 30), (30, 200, 30), (30, 30, 220)]
    frames = [np.full((64, 96, 3), colour, np.uint8) for colour in colours for _ in range(4)]
    path = write_video(tmp_path / "deep" / "a.webm", iter(frames), fps=10)
    assert path.read_bytes()[:4] == bytes.fromhex("1a45dfa3")  # EBML, the head of every WebM
    back = read_video(path)
    assert len(back) == 12 and back[0].shape == (64, 96, 3)
    for frame, colour in zip(back[1::4], colours, strict=True):
        assert np.abs(frame.mean((0, 1)) - colour).max() < 12  # RGB and BGR confused would be 190 off
    assert [p.name for p in path.parent.iterdir()] == ["a.webm"]


def test_writing_says_nothing_on_stderr(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_video(tmp_path / "a.webm", [np.zeros((32, 32, 3), np.uint8)] * 3)
    os.write(2, b"still here")  # the descriptor is itself again
    assert capfd.readouterr().err == "still here"


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([], "empty"),
        ([np.zeros((33, 32, 3), np.uint8)], "even"),
        ([np.zeros((32, 32), np.uint8)], "even"),
        ([np.zeros((32, 32, 3), np.uint8), np.zeros((32, 34, 3), np.uint8)], "frame 1"),
    ],
)
def test_bad_frames_are_refused_and_leave_nothing(tmp_path: Path, frames: list[np.ndarray], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write_video(tmp_path / "a.webm", frames)
    assert not list(tmp_path.iterdir())


def test_an_opencv_without_codecs_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("frmdn.pipeline.drawing.video.CODECS", ("ABCD",))
    with pytest.raises(ValueError, match="opencv-python"):
        write_video(tmp_path / "a.webm", [np.zeros((32, 32, 3), np.uint8)])


def test_compose_shows_every_stride_and_the_last_instant() -> None:
    record = make_record(steps=10)
    pages = list(record.pictures(stride=4))  # instants 0, 4, 8 and the last, 10
    assert len(pages) == 4 and len({page.shape for page in pages}) == 1
    height, width, channels = pages[0].shape
    assert height % 2 == width % 2 == 0 and channels == 3
    assert (pages[-1][30:222, 12:204] == enlarge(record.frames[10], 192)).all()
    assert (pages[1][30:222, 420:612] == enlarge(record.expected[4], 192)).all()
    assert next(make_record(4, memory=False).pictures()).shape[1] < width  # two panels


def test_enlarging_copies_pixels_as_squares() -> None:
    picture = np.arange(64 * 64, dtype=np.uint8).reshape(64, 64, 1)
    large = enlarge(picture, 192)
    assert large.shape == (192, 192, 3)
    assert (large[::3, ::3, 0] == picture[..., 0]).all() and (large[1::3, 2::3, 2] == picture[..., 0]).all()


def test_a_drive_is_thinned_until_it_fits(tmp_path: Path) -> None:
    record = make_record(steps=16)
    whole = save_video(tmp_path / "a.webm", record.steps, record.pictures, limit=10**9)
    assert len(read_video(whole)) == 17
    limit = whole.stat().st_size // 2
    assert save_video(tmp_path / "b.webm", record.steps, record.pictures, limit=limit).stat().st_size <= limit
    short = save_video(
        tmp_path / "c.webm", record.steps, record.pictures, seconds=0.2, limit=10**9
    )  # at 30 frames a second
    assert len(read_video(short)) <= 7
    with pytest.raises(ValueError, match="limit=10"):
        save_video(tmp_path / "d.webm", record.steps, record.pictures, limit=10)


def test_a_poster_is_a_picture_of_the_video(tmp_path: Path) -> None:
    write_video(tmp_path / "a.webm", [np.full((32, 32, 3), 128, np.uint8)] * 3)
    assert poster(tmp_path / "a.webm")[:8] == b"\x89PNG\r\n\x1a\n"
    (tmp_path / "b.webm").write_bytes(b"no video")
    with pytest.raises(ValueError, match="frmdn report"):
        poster(tmp_path / "b.webm")


def test_the_columns_of_a_drive_are_aligned() -> None:
    """Recompute by hand, step by step, what must stand in row t of each column."""
    spec = counting_spec(length=7)
    agent, theta = make_agent(spec)
    assert agent.memory is not None
    with torch.no_grad():
        for parameter in [*agent.vision.parameters(), *agent.memory.parameters()]:
            parameter.mul_(2.0)  # fresh weights hardly move the picture: a shifted column would pass
    record = record_agent(agent, theta, spec, seed=5)
    assert record.expected is not None
    moves = np.abs(np.diff(record.expected[1:].astype(int), axis=0)).max((1, 2, 3))
    assert moves.max() > 8, moves  # so that a shift by one row shows
    assert record.steps == 7 and record.frames.shape[0] == record.reconstructions.shape[0] == 8
    assert not record.expected[0].any()
    state, rows = agent.initial(1), torch.as_tensor(theta, dtype=torch.float32)[None]
    for t in range(7):
        frame = torch.from_numpy(record.frames[t : t + 1])
        actions, state = agent.act(frame, state, rows)
        np.testing.assert_allclose(record.actions[t], actions[0].numpy(), atol=1e-5)
        assert_pixels(record.reconstructions[t], agent.reconstruct(frame)[0])
        assert_pixels(record.expected[t + 1], agent.expect_next(state)[0])


def assert_pixels(found: np.ndarray, wanted: Tensor) -> None:
    assert np.abs(found.astype(int) - wanted.numpy() * 255).max() <= 2  # batches of another size round differently


def test_an_agent_without_memory_expects_nothing() -> None:
    spec = counting_spec(length=3)
    record = record_agent(*make_agent(spec, features="z"), spec, seed=1)
    assert record.expected is None and record.steps == 3


def test_a_drive_on_the_official_track(tmp_path: Path) -> None:
    spec = get_spec("CarRacing-v3")
    record = record_agent(*make_agent(spec), spec, seed=11, max_steps=60)
    assert record.steps == 60 and record.controls.env == "CarRacing-v3"
    first, _ = spec.make(seed=11).reset(seed=11)
    assert (record.frames[0] == first).all()
    path = save_video(tmp_path / "agent.webm", record.steps, record.pictures)
    assert 2_000 < path.stat().st_size < 2 * 2**20


def test_a_world_that_names_its_actions_shows_the_chosen_one_and_what_it_measures(tmp_path: Path) -> None:
    """Strips differ where the action or the measured figure does, and the names of the actions need no bars."""
    plain = make_record(steps=4)
    actions = np.eye(3, dtype=np.float32)[[0, 0, 1, 1]]
    told = {"distance": np.array([40.0, 40.0, 40.0, 95.0, 95.0])}
    named = replace(plain.controls, names=("wait", "right", "A"))
    still = replace(plain, actions=actions, rewards=np.zeros(4, np.float32), controls=named, told=told)
    strips = [picture[-46:, 140:] for picture in replace(still, frames=still.frames * 0).pictures()]
    assert np.array_equal(strips[0], strips[1])  # same action, same distance
    assert not np.array_equal(strips[1][:, 80:], strips[2][:, 80:])  # another action
    assert not np.array_equal(strips[2][:, :60], strips[3][:, :60])  # further on


def test_a_drive_keeps_what_the_world_measures_at_every_frame() -> None:
    spec = replace(counting_spec(7, discrete=3), measures=(Measure("went", "steps", "mean", "steps"),))
    record = record_agent(*make_agent(spec), spec, seed=5)
    assert record.told["went"].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
