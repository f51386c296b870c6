"""The run folder: states, staleness, the lock, and whose folder it is."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from frmdn.pipeline.commands.main import main
from frmdn.pipeline.config import override
from frmdn.pipeline.files import read_json, write_json
from frmdn.pipeline.session import open_session
from frmdn.pipeline.settings import FORMAT
from frmdn.pipeline.stages.table import BY_NAME, STAGES, fingerprints
from frmdn.pipeline.workspace import Workspace


def make(workspace: Workspace, *names: str) -> None:
    for name in names:
        clock, products = workspace.begin(name), BY_NAME[name].products
        for path in {workspace.folder(name) / products.replace("**", str(i)).replace("*", str(i)) for i in range(5)}:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        clock.finish(5, "made")


def states(workspace: Workspace) -> dict[str, str]:
    return {status.name: status.state for status in workspace.status()}


def test_a_new_folder_misses_everything(workspace: Workspace) -> None:
    assert set(states(workspace).values()) == {"missing"}
    assert [status.name for status in workspace.status()] == [stage.name for stage in STAGES]


def test_finished_stages_are_done(workspace: Workspace) -> None:
    make(workspace, *(stage.name for stage in STAGES))
    assert set(states(workspace).values()) == {"done"}
    assert workspace.status()[0].why == "5 episodes"


def test_done_json_has_the_promised_keys(workspace: Workspace) -> None:
    make(workspace, "collect", "vision")
    done = read_json(workspace.folder("vision") / "done.json")
    assert {"fingerprint", "inputs", "seconds", "finished", "units"} <= set(done)
    assert done["inputs"]["collect"]["fingerprint"] == fingerprints(workspace.read_config())["collect"]


def test_a_begun_stage_is_partial_and_says_how_far(workspace: Workspace) -> None:
    clock = workspace.begin("collect")
    clock.INTERVAL = 0.0
    clock.tick(31, 192)
    status = workspace.status()[0]
    assert (status.state, status.why) == ("partial", "31 of 192 episodes")


def test_new_settings_make_stale_what_depends_on_them_and_say_why(workspace: Workspace, plain: dict[str, Any]) -> None:
    make(workspace, *(stage.name for stage in STAGES))
    workspace.write_config(override(plain, ["search.sigma=0.7"]))
    found = states(workspace)
    assert [name for name in found if found[name] == "stale"] == ["evolve", "evaluate", "report"]
    why = {status.name: status.why for status in workspace.status()}
    assert why["evolve"] == "its settings changed" and why["evaluate"] == "evolve must be made again first"


def test_a_stage_made_again_makes_stale_what_was_made_from_it(workspace: Workspace) -> None:
    make(workspace, *(stage.name for stage in STAGES))
    workspace.clear("vision")
    assert states(workspace)["encode"] == "stale"
    make(workspace, "vision")  # the same settings, but other weights: a training is only repeatable on one machine
    status = workspace.status()[2]
    assert (status.state, status.why) == ("stale", "vision was made again after it")


def test_a_lost_file_is_noticed_and_made_again_without_redoing_what_was_made_from_it(workspace: Workspace) -> None:
    make(workspace, "collect", "vision", "encode")
    (workspace.folder("collect") / "episodes" / "3.h5").unlink()
    assert states(workspace)["collect"] == "partial"
    assert workspace.status()[0].why == "1 of its 5 files are gone"
    make(workspace, "collect")
    assert [states(workspace)[name] for name in ("collect", "vision", "encode")] == ["done"] * 3
    (workspace.folder("vision") / "model.safetensors").unlink()
    assert states(workspace)["vision"] == "partial"


def test_the_settings_of_the_machine_do_not_matter(workspace: Workspace) -> None:
    make(workspace, "collect")
    workspace.write_config(dict(reversed(workspace.read_config().items())))
    assert states(workspace)["collect"] == "done"


def test_beginning_again_keeps_what_fits_and_removes_what_does_not(workspace: Workspace, plain: dict[str, Any]) -> None:
    episode = workspace.begin("collect").folder / "episode"
    episode.write_text("kept")
    workspace.begin("collect")
    assert episode.read_text() == "kept"
    workspace.write_config(override(plain, ["collect.policy=random"]))
    workspace.begin("collect")
    assert not episode.exists()


def test_more_episodes_keep_those_that_are_there_and_fewer_do_not(workspace: Workspace, plain: dict[str, Any]) -> None:
    make(workspace, "collect")
    episode = workspace.folder("collect") / "episode"
    episode.write_text("kept")
    workspace.write_config(override(plain, ["collect.episodes=50"]))
    assert states(workspace)["collect"] == "stale"
    workspace.begin("collect")
    assert episode.exists() and states(workspace)["collect"] == "partial"
    workspace.write_config(override(plain, ["collect.episodes=49"]))
    workspace.begin("collect")
    assert not episode.exists()


def test_the_clock_adds_up_over_resumes(workspace: Workspace) -> None:
    clock = workspace.begin("collect")
    write_json(clock.folder / "begun.json", {**clock.record, "seconds": 100.0})
    again = workspace.begin("collect")
    assert 100.0 <= again.seconds < 110.0
    again.finish(3, "")
    assert read_json(clock.folder / "done.json")["seconds"] >= 100.0


def test_clearing_removes_what_lies_outside_the_folder(workspace: Workspace) -> None:
    make(workspace, "evaluate")
    (workspace.root / "evaluation.json").write_text("{}")
    (workspace.root / "baselines").mkdir()
    workspace.clear("evaluate")
    assert not (workspace.root / "evaluation.json").exists() and (workspace.root / "baselines").exists()


@pytest.mark.parametrize(("stored", "said"), [(None, "no number"), *((n, str(n)) for n in (1, FORMAT - 1, FORMAT + 1))])
def test_a_folder_of_another_version_is_refused_with_a_remedy(
    stored: int | None, said: str, workspace: Workspace, plain: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    path = workspace.config_path
    assert read_json(path)["format"] == FORMAT and workspace.read_config() == plain
    write_json(path, plain if stored is None else {"format": stored, **plain})
    before, remedy = path.read_text(), "make it anew with frmdn run --out NEW, or use the frmdn that made it"
    for words in (
        ["run", "--out"],
        ["vision", "--run"],
        ["status", "--run"],
        ["play", "--run"],
        ["dream", "report", "--run"],
        ["dream", "--video", "a.webm", "--run"],
        ["dream", "report", "--runs"],
    ):
        assert main([*words, str(workspace.root)]) == 2, words
        (line,) = capsys.readouterr().err.splitlines()
        assert f"its format is {said}, not {FORMAT}" in line and line.endswith(remedy)
    with pytest.raises(ValueError, match=remedy):
        open_session(workspace.root)
    assert path.read_text() == before and not (workspace.root / "log.txt").exists()


@pytest.mark.parametrize("marker", ["done.json", "begun.json"])
def test_a_marker_that_is_deleted_makes_nothing_anew(workspace: Workspace, plain: dict[str, Any], marker: str) -> None:
    """As the error about a damaged one tells people to do."""
    make(workspace, *(stage.name for stage in STAGES))
    for name in ("collect", "vision"):
        (workspace.folder(name) / marker).unlink()
    kept = workspace.folder("vision") / "checkpoint"
    kept.write_text("kept")
    for status in workspace.status():
        if status.state != "done" and status.name in ("collect", "vision"):
            make(workspace, status.name)
    assert states(workspace) == dict.fromkeys(states(workspace), "done") and kept.exists()
    workspace.write_config(override(plain, ["collect.episodes=50"]))
    workspace.begin("collect")
    assert len(list((workspace.folder("collect") / "episodes").iterdir())) == 5  # more episodes keep those


def test_a_stage_folder_that_is_a_link_is_not_cleared_in_pretence(
    workspace: Workspace, plain: dict[str, Any], tmp_path: Path
) -> None:
    make(workspace, "collect")
    folder, far = workspace.folder("collect"), tmp_path / "big"
    folder.rename(far)
    folder.symlink_to(far)
    workspace.write_config(override(plain, ["collect.policy=random"]))
    with pytest.raises(
        ValueError, match=r"rollouts is a link to .*big, and what lies there must go.*run the same comm"
    ):
        workspace.begin("collect")
    assert len(list((far / "episodes").iterdir())) == 5 and states(workspace)["collect"] == "stale"
    shutil.rmtree(far)
    far.mkdir()  # as the message says
    make(workspace, "collect")
    assert states(workspace)["collect"] == "done" and folder.is_symlink()


def test_a_memory_is_done_when_all_of_its_members_are_there(workspace: Workspace, plain: dict[str, Any]) -> None:
    workspace.write_config(override(plain, ["memory_data.members=2"]))
    make(workspace, "collect", "vision", "encode", "memory")
    for path in list(workspace.folder("memory").rglob("model.safetensors"))[1:]:
        path.unlink()
    assert (states(workspace)["memory"], workspace.status()[3].why) == ("partial", "1 of its 2 files are gone")


def test_a_damaged_marker_is_named(workspace: Workspace) -> None:
    make(workspace, "collect")
    (workspace.folder("collect") / "done.json").write_text("{")
    with pytest.raises(ValueError, match=r"rollouts/done\.json is not valid JSON"):
        workspace.status()


def test_another_process_is_kept_out_and_told_who_is_in(workspace: Workspace) -> None:
    program = (
        "import sys; from frmdn.pipeline.workspace import Workspace; w = Workspace(sys.argv[1])\n"
        "with w.lock(): print('in', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(workspace.root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "in\n"
        assert workspace.owner() == other.pid
        with pytest.raises(ValueError, match=rf"in use by process {other.pid}"), workspace.lock():
            pass
        other.kill()
        other.wait()
    with workspace.lock():  # the kernel freed it
        pass
    assert workspace.owner() is None


def test_the_lock_is_free_after_an_error(workspace: Workspace) -> None:
    with pytest.raises(RuntimeError), workspace.lock():
        raise RuntimeError
    with workspace.lock():
        pass


def test_a_foreign_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(ValueError, match=r"is not empty and has no config\.json \(it holds thesis\.tex\)"):
        Workspace(tmp_path).check_free()
    with pytest.raises(ValueError, match="is a file"):
        Workspace(tmp_path / "thesis.tex").check_free()
    with pytest.raises(ValueError, match="is no run folder"):
        Workspace(tmp_path).status()


def test_a_folder_whose_first_write_was_killed_is_free(tmp_path: Path) -> None:
    for name in (".lock", "log.txt", "config.json.tmp"):
        (tmp_path / name).write_text("")
    Workspace(tmp_path).check_free()
    Workspace(tmp_path / "new").check_free()


def test_status_is_plain_json(workspace: Workspace) -> None:
    json.dumps([vars(status) for status in workspace.status()], allow_nan=False)


def test_a_lost_configuration_is_made_again_from_what_stages_remember(
    workspace: Workspace, plain: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    make(workspace, "collect", "vision", "encode", "memory", "evolve")
    longer = override(plain, ["search.generations=7"])
    workspace.write_config(longer)
    workspace.begin("evolve")  # only this stage was begun with the settings of now
    before, whole = states(workspace), workspace.config_path.read_text()
    workspace.config_path.unlink()
    workspace.check_free()
    assert workspace.read_config() == longer and states(workspace) == before
    assert not workspace.config_path.exists()  # who only looks writes nothing
    assert main(["collect", "--run", str(workspace.root)]) == 0
    assert "config.json was lost, and is made again" in capsys.readouterr().err
    assert workspace.config_path.read_text() == whole


def test_a_lost_configuration_is_not_replaced_by_other_settings(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    make(workspace, "collect")
    workspace.config_path.unlink()
    assert main(["collect", "--run", str(workspace.root), "--set", "collect.slots=3"]) == 2
    assert "collect.slots: 4 there, 3 asked for" in capsys.readouterr().err


def test_settings_that_no_stage_was_made_with_are_not_believed(workspace: Workspace, plain: dict[str, Any]) -> None:
    make(workspace, "collect")
    workspace.config_path.unlink()
    write_json(workspace.folder("collect") / "settings.json", {"format": FORMAT, **plain, "seed": 99})
    assert workspace.remembered() is None
    with pytest.raises(ValueError, match="is no run folder"):
        workspace.status()


def test_a_damaged_configuration_names_the_remedy_that_it_has(workspace: Workspace) -> None:
    workspace.config_path.write_text("{")
    with pytest.raises(ValueError, match=r"config\.json is not valid JSON .*: restore it from a copy"):
        workspace.status()


def test_a_damaged_configuration_that_stages_remember_may_be_deleted(workspace: Workspace) -> None:
    make(workspace, "collect")
    workspace.config_path.write_text("{")
    with pytest.raises(ValueError, match=r"config\.json is not valid JSON .*: delete it and run the same command"):
        workspace.status()
    workspace.config_path.unlink()
    assert states(workspace)["collect"] == "done"
