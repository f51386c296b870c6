"""Agent files that are cut short, foreign or made to harm: one line with the remedy, and nothing is run."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save, save_file

import frmdn
from frmdn.pipeline.commands.main import main
from frmdn.pipeline.trained import container
from frmdn.pipeline.trained.file import AgentFile

Plain = dict[str, Any]


@pytest.fixture
def file(finished: Path, tmp_path: Path) -> Path:
    return frmdn.open(finished).export(tmp_path / "agent.safetensors")


def refused(path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What Python and the command line say, in the same one line."""
    begun = time.monotonic()
    with pytest.raises(ValueError) as caught:
        frmdn.load(path)
    text = str(caught.value)
    assert "\n" not in text and str(path) in text and len(text) < 700
    capsys.readouterr()
    assert main(["play", str(path)]) == 2
    assert capsys.readouterr().err == f"frmdn: {' '.join(text.split())}\n"
    assert time.monotonic() - begun < 30
    return text


def header_of(data: bytes) -> tuple[Plain, bytes]:
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def with_header(header: Plain | bytes, rest: bytes) -> bytes:
    words = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(words).to_bytes(8, "little") + words + rest


def reworded(key: str, word: str | None) -> Callable[[bytes], bytes]:
    """The file with another word in its header's description of itself."""

    def change(data: bytes) -> bytes:
        header, rest = header_of(data)
        header["__metadata__"] |= {key: word} if word is not None else {}
        if word is None:
            del header["__metadata__"][key]
        return with_header(header, rest)

    return change


def flipped(data: bytes) -> bytes:
    return data[:-100] + bytes([data[-100] ^ 1]) + data[-99:]


BYTES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda data: b"", "is no agent file of frmdn, or not a whole one: copy it once more"),
    "three bytes": (lambda data: data[:3], "is no agent file of frmdn, or not a whole one"),
    "cut in the header": (lambda data: data[:300], "is no agent file of frmdn, or not a whole one"),
    "cut in the weights": (lambda data: data[:-1], "is no whole agent file"),
    "something behind it": (lambda data: data + b"x", "is no whole agent file"),
    "a text": (lambda data: b"Dear reader, " * 99, "is no agent file of frmdn, or not a whole one"),
    "a pickle": (lambda data: b"cos\nsystem\n(S'touch pwned'\ntR.", "is no agent file of frmdn"),
    "a header of exabytes": (lambda data: b"\xff" * 8 + data[8:], "is no agent file of frmdn, or not a whole one"),
    "a header of 20 MB": (
        lambda data: with_header({"__metadata__": {"format": "frmdn-agent", "x": "y" * 20_000_000}}, b""),
        "is no agent file of frmdn, or not a whole one",
    ),
    "a deep header": (lambda data: with_header(b"[" * 100_000, b""), "is no agent file of frmdn, or not a whole one"),
    "a header that is no object": (lambda data: with_header(b"[1]", b""), "is no agent file of frmdn: make one with"),
    "a number among its words": (
        lambda data: with_header({"__metadata__": {"format": 1}}, b""),
        "is no agent file of frmdn: make one with",
    ),
    "other weights": (lambda data: save({"w": torch.zeros(2)}), "is no agent file of frmdn: make one with"),
    "weights of another format": (
        lambda data: save({"w": torch.zeros(2)}, {"format": "pt"}),
        "is no agent file of frmdn: make one with frmdn export --run DIR --out FILE",
    ),
    "a later format": (
        reworded("version", "2"),
        "has format 2, but this frmdn reads format 1: install the frmdn that wrote it, or export it again",
    ),
    "no format number": (reworded("version", None), "has format None, but this frmdn reads format 1"),
    "a flipped bit": (flipped, "is damaged (its checksum is another): copy it once more"),
    "other words, same sum": (reworded("agent", "{}"), "is damaged (its checksum is another)"),
    "no sum": (reworded("sha256", None), "is damaged (its checksum is another)"),
    "no words": (reworded("agent", None), "is damaged (its checksum is another)"),
}


@pytest.mark.parametrize("how", BYTES)
def test_bytes_that_are_no_agent_are_refused(how: str, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil, says = BYTES[how]
    file.write_bytes(spoil(file.read_bytes()))
    assert says in refused(file, capsys)


@pytest.mark.parametrize("cut", [8, 9, 1000, 5000, 50_000])
def test_a_file_cut_anywhere_is_refused(cut: int, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_bytes(file.read_bytes()[:cut])
    assert "copy it once more, or export it again" in refused(file, capsys)


def test_a_sparse_file_of_terabytes_takes_no_memory(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.truncate(file, 2**40)
    assert "is no agent file of frmdn, or not a whole one" in refused(file, capsys)


Change = Callable[[Plain, dict[str, torch.Tensor]], Any]


def place(keys: str, value: Any) -> Change:
    """A change of one value of the description."""

    def change(plain: Plain, tensors: dict[str, torch.Tensor]) -> None:
        *sections, last = keys.split(".")
        for section in sections:
            plain = plain[section]
        plain[last] = value

    return change


def tensor(name: str, value: Callable[[torch.Tensor], torch.Tensor]) -> Change:
    return lambda plain, tensors: tensors.update({name: value(tensors[name])})


def poisoned(weight: torch.Tensor) -> torch.Tensor:
    weight = weight.clone()
    weight.view(-1)[5] = torch.nan
    return weight


OUTCOME = "memory.outcome.weight"
CHANGES: dict[str, tuple[Change, str]] = {
    "NaN in the vision": (tensor("vision.moment_head.weight", poisoned), "vision.moment_head.weight holds NaN or inf"),
    "NaN in the memory": (tensor(OUTCOME, poisoned), f"{OUTCOME} holds NaN or infinity"),
    "NaN in the controller": (tensor("theta", poisoned), "theta holds NaN or infinity"),
    "NaN at the beginning of dreams": (tensor("first_latents", poisoned), "first_latents holds NaN or infinity"),
    "a matrix turned": (tensor(OUTCOME, lambda w: w.T.contiguous()), f"{OUTCOME} is float32[8, 2], not float32[2, 8]"),
    "half precision": (tensor(OUTCOME, torch.Tensor.half), f"{OUTCOME} is float16[2, 8], not float32[2, 8]"),
    "eighth precision": (
        tensor("theta", lambda w: w.to(torch.float8_e4m3fn)),
        "theta must be f32[82], not float8_e4m3fn[82]",
    ),
    "a weight too few": (lambda plain, tensors: tensors.pop(OUTCOME), f"{OUTCOME} is missing, not float32[2, 8]"),
    "a weight too many": (
        lambda plain, tensors: tensors.update({"memory.more": torch.zeros(1)}),
        "memory.more is float32[1], not part of it",
    ),
    "a tensor too many": (
        lambda plain, tensors: tensors.update({"cargo": torch.zeros(1)}),
        "it holds what no agent has: cargo",
    ),
    "a controller of another agent": (
        tensor("theta", lambda w: w[:3].clone()),
        "theta must be f32[82], not float32[3]",
    ),
    "no controller": (lambda plain, tensors: tensors.pop("theta"), "theta must be f32[82], not missing"),
    "nowhere to begin dreams": (tensor("first_latents", lambda w: w[:0].clone()), "must be f32[N,32], not float32[0, "),
    "a scalar to begin dreams": (
        tensor("first_latents", lambda w: w[0, 0].clone()),
        "must be f32[N,32], not float32[]",
    ),
    "a memory of terabytes": (place("memory.hidden", 10**7), "hidden is 10000000, and its weights are none of such a"),
    "a memory of nothing": (place("memory.hidden", 0), "memory: hidden must be at least 1, not 0"),
    "endless blocks": (place("memory.blocks", 10**5), "blocks is 100000, and its weights are none of such a size"),
    "a vision of gigapixels": (place("vision.frame_size", 4080), "4080"),
    "a frame of terapixels": (place("world.frame_size", 10**9), "world: frame_size must lie in 1..4096"),
    "two sizes of frames": (place("world.frame_size", 48), "world and vision disagree about frames"),
    "a word for a number": (place("memory.hidden", "8"), "memory.hidden must be of type int, not '8'"),
    "a wish": (place("memory.colour", 3), "memory.colour: no such setting"),
    "a section missing": (lambda plain, tensors: plain.pop("memory"), "memory is missing"),
    "a list for a section": (place("vision", [1]), "vision must be an object, not [1]"),
    "rows outside": (place("world.rows", [5, 2]), "rows must be a first row and the row after the last one"),
    "three rows": (place("world.rows", [0, 1, 2]), "rows must be a first row and the row after the last one"),
    "other actions": (place("world.action.low", [0.0]), "world.action: a box codec needs low, high and rest of one"),
    "actions of another world": (
        lambda plain, tensors: plain["world"].update(action={"kind": "discrete", "n": 7}),
        "memory reads actions of 2, but controller makes 7",
    ),
    "an unknown kind of action": (place("world.action.kind", "__import__"), "must be one of box, discrete"),
    "an unknown reward": (place("reward", "os.system"), "reward must be one of learned, survival, not 'os.system'"),
    "unknown features": (place("agent.features", "zq"), "features must be one of z, zh, zhc, not 'zq'"),
    "a number of 400 digits": (place("done_threshold", 10**400), "holds a number that is too large"),
    "a negative seed": (place("seed", -1), "seed must not be negative"),
    "an evaluation without figures": (
        place("evaluation", {"mean": "high"}),
        "evaluation.mean must be a number, not high",
    ),
    "an interval of one": (place("evaluation.ci95", [1.0]), "evaluation.ci95 must be a list of numbers"),
    "returns that are none": (place("evaluation.returns", 7), "evaluation.returns must be a list of numbers, not 7"),
    "a baseline of words": (place("evaluation.baselines", {"x": "y"}), "evaluation.baselines.x.mean must be a number"),
    "an endless figure": (place("evaluation.std", 10**300), "evaluation.std must be a number"),
    "versions that are none": (place("versions", {"torch": 2}), "versions must be words"),
}


@pytest.mark.parametrize("how", CHANGES)
def test_agents_that_do_not_fit_are_refused(how: str, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each with a right checksum, as a stranger would make it."""
    change, says = CHANGES[how]
    description, tensors = container.read(file)
    plain = json.loads(description)
    change(plain, tensors)
    container.write(file, container.Content(json.dumps(plain), tensors))
    assert says in refused(file, capsys)


@pytest.mark.parametrize("word", ["NaN", "-Infinity", "1e999", "[" * 5000, '{"a":', "\x00"])
def test_a_description_that_is_no_strict_json_is_refused(
    word: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    description, tensors = container.read(file)
    text = description.replace('"done_threshold": 0.5', f'"done_threshold": {word}')
    assert text != description
    container.write(file, container.Content(text, tensors))
    assert "does not hold a whole agent (" in refused(file, capsys)


def test_the_changes_are_what_is_refused(file: Path) -> None:
    """The same way without a change gives the same agent: the tests above do not spoil the file themselves."""
    description, tensors = container.read(file)
    theta = AgentFile(file).player().theta
    container.write(file, container.Content(json.dumps(json.loads(description)), tensors))
    assert np.array_equal(frmdn.load(file).theta, theta)
    copy = file.with_name("copy.safetensors")
    save_file(load_file(file), copy)  # and without its words it is somebody else's
    with pytest.raises(ValueError, match="is no agent file of frmdn"):
        frmdn.load(copy)


def test_what_is_no_file_is_said(tmp_path: Path, finished: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no file .*nothing\.safetensors: make one with frmdn export"):
        frmdn.load(tmp_path / "nothing.safetensors")
    with pytest.raises(ValueError, match=r"is a folder, not an agent file: frmdn\.open reads a run folder"):
        frmdn.load(finished)
    with pytest.raises(ValueError, match=r"there is no file /dev/zero"):
        frmdn.load("/dev/zero")
