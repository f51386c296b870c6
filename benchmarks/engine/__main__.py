"""How long a generation takes with 1 to 1,000 workers: `python -m frmdn.benchmarks.engine --out engine.json`.

Service times and messages are measured on a Ray of one worker; the generations are simulated with the real scheduler.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from frmdn.pipeline.files import read_json, write_bytes, write_json

from .picture import picture
from .service import SLOTS, costs
from .simulation import Costs, sweep

WORKERS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000)
POPULATIONS = ((64, 16), (256, 16))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m frmdn.benchmarks.engine", description=__doc__)
    parser.add_argument("--out", type=Path, help="where the figures go, as JSON (default: only shown)")
    parser.add_argument("--picture", type=Path, help="where the picture goes, as PNG")
    parser.add_argument("--ray-address", help="of a Ray cluster (default: one on this machine)")
    parser.add_argument("--costs", type=Path, help="figures of an earlier call, whose service times are taken")
    options = parser.parse_args()
    if options.costs:
        earlier = read_json(options.costs)
        measured, episodes = Costs(**earlier["costs"]), earlier["episode"]
    else:
        measured, traffic = costs(options.ray_address)
        episodes = traffic.to_json()
    print("costs in microseconds:", {name: round(1e6 * value, 1) for name, value in asdict(measured).items()})
    print("an episode:", episodes)
    found = {}
    for candidates, seeds in POPULATIONS:
        name = f"{candidates} x {seeds}"
        found[name] = sweep(WORKERS, candidates * seeds, SLOTS, measured)
        for timing in found[name]:
            share = timing.driver / timing.seconds
            print(
                f"{name:>9} {timing.workers:>5} workers {timing.seconds:9.2f} s  efficiency {timing.efficiency:5.2f}  "
                f"driver busy {share:4.0%}  {timing.messages} messages"
            )
    rows = {
        name: [asdict(timing) | {"efficiency": round(timing.efficiency, 3)} for timing in timings]
        for name, timings in found.items()
    }
    if options.out:
        write_json(options.out, {"costs": asdict(measured), "episode": episodes, "slots": SLOTS, "generations": rows})
    if options.picture:
        write_bytes(options.picture, picture(found))


if __name__ == "__main__":
    main()
