"""The model: its bound, what generation may read, and that training resumes bit for bit."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from frmdn.agent.state_space import StateSpace, StateSpaceConfig, Trajectories
from frmdn.agent.state_space.model import Variant
from frmdn.agent.training import FitConfig, TrainingState, fit

VARIANTS = get_args(Variant)
B, T = 4, 6


def model(variant: str, **changes: int | str) -> StateSpace:
    torch.manual_seed(0)
    config = StateSpaceConfig(variant=variant, matrices=3, hidden=8, width=8, steps=T, **changes)  # type: ignore[arg-type]
    made = StateSpace(config).double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    return made


def data(seed: int = 1, rows: int = B) -> Trajectories:
    generator = torch.Generator().manual_seed(seed)
    shapes = ((rows, T + 1, 3), (rows, T, 1), (rows, T))
    return Trajectories(*(torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes))


@pytest.mark.parametrize(("variant", "recognition"), [*((v, "filter") for v in VARIANTS), ("dvbf", "smooth")])
def test_loss_is_the_bound_and_every_parameter_learns(variant: str, recognition: str) -> None:
    made, batch = model(variant, recognition=recognition), data()
    loss = made.loss(batch, torch.Generator().manual_seed(2))
    parts = {name: float(value) for name, value in loss.parts.items()}
    assert parts["bound"] == pytest.approx(parts["reconstruction"] - parts["kl"])
    scale = made.config.reward_scale**2
    assert loss.total.item() == pytest.approx(-parts["bound"] / (T + 1) + parts["reward"] / scale)
    loss.total.backward()
    silent = [name for name, p in made.named_parameters() if p.grad is None or not p.grad.abs().any()]
    assert not silent, silent
    annealed = made.loss(batch._replace(kl_weight=0.25), torch.Generator().manual_seed(2))
    expected = (0.25 * parts["kl"] - parts["reconstruction"]) / (T + 1) + parts["reward"] / scale
    assert annealed.total.item() == pytest.approx(expected)
    assert float(annealed.parts["bound"]) == pytest.approx(parts["bound"])  # reported at full weight


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_reward_takes_nothing_from_the_bound(variant: str) -> None:
    """Whatever the rewards are, only the reward head's gradient changes: its states are cut off from all else."""
    batch, gradients = data(), []
    for rewards in (batch.rewards, batch.rewards + 100):
        made = model(variant)
        made.loss(batch._replace(rewards=rewards), torch.Generator().manual_seed(2)).total.backward()
        gradients.append({name: p.grad for name, p in made.named_parameters()})
    first, other = gradients
    changed = {name for name in first if not torch.equal(first[name], other[name])}
    assert changed == {name for name in first if name.startswith("reward.")}


@pytest.mark.parametrize("variant", VARIANTS)
def test_generation_reads_the_first_observation_alone(variant: str) -> None:
    made, batch = model(variant), data()
    x, u = batch.observations, batch.controls
    seeds = [torch.Generator().manual_seed(3) for _ in range(2)]
    whole, first = made.generate(x, u, seeds[0]), made.generate(x[:, :1], u, seeds[1])
    assert torch.equal(whole, first) and whole.shape == (B, T + 1, 4)
    assert not torch.equal(whole, made.generate(x, u))


@pytest.mark.parametrize("variant", VARIANTS)
def test_generation_is_the_unrolled_prior(variant: str) -> None:
    made, batch = model(variant), data()
    x, u = batch.observations, batch.controls
    path = made.posterior(x, u, made.draw(x, torch.Generator().manual_seed(4)))
    torch.testing.assert_close(
        made.unroll(made.begin(path.noise[:, 0]), u, path.noise[:, 1:]), path.states
    )  # noise and controls make the states
    means = made.generate(x, u)
    expected = means[:, 0]
    for t in range(T):
        expected = made.step(expected, u[:, t]).mean
    torch.testing.assert_close(means[:, -1], expected)


@pytest.mark.parametrize("variant", VARIANTS)
def test_kl_is_not_negative_in_expectation(variant: str) -> None:
    made, batch = model(variant), data(rows=2)
    rows = Trajectories(*(part.repeat_interleave(4000, 0) for part in batch[:3]))
    with torch.no_grad():
        path = made.posterior(
            rows.observations, rows.controls, made.draw(rows.observations, torch.Generator().manual_seed(5))
        )
    kl, ratio = path.kl.view(2, -1), path.log_ratio.view(2, -1)
    error = (kl - ratio).std(1) / 4000**0.5
    assert bool((kl.mean(1) > 0).all())
    assert bool(((kl.mean(1) - ratio.mean(1)).abs() < 4 * error).all())


@pytest.mark.parametrize("variant", VARIANTS)
def test_rows_are_independent(variant: str) -> None:
    made, batch = model(variant), data()
    epsilon = made.draw(batch.observations, torch.Generator().manual_seed(6))
    before = made.posterior(batch.observations, batch.controls, epsilon)
    x = batch.observations.clone()
    x[0] += 1
    after = made.posterior(x, batch.controls, epsilon)
    torch.testing.assert_close(before.states[1:], after.states[1:])
    assert not torch.allclose(before.states[0], after.states[0])


@pytest.mark.parametrize("variant", ["dvbf", "gaussian", "iaf-step"])
def test_filtering_walks_the_path_of_the_posterior(variant: str) -> None:
    made, batch = model(variant), data()
    x, u = batch.observations, batch.controls
    centre = made.posterior(x, u, torch.zeros(B, T + 1, 4, dtype=torch.float64)).states
    z = made.initial_state(x[:, :1], u, torch.zeros(B, 4, dtype=torch.float64))
    for t in range(T):
        torch.testing.assert_close(z, centre[:, t])
        z = made.filter(z, u[:, t], x[:, t + 1])
    torch.testing.assert_close(z, centre[:, -1])


@pytest.mark.parametrize("made", [model("iaf-trajectory"), model("dvbf", recognition="smooth")])
def test_who_sees_the_future_cannot_filter(made: StateSpace) -> None:
    with pytest.raises(ValueError, match="cannot filter"):
        made.filter(*(torch.zeros(1, n, dtype=torch.float64) for n in (4, 1, 3)))


@pytest.mark.parametrize("recognition", ["filter", "smooth"])
def test_smooth_recognition_alone_sees_later_observations_and_controls(recognition: str) -> None:
    made, batch = model("dvbf", recognition=recognition), data()
    epsilon, at = made.draw(batch.observations, torch.Generator().manual_seed(6)), 3
    before = made.posterior(*batch[:2], epsilon).states
    for changed in range(2):  # x_(at+1), then u_at, which moves z_(at+1) and nothing before it
        x, u = batch.observations.clone(), batch.controls.clone()
        (x[:, at + 1] if changed == 0 else u[:, at]).add_(1.0)
        after = made.posterior(x, u, epsilon).states
        assert torch.equal(before[:, 0], after[:, 0])  # the initial state still sees the first observation alone
        assert torch.allclose(before[:, : at + 1], after[:, : at + 1]) == (recognition == "filter")
        assert not torch.allclose(before[:, at + 1], after[:, at + 1])


@pytest.mark.parametrize("variant", VARIANTS)
def test_training_resumes_bit_for_bit_and_masks_are_saved(variant: str) -> None:
    config = FitConfig(steps=4, learning_rate=1e-2, clip=1.0, checkpoint_every=2)
    kept: list[TrainingState] = []
    whole = fit(model(variant), lambda s: data(s), config, seed=0, checkpoint=kept.append)
    resumed = fit(model(variant), lambda s: data(s), config, seed=0, state=kept[0])
    assert kept[0].step == 2 and all(torch.equal(whole.tensors[n], resumed.tensors[n]) for n in whole.tensors)
    assert any(name.endswith("mask") for name in whole.tensors) == variant.startswith("iaf")


def test_training_raises_the_bound() -> None:
    made, batch = model("dvbf").float(), Trajectories(*(part.float() for part in data()[:3]))
    before = float(made.loss(batch, torch.Generator().manual_seed(0)).parts["bound"])
    fit(made, lambda s: batch, FitConfig(steps=60, learning_rate=1e-2, clip=5.0), seed=0)
    assert float(made.loss(batch, torch.Generator().manual_seed(0)).parts["bound"]) > before + 20


@pytest.mark.parametrize(
    "wrong", [{"variant": "vae"}, {"recognition": "both"}, {"latent": 0}, {"lookahead": -1}, {"reward_scale": 0.0}]
)
def test_a_wrong_config_names_the_setting(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        StateSpaceConfig(**wrong)  # type: ignore[arg-type]


def test_the_reward_is_that_of_acting_in_the_state_before() -> None:
    """r_t belongs to z_t and u_t, and not to the state that follows."""
    made, batch = model("dvbf"), data()
    with torch.no_grad():
        loss = made.loss(batch, torch.Generator().manual_seed(2))
        epsilon = made.draw(batch.observations, torch.Generator().manual_seed(2))
        states = made.posterior(batch.observations, batch.controls, epsilon).states
        told = made.expected_reward(states[:, :-1], batch.controls)
    assert float(loss.parts["reward"]) == pytest.approx((told - batch.rewards).square().mean().item())
