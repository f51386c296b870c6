"""What a disk refuses ends in one line, loses nothing that is finished, and the same command goes on afterwards.

The real thing each time: a small file system that is full, one that can only be read, a path below a file, a folder of
another user. Mounting is root's right; where it is not given, those tests are skipped.
"""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from frmdn.envs.catalogue import get_spec
from frmdn.pipeline.commands.main import main
from frmdn.pipeline.disk import REFUSALS, in_words, remove
from frmdn.pipeline.files import History, append_text, read_history, write_bytes, write_json
from frmdn.pipeline.presets import preset
from frmdn.pipeline.progress import Progress
from frmdn.pipeline.stages.table import STAGES
from frmdn.pipeline.workspace import Workspace


def mounted(folder: Path, *options: str) -> bool:
    return subprocess.run(["mount", *options, str(folder)], capture_output=True).returncode == 0


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if not mounted(folder, "-t", "tmpfs", "-o", "size=64k", "tmpfs"):
        pytest.skip("mounting is not permitted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def line(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The last line that a command ends with, which is the only one that is no progress."""
    assert main(words) == 2
    captured = capsys.readouterr().err
    assert "Traceback" not in captured
    told = [text for text in captured.splitlines() if text.startswith("frmdn: ")]
    assert len(told) == 1 and captured.splitlines()[-1] == told[0]
    return told[0]


@pytest.mark.slow
def test_a_full_disk_at_any_stage_is_one_line_and_the_run_goes_on(
    small: Path, tiny: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """A run on a disk that grows by a little whenever it is full: every stage that fails finishes at the next call."""
    out, size, failed = small / "run", 64, []
    workspace, words = Workspace(out), tiny(out)
    done: set[str] = set()
    while main(words) != 0:
        captured = capsys.readouterr().err
        told = captured.splitlines()[-1]
        assert told.startswith("frmdn: ") and "Traceback" not in captured
        assert "space" in told, told
        before, done = (
            done,
            {name for name in workspace.table if workspace.config_path.exists() and workspace.done(name)},
        )
        assert before <= done, "what was done is done"
        assert not list(small.rglob("*.tmp"))
        failed.append(next((stage.name for stage in STAGES if stage.name not in done), "all"))
        size = size + 64 if size < 256 else size * 3 // 2
        assert size < 1 << 20
        assert mounted(small, "-o", f"remount,size={size}k")
    assert {status.state for status in workspace.status()} == {"done"}
    assert len(set(failed)) > 1, failed


def test_a_file_that_does_not_fit_leaves_the_old_one_and_no_rest(small: Path) -> None:
    path = small / "a.json"
    write_json(path, {"n": 1})
    with pytest.raises(OSError, match="No space left") as caught:
        write_bytes(path, bytes(1 << 20))
    assert in_words(caught.value) == f"{path}: {REFUSALS[errno.ENOSPC]}"
    assert [name.name for name in small.iterdir()] == ["a.json"] and path.read_bytes() == b'{\n  "n": 1\n}\n'


def test_a_line_that_does_not_fit_is_not_there_by_half(small: Path) -> None:
    history = History(small / "h.jsonl", "step")
    history.append({"step": 1})
    with pytest.raises(OSError, match="No space left"):
        history.append({"step": 2, "text": "x" * (1 << 20)})
    history.append({"step": 3})
    assert [line["step"] for line in history.read()] == [1, 3]


def test_a_file_that_may_not_become_so_large(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError) as caught:
            write_bytes(tmp_path / "a", bytes(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "ulimit -f" in str(in_words(caught.value)) and not list(tmp_path.iterdir())


def test_a_folder_that_can_only_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "read"
    folder.mkdir()
    if not (mounted(folder, "--bind", str(folder)) and mounted(folder, "-o", "remount,ro,bind")):
        pytest.skip("mounting is not permitted here")
    try:
        for out in (folder, folder / "new"):
            told = line(capsys, "run", "--preset", "smoke", "--out", str(out))
            assert f"{out}" in told and "can only be read: use another folder" in told
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_folder_below_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    told = line(capsys, "run", "--preset", "smoke", "--out", str(tmp_path / "file" / "run"))
    assert told == f"frmdn: {tmp_path / 'file' / 'run'}: {REFUSALS[errno.ENOTDIR]}"


def test_a_folder_of_another_user(capsys: pytest.CaptureFixture[str]) -> None:
    """As nobody, whom root can become: in this process, for nobody may read where Python is installed."""
    if os.geteuid() != 0:
        pytest.skip("only root can be another user")
    preset("smoke", get_spec("CarRacing-v3"))  # imports, as root, whose files these may be

    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        os.seteuid(65534)
        try:
            told = line(capsys, "run", "--preset", "smoke", "--out", f"{folder}/run")
        finally:
            os.seteuid(0)
    assert told == f"frmdn: {folder}/run: {REFUSALS[errno.EACCES]}"


@pytest.mark.parametrize("buffered", ["", "1"])
def test_figures_that_go_to_a_full_disk(finished: Path, buffered: str) -> None:
    words = [sys.executable, "-m", "frmdn", "status", "--run", str(finished)]
    with open("/dev/full", "w") as full:
        env = os.environ | {"PYTHONUNBUFFERED": buffered}
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, env=env)
    assert done.returncode == 2
    assert done.stderr.endswith(f"the standard output: {REFUSALS[errno.ENOSPC]}\n") and done.stderr.count("\n") == 1


# Links of a stranger


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("mine")
    run = tmp_path / "run"
    run.mkdir()
    for name in ("log.txt", ".lock", "a.json", "a.json.tmp", "history.jsonl"):
        (run / name).symlink_to(secret)
    write_json(run / "a.json", {"n": 1})
    assert not (run / "a.json").is_symlink()
    with pytest.raises(OSError) as caught:
        append_text(run / "history.jsonl", "x\n")
    assert "it is a symbolic link" in str(in_words(caught.value))
    with pytest.raises(OSError, match="symbolic"):
        Progress(run / "log.txt").note("x")
    with pytest.raises(OSError, match="symbolic"), Workspace(run).lock():
        pass
    assert secret.read_text() == "mine"


def test_a_store_writes_through_no_link(tmp_path: Path) -> None:
    from frmdn.rollouts.episodes.store import IndexedFolder

    (tmp_path / "secret").write_text("mine")
    folder = IndexedFolder(tmp_path / "store", ".h5")
    for name in ("000000.h5.tmp", "000000.h5"):
        (folder.folder / name).symlink_to(tmp_path / "secret")
    folder.put(0, b"data")
    assert (tmp_path / "secret").read_text() == "mine" and folder.path(0).read_bytes() == b"data"


def test_what_is_removed_is_gone_or_said(tmp_path: Path) -> None:
    far, folder = tmp_path / "far", tmp_path / "run" / "rollouts"
    (far / "episodes").mkdir(parents=True)
    (far / "episodes" / "000000.h5").write_text("old")
    folder.parent.mkdir()
    folder.symlink_to(far)
    with pytest.raises(ValueError, match=f"{folder} is a link to {far}, and what lies there must go"):
        remove(folder)
    assert (far / "episodes" / "000000.h5").exists()
    remove(far / "episodes")
    remove(folder)  # nothing is behind it any more: the next episodes go there
    assert folder.is_symlink() and far.is_dir()
    remove(tmp_path / "nothing")


def test_a_damaged_line_takes_no_other_with_it_and_is_named(tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    path.write_text('{"step": 1}\n{"step": "2"}\n{"step": 3}\n{"st\x00ep": 4}\n{"step": 5}\n{"step": 6')
    assert read_history(path, ("step",)) == [{"step": 1}, {"step": 3}, {"step": 5}]
    history = History(path, "step")
    assert history.damage() == f"{path}: lines 2, 4 are damaged"  # the last one was cut short by a kill
    assert history.cut(3) == [{"step": 1}, {"step": 3}] and history.damage() is None


def test_lines_that_stand_on_each_other_end_before_a_damaged_one(tmp_path: Path) -> None:
    path = tmp_path / "takes.jsonl"
    path.write_text('{"index": 0}\n{"index": \n{"index": 2}\n')
    assert History(path, "index", chained=True).read() == [{"index": 0}]
