"""The model card of an agent: Markdown with a YAML header, as model hubs show it, written from its evaluation."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from .header import Header

USE = """## Use it

```sh
pip install frmdn
frmdn pull {repository} --out agent.safetensors
```

```python
import frmdn

player = frmdn.load("agent.safetensors")
action = player.act(frame)  # a picture u8[H,W,{channels}] of the world, of any size
player.reset()  # before the next episode
```

The file needs neither the environment nor Gymnasium to act. Nothing in it is run when it is read. With the environment
installed, `frmdn evaluate agent.safetensors` plays the episodes of the table again.
"""


def card(header: Header, repository: str) -> str:
    """The text of README.md of an agent that goes to `repository` (owner/name)."""
    return "\n".join([*_yaml(header, repository), *_prose(header), *_results(header), *_parts(header, repository)])


def _yaml(header: Header, repository: str) -> Iterator[str]:
    """The header. Words are written as JSON, which is YAML too, so that no name can break out of its place."""
    world = header.world.id
    tags = ["reinforcement-learning", "world-model", "frmdn", world]
    yield "---"
    yield "library_name: frmdn"
    yield "pipeline_tag: reinforcement-learning"
    yield f"tags: {json.dumps(tags)}"
    report = header.evaluation
    if report is not None:
        score = f"{report['mean']:.2f} +/- {report['std']:.2f}"
        result = {
            "task": {"type": "reinforcement-learning", "name": "reinforcement-learning"},
            "dataset": {"type": world, "name": world},
            "metrics": [{"type": "mean_reward", "name": "mean_reward", "value": score, "verified": False}],
        }
        yield "model-index:"
        yield f"- name: {json.dumps(repository)}"
        yield f"  results: {json.dumps([result])}"
    yield "---"
    yield ""


def _prose(header: Header) -> Iterator[str]:
    memory = "an LSTM with a mixture density" + (" behind a flow" if header.memory.density == "frmdn" else "")
    yield f"# A world-model agent for {_word(header.world.id)}"
    yield ""
    yield "A ConvVAE turns each frame into a latent (Vision). A recurrent density model says what comes next (Memory):"
    yield f"{memory}. A linear controller, evolved by CMA-ES, acts."
    yield ""


def _results(header: Header) -> Iterator[str]:
    yield "## Results"
    yield ""
    report = header.evaluation
    if report is None:
        yield "This agent was not evaluated."
        yield ""
        return
    yield f"{report['episodes']} whole episodes of the official environment, on seeds held out from training."
    yield ""
    yield "| policy | mean return | standard deviation | 95 % interval of the mean |"
    yield "|---|---|---|---|"
    yield _row("this agent", report)
    for name, baseline in report.get("baselines", {}).items():
        yield _row(name, baseline)
    yield ""
    returns = ", ".join(f"{value:.0f}" for value in report["returns"])
    yield f"Every return of this agent: {returns}."
    yield ""


def _parts(header: Header, repository: str) -> Iterator[str]:
    world, vision, memory = header.world, header.vision, header.memory
    yield USE.format(repository=_word(repository), channels=world.channels)
    yield "## What it is made of"
    yield ""
    yield "| part | what |"
    yield "|---|---|"
    cut = "" if world.rows is None else f", from rows {world.rows[0]} to {world.rows[1]}"
    yield f"| frame | {world.frame_size} x {world.frame_size} x {world.channels}{cut} |"
    action = world.action
    names = f": {', '.join(map(_word, action.names))}" if action.names else ""
    yield f"| actions | {f'{action.n} discrete' if action.kind == 'discrete' else f'box of {action.size}'}{names} |"
    yield f"| vision | {vision.latent} latent numbers |"
    yield f"| memory | {memory.density}, {memory.hidden} hidden, {memory.components} components |"
    yield f"| controller | linear, on {_word(header.agent.features)} |"
    for name, version in header.versions.items():
        yield f"| {_word(name)} | {_word(version)} |"
    yield ""


def _row(name: str, report: Mapping[str, Any]) -> str:
    low, high = report["ci95"]
    return f"| {_word(name)} | {report['mean']:.1f} | {report['std']:.1f} | {low:.1f} to {high:.1f} |"


def _word(text: object) -> str:
    """A name on one line that cannot end its cell, open a link or begin a tag."""
    plain = " ".join(str(text).split())[:80]
    return "".join(f"\\{each}" if each in "|`[]<>*_#\\" else each for each in plain)
