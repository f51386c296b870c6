"""The window walks, the sketch is in its vector, and generating goes on where the past ends."""

from __future__ import annotations

import math

import pytest
import torch

from frmdn.agent.strokes.density import StrokeDensity
from frmdn.agent.strokes.generate import contexts, generate, told
from frmdn.agent.strokes.sketch import FLOOR, SketchVAE, between
from frmdn.agent.strokes.synthesis import Synthesis
from frmdn.agent.strokes.window import WindowLSTM
from frmdn.agent.training import FitConfig, fit


def rows(batch: int, length: int, width: int = 3, seed: int = 0) -> torch.Tensor:
    noise = torch.Generator().manual_seed(seed)
    found = torch.rand(batch, length, width, generator=noise, dtype=torch.float64) + 0.1
    found[..., -1] = torch.randint(0, 2, (batch, length), generator=noise).double()
    found[:, -1, -1] = 2
    return found


def test_the_window_is_that_of_graves() -> None:
    """Equations 48 to 51, step by step and letter by letter."""
    torch.manual_seed(0)
    window = WindowLSTM(5, 4, 8, windows=2).double()
    text = torch.tensor([[1, 3, 2, 0], [4, 4, 1, 2]])
    context = torch.randn(2, 6, 5, dtype=torch.float64)
    outputs, state, phi = window(context, text)
    for row in range(2):
        place = torch.zeros(2, dtype=torch.float64)
        for t in range(6):
            raw = window.walk(outputs[row, t, :8])
            alpha, beta, step = raw[:2].exp(), raw[2:4].exp(), raw[4:].exp()
            place = place + step
            for u in range(4):
                expected = sum(alpha[m] * torch.exp(-beta[m] * (place[m] - u) ** 2) for m in range(2))
                torch.testing.assert_close(phi[row, t, u], expected)
            for a in range(4):
                seen = sum(phi[row, t, u] for u in range(4) if int(text[row, u]) == a + 1)
                torch.testing.assert_close(outputs[row, t, 8 + a], torch.as_tensor(seen, dtype=torch.float64))
        torch.testing.assert_close(state.place[row], place)


def test_synthesis_reads_its_text_and_steps_as_it_runs() -> None:
    torch.manual_seed(0)
    model = Synthesis("frmdn-low-rank", 5, 6, components=2, hidden=12, windows=3).double()
    with torch.no_grad():  # a flow that bends
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    text, target = torch.tensor([[1, 2, 3], [4, 5, 0]]), rows(2, 7)
    context = contexts(target)
    whole = model(context, text)[0].log_prob(target)
    state, single = None, []
    for t in range(7):
        strokes, state = model(context[:, t : t + 1], text, state)
        single.append(strokes.log_prob(target[:, t : t + 1]))
    torch.testing.assert_close(torch.cat(single, 1), whole)
    other = model(context, torch.tensor([[1, 2, 3], [4, 6, 0]]))[0].log_prob(target)
    assert (other[0] == whole[0]).all() and not torch.allclose(other[1], whole[1])
    longer = model(context, torch.tensor([[1, 2, 3, 0, 0], [4, 5, 0, 0, 0]]))[0].log_prob(target)
    torch.testing.assert_close(longer, whole)  # padding is no letter
    whole.sum().backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in model.parameters())


@pytest.mark.parametrize("pen", [1, 2])
@pytest.mark.parametrize("idle", [0.4, 0.01, 3.0])
def test_the_pen_finishes_where_the_window_leaves_the_text(pen: int, idle: float) -> None:
    """Whether it would rather have lifted or finished; and a window of no weight may lag behind, or run ahead."""
    torch.manual_seed(0)
    model = Synthesis("rmdn", 5, 3, components=1, hidden=8, windows=2).double()
    with torch.no_grad():
        model.head.pen.weight.zero_()
        model.head.pen.bias.copy_(9.0 * torch.eye(3)[pen])
        model.window.walk.weight.zero_()
        model.window.walk.bias.copy_(torch.tensor([0.0, -8, 1, 1, math.log(0.4), math.log(idle)]))
    text = torch.tensor([[1, 2, 3, 1], [1, 2, 0, 0]])
    state, chances = None, []
    for _ in range(60):
        strokes, state = model.step(torch.zeros(2, 1, 5).double(), text, state)
        chances.append(strokes.pen.softmax(-1)[:, 0, 2])
    found = torch.stack(chances, 1)
    expected = torch.tensor([[0.4 * (t + 1) > 3.5 for t in range(60)], [0.4 * (t + 1) > 1.5 for t in range(60)]])
    assert (found[expected] > 0.99).all() and (found[~expected] == 0).all()


def copying() -> tuple[Synthesis, list[float]]:
    """A model that learns to go right for a 1, left for a 2, for three points each, and to end after the last."""
    torch.manual_seed(0)
    model = Synthesis("rmdn", 5, 2, components=1, hidden=24, windows=1)

    class Task(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def loss(self, batch: tuple, generator: torch.Generator | None = None):  # type: ignore[no-untyped-def]
            from frmdn.agent.batch import Loss

            target, text = batch
            return Loss(-self.model(contexts(target), text)[0].log_prob(target).mean(), {})

    def batch(step: int) -> tuple:
        noise = torch.Generator().manual_seed(step)
        text = torch.randint(1, 3, (24, 4), generator=noise)
        move = (3.0 - 2 * text).repeat_interleave(3, 1).unsqueeze(-1)
        pen = torch.zeros(24, 12, 1)
        pen[:, -1] = 2
        offsets = torch.cat([move, torch.zeros_like(move)], -1) + 0.1 * torch.randn(24, 12, 2, generator=noise)
        return torch.cat([offsets, pen], -1), text

    losses: list[float] = []
    fit(
        Task(),
        batch,
        FitConfig(400, 0.01, clip=1.0, log_every=10),
        seed=0,
        on_log=lambda line: losses.append(line["loss"]),
    )
    return model, losses


@pytest.mark.slow
def test_synthesis_learns_to_write_what_it_is_told() -> None:
    model, losses = copying()
    assert losses[-1] < losses[0] - 2
    texts = torch.tensor([[1, 1, 2, 2], [2, 1, 2, 1], [2, 2, 2, 1]])
    noise = torch.Generator().manual_seed(0)
    made = generate(lambda c, s: model.step(c, texts, s), torch.zeros(3, 3), 20, bias=1.0, generator=noise)
    for row, text in zip(made, texts, strict=True):
        moves = row[:12, 0].reshape(4, 3).mean(1)
        assert (moves.sign() == 3 - 2 * text).all(), (moves, text)
    assert (made[:, :12, -1].argmax(1) == 11).all()  # each ends behind its last letter


def test_an_encoder_ignores_the_padding() -> None:
    torch.manual_seed(0)
    model = SketchVAE("rmdn-low-rank", 5, latent=4, components=2, hidden=12).double()
    target = rows(2, 6)
    mask = torch.tensor([[True] * 6, [True] * 4 + [False] * 2])
    other = target.clone()
    other[1, 4:, :2] = 99.0
    torch.testing.assert_close(model.encode(other, mask).mean, model.encode(target, mask).mean)
    assert not torch.allclose(model.encode(other, torch.ones_like(mask)).mean[1], model.encode(target, mask).mean[1])


def test_the_bound_is_a_bound() -> None:
    """log p(drawing) by importance sampling lies above it, and the KL is that of torch."""
    torch.manual_seed(0)
    model = SketchVAE("frmdn-diagonal", 5, latent=2, components=2, hidden=8).double()
    target = rows(1, 4)
    mask, context = torch.ones(1, 4, dtype=torch.bool), contexts(target)
    posterior = model.encode(target, mask)
    standard = torch.distributions.Normal(torch.zeros(2).double(), torch.ones(2).double())
    _, kl = model.parts(context, target, mask)
    torch.testing.assert_close(kl[0], torch.distributions.kl_divergence(posterior, standard)[0])
    noise, many = torch.Generator().manual_seed(1), 3000
    rest = [part.expand(many, *part.shape[1:]) for part in (context, target, mask)]
    with torch.no_grad():
        log_prob, _ = model.parts(*rest, noise)
        bounds = log_prob.sum(1) - kl.sum()
        z = torch.randn(many, 2, generator=noise, dtype=torch.float64)
        truth = torch.logsumexp(model(rest[0], z)[0].log_prob(rest[1]).sum(1), 0) - math.log(many)
    assert bounds.mean() < truth + 0.02
    assert kl.sum() > 0.01 and truth - bounds.mean() < 0.5  # a bound that says something
    total = model.bound(context, target, mask).sum()
    assert (total - bounds.mean()).abs() < 5 * bounds.std() + 1e-6


def test_the_kl_is_annealed_and_has_its_floor() -> None:
    torch.manual_seed(0)
    model = SketchVAE("rmdn", 5, latent=3, components=2, hidden=8).double()
    target = rows(2, 5)
    mask, context = torch.ones(2, 5, dtype=torch.bool), contexts(target)
    with torch.no_grad():  # a posterior that is the prior has no KL, and its floor is all that is left
        model.posterior.weight.zero_()
        model.posterior.bias.zero_()
    losses = [model.loss(context, target, mask) for _ in range(3)]
    assert int(model.steps) == 3
    for step, loss in enumerate(losses):
        eta = 1 - 0.99 * 0.9995**step
        assert loss.parts["kl"] == 0 and abs(loss.parts["eta"] - eta) < 1e-12
        torch.testing.assert_close(loss.total.detach(), loss.parts["reconstruction"] + 0.5 * eta * FLOOR)
    model.eval()
    model.loss(context, target, mask)
    assert int(model.steps) == 3  # looking is no step
    assert "steps" in model.state_dict()


@pytest.mark.slow
def test_a_drawing_is_in_its_vector() -> None:
    """Trained on four drawings, each is drawn again from its own vector; half way lies between."""
    torch.manual_seed(0)
    model = SketchVAE("rmdn-low-rank", 5, latent=4, components=1, hidden=48)
    angles = torch.tensor([0.0, 0.5, 1.0, 1.5]) * math.pi
    target = torch.zeros(4, 8, 3)
    turn = angles[:, None] + torch.linspace(0, 2, 8)
    target[..., 0], target[..., 1] = turn.cos(), turn.sin()
    target[:, -1, 2] = 2
    mask, context = torch.ones(4, 8, dtype=torch.bool), contexts(target)

    class Task(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def loss(self, batch: torch.Tensor, generator: torch.Generator | None = None):  # type: ignore[no-untyped-def]
            return self.model.loss(context, batch, mask, generator)

    fit(Task(), lambda step: target, FitConfig(500, 0.01, clip=1.0), seed=0)
    z = model.encode(target, mask).mean
    noise = torch.Generator().manual_seed(0)
    made = generate(lambda c, s: model(c, z, s), target[:, 0], 12, temperature=0.01, generator=noise)
    assert (made[:, :8, :2] - target[..., :2]).abs().mean() < 0.25
    shuffled = generate(lambda c, s: model(c, z.roll(1, 0), s), target[:, 0], 12, temperature=0.01)
    assert (shuffled[:, :8, :2] - target[..., :2]).abs().mean() > 0.5


def test_between_is_on_the_sphere() -> None:
    a, b = torch.tensor([3.0, 0, 0]), torch.tensor([0.0, 3, 0])
    way = between(a, b, torch.linspace(0, 1, 5))
    torch.testing.assert_close(way.norm(dim=1), torch.full((5,), 3.0))
    torch.testing.assert_close(way[[0, -1]], torch.stack([a, b]))
    assert torch.isfinite(between(a, a, torch.linspace(0, 1, 3))).all()


@pytest.mark.parametrize("width", [3, 4])
def test_generating_reads_its_prime_as_the_model_would(width: int) -> None:
    """The first row behind a prime is drawn from what the model says after it, and what follows from its own."""
    torch.manual_seed(0)
    model = StrokeDensity("frmdn-diagonal", width + 2, width == 4, components=2, hidden=8).double()
    prime = rows(2, 5, width)
    seen: list[torch.Tensor] = []

    def spy(context, state):  # type: ignore[no-untyped-def]
        seen.append(context)
        return model(context, state)

    made = generate(spy, prime[:, 0], 6, prime=prime, generator=torch.Generator().manual_seed(5))
    lifted = prime.clone()
    lifted[:, -1, -1] = 1
    torch.testing.assert_close(seen[0][:, 1:], told(lifted))
    assert (seen[0][:, 0] == 0).all()
    for t, context in enumerate(seen[1:]):
        torch.testing.assert_close(context, told(made[:, t : t + 1]))
    first = model(torch.cat([torch.zeros(2, 1, width + 2).double(), told(lifted)], 1))[0]
    again = first.sample(generator=torch.Generator().manual_seed(5))[:, -1]
    torch.testing.assert_close(made[:, 0], again)
    with pytest.raises(ValueError, match="most is 0"):
        generate(spy, prime[:, 0], 0)


def test_generating_stops_when_all_have_finished() -> None:
    torch.manual_seed(0)
    model = StrokeDensity("rmdn", 5, False, components=2, hidden=8)
    with torch.no_grad():
        model.pen.bias[2] = 50.0
    assert generate(model, torch.zeros(3, 3), 40).shape == (3, 1, 3)
