"""Every reader hands over what was recorded: checked on recordings that other programs wrote."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from frmdn.envs.spec import ActionCodec
from frmdn.rollouts.recordings.opening import open_source
from frmdn.rollouts.recordings.survey import NOBODY, find_actions


def grey(number: int) -> int:
    """The grey of a frame: ten apart, which no video compression confuses."""
    return 20 + 10 * (number % 20)


def frames(count: int, height: int = 48, width: int = 64) -> np.ndarray:
    """u8[count,H,W,3], frame t all of grey(t)."""
    return np.stack([np.full((height, width, 3), grey(t), np.uint8) for t in range(count)])


def save_video(path: Path, pictures: np.ndarray, code: str = "mp4v") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = pictures.shape[1:3]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*code), 30, (width, height))
    assert writer.isOpened(), code
    for picture in pictures:
        writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    writer.release()
    return path


@pytest.fixture
def video(tmp_path: Path) -> Callable[..., Path]:
    """Writes videos/NAME of so many frames, and rows beside it where `actions` are given; the folder."""

    def make(name: str = "a.mp4", count: int = 12, code: str = "mp4v", actions: np.ndarray | None = None) -> Path:
        path = save_video(tmp_path / "videos" / name, frames(count), code)
        if actions is not None:
            np.save(path.with_suffix(".npy"), actions)
        return path.parent

    return make


def greys(take: object) -> list[int]:
    return [round(float(picture.mean())) for picture in take.pictures()]  # type: ignore[attr-defined]


@pytest.mark.parametrize(("name", "code"), [("a.mp4", "mp4v"), ("a.webm", "VP80"), ("a.avi", "MJPG")])
def test_videos_are_read_frame_by_frame(video: Callable[..., Path], name: str, code: str) -> None:
    (take,) = open_source(str(video(name, 12, code))).takes
    found = greys(take)
    assert len(found) == 12 and np.abs(np.subtract(found, [grey(t) for t in range(12)])).max() <= 4


def test_colours_are_rgb(tmp_path: Path) -> None:
    red = np.zeros((5, 48, 64, 3), np.uint8)
    red[..., 0] = 220
    (take,) = open_source(str(save_video(tmp_path / "red.mp4", red))).takes
    picture = next(take.pictures())
    assert picture[..., 0].mean() > 190 and picture[..., 2].mean() < 30


def test_av1_is_read_by_pyav(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    path = tmp_path / "robot.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libsvtav1", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for picture in frames(8, 64, 64):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    (take,) = open_source(str(path)).takes
    assert np.abs(np.subtract(greys(take), [grey(t) for t in range(8)])).max() <= 4


def test_a_video_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"not a video")
    (take,) = open_source(str(tmp_path)).takes
    with pytest.raises(ValueError, match=r"broken\.mp4 has no picture that can be read"):
        list(take.pictures())


def test_a_table_beside_a_video(video: Callable[..., Path]) -> None:
    folder = video("a.mp4", 4)
    (folder / "a.csv").write_text("steer,gas,reward\n0.5,1,2\n-0.5,0,3\n0,0,4\n")
    (take,) = open_source(str(folder)).takes
    tracks = take.tracks()
    assert tracks.actions is not None and tracks.rewards is not None
    assert tracks.actions.tolist() == [[0.5, 1], [-0.5, 0], [0, 0]] and tracks.rewards.tolist() == [2, 3, 4]
    (folder / "a.csv").write_text("key\n0\n2\n1\n")
    tracks = open_source(str(folder)).takes[0].tracks()
    assert tracks.actions is not None and tracks.actions.dtype == np.int64 and tracks.rewards is None
    (folder / "a.csv").write_text("key,other\n0,1\n,1\n1,1\n")
    with pytest.raises(ValueError, match=r"a\.csv, column key, row 2: empty"):
        open_source(str(folder)).takes[0].tracks()
    np.save(folder / "a.npy", np.zeros(3))
    with pytest.raises(ValueError, match=r"a\.csv and a\.npy beside it"):
        open_source(str(folder))


def test_one_archive_one_episode(tmp_path: Path) -> None:
    shown = frames(5)
    np.savez_compressed(tmp_path / "e.npz", obs=shown, action=np.arange(4.0), reward=np.ones(4), done=[0, 0, 0, 1])
    (take,) = open_source(str(tmp_path / "e.npz")).takes
    assert (np.stack(list(take.pictures())) == shown).all()
    tracks = take.tracks()
    assert tracks.actions is not None and tracks.actions.tolist() == [0, 1, 2, 3] and tracks.ended


@pytest.mark.parametrize("rows", ["T", "T+1"])
@pytest.mark.parametrize("padded", [False, True])
def test_one_archive_many_episodes(tmp_path: Path, rows: str, padded: bool) -> None:
    """Three of 5, 3 and 4 frames, behind each other or padded: every one gets its own rows."""
    lengths = [5, 3, 4]
    less = 1 if rows == "T" else 0
    shown = [frames(20)[n : n + length] for n, length in zip((0, 6, 11), lengths, strict=True)]
    acted = [10.0 * n + np.arange(length - less) for n, length in enumerate(lengths)]
    if padded:
        pictures = np.zeros((3, 5, 48, 64, 3), np.uint8)
        actions = np.full((3, 5 - less), np.nan)
        for n in range(3):
            pictures[n, : lengths[n]], actions[n, : len(acted[n])] = shown[n], acted[n]
    else:
        pictures, actions = np.concatenate(shown), np.concatenate(acted)
    path = tmp_path / "many.npz"
    np.savez(path, frames=pictures, actions=actions, lengths=lengths, terminated=[True, False, True])
    takes = open_source(str(path)).takes
    assert [take.frames for take in takes] == lengths
    for n, take in enumerate(takes):
        tracks = take.tracks()
        assert (np.stack(list(take.pictures())) == shown[n]).all()
        assert tracks.actions is not None and tracks.actions.tolist() == acted[n].tolist()
        assert tracks.ended == [True, False, True][n]


@pytest.mark.parametrize(
    ("arrays", "word"),
    [
        ({"actions": np.zeros(3)}, "has no frames .it holds actions"),
        ({"frames": np.zeros((6, 8, 8, 3), np.uint8), "lengths": [3, 2]}, "that add up"),
        ({"frames": np.zeros((6, 8), np.uint8)}, r"\[6, 8\]"),
        ({"frames": np.zeros((6, 8, 8, 3), np.uint8), "lengths": [6.5]}, "whole number"),
    ],
)
def test_archives_that_do_not_fit_are_named(tmp_path: Path, arrays: dict[str, np.ndarray], word: str) -> None:
    np.savez(tmp_path / "e.npz", **arrays)
    with pytest.raises(ValueError, match=rf"e\.npz.*{word}"):
        open_source(str(tmp_path))


def test_rows_that_do_not_divide_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "e.npz", frames=np.zeros((6, 8, 8, 3), np.uint8), lengths=[3, 3], actions=np.zeros(5))
    with pytest.raises(ValueError, match=r"e\.npz, episode 0: actions has 5 rows, .* give it 4 or 6"):
        open_source(str(tmp_path)).takes[0].tracks()


def test_an_archive_that_is_cut_short_or_pickled_is_named(tmp_path: Path) -> None:
    whole = tmp_path / "e.npz"
    np.savez(whole, frames=np.array([{}], object))
    with pytest.raises(ValueError, match=r"e\.npz is no whole npz file"):
        open_source(str(whole))
    whole.write_bytes(b"PK nothing")
    with pytest.raises(ValueError, match=r"e\.npz is no whole npz file"):
        open_source(str(whole))


def test_nothing_to_read_says_what_is_read(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no recordings that we can read: give a folder of videos"):
        open_source(str(tmp_path))
    with pytest.raises(ValueError, match="is not there: give a folder"):
        open_source(str(tmp_path / "absent"))


def test_pictures_may_pack_as_well_as_they_like(tmp_path: Path) -> None:
    """A ball before black: 70 MB in a hundred kilobytes, and honest. They are read one at a time."""
    shown = np.zeros((6000, 64, 64, 3), np.uint8)
    for t, picture in enumerate(shown):
        picture[t % 60 : t % 60 + 4, 30:34] = 255
    path = tmp_path / "ball.npz"
    np.savez_compressed(path, frames=shown, actions=np.arange(6000) % 3)
    assert shown.nbytes > 1 << 26 and shown.nbytes > 300 * path.stat().st_size
    (take,) = open_source(str(path)).takes
    actions = take.tracks().actions
    assert actions is not None and actions.shape == (6000,)
    assert np.array_equal(next(iter(take.pictures())), shown[0])


def lerobot(root: Path, version: str = "v2.1", kind: str = "video") -> Path:
    """Two episodes of 6 and 4 frames in LeRobot's layout; images stand in the parquet as PNG."""
    import pyarrow as pa
    from pyarrow import parquet

    feature = {"dtype": kind, "shape": [64, 64, 3], "names": ["height", "width", "channels"]}
    features = {"observation.images.top": feature, "action": {"dtype": "float32", "shape": [2], "names": None}}
    info = {"codebase_version": version, "fps": 30, "total_episodes": 2, "chunks_size": 1, "features": features}
    info["data_path"] = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
    info["video_path"] = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
    (root / "meta").mkdir(parents=True)
    (root / "meta" / "info.json").write_text(json.dumps(info))
    for n, count in enumerate((6, 4)):
        shown = frames(count, 64, 64)
        columns: dict[str, object] = {
            "action": [[n + t / 10, -t] for t in range(count)],
            "next.reward": [float(t == count - 1) for t in range(count)],
            "next.done": [t == count - 1 for t in range(count)],
        }
        if kind == "video":
            save_video(root / f"videos/chunk-{n:03d}/observation.images.top/episode_{n:06d}.mp4", shown)
        else:
            columns["observation.images.top"] = [
                {"bytes": cv2.imencode(".png", picture)[1].tobytes(), "path": None} for picture in shown
            ]
        path = root / f"data/chunk-{n:03d}/episode_{n:06d}.parquet"
        path.parent.mkdir(parents=True)
        parquet.write_table(pa.table(columns), path)
    return root


@pytest.mark.parametrize("kind", ["video", "image"])
def test_lerobot(tmp_path: Path, kind: str) -> None:
    pytest.importorskip("pyarrow")
    source = open_source(str(lerobot(tmp_path / "robot", kind=kind)))
    assert source.kind == "lerobot" and len(source.takes) == 2
    for n, (take, count) in enumerate(zip(source.takes, (6, 4), strict=True)):
        assert np.abs(np.subtract(greys(take), [grey(t) for t in range(count)])).max() <= 4
        tracks = take.tracks()
        assert tracks.actions is not None and tracks.rewards is not None and tracks.ended
        assert tracks.actions.tolist() == [[n + t / 10, -t] for t in range(count)]
        assert tracks.rewards.tolist() == [0.0] * (count - 1) + [1.0]


def lerobot_3(root: Path, kind: str = "video", av1: bool = False) -> Path:
    """The same two episodes and a third of 5 frames in layout 3.0: several in a table and in a video."""
    import pyarrow as pa
    from pyarrow import parquet

    key = "observation.images.top"
    feature = {"dtype": kind, "shape": [64, 64, 3], "names": ["height", "width", "channels"]}
    features = {key: feature, "action": {"dtype": "float32", "shape": [2], "names": None}}
    info = {"codebase_version": "v3.0", "fps": 30, "total_episodes": 3, "chunks_size": 1000, "features": features}
    info["data_path"] = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
    info["video_path"] = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
    (root / "meta/episodes/chunk-000").mkdir(parents=True)
    (root / "meta/info.json").write_text(json.dumps(info))
    files: list[list[int]] = [[0, 1], [2]]  # episodes of each file
    counts, meta = (6, 4, 5), []
    for number, episodes in enumerate(files):
        rows: dict[str, list[object]] = {"episode_index": [], "action": [], "next.done": []}
        shown: list[np.ndarray] = []
        for n in episodes:
            start = len(shown)
            shown += [picture // (1 + n % 2) for picture in frames(counts[n], 64, 64)]
            rows["episode_index"] += [n] * counts[n]
            rows["action"] += [[n + t / 10, -t] for t in range(counts[n])]
            rows["next.done"] += [t == counts[n] - 1 for t in range(counts[n])]
            video = {f"videos/{key}/chunk_index": 0, f"videos/{key}/file_index": number}
            video |= {f"videos/{key}/from_timestamp": start / 30, f"videos/{key}/to_timestamp": len(shown) / 30}
            meta.append({"episode_index": n, "length": counts[n], "data/chunk_index": 0, "data/file_index": number})
            meta[-1] |= video if kind == "video" else {}
        if kind == "image":
            rows[key] = [{"bytes": cv2.imencode(".png", picture)[1].tobytes(), "path": None} for picture in shown]
        path = root / f"data/chunk-000/file-{number:03d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(pa.table(rows), path)
        if kind == "video":
            path = root / f"videos/{key}/chunk-000/file-{number:03d}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            (save_av1 if av1 else save_video)(path, np.array(shown))
    table = {name: [row[name] for row in meta] for name in meta[0]}
    parquet.write_table(pa.table(table), root / "meta/episodes/chunk-000/file-000.parquet")
    return root


def save_av1(path: Path, shown: np.ndarray) -> None:
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libsvtav1", rate=30, options={"g": "2", "crf": "10"})
        stream.width, stream.height, stream.pix_fmt = shown.shape[2], shown.shape[1], "yuv420p"
        for picture in shown:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
        container.mux(stream.encode())


@pytest.mark.parametrize(("kind", "av1"), [("video", False), ("video", True), ("image", False)])
def test_lerobot_with_several_episodes_in_a_file(tmp_path: Path, kind: str, av1: bool) -> None:
    pytest.importorskip("pyarrow")
    source = open_source(str(lerobot_3(tmp_path / "robot", kind, av1)))
    assert [take.frames for take in source.takes] == [6, 4, 5]
    for n, (take, count) in enumerate(zip(source.takes, (6, 4, 5), strict=True)):
        wanted = [grey(t) // (1 + n % 2) for t in range(count)]
        assert np.abs(np.subtract(greys(take), wanted)).max() <= 5
        tracks = take.tracks()
        assert tracks.actions is not None and tracks.ended
        assert tracks.actions.tolist() == [[n + t / 10, -t] for t in range(count)]


def test_lerobot_3_says_what_is_missing(tmp_path: Path) -> None:
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    root = lerobot_3(tmp_path / "robot")
    short = root / "videos/observation.images.top/chunk-000/file-001.mp4"
    save_video(short, frames(2, 64, 64))
    with pytest.raises(ValueError, match=r"file-001\.mp4 has no 5 pictures from number 0 on: copy the data set whole"):
        list(open_source(str(root)).takes[2].pictures())
    short.unlink()
    with pytest.raises(ValueError, match=r"file-001\.mp4 is not there, but .* says that it has 3 episodes"):
        open_source(str(root))
    meta = root / "meta/episodes/chunk-000/file-000.parquet"
    parquet.write_table(pa.table({"episode_index": [0], "length": [6]}), meta)
    with pytest.raises(ValueError, match=r"file-000\.parquet does not have the column data/chunk_index"):
        open_source(str(root))
    meta.unlink()
    with pytest.raises(ValueError, match="episodes holds no table of episodes"):
        open_source(str(root))


def test_lerobot_says_what_it_cannot_read(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    with pytest.raises(ValueError, match=r"version v1\.6 of LeRobot's layout: versions 2\.0, 2\.1 and 3\.0"):
        open_source(str(lerobot(tmp_path / "new", "v1.6")))
    old = lerobot(tmp_path / "old")
    with pytest.raises(ValueError, match=r"no pictures side: choose one by --camera, of observation\.images\.top"):
        open_source(str(old), "side")
    (old / "data/chunk-001/episode_000001.parquet").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"episode_000001\.parquet is no whole parquet file"):
        open_source(str(old)).takes[1].tracks()
    (old / "data/chunk-001/episode_000001.parquet").unlink()
    with pytest.raises(ValueError, match=r"episode_000001\.parquet is not there"):
        open_source(str(old))


def test_survey_finds_what_actions_are(video: Callable[..., Path]) -> None:
    video("a.mp4", actions=np.linspace(-1, 2, 22).reshape(11, 2))
    folder = video("b.mp4", actions=np.zeros((12, 2)))
    codec = find_actions(open_source(str(folder)))
    assert (codec.kind, codec.low, codec.rest) == ("box", (-1.0, pytest.approx(-1 + 3 / 21)), (0.0, 0.0))
    assert find_actions(open_source(str(folder)), "none") == NOBODY
    with pytest.raises(ValueError, match="2 numbers: discrete ones are a single column"):
        find_actions(open_source(str(folder)), "discrete")
    video("c.mp4")
    with pytest.raises(ValueError, match=r"c\.mp4 has no actions, but .*a\.npy has"):
        find_actions(open_source(str(folder)))
    np.save(folder / "c.npy", np.zeros((11, 3)))
    with pytest.raises(ValueError, match=r"c\.npy has actions of 3 numbers, but .*a\.npy of 2"):
        find_actions(open_source(str(folder)))


def test_survey_takes_whole_numbers_as_discrete_unless_told(video: Callable[..., Path]) -> None:
    folder = video(actions=np.array([0, 1, 4] * 4))
    assert find_actions(open_source(str(folder))) == ActionCodec("discrete", n=5)
    assert find_actions(open_source(str(folder)), "numbers").kind == "box"
    np.save(folder / "a.npy", -np.ones(11, np.int64))
    with pytest.raises(ValueError, match=r"a\.npy has action -1: discrete ones count from 0"):
        find_actions(open_source(str(folder)))
