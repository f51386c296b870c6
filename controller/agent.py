"""An agent with a linear controller: the parts put together so that they fit."""

from __future__ import annotations

from frmdn.agent.agent import Agent, AgentConfig
from frmdn.agent.memory import Memory
from frmdn.agent.vision import ConvVAE
from frmdn.envs.spec import EnvSpec

from .linear import LinearController


def make_agent(vision: ConvVAE, memory: Memory | None, spec: EnvSpec, config: AgentConfig | None = None) -> Agent:
    """An agent whose linear controller fits what `config.features` shows it. It is on the CPU; `to` moves it.

    >>> spec = frmdn.get_spec("CarRacing-v3")
    >>> memory = frmdn.Memory(frmdn.MemoryConfig(action=spec.action.size))
    >>> frmdn.make_agent(frmdn.ConvVAE(), memory, spec).controller
    LinearController(inputs=288, outputs=3)
    """
    config = config or AgentConfig()
    hidden = memory.config.hidden if memory is not None else 0
    inputs = vision.config.latent + hidden * (len(config.features) - 1)
    controller = LinearController(inputs, spec.action.size)
    return Agent(vision, memory, controller, spec.action.squash, config)
