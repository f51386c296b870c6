"""The benchmark of a GPU: whole on the CPU, one line without a GPU, and red where a device computes something else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from frmdn.agent.vision import ConvVAE
from frmdn.benchmarks import gpu


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main([]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1 and said[0].startswith("frmdn: device cuda: ")


@pytest.mark.slow
def test_it_is_whole_on_any_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "new" / "gpu.json"
    assert gpu.main(["--device", "cpu", "--quick", "--out", str(path), "--json"]) == 0
    found = json.loads(path.read_text())
    assert json.loads(capsys.readouterr().out) == found
    assert found["device"] == "cpu" and set(found["differences"].values()) == {0.0}
    rates = ["memory", "vision paper", "vision fast", "encoding", "memory rmdn", "memory frmdn", "dream rmdn"]
    for name in [*rates, "dream frmdn", "search", "generation", "product float32"]:
        assert found[name]["value"] > 0 and found[name]["unit"], name
    assert {name for name in rates if "limit" in found[name]} == {
        "vision paper",
        "memory rmdn",
        "memory frmdn",
        "dream rmdn",
    }


def test_a_device_that_computes_something_else_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    decode, calls = ConvVAE.decode, []

    def wrong(self: ConvVAE, z: torch.Tensor) -> torch.Tensor:
        calls.append(z)
        return decode(self, z) * (1.01 if len(calls) == 2 else 1)  # the device comes after the CPU

    monkeypatch.setattr(ConvVAE, "decode", wrong)
    monkeypatch.setattr(gpu.Bench, "limits", lambda self: None)
    assert gpu.main(["--device", "cpu", "--quick"]) == 1
    assert "frmdn: decoded differs from the CPU's by 0.01, more than 0.002" in capsys.readouterr().err
