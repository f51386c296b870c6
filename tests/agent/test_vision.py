"""Vision: shapes, the published size, the loss against its formula, independence of rows, the inference copy."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import frmdn.agent.vision
from frmdn.agent.seeds import generator
from frmdn.agent.training import bf16_is_fast
from frmdn.agent.vision import ConvVAE, VisionConfig, rarity_weights

BOTH = pytest.mark.parametrize("decoder", ["paper", "fast"])


def make(decoder: str = "fast", **settings) -> ConvVAE:
    torch.manual_seed(0)
    vision = ConvVAE(VisionConfig(decoder=decoder, **settings))
    with torch.no_grad():  # a fresh head hardly tells these pictures apart; a test of dependence needs one that does
        vision.moment_head.weight.mul_(5)
    return vision


def pictures(batch: int, size: int = 64, channels: int = 3) -> torch.Tensor:
    return torch.randint(0, 256, (batch, size, size, channels), dtype=torch.uint8, generator=generator(0, "pictures"))


@BOTH
def test_shapes_and_ranges(decoder: str) -> None:
    vision = make(decoder, latent=7)
    posterior = vision.encode(pictures(3))
    assert posterior.loc.shape == posterior.scale.shape == (3, 7)
    assert posterior.loc.dtype == torch.float32 and bool((posterior.scale > 0).all())
    decoded = vision.decode(posterior.loc * 100)
    assert decoded.shape == (3, 64, 64, 3) and decoded.dtype == torch.float32
    assert bool((decoded >= 0).all()) and bool((decoded <= 1).all()) and float(decoded.detach().std()) > 0


def test_the_published_model_has_the_published_size() -> None:
    # World Models (2018), appendix A: 4,348,547 parameters in CarRacing's V.
    convolutions = (3 * 32 + 32 * 64 + 64 * 128 + 128 * 256) * 16 + 32 + 64 + 128 + 256
    heads = 2 * (1024 * 32 + 32)
    decoder = 32 * 1024 + 1024 + 1024 * 128 * 25 + 128 + 128 * 64 * 25 + 64 + 64 * 32 * 36 + 32 + 32 * 3 * 36 + 3
    assert sum(p.numel() for p in make("paper").parameters()) == convolutions + heads + decoder == 4_348_547


def test_first_deconvolution_equals_the_transposed_convolution() -> None:
    layer = make("paper").decoder[2]
    x = torch.randn(2, 1024, 1, 1, generator=generator(1))
    torch.testing.assert_close(layer(x), nn.ConvTranspose2d.forward(layer, x), atol=1e-5, rtol=1e-5)


def test_bytes_and_unit_floats_are_the_same_picture() -> None:
    vision, frames = make(), pictures(4)
    torch.testing.assert_close(vision.encode(frames).loc, vision.encode(frames.float() / 255).loc)
    torch.testing.assert_close(vision.encode_mean(frames), vision.encode_mean(frames.float() / 255))


def test_loss_is_squared_error_plus_floored_divergence() -> None:
    vision, frames = make(kl_floor=1.4, latent=5), pictures(6)
    with torch.no_grad():
        vision.moment_head.weight.mul_(8)  # some images lie above the floor of 7 nats, and some below
    loss = vision.loss(frames, generator(3))
    posterior = vision.encode(frames)
    z = posterior.loc + posterior.scale * torch.randn(6, 5, generator=generator(3))
    squared = (vision.decode(z) - frames.float() / 255).square().flatten(1).sum(1)
    prior = torch.distributions.Normal(0.0, 1.0)
    kl = torch.distributions.kl_divergence(posterior, prior).sum(1)
    assert bool((kl > 7).any()) and bool((kl < 7).any()), kl
    divergence = loss.total - loss.parts["reconstruction"]
    torch.testing.assert_close(divergence, kl.clamp_min(7.0).mean(), rtol=1e-5, atol=2e-3)
    torch.testing.assert_close(loss.parts["reconstruction"], squared.mean(), rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(loss.parts["kl"], kl.mean(), rtol=1e-5, atol=1e-4)


def test_loss_repeats_with_its_generator_and_only_then() -> None:
    vision, frames = make(), pictures(2)
    first, again, other = (float(vision.loss(frames, generator(s)).total.detach()) for s in (1, 1, 2))
    assert first == again != other


@BOTH
def test_every_parameter_gets_a_gradient(decoder: str) -> None:
    vision = make(decoder, kl_floor=0.0)
    vision.loss(pictures(4), generator(0)).total.backward()
    for name, parameter in vision.named_parameters():
        assert parameter.grad is not None and bool((parameter.grad != 0).any()), name


@BOTH
def test_training_learns_the_picture(decoder: str) -> None:
    vision, frames = make(decoder), pictures(8) // 8 + 200
    optimizer = torch.optim.Adam(vision.parameters(), 1e-3)
    first = vision.loss(frames, generator(0))
    for step in range(15):
        optimizer.zero_grad()
        vision.loss(frames, generator(step)).total.backward()
        optimizer.step()
    last = vision.loss(frames, generator(0))
    assert float(last.parts["reconstruction"]) < 0.4 * float(first.parts["reconstruction"])


def test_inference_agrees_with_training_precision() -> None:
    vision, frames = make(), pictures(8)
    with torch.no_grad():
        posterior = vision.encode(frames)
    mean, logvar = vision.moments(frames)
    spread = float(posterior.loc.std())
    assert spread > 0.05
    assert float((mean - posterior.loc).abs().max()) < 0.05 * spread  # bfloat16 keeps 8 bits of each activation
    assert float((logvar - 2 * posterior.scale.log()).abs().max()) < 0.1 * spread
    assert mean.dtype == logvar.dtype == torch.float32 and not mean.requires_grad
    assert torch.equal(mean, vision.encode_mean(frames))


def test_inference_without_bfloat16_is_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frmdn.agent.vision, "bf16_is_fast", lambda device: False)
    vision, frames = make(), pictures(5)
    torch.testing.assert_close(vision.encode_mean(frames), vision.encode(frames).loc.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("batch", [1, 2, 8, 16, 33])
def test_a_row_ignores_the_others(batch: int) -> None:
    vision, frames = make(), pictures(batch)
    whole = vision.encode_mean(frames)
    order = torch.randperm(batch, generator=generator(5))
    assert torch.equal(vision.encode_mean(frames[order]), whole[order])
    for row in range(batch):
        strangers = 255 - frames
        strangers[row] = frames[row]
        assert torch.equal(vision.encode_mean(strangers)[row], whole[row])
    assert batch == 1 or not torch.equal(whole[0], whole[1])


@pytest.mark.parametrize("change", ["load", "in place", "optimizer", "data"])
def test_the_inference_copy_follows_the_weights(change: str) -> None:
    vision, frames = make(), pictures(2)
    before = vision.encode_mean(frames)
    if change == "load":
        torch.manual_seed(9)
        vision.load_state_dict(ConvVAE(vision.config).state_dict())
    elif change == "in place":
        with torch.no_grad():
            vision.moment_head.bias.add_(1)
    elif change == "optimizer":
        vision.loss(frames, generator(0)).total.backward()
        torch.optim.Adam(vision.parameters(), 0.1, fused=True).step()
    else:
        vision.convolutions[3].bias.data = vision.convolutions[3].bias.data + 1
    after = vision.encode_mean(frames)
    spread = float((after - before).abs().max())
    assert spread > 0
    exact = vision.encode(frames).loc.detach()
    assert float((after - exact).abs().max()) < 0.05 * max(1.0, float(after.abs().max()))


def test_state_dict_and_pickle_round_trips() -> None:
    vision, frames = make("paper"), pictures(3)
    expected = vision.encode_mean(frames)  # with the inference copy made, so that pickling must cope with it
    buffer = io.BytesIO()
    torch.save(vision.state_dict(), buffer)
    fresh = ConvVAE(vision.config)
    fresh.load_state_dict(torch.load(io.BytesIO(buffer.getvalue()), weights_only=True))
    plain = pickle.dumps(ConvVAE(vision.config))
    packed = pickle.dumps(vision)
    assert abs(len(packed) - len(plain)) < 1000, "the inference copy must not travel"
    for other in (fresh, pickle.loads(packed), copy.deepcopy(vision)):
        assert torch.equal(other.encode_mean(frames), expected)


def test_other_sizes() -> None:
    vision = make("fast", frame_size=96, channels=1, latent=4)
    frames = pictures(2, 96, 1)
    assert vision.decode(vision.encode_mean(frames)).shape == (2, 96, 96, 1)
    mean = vision.encode(frames).loc.detach()
    assert float((vision.encode_mean(frames) - mean).abs().max()) < 0.05 * float(mean.abs().max())


def test_mixed_precision_trains_with_float32_results() -> None:
    vision, frames = make(), pictures(4)
    exact = vision.loss(frames, generator(0)).total
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = vision.loss(frames, generator(0))
    loss.total.backward()
    assert loss.total.dtype == torch.float32
    torch.testing.assert_close(loss.total, exact, rtol=0.02, atol=0)


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        (torch.zeros(2, 3, 64, 64), "channels last"),
        (torch.zeros(64, 64, 3, dtype=torch.uint8), "frames has shape"),
        (torch.zeros(2, 96, 96, 3, dtype=torch.uint8), "resize"),
        (torch.zeros(2, 64, 64, 3, dtype=torch.int64), "uint8"),
        (torch.zeros(2, 64, 64, 3, dtype=torch.float64), "float32"),
    ],
)
def test_wrong_frames_are_refused_with_a_remedy(frames: torch.Tensor, words: str) -> None:
    vision = make()
    for use in (vision.encode, vision.encode_mean, vision.moments, vision.loss):
        with pytest.raises(ValueError, match=words):
            use(frames)


@pytest.mark.parametrize(
    "settings",
    [
        {"decoder": "slow"},
        {"frame_size": 96, "decoder": "paper"},
        {"frame_size": 50, "decoder": "fast"},
        {"latent": 0},
        {"kl_floor": -1.0},
    ],
)
def test_wrong_settings_are_refused(settings: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        VisionConfig(**settings)


def test_wrong_latents_are_refused() -> None:
    with pytest.raises(ValueError, match="z has shape"):
        make().decode(torch.zeros(2, 31))


def test_first_layer_reads_bytes_exactly() -> None:
    """The folded division: convolving 0..255 with weight/255 is convolving 0..1 with the weight."""
    vision, frames = make(), pictures(2)
    weight, bias = vision._pack().convolved[0]
    x = frames.permute(0, 3, 1, 2)
    folded = F.conv2d(x.double(), weight.double(), bias.double(), 2)
    direct = F.conv2d(x.double() / 255, vision.convolutions[0].weight.double(), vision.convolutions[0].bias.double(), 2)
    tolerance = 0.01 if bf16_is_fast(x.device) else 1e-5
    assert float((folded - direct).detach().abs().max()) < tolerance


def test_rare_colours_weigh_more_and_the_mean_weight_is_one() -> None:
    """A red dot of 4 pixels among 4092 of sky: in full a red pixel weighs sqrt(4092 / 4) as much as one of the sky."""
    pictures = torch.full((1, 64, 64, 3), 0.5)
    pictures[0, 10:12, 10:12] = torch.tensor([1.0, 0.0, 0.0])
    for amount in (0.0, 0.5, 1.0):
        weights = rarity_weights(pictures, amount)
        assert weights.shape == (1, 64, 64, 1) and weights.mean() == pytest.approx(1.0)
        rare, common = float(weights[0, 10, 10]) + amount - 1, float(weights[0, 0, 0]) + amount - 1
        assert rare == pytest.approx((4092 / 4) ** 0.5 * common, rel=1e-3, abs=1e-6)
    assert torch.equal(rarity_weights(pictures[:, :5], 0.5), torch.ones(1, 5, 64, 1))  # one colour: all alike


def test_rarity_moves_the_loss_towards_the_sprite() -> None:
    """The weighted error of a picture without its dot is larger, and no rarity is the published loss to the bit."""
    torch.manual_seed(0)
    frames = torch.full((2, 64, 64, 3), 128, dtype=torch.uint8)
    frames[:, 10:12, 10:12] = torch.tensor([255, 0, 0], dtype=torch.uint8)
    plain = ConvVAE(VisionConfig(decoder="fast"))
    weighted = ConvVAE(VisionConfig(decoder="fast", rarity=0.5))
    weighted.load_state_dict(plain.state_dict())
    losses = [model.loss(frames, torch.Generator().manual_seed(0)) for model in (plain, weighted)]
    assert losses[1].parts["reconstruction"] > losses[0].parts["reconstruction"]
    assert losses[1].parts["kl"] == losses[0].parts["kl"]
    with pytest.raises(ValueError, match="rarity"):
        VisionConfig(rarity=2.0)
