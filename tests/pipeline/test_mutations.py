"""Records and histories of any shape: a line that names the file, and no other error, whatever stands in them."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from frmdn.pipeline.commands.main import main
from frmdn.pipeline.files import History, read_json, write_json
from frmdn.pipeline.session import KEPT_LOST, kept_record
from frmdn.pipeline.stages.table import BY_NAME, check, fingerprints
from frmdn.pipeline.weights import load_model, save_model
from frmdn.pipeline.workspace import Workspace

ODD: tuple[Any, ...] = (None, [], {}, "", "x\x1b[31m", -1, 0, 1, 10**400, 1e308, True, [[[]]], {"a": 1}, [None], 0.5)


def nodes(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value inside a JSON value, and to itself."""
    yield way
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from nodes(inner, (*way, key))


def mutated(value: Any, rng: random.Random) -> Any:
    """Something odd in one or two places of a JSON value, a key that is gone, or one of another name."""
    value = copy.deepcopy(value)
    for _ in range(rng.choice((1, 1, 2))):
        way = rng.choice(list(nodes(value)))
        if not way:
            return copy.deepcopy(rng.choice(ODD))
        place = value
        for key in way[:-1]:
            place = place[key]
        kind = rng.random()
        if kind < 0.6 or isinstance(place, list):
            place[way[-1]] = copy.deepcopy(rng.choice(ODD))
        else:
            kept = place.pop(way[-1])
            if kind < 0.8:
                place[f"{way[-1]}s"] = kept
    return value


@pytest.fixture
def workspace(workspace: Workspace) -> Workspace:
    """The run folder of the smoke preset with four finished stages."""
    for name in ("collect", "vision", "encode", "memory"):
        clock, products = workspace.begin(name), BY_NAME[name].products
        for i in range(5):
            path = workspace.folder(name) / products.replace("**", str(i)).replace("*", str(i))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        clock.finish(5, "made")
    return workspace


def survives(act: Callable[[], object], name: str) -> bool:
    """Whether it works; where it does not, the error must be a ValueError of one line that names the file."""
    try:
        act()
    except ValueError as error:
        assert name in str(error) or "by another version of frmdn" in str(error), error
        return False
    return True


@pytest.mark.parametrize("name", ["config.json", "rollouts/done.json", "vision/begun.json", "memory/done.json"])
def test_records_of_any_shape(name: str, workspace: Workspace) -> None:
    rng, path = random.Random(name), workspace.root / name
    if name.endswith("begun.json"):
        (path.parent / "done.json").unlink()
    whole, refused = read_json(path), 0
    for _ in range(800):
        path.write_text(json.dumps(mutated(whole, rng)))
        refused += not survives(workspace.status, name)
    assert refused > 150
    path.write_text(json.dumps(whole))
    assert workspace.status()[0].state == "done"


def test_configurations_of_any_shape_have_fingerprints_or_are_named(plain: dict[str, Any]) -> None:
    rng, refused = random.Random(0), 0
    for _ in range(1500):
        config = mutated(plain, rng)
        if isinstance(config, dict):
            try:
                check(config)
            except ValueError:
                refused += 1
                continue
            assert set(fingerprints(config)) >= {"collect", "memory"}
    assert refused > 100


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 100_000, "1" * 5000, '{"seed": NaN}', '{"a": Infinity}', "\xff"]
)
def test_json_that_python_stumbles_over(text: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"x\.json"):
        read_json(path)
    history = History(tmp_path / "h.jsonl", "step")
    history.path.write_bytes(b'{"step": 1}\n' + text.encode("latin-1") + b"\n")
    assert history.read()[:1] == [{"step": 1}] and len(history.cut(5)) == 1


def test_histories_of_any_shape(workspace: Workspace) -> None:
    rng, folder = random.Random(1), workspace.folder("evolve")
    history = History(folder / "history.jsonl", "generation", ("mean", "best"))
    lines = [{"generation": g, "mean": 1.5, "best": 2.0, "steps": 7, "validation": 3.0} for g in range(1, 6)]
    for _ in range(1500):
        found = mutated(lines, rng)
        texts = [json.dumps(line) for line in found] if isinstance(found, list) else [json.dumps(found)]
        history.path.write_text("\n".join(texts) + "\n")
        for line in history.cut(3):
            assert line["generation"] <= 3 and line["mean"] < 1e15
        survives(lambda: kept_record(workspace), "history.jsonl")


def test_the_round_that_counts_of_any_shape(tmp_path: Path) -> None:
    from frmdn.pipeline.files import read_record

    write_json(tmp_path / "kept.json", {"round": "2"})
    with pytest.raises(ValueError, match=r"kept\.json: round must be of type int, not '2': delete it"):
        read_record(tmp_path / "kept.json", {"round": int}, KEPT_LOST)


def test_what_controls_a_terminal_does_not_reach_it(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    path = workspace.folder("collect") / "done.json"
    write_json(path, read_json(path) | {"result": "\x1b]0;gone\x07\x1b[2J", "seconds": 1.0})
    write_json(workspace.folder("vision") / "done.json", {"\x1b[31mred": 1})
    assert main(["collect", "--run", str(workspace.root)]) == 2
    assert main(["status", "--run", str(workspace.root)]) == 2
    write_json(path, read_json(path) | {"fingerprint": "\x1b[31m"})
    assert main(["status", "--run", str(workspace.root)]) == 2
    (workspace.folder("vision") / "done.json").unlink()
    assert main(["collect", "--run", str(workspace.root)]) in (0, 1, 2)
    seen = capsys.readouterr()
    assert "\x1b" not in seen.out + seen.err and "\x07" not in seen.out + seen.err
    assert "\x1b" not in (workspace.root / "log.txt").read_text()


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        from dataclasses import make_dataclass

        self.config = make_dataclass("Config", [("size", int)])(3)
        self.layer = nn.Linear(3, 2)


def test_no_damaged_weight_is_loaded(tmp_path: Path) -> None:
    """A flipped bit anywhere: refused, or without a meaning (a space of the header)."""
    saved = Net()
    save_model(tmp_path, saved)
    path = tmp_path / "model.safetensors"
    whole, rng, refused = path.read_bytes(), np.random.default_rng(0), 0
    for place in rng.integers(len(whole), size=600).tolist():
        data = bytearray(whole)
        data[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(data)
        loaded = Net()
        if survives(lambda loaded=loaded: load_model(tmp_path, loaded), "model.safetensors"):  # type: ignore[misc]
            assert all(torch.equal(a, b) for a, b in zip(saved.parameters(), loaded.parameters(), strict=True))
        else:
            refused += 1
    assert refused > 550
