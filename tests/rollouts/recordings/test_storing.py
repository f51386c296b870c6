"""Recordings of every kind become the episodes that were recorded, in pieces, once, and in bounded memory."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from frmdn.envs.recorded import Recording
from frmdn.envs.spec import ActionCodec
from frmdn.pipeline.files import History
from frmdn.rollouts.episodes.episode import Episode
from frmdn.rollouts.episodes.store import EpisodeStore
from frmdn.rollouts.recordings.fitting import Fitting, channels
from frmdn.rollouts.recordings.rows import rows_of
from frmdn.rollouts.recordings.storing import Stored, pieces, store_takes
from frmdn.rollouts.recordings.survey import NOBODY
from frmdn.rollouts.recordings.take import Take, Tracks

SIZE = 16
BOX = ActionCodec("box", (-9.0,), (999.0,), (0.0,))


def fitting(channel: int = 3, middle: bool = False) -> Fitting:
    return Fitting(SIZE, channel, middle)


def recording(action: ActionCodec = NOBODY, **more: object) -> Recording:
    return Recording("arrays", "test", action, frame_size=SIZE, **more)  # type: ignore[arg-type]


def take(count: int, rows: int | None = None, ended: bool = False, name: str = "t", stamp: str = "1") -> Take:
    """Frame t has grey t, action t is t, reward t is 2^t or t; in so many rows (None: no rows at all)."""

    def pictures() -> Iterator[np.ndarray]:
        for t in range(count):
            yield np.full((SIZE, SIZE, 3), t % 256, np.uint8)

    steps = None if rows is None else np.arange(rows, dtype=np.float64)
    return Take(name, stamp, pictures, lambda: Tracks(name, steps, None if steps is None else steps + 0.5, ended))


def cut(one: Take, action: ActionCodec, **more: object) -> list[Episode]:
    rec = recording(action, **more)
    found = list(pieces(one, rows_of(one.tracks(), action), rec, fitting(), lambda _: None))
    assert [last for _, last in found] == [False] * (len(found) - 1) + [True]
    return [episode for episode, _ in found]


def bring(
    takes: list[Take], folder: Path, action: ActionCodec = BOX, **more: object
) -> tuple[list[Stored], EpisodeStore]:
    store = EpisodeStore(folder / "episodes")
    lines = store_takes(
        takes, recording(action, **more), fitting(), store, History(folder / "takes.jsonl", "index"), lambda *_: None
    )
    return lines, store


@pytest.mark.parametrize("rows", [6, 7])
def test_frames_actions_and_rewards_stay_together(rows: int) -> None:
    (episode,) = cut(take(7, rows, ended=True), BOX)
    assert episode.frames[:, 0, 0, 0].tolist() == list(range(7))
    assert episode.actions[:, 0].tolist() == list(range(6))
    wanted = [0.5, 1.5, 2.5, 3.5, 4.5, 5.5]
    wanted[-1] += 6.5 if rows == 7 else 0  # what no frame shows belongs to the last transition: no reward is lost
    assert episode.rewards.tolist() == wanted
    assert episode.terminated and not episode.truncated


@pytest.mark.parametrize("count", [4, 5, 6, 9, 10, 12, 13, 23])
def test_a_long_recording_is_divided_and_loses_nothing(count: int) -> None:
    parts = cut(take(count, count - 1, ended=True), BOX, length=4)
    assert all(part.steps <= 4 for part in parts)
    assert len(parts) == 1 or all(part.steps >= 2 for part in parts)  # no scraps
    for before, after in itertools.pairwise(parts):
        assert (before.frames[-1] == after.frames[0]).all()
        assert before.truncated and not before.terminated
    assert parts[-1].terminated
    shown = np.concatenate([part.frames[:-1, 0, 0, 0] for part in parts])
    assert shown.tolist() == list(range(count - 1)) == np.concatenate([part.actions[:, 0] for part in parts]).tolist()
    assert sum(part.total for part in parts) == sum(range(count - 1)) + 0.5 * (count - 1)


def test_every_third_frame_has_the_first_action_and_all_rewards() -> None:
    (episode,) = cut(take(11, 10), BOX, every=3)  # frames 0 3 6 9; the last step has no frame of its own
    assert episode.frames[:, 0, 0, 0].tolist() == [0, 3, 6, 9]
    assert episode.actions[:, 0].tolist() == [0, 3, 6]
    assert episode.rewards.tolist() == [0 + 1 + 2 + 1.5, 3 + 4 + 5 + 1.5, 6 + 7 + 8 + 9 + 2]
    parts = cut(take(23, 22), BOX, every=3, length=2)
    assert np.concatenate([part.actions[:, 0] for part in parts]).tolist() == [0, 3, 6, 9, 12, 15, 18]
    assert sum(part.total for part in parts) == sum(range(22)) + 11


def test_without_actions_nobody_acts(tmp_path: Path) -> None:
    lines, store = bring([take(5)], tmp_path, NOBODY)
    episode = store.read(0)
    assert episode.actions.shape == (4, 0) and episode.rewards.tolist() == [0] * 4 and not lines[0].rewarded


@pytest.mark.parametrize(
    ("count", "rows", "word"), [(7, 5, "5 actions for 7"), (7, 8, "8 actions for 7"), (1, 1, "1 fr")]
)
def test_lengths_that_do_not_fit_are_named(count: int, rows: int, word: str) -> None:
    with pytest.raises(ValueError, match=f"^t has {word}"):
        cut(take(count, rows), BOX)


def test_too_few_rows_for_many_pieces_are_counted_to_the_end() -> None:
    with pytest.raises(ValueError, match="t has 5 actions for 30 frames: give it 29"):
        cut(take(30, 5), BOX, length=2)


@pytest.mark.parametrize(
    ("actions", "word"),
    [
        (np.array([0.0, np.nan, 1.0]), "t has nan among its actions .row 1"),
        (np.array([[0.0, 1.0], [np.inf, 1.0]]), "t has inf among its actions .row 1, column 0"),
        (np.zeros((3, 2, 2)), r"actions of \[3, 2, 2\]"),
        (np.array(["a"]), "no numbers"),
        (np.zeros((3, 2)), "actions of 2 numbers, but others of 1"),
    ],
)
def test_wrong_actions_are_named(actions: np.ndarray, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        rows_of(Tracks("t", actions), BOX)


def test_discrete_actions_are_one_hot_and_nothing_else_passes_for_one() -> None:
    codec = ActionCodec("discrete", n=3, start=1)
    rows = rows_of(Tracks("t", np.array([1, 3, 2])), codec)
    assert rows.actions is not None and rows.actions.tolist() == [[1, 0, 0], [0, 0, 1], [0, 1, 0]]
    assert rows_of(Tracks("t", np.eye(3)), codec).actions is not None
    for wrong in (np.array([0, 1]), np.array([4]), np.array([1.5]), np.array([[1, 2]])):
        with pytest.raises(ValueError, match=r"1 to 3: mend it"):
            rows_of(Tracks("t", wrong), codec)


def test_a_second_call_stores_nothing_again_and_adds_what_is_new(tmp_path: Path) -> None:
    bring([take(5, 4, name="a")], tmp_path)
    before = (tmp_path / "episodes" / "000000.h5").stat().st_mtime_ns
    lines, store = bring([take(5, 4, name="a"), take(7, 6, name="b")], tmp_path)
    assert [line.take for line in lines] == ["a", "b"] and store.indices() == [0, 1]
    assert (tmp_path / "episodes" / "000000.h5").stat().st_mtime_ns == before


def test_what_was_stored_whole_may_neither_change_nor_go(tmp_path: Path) -> None:
    bring([take(5, 4, name="a")], tmp_path)
    for takes, word in (([take(5, 4, name="a", stamp="2")], "a has changed"), ([take(5, 4, name="b")], "a is gone")):
        with pytest.raises(ValueError, match=word):
            bring(takes, tmp_path)


def test_a_recording_that_broke_off_goes_on_after_its_last_piece(tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def breaking(count: int) -> Take:
        whole = take(23, 22, name="b")

        def pictures() -> Iterator[np.ndarray]:
            for t, picture in enumerate(whole.pictures()):
                if t == count:
                    raise Stop
                yield picture

        return Take("b", "1", pictures, whole.tracks)

    first = take(5, 4, name="a")
    with pytest.raises(Stop):
        bring([first, breaking(18)], tmp_path, length=4)
    store = EpisodeStore(tmp_path / "episodes")
    kept = {index: store.path(index).stat().st_mtime_ns for index in store.indices()}
    assert len(kept) == 4  # one of a, three of b
    lines, store = bring([first, take(23, 22, name="b")], tmp_path, length=4)
    assert {index: store.path(index).stat().st_mtime_ns for index in kept} == kept
    whole, other = bring([first, take(23, 22, name="b")], tmp_path / "other", length=4)
    assert lines == whole and store.indices() == other.indices()
    for index in store.indices():
        assert store.path(index).read_bytes() == other.path(index).read_bytes()


def test_a_broken_recording_may_be_mended(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="30 frames"):
        bring([take(30, 12, name="b"), take(5, 4, name="c")], tmp_path, length=4)
    lines, store = bring([take(9, 8, name="b", stamp="2"), take(5, 4, name="c")], tmp_path, length=4)
    assert [(line.index, line.take, line.piece) for line in lines] == [(0, "b", 0), (1, "b", 1), (2, "c", 0)]
    assert store.indices() == [0, 1, 2] and store.read(1).frames[-1, 0, 0, 0] == 8


def test_an_episode_that_was_lost_is_read_again(tmp_path: Path) -> None:
    takes = [take(23, 22, name="a"), take(5, 4, name="b")]
    _, store = bring(takes, tmp_path, length=4)
    lost = store.path(2).read_bytes()
    store.path(2).unlink()
    lines, store = bring(takes, tmp_path, length=4)
    assert store.path(2).read_bytes() == lost and len(lines) == len(store.indices())


def test_memory_holds_some_pieces_and_not_the_recording() -> None:
    alive, most = 0, 0

    class Picture(np.ndarray):
        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def pictures() -> Iterator[np.ndarray]:
        nonlocal alive, most
        for _ in range(2000):
            alive += 1
            most = max(most, alive)
            yield np.zeros((SIZE, SIZE, 3), np.uint8).view(Picture)

    long = Take("t", "1", pictures, lambda: Tracks("t"))
    held = []
    for episode, _ in pieces(long, rows_of(Tracks("t"), NOBODY), recording(length=10), fitting(), lambda _: None):
        held.append(episode.steps)
    assert sum(held) == 1999 and most < 60


def test_pictures_are_cut_and_squeezed_as_asked() -> None:
    wide = np.zeros((SIZE * 2, SIZE * 4, 3), np.uint8)
    wide[:, SIZE : 3 * SIZE] = 200  # its middle
    assert (fitting(middle=True)(wide, "x") == 200).all()
    assert fitting()(wide, "x")[0, :, 0].tolist() == [0] * 4 + [200] * 8 + [0] * 4
    exact = np.arange(SIZE * SIZE * 3, dtype=np.uint8).reshape(SIZE, SIZE, 3)
    assert (Fitting(SIZE, 3, True, (0, 4))(exact, "x") == exact).all()  # of that size already: left as it is
    rows = np.zeros((SIZE * 2, SIZE * 2, 3), np.uint8)
    rows[:SIZE] = 100
    assert (Fitting(SIZE, 3, rows=(0, SIZE))(rows, "x") == 100).all()
    # the environment keeps the upper half of its own 10 rows: of a picture of another height the upper half as well
    assert (Fitting(SIZE, 3, rows=(0, 5), height=10)(rows, "x") == 100).all()


@pytest.mark.parametrize(
    ("picture", "word"),
    [
        (np.zeros((3, 20, 30), np.uint8), "channels last"),
        (np.zeros((20, 30, 4), np.uint8), "alpha"),
        (np.zeros((20, 30, 3), np.float32), "save them as uint8"),
        (np.zeros(5, np.uint8), "grey or RGB"),
    ],
)
def test_pictures_that_are_none_are_named(picture: np.ndarray, word: str) -> None:
    with pytest.raises(ValueError, match=f"^clip has pictures of .*{word}"):
        channels(picture, "clip")


def test_grey_among_colours_is_named() -> None:
    with pytest.raises(ValueError, match="clip is grey, but the others are of 3 colours"):
        fitting()(np.zeros((20, 20), np.uint8), "clip")
