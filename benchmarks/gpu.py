"""A GPU against the processor beside it, in one command: `python -m frmdn.benchmarks.gpu --out gpu.json`.

It first checks that the GPU computes what the CPU computes, then trains the vision and the memory, dreams, and evolves
in dreams, each for some seconds, and prints the rates beside what the device can do at most: its measured matrix
products and its measured memory. `--device cpu --quick` walks through all of it on any machine.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from frmdn.agent.device import choose_device, device_name, synchronize
from frmdn.agent.dream import Dream, DreamState, Noise
from frmdn.agent.errors import first_line
from frmdn.agent.memory import Memory, MemoryConfig
from frmdn.agent.rows import map_rows
from frmdn.agent.seeds import episode_seeds
from frmdn.agent.training import FitConfig, bf16_is_fast, fit
from frmdn.agent.vision import ConvVAE, VisionConfig
from frmdn.controller.batched import BatchedDreams
from frmdn.controller.evolution import Evolution, SearchConfig
from frmdn.controller.evolve import evolve
from frmdn.controller.fitness import Trial
from frmdn.controller.linear import LinearController
from frmdn.envs import get_spec
from frmdn.pipeline.files import write_json

from .memory import batch as sequences
from .row import rate
from .vision import frames, multiplications

SPEC = "CarRacing-v3"
TOLERANCE = 2e-3  # relative, in float32: a GPU adds up in another order, and its convolutions may round to TF32
BF16 = 3e-2  # the same for the vision in bfloat16


@dataclass(frozen=True)
class Sizes:
    """How much of everything; the defaults take under eight minutes on a GPU."""

    seconds: float = 5.0  # of each rate
    steps: int = 64  # of a training: it ends with a copy of weights and moments on the host, which is no part of a step
    pictures: int = 512  # of a batch of the vision
    sequences: int = 128  # of a batch of the memory
    length: int = 256  # of each
    hidden: int = 256  # of the LSTM
    population: int = 64
    episodes: int = 16  # of each candidate
    horizon: int = 512  # transitions of a dream
    generations: int = 10
    matrix: int = 8192  # side of the products
    stream: int = 2**28  # numbers that are copied
    compile: bool = True  # whether torch.compile is tried, which takes a minute


QUICK = Sizes(0.5, 2, 8, 4, 16, 16, 8, 2, 40, 2, 256, 2**20, False)


class Bench:
    """The parts of the benchmark on one device; `found` is what will be written."""

    def __init__(self, device: torch.device, sizes: Sizes, tell: Callable[[str], None]) -> None:
        self.device, self.sizes, self.tell = device, sizes, tell
        self.found: dict[str, Any] = {
            "device": device_name(device),
            "torch": torch.__version__,
            "bf16": bf16_is_fast(device),
            "sizes": vars(sizes),
        }

    def run(self) -> dict[str, Any]:
        begun = time.perf_counter()
        for part in (self.limits, self.equality, self.vision, self.memory, self.dream, self.search):
            part()
        self.found["seconds"] = round(time.perf_counter() - begun, 1)
        return self.found

    def put(self, name: str, value: float, unit: str, limit: float | None = None, note: str = "") -> None:
        """Keep a figure and say it."""
        row: dict[str, Any] = {"value": value, "unit": unit}
        share = ""
        if limit is not None:
            row |= {"limit": limit, "share": value / limit}
            share = f", {value / limit:.1%} of the limit {limit:,.0f}"
        if note:
            row["note"] = note
        self.found[name] = row
        self.tell(f"{name:18} {value:14,.4g} {unit}{share}{f'; {note}' if note else ''}")

    def rate(self, work: Callable[[], float]) -> float:
        """Units a second, warm, with the device waited for at both ends."""

        def waited() -> float:
            done = work()
            synchronize(self.device)
            return done

        waited()
        return rate(waited, self.sizes.seconds)

    # What the device can do at most

    def limits(self) -> None:
        side, count = self.sizes.matrix, self.sizes.stream
        kinds = {"float32": torch.float32} | ({"bfloat16": torch.bfloat16} if self.found["bf16"] else {})
        for name, dtype in kinds.items():
            a, b = (torch.randn(side, side, device=self.device).to(dtype) for _ in range(2))
            out = torch.empty_like(a)

            def product(a: torch.Tensor = a, b: torch.Tensor = b, out: torch.Tensor = out) -> float:
                torch.mm(a, b, out=out)
                return 2.0 * side**3

            self.put(f"product {name}", self.rate(product) / 1e12, "TFLOP/s", note=f"{side} x {side}")
        source = torch.zeros(count, device=self.device)
        target = torch.empty_like(source)

        def copied() -> float:
            target.copy_(source)
            return 8.0 * count

        self.put("memory", self.rate(copied) / 1e9, "GB/s", note=f"copying {count:,} numbers")

    @property
    def flops(self) -> float:
        """Of the fastest product, in FLOP/s."""
        kind = "bfloat16" if self.found["bf16"] else "float32"
        return float(self.found[f"product {kind}"]["value"]) * 1e12

    # Whether it computes what the CPU does

    def equality(self) -> None:
        """Relative differences from the CPU; RuntimeError where one is beyond its tolerance."""
        differences = {**self._models(), "returns": self._returns()}
        for name, (difference, allowed) in differences.items():
            if not difference <= allowed:
                raise RuntimeError(f"{name} differs from the CPU's by {difference:.3g}, more than {allowed:g}")
        self.found["differences"] = {name: difference for name, (difference, _) in differences.items()}
        said = ", ".join(f"{name} {difference:.1e}" for name, (difference, _) in differences.items())
        self.tell(f"equal to the CPU within tolerance: {said}")

    def _models(self) -> dict[str, tuple[float, float]]:
        torch.manual_seed(0)
        eyes, memory = ConvVAE(VisionConfig(decoder="fast")), Memory(MemoryConfig(hidden=self.sizes.hidden))
        dream, pictures = Dream(memory.eval(), done_threshold=None), frames(8)
        batch = sequences(2, 16)
        noise = Noise(torch.rand(64, 2), torch.randn(64, dream.noise))
        state = dream.initial(torch.randn(64, 32))
        actions, z = torch.rand(64, 3), torch.randn(8, 32)

        def figures(device: torch.device) -> dict[str, torch.Tensor]:
            v, m = copy.deepcopy(eyes).to(device), copy.deepcopy(memory).to(device)
            here = map_rows(lambda tensor: tensor.to(device), state)
            made = Dream(m.eval(), done_threshold=None).step(
                here, actions.to(device), noise=map_rows(lambda tensor: tensor.to(device), noise)
            )
            loss = m.train().loss(batch.to(device))  # cuDNN has no gradient of an LSTM in eval mode
            loss.total.backward()
            gradient = torch.cat([p.grad.flatten() for p in m.parameters() if p.grad is not None])
            return {
                "encoded": v.encode_mean(pictures.to(device)),
                "decoded": v.decode(z.to(device)),
                "loss": loss.total,
                "gradient": gradient,
                "dreamt": torch.cat((made[0].z, made[1].unsqueeze(1)), 1),
            }

        here, there = figures(torch.device("cpu")), figures(self.device)
        return {name: (_difference(here[name], there[name]), BF16 if name == "encoded" else TOLERANCE) for name in here}

    def _returns(self) -> tuple[float, float]:
        """A short search's returns: the same candidates, dreams and luck on both."""
        theta = 0.1 * np.random.default_rng(0).standard_normal((4, _controller(self.sizes.hidden).size))
        trial = [Trial(theta, [1, 2, 3], 24)]
        here = _dreams(torch.device("cpu"), self.sizes, "rmdn").measure(trial)[0].total
        there = _dreams(self.device, self.sizes, "rmdn").measure(trial)[0].total
        return _difference(torch.from_numpy(here), torch.from_numpy(there)), 10 * TOLERANCE

    # The work

    def vision(self) -> None:
        data, steps = frames(self.sizes.pictures).to(self.device), self.sizes.steps
        limit = self.flops / (6 * multiplications())  # of the published decoder; backward costs two forwards
        for decoder in ("paper", "fast"):
            model = ConvVAE(VisionConfig(decoder=decoder)).to(self.device)
            config = FitConfig(steps=steps, learning_rate=1e-4, bf16=True)

            def work(model: ConvVAE = model, config: FitConfig = config) -> float:
                fit(model, lambda step: data, config, seed=0)
                return float(steps * len(data))

            note = f"batch {len(data)}, bfloat16" if self.found["bf16"] else f"batch {len(data)}"
            self.put(f"vision {decoder}", self.rate(work), "images/s", limit if decoder == "paper" else None, note)
        self._compiled("vision", model, data, len(data), "images/s")
        model = ConvVAE().to(self.device)

        def encoding() -> float:
            model.moments(data)
            return float(len(data))

        self.put("encoding", self.rate(encoding), "images/s")

    def _compiled(self, name: str, model: torch.nn.Module, data: Any, items: float, unit: str) -> None:
        """A model's loss and gradient as they are and by torch.compile: whether that wins here."""
        if not self.sizes.compile:
            return
        bf16 = name == "vision" and bool(self.found["bf16"])

        def work(loss: Callable[..., Any]) -> Callable[[], float]:
            def once() -> float:
                model.zero_grad()
                with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=bf16):
                    total = loss(data).total
                total.backward()
                return items

            return once

        model.train()
        plain: Callable[..., Any] = model.loss  # type: ignore[assignment]
        self.put(f"{name} plain", self.rate(work(plain)), unit, note="loss and gradient alone")
        try:
            compiled = self.rate(work(torch.compile(plain)))
        except Exception as error:  # no compiler on this machine, or no Triton for this card
            self.found[f"{name} compiled"] = None
            self.tell(f"{name + ' compiled':18} not here: {first_line(error)}")
            return
        self.put(f"{name} compiled", compiled, unit, note="the same by torch.compile")

    def memory(self) -> None:
        batch = sequences(self.sizes.sequences, self.sizes.length).to(self.device)
        lstm = torch.nn.LSTM(35, self.sizes.hidden, batch_first=True).to(self.device)
        x = torch.randn(self.sizes.sequences, self.sizes.length, 35, device=self.device)
        tokens, steps = float(self.sizes.sequences * self.sizes.length), self.sizes.steps

        def alone() -> float:
            lstm.zero_grad()
            lstm(x)[0].sum().backward()
            return tokens

        limit = self.rate(alone)
        for density in ("rmdn", "frmdn"):
            model = Memory(MemoryConfig(hidden=self.sizes.hidden, density=density)).to(self.device)
            config = FitConfig(steps=steps, learning_rate=1e-4, clip=1.0)

            def work(model: Memory = model, config: FitConfig = config) -> float:
                fit(model, lambda step: batch, config, seed=0)
                return steps * tokens

            note = "limit: the LSTM alone, forward and backward"
            self.put(f"memory {density}", self.rate(work), "tokens/s", limit, note)
        self._compiled("memory", model, batch, tokens, "tokens/s")

    def dream(self) -> None:
        """Transitions of a whole generation, and the bytes of weights and parameters that each must read."""
        for density in ("rmdn", "frmdn"):
            dreams, controller = _dreams(self.device, self.sizes, density), _controller(self.sizes.hidden)
            theta = 0.1 * np.random.default_rng(0).standard_normal((self.sizes.population, controller.size))
            trial = [Trial(theta, list(range(self.sizes.episodes)), None)]
            rows = self.sizes.population * self.sizes.episodes
            weights = sum(p.numel() for p in _memory(self.sizes.hidden, density).parameters())
            step_bytes = 4.0 * (weights + rows * (controller.size + 4 * self.sizes.hidden))
            limit = rows * float(self.found["memory"]["value"]) * 1e9 / step_bytes
            steps = self.rate(lambda d=dreams, t=trial: float(d.measure(t)[0].steps.sum()))  # type: ignore[misc]
            how = {None: "step by step", False: "step by step: it cannot be recorded", True: "as a CUDA graph"}
            note = f"{rows} episodes as one batch, {how[dreams.recorded]}; limit: reading weights and parameters"
            self.put(f"dream {density}", steps, "steps/s", limit, note)

    def search(self) -> None:
        """CMA-ES in dreams, whole generations: what a run gets."""
        dreams, controller = _dreams(self.device, self.sizes, "frmdn"), _controller(self.sizes.hidden)
        config = SearchConfig(
            population=self.sizes.population,
            episodes=self.sizes.episodes,
            generations=self.sizes.generations,
            validate_every=0,
        )
        dreams.measure(
            [Trial(np.zeros((config.population, controller.size)), episode_seeds(1, "evolve", config.episodes))]
        )
        lines: list[dict[str, Any]] = []
        begun = time.perf_counter()
        evolve(dreams, Evolution(controller.size, config, 0), config, seed=0, on_generation=lines.append)
        spent = time.perf_counter() - begun
        self.put("search", sum(line["steps"] for line in lines) / spent, "steps/s", note=f"{len(lines)} generations")
        self.put("generation", spent / len(lines), "s", note=f"{config.population} x {config.episodes} dreams")


def _memory(hidden: int, density: str) -> Memory:
    torch.manual_seed(0)
    made = Memory(MemoryConfig(hidden=hidden, density=density)).eval()  # type: ignore[arg-type]
    with torch.no_grad():
        made.outcome.bias[-1] = -20.0  # dreams run to their end, so that rates compare
    return made


def _controller(hidden: int) -> LinearController:
    return LinearController(32 + hidden, 3)


def _dreams(device: torch.device, sizes: Sizes, density: str) -> BatchedDreams:
    dream = Dream(_memory(sizes.hidden, density).to(device), temperature=1.15, done_threshold=None)
    z = torch.randn(64, 32, generator=torch.Generator().manual_seed(0)).to(device)
    starts: DreamState = dream.initial(z)
    spec = replace(get_spec(SPEC), max_steps=sizes.horizon)
    return BatchedDreams(spec, _controller(sizes.hidden), "zh", [dream], [starts], max_steps=sizes.horizon)


def _difference(a: torch.Tensor, b: torch.Tensor) -> float:
    """The root mean square difference of b from a, relative to a."""
    a, b = a.detach().double().cpu(), b.detach().cpu().double()
    return float((a - b).square().mean().sqrt() / a.square().mean().sqrt().clamp_min(1e-12))


def main(arguments: list[str] | None = None) -> int:
    """0; 2 with one line where there is no such device; 1 where the device computes something else than the CPU."""
    parser = argparse.ArgumentParser(prog="python -m frmdn.benchmarks.gpu", description=__doc__)
    parser.add_argument("--device", default="cuda", metavar="D", help="cuda, cuda:1, mps or cpu (default: cuda)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: whether it works, not how fast it is")
    parser.add_argument("--seconds", type=float, metavar="S", help="of each rate (default: 5; quick: 0.5)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the figures here, as JSON")
    parser.add_argument("--json", action="store_true", help="print them as one JSON object")
    options = parser.parse_args(arguments)
    try:
        device = choose_device(options.device)
    except ValueError as error:
        print(f"frmdn: {error}", file=sys.stderr)
        return 2
    sizes = QUICK if options.quick else Sizes()
    if options.seconds is not None:
        sizes = replace(sizes, seconds=options.seconds)
    bench = Bench(device, sizes, lambda line: print(line, file=sys.stderr, flush=True))
    try:
        bench.run()
    except RuntimeError as error:
        print(f"frmdn: {error}", file=sys.stderr)
        return 1
    if options.out is not None:
        write_json(options.out, bench.found)
    if options.json:
        print(json.dumps(bench.found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
