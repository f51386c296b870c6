"""The carriers: a batch of sequences refuses parts that do not belong together."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from frmdn.agent.batch import Loss, SequenceBatch

B, T, Z, A = 2, 5, 4, 3
PARTS = {"latents": (B, T + 1, Z), "actions": (B, T, A), "rewards": (B, T), "ends": (B, T)}


def parts() -> dict[str, torch.Tensor]:
    named = {name: torch.randn(shape) for name, shape in PARTS.items()}
    return {**named, "mask": torch.ones(B, T, dtype=torch.bool)}


def test_a_consistent_batch_keeps_its_parts() -> None:
    given = parts()
    batch = SequenceBatch(**given)
    assert all(getattr(batch, name) is tensor for name, tensor in given.items())


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("axis", [0, 1])
def test_a_part_of_another_length_is_refused_by_name(name: str, axis: int) -> None:
    given = parts()
    given[name] = given[name].narrow(axis, 0, given[name].shape[axis] - 1)
    with pytest.raises(ValueError, match=f"{name} has shape"):
        SequenceBatch(**given)


def test_one_latent_more_than_transitions() -> None:
    given = parts()
    given["latents"] = given["latents"][:, :T]
    with pytest.raises(ValueError, match=rf"\({B}, {T + 1}\)"):
        SequenceBatch(**given)


def test_moving_moves_every_part() -> None:
    moved = SequenceBatch(**parts()).to("meta")
    assert {getattr(moved, field.name).device.type for field in dataclasses.fields(moved)} == {"meta"}


def test_carriers_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        SequenceBatch(**parts()).mask = torch.zeros(1)  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        Loss(torch.zeros(()), {}).total = torch.ones(())  # type: ignore[misc]
