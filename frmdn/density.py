"""Density models of continuous vectors and sequences, usable without any reinforcement learning.

>>> from frmdn.density import frmdn
>>> model = frmdn(inputs=3, outputs=2, hidden=16)
>>> density, state = model(torch.zeros(4, 10, 3))  # 4 sequences of 10 contexts
>>> density.log_prob(torch.zeros(4, 10, 2)).shape, density.sample().shape
(torch.Size([4, 10]), torch.Size([4, 10, 2]))
"""

from frmdn.agent.density import *  # noqa: F403  (this module is that one, under the name that people look for)
from frmdn.agent.density import __all__ as __all__
