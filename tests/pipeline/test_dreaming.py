"""Runs of seconds that are evolved in dreams, and in rounds: what they leave, keep, resume and refuse."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from frmdn.agent.seeds import episode_seeds
from frmdn.pipeline.commands.main import main
from frmdn.pipeline.config import override
from frmdn.pipeline.files import read_json, write_json
from frmdn.pipeline.presets import PRESETS, WORLDS, preset
from frmdn.pipeline.session import open_session
from frmdn.pipeline.stages import running
from frmdn.pipeline.stages.evolve import search_runner
from frmdn.pipeline.stages.table import fingerprints, table
from frmdn.pipeline.workspace import Workspace
from frmdn.rollouts.job import Job
from frmdn.rollouts.workers import open_pool

DREAM = ("--in", "dream", "--rounds", "2", "--check-every", "1", "--ensemble", "2", "--horizon", "6")
MORE = {
    "rounds.episodes": 2,
    "search.validate_episodes": 2,
    "dream.slots": 4,
    "dream.starts": 8,
    "dream.warmup": 3,
    "search.first_steps": 3,
    "search.growing": 1,
    "memory.reward_head": "two_hot",
}
Words = Callable[..., list[str]]


def words(tiny: Words, folder: Path, *more: str) -> list[str]:
    settings = [word for key, value in MORE.items() for word in ("--set", f"{key}={value}")]
    return tiny(folder, *DREAM, *settings, *more)


@pytest.fixture(scope="session")
def dreamt_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dreamt") / "run"


@pytest.fixture
def dreamt(tiny: Words, dreamt_template: Path, tmp_path: Path) -> Path:
    """The folder of a finished tiny run of two rounds in dreams: each test gets a copy."""
    if not dreamt_template.exists():
        assert main(words(tiny, dreamt_template)) == 0
    return Path(shutil.copytree(dreamt_template, tmp_path / "run"))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def artefacts(folder: Path) -> dict[str, bytes]:
    found = {}
    for root in (folder, folder / "round-02"):
        for name in ("memory/model", "memory/member-2/model", "controller/mean", "controller/search"):
            path = root / f"{name}.safetensors"
            found[str(path.relative_to(folder))] = path.read_bytes()
    return found


def test_it_leaves_a_folder_a_round(dreamt: Path) -> None:
    second = Workspace(dreamt / "round-02")
    assert {status.state for status in Workspace(dreamt).status()} == {"done"}
    assert [(status.name, status.state) for status in second.status()] == [
        (name, "done") for name in ("collect", "encode", "memory", "evolve")
    ]
    assert len(list((second.root / "rollouts" / "episodes").glob("*.h5"))) == 2
    assert not (second.root / "vision").exists()
    for name in ("evaluation.json", "report.html", "rounds/kept.json", "memory/member-2/model.safetensors"):
        assert (dreamt / name).exists(), name


def test_the_history_says_dream_and_reality_side_by_side(dreamt: Path) -> None:
    first = lines(dreamt / "controller" / "history.jsonl")
    assert [line["length"] for line in first] == [3, 6]
    assert "dream" not in first[0] and {"dream", "validation", "real_steps"} <= set(first[1])
    assert first[1]["real_steps"] == 20  # two whole episodes of ten steps
    again = lines(dreamt / "round-02" / "controller" / "history.jsonl")
    assert [line["length"] for line in again] == [6] * len(again)  # its agent has outlived the short ones
    assert all("validation" in line for line in again)  # it begins at a controller, which is checked at once


def test_the_agent_is_the_mean_that_was_best_in_reality(dreamt: Path) -> None:
    for folder in (dreamt / "controller", dreamt / "round-02" / "controller"):
        kept, history = read_json(folder / "kept.json"), lines(folder / "history.jsonl")
        checks = [line["validation"] for line in history if "validation" in line] + [kept["last"]]
        assert kept["validation"] == max(checks)
        assert kept["real_steps"] == sum(line.get("real_steps", 0) for line in history) + 20
    rounds = lines(dreamt / "rounds" / "history.jsonl")
    assert [line["round"] for line in rounds] == [1, 2]
    assert rounds[0]["real_steps"] == 4 * 10 + 40 and rounds[1]["real_steps"] == 80 + 2 * 10 + 60
    best = max(reversed(rounds), key=lambda line: line["validation"])
    assert read_json(dreamt / "rounds" / "kept.json") == best
    session = open_session(dreamt)
    assert session.config.rounds.number == best["round"]
    home = dreamt if best["round"] == 1 else dreamt / "round-02"
    theta = load_file(home / "controller" / "mean.safetensors")["theta"]
    assert np.array_equal(session.theta(session.agent()), theta)


def test_finalists_meet_on_seeds_that_chose_none_of_them(tiny: Words, dreamt: Path) -> None:
    before = artefacts(dreamt)
    finals = ("--set", "rounds.finalists=2", "--set", "rounds.final_episodes=3", "--replace")
    assert main(words(tiny, dreamt, *finals)) == 0
    assert artefacts(dreamt) == before  # no round is played again
    played = lines(dreamt / "rounds" / "finals.jsonl")
    assert sorted(line["round"] for line in played) == [1, 2]
    assert all(line["final_steps"] == 3 * 10 for line in played)
    kept = read_json(dreamt / "rounds" / "kept.json")
    assert kept == max(played, key=lambda line: line["final"])
    session = open_session(dreamt)
    assert session.config.rounds.number == kept["round"]
    agent = session.agent()
    seeds = episode_seeds(session.config.seed, "validate", 3, session.config.search.validate_episodes)
    make = partial(search_runner, session.spec, agent, session.config.search)
    jobs = [Job(i, seed, theta=session.theta(agent)) for i, seed in enumerate(seeds)]
    with open_pool(make, 0) as pool:
        assert kept["final"] == pytest.approx(np.mean([outcome.total for outcome in pool.run(jobs)]))


@pytest.mark.parametrize("finalists", [1, 2])
def test_the_finals_have_the_last_word_and_a_single_finalist_none(tiny: Words, dreamt: Path, finalists: int) -> None:
    """Whichever round wins the finals, the other one is made to look better on the validation seeds."""
    finals = ("--set", "rounds.final_episodes=3", "--replace", "--set", "rounds.finalists=")
    assert main(words(tiny, dreamt, *finals[:-1], finals[-1] + "2")) == 0
    played = {line["round"]: line["final"] for line in lines(dreamt / "rounds" / "finals.jsonl")}
    assert played[1] != played[2]
    winner = max(played, key=lambda number: played[number])
    for number, home in ((1, dreamt), (2, dreamt / "round-02")):
        kept = home / "controller" / "kept.json"
        write_json(kept, {**read_json(kept), "validation": 100.0 if number == winner else 900.0})
    Workspace(dreamt).clear("rounds")
    assert main(words(tiny, dreamt, *finals[:-1], finals[-1] + str(finalists))) == 0
    kept = read_json(dreamt / "rounds" / "kept.json")
    assert kept["round"] == (winner if finalists == 2 else 3 - winner)
    assert ("final" in kept) == (finalists == 2)
    if finalists == 2:
        assert (kept["final"], kept["validation"]) == (pytest.approx(played[winner]), 100.0)
    assert open_session(dreamt).config.rounds.number == kept["round"]


def test_a_round_trains_on_all_episodes_and_goes_on_from_the_one_before(dreamt: Path) -> None:
    second = open_session(dreamt / "round-02")
    assert second.latents().indices() == [0, 1, 2, 3, 4, 5]
    training, held = second.split("memory", second.config.memory_data.validation)
    before = second.before
    assert before is not None and sorted(training + held) == [0, 1, 2, 3, 4, 5]
    assert before.split("memory", second.config.memory_data.validation)[1] == [i for i in held if i < 4]
    for share in (0.25, 0.5):  # where the two rounds draw differently: what stays held out is seen in the numbers
        earlier, later = before.split("memory", share), second.split("memory", share)
        assert all([i for i in part if i < 4] == old for part, old in zip(later, earlier, strict=True))
        assert len(later[1]) == len(earlier[1]) + 1
    assert before.workspace.root == dreamt
    agent = second.agent()
    start = second.start(agent)
    assert start is not None and np.array_equal(start, before.theta(agent))
    assert second.seed != before.seed and len(second.memories()) == 2


def test_a_second_call_does_nothing(tiny: Words, dreamt: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = artefacts(dreamt)
    assert main(words(tiny, dreamt)) == 0
    assert "all 8 stages" in capsys.readouterr().err and artefacts(dreamt) == before


class Killed(Exception):
    pass


@pytest.mark.parametrize("stage", ["memory", "evolve"])
def test_a_run_cut_in_its_second_round_goes_on_to_the_same_end(
    tiny: Words, dreamt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    folder = tmp_path / "cut"
    shutil.copytree(dreamt, folder)
    for name in ("evaluate", "report", "rounds"):
        Workspace(folder).clear(name)
    shutil.rmtree(folder / "round-02")
    whole = running.STAGE_FUNCTIONS[stage]

    def cut(session: Any, work: Any) -> Any:
        """Dies after the stage has done some of its work, and before it says that it is done."""
        whole(session, work)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setitem(running.STAGE_FUNCTIONS, stage, cut)
        assert main(words(tiny, folder)) == 1
    assert {s.name: s.state for s in Workspace(folder / "round-02").status()}[stage] == "partial"
    assert open_session(folder).workspace.root == folder  # no round counts before all are done
    assert main(words(tiny, folder)) == 0
    assert artefacts(folder) == artefacts(dreamt)
    assert (
        lines(folder / "rounds" / "history.jsonl")[1]["validation"]
        == read_json(dreamt / "round-02/controller/kept.json")["validation"]
    )


def test_more_rounds_or_fewer_keep_those_that_are_there(tiny: Words, dreamt: Path) -> None:
    before = artefacts(dreamt)
    assert main(words(tiny, dreamt, "--set", "rounds.count=3", "--rounds", "3", "--replace")) == 0
    assert artefacts(dreamt) == before
    assert [line["round"] for line in lines(dreamt / "rounds" / "history.jsonl")] == [1, 2, 3]
    assert Workspace(dreamt / "round-03").status()[-1].state == "done"
    assert main(words(tiny, dreamt, "--replace")) == 0  # two again
    assert artefacts(dreamt) == before and not (dreamt / "round-03").exists()
    assert [line["round"] for line in lines(dreamt / "rounds" / "history.jsonl")] == [1, 2]


def test_status_shows_the_rounds(dreamt: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["status", "--run", str(dreamt), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [stage["name"] for stage in report["stages"]][5] == "rounds"
    assert [stage["state"] for stage in report["rounds"]["round-02"]] == ["done"] * 4
    assert main(["status", "--run", str(dreamt)]) == 0
    assert "round-02:" in capsys.readouterr().out


def test_the_vision_may_be_trained_on(tiny: Words, dreamt: Path) -> None:
    assert main(words(tiny, dreamt, "--set", "rounds.vision_steps=2", "--replace")) == 0
    second = open_session(dreamt / "round-02")
    assert (dreamt / "round-02" / "vision" / "model.safetensors").exists()
    assert second.latents().indices() == [0, 1, 2, 3, 4, 5]  # all of them anew, as the new vision sees them
    old = load_file(dreamt / "latents" / "000000.safetensors")["mean"]
    assert not np.array_equal(second.latents().read(0).mean, old)


def test_rounds_work_in_reality(tiny: Words, tmp_path: Path) -> None:
    folder = tmp_path / "real"
    more = ("--rounds", "2", "--check-every", "1", "--set", "rounds.episodes=2", "--set", "search.validate_episodes=2")
    assert main(tiny(folder, *more)) == 0
    kept = read_json(folder / "round-02" / "controller" / "kept.json")
    history = lines(folder / "round-02" / "controller" / "history.jsonl")
    assert "length" not in history[0] and kept["real_steps"] == sum(line["steps"] for line in history) + 20
    assert read_json(folder / "evaluation.json")["episodes"] == 2


def test_a_finished_run_can_go_on_in_dreams(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dream = [
        "evolve",
        "--run",
        str(finished),
        "--workers",
        "0",
        "--in",
        "dream",
        "--temperature",
        "1.3",
        "--episodes",
        "2",
    ]
    dream += ["--set", "dream.slots=4", "--set", "dream.starts=4"]
    capsys.readouterr()
    assert main(dream) == 2
    assert "--replace" in capsys.readouterr().err
    assert main([*dream, "--replace"]) == 0
    config = read_json(finished / "config.json")
    assert (config["dream"]["world"], config["dream"]["temperature"], config["search"]["episodes"]) == ("dream", 1.3, 2)
    assert {s.name: s.state for s in Workspace(finished).status()}["memory"] == "done"


def test_settings_that_nothing_was_made_with_need_no_replacing(tiny: Words, finished: Path) -> None:
    for name in ("report", "evaluate", "evolve"):
        Workspace(finished).clear(name)
    words = ["evolve", "--run", str(finished), "--workers", "0", "--in", "dream", "--horizon", "3"]
    assert main([*words, "--set", "dream.slots=4"]) == 0
    assert [line["length"] for line in lines(finished / "controller" / "history.jsonl")] == [3, 3]


def test_where_candidates_play_is_part_of_the_search(plain: dict[str, Any]) -> None:
    real = fingerprints(plain)
    dream = fingerprints(override(plain, ["dream.world=dream"]))
    assert [name for name in real if real[name] != dream[name]] == ["evolve", "evaluate", "report"]
    assert fingerprints(override(plain, ["dream.temperature=2"])) == real  # nobody dreams
    assert fingerprints(override(plain, ["dream.world=dream", "dream.temperature=2"]))["evolve"] != dream["evolve"]


def test_the_table_of_a_round_lacks_what_the_run_does_once(plain: dict[str, Any]) -> None:
    rounds = table(override(plain, ["rounds.count=3"]))
    assert [stage.name for stage in rounds][5:] == ["rounds", "evaluate", "report"]
    assert all("rounds" in stage.inputs for stage in rounds[6:])
    second = table(override(plain, ["rounds.number=2"]))
    assert [stage.name for stage in second] == ["collect", "encode", "memory", "evolve"]
    assert second[1].inputs == ("collect",) and second[3].inputs == ("memory",)
    assert [s.name for s in table(override(plain, ["rounds.number=2", "rounds.vision_steps=5"]))][1] == "vision"


def test_presets_that_dream_do_so() -> None:
    from frmdn.envs.catalogue import get_spec

    car = preset("quick-dream", get_spec("CarRacing-v3"))
    assert car.dream.world == "dream" and car.rounds.count > 1 and car.search.validate_every > 0
    pytest.importorskip("vizdoom")
    doom = preset("quick", get_spec("VizdoomTakeCover-v1"))
    assert (doom.dream.world, doom.agent.features, doom.vision.latent, doom.memory.latent) == ("dream", "zhc", 64, 64)
    assert (doom.dream.temperature, doom.dream.reward, doom.evaluate.episodes) == (1.15, "survival", 100)
    assert all(set(presets) <= {"*", *PRESETS} for presets in WORLDS.values())
