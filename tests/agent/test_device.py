"""Devices by name: which there are, and one line where one cannot compute."""

from __future__ import annotations

import pytest
import torch

from frmdn.agent import device as devices
from frmdn.agent.device import choose_device, device_name, fault

H100 = ["sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90", "compute_90"]
BLACKWELL = ["sm_75", "sm_80", "sm_90", "sm_100", "sm_120"]


@pytest.fixture(autouse=True)
def forget() -> None:
    fault.cache_clear()


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "CPU", "", "cuda:1,2", "xpu"])
def test_a_name_that_is_none_is_refused_with_those_that_are(name: str) -> None:
    with pytest.raises(ValueError, match="device must be auto, cpu, cuda, cuda:1 or mps"):
        choose_device(name)


def test_the_processor_is_always_there() -> None:
    assert choose_device("cpu") == torch.device("cpu") and device_name(choose_device("cpu")) == "cpu"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_auto_is_the_processor_and_says_nothing() -> None:
    said: list[str] = []
    assert choose_device("auto", said.append) == torch.device("cpu") and said == []


@pytest.mark.skipif(torch.version.cuda is not None or torch.version.hip is not None, reason="torch is a build for GPUs")
@pytest.mark.parametrize("name", ["cuda", "cuda:1"])
def test_a_build_for_the_processor_says_so(name: str) -> None:
    with pytest.raises(ValueError, match=rf"^device {name}: this torch .* was built for the CPU; .*--device cpu$"):
        choose_device(name)


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="this is one of Apple's")
def test_mps_elsewhere_is_one_line() -> None:
    with pytest.raises(ValueError, match=r"^device mps: .*Apple.*finds none here; .*--device cpu$"):
        choose_device("mps")


@pytest.mark.parametrize(
    ("capability", "built", "age"),
    [
        ((9, 0), H100, None),
        ((8, 6), ["sm_80"], None),  # machine code runs on later minor numbers
        ((8, 0), ["sm_86"], "old"),  # and not on earlier ones
        ((12, 0), H100, None),  # compute_90 is translated for whatever is newer
        ((12, 0), H100[:-1], "new"),
        ((10, 0), ["sm_90a", "sm_120"], "old"),
        ((6, 1), BLACKWELL, "old"),
        ((12, 0), BLACKWELL, None),
        ((9, 0), [], None),
    ],
)
def test_cards_too_new_or_too_old_for_what_torch_was_built_for(
    capability: tuple[int, int], built: list[str], age: str | None
) -> None:
    found = devices._foreign("Card", capability, built)
    if age is None:
        assert found is None
    else:
        assert found is not None and "\n" not in found
        assert f"compute capability {capability[0]}.{capability[1]}, too {age} for torch {torch.__version__}" in found


def cards(monkeypatch: pytest.MonkeyPatch, count: int, capability: tuple[int, int], built: list[str]) -> None:
    """What a machine with cards would answer; no kernel can run on them here."""
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Card")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: built)


def test_the_second_card_of_one_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    cards(monkeypatch, 1, (9, 0), H100)
    with pytest.raises(ValueError, match=r"^device cuda:1: there is no such GPU: the one that is there is cuda:0; "):
        choose_device("cuda:1")
    cards(monkeypatch, 4, (9, 0), H100)
    fault.cache_clear()
    with pytest.raises(ValueError, match="there are cuda:0 to cuda:3"):
        choose_device("cuda:7")


def test_a_card_without_kernels_ends_a_name_and_lets_auto_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    cards(monkeypatch, 1, (5, 0), BLACKWELL)
    with pytest.raises(
        ValueError, match=r"^device cuda: Card has compute capability 5.0, too old for torch"
    ) as refused:
        choose_device("cuda")
    assert "\n" not in str(refused.value)
    said: list[str] = []
    assert choose_device("auto", said.append) == torch.device("cpu")
    assert len(said) == 1 and said[0].startswith("computing on the CPU: Card has compute capability 5.0")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_first_kernel_that_fails_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """The card is known to torch, and then torch cannot use it: really so here, as there is no driver."""
    cards(monkeypatch, 1, (9, 0), H100)
    with pytest.raises(ValueError, match=r"^device cuda: a first small computation failed there \(") as refused:
        choose_device("cuda")
    assert "\n" not in str(refused.value)
