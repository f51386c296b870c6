"""Handwriting synthesis: a pen that writes a given text."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..density.networks import Recurrent, State
from .density import StrokeHead
from .distribution import StrokeDistribution
from .window import WindowLSTM, WindowState


@dataclass(frozen=True)
class WriterState:
    """Everything that the next point depends on, besides the text."""

    window: WindowState
    deep: State


class Synthesis(nn.Module):
    """p(next point | points before, text): Graves 2013, section 5, at the end of any density of the library.

    An LSTM with a soft window reads the text. A second LSTM sees what the first and its window say, and the context
    past them both (skip connections); both speak to the mixture.

    Args:
        name: a model of the catalogue, for the end.
        inputs: C of the context.
        characters: A, the size of the alphabet; 0 in a text is padding.
        components: K.
        hidden: of each LSTM.
        windows: M of the soft window.

    >>> from frmdn.agent.strokes.synthesis import Synthesis
    >>> model = Synthesis("rmdn-low-rank", inputs=5, characters=27, components=3, hidden=16)
    >>> text = torch.tensor([[23, 15, 18, 12, 4]])
    >>> strokes, state = model(torch.zeros(1, 10, 5), text)
    >>> strokes, state = model(torch.zeros(1, 1, 5), text, state)  # one step on
    >>> strokes.sample().shape
    torch.Size([1, 1, 3])
    """

    def __init__(
        self, name: str, inputs: int, characters: int, components: int = 10, hidden: int = 256, windows: int = 5
    ) -> None:
        super().__init__()
        self.window = WindowLSTM(inputs, characters, hidden, windows)
        self.deep = Recurrent(inputs + hidden + characters, hidden)
        self.head = StrokeHead(name, 2 * hidden, False, components)

    def forward(
        self, context: Tensor, text: Tensor, state: WriterState | None = None
    ) -> tuple[StrokeDistribution, WriterState]:
        """Context [B,T,C], text i64[B,U] -> the distribution after each point, over [B,T], and the state."""
        first, window, _ = self.window(context, text, state.window if state else None)
        second, deep = self.deep(torch.cat([context, first], -1), state.deep if state else None)
        features = torch.cat([first[..., : self.window.hidden], second], -1)
        return self.head(features), WriterState(window, deep)

    def step(self, context: Tensor, text: Tensor, state: WriterState | None) -> tuple[StrokeDistribution, WriterState]:
        """The same for drawing: the pen finishes where the window leaves the text, and nowhere else.

        Graves 2013, section 5.3, stops as soon as the window says more of what follows the text than of any character
        in it: half a character behind the last. There a pen that leaves the paper has finished; before, none has.
        Windows count by their weight: one that reads nothing any more may lag behind for ever.
        """
        strokes, after = self(context, text, state)
        past = (self.window.centre(after.window) > (text > 0).sum(1) - 0.5)[:, None]
        draws, lifts, ends = strokes.pen.unbind(-1)
        never = torch.full_like(draws, -1e9)
        pen = [draws, torch.where(past, never, lifts), torch.where(past, torch.logaddexp(lifts, ends), never)]
        return StrokeDistribution(strokes.offsets, torch.stack(pen, -1), validate_args=False), after

    def attention(self, context: Tensor, text: Tensor) -> Tensor:
        """phi f32[B,T,U]: which letter is written at which point."""
        weights: Tensor = self.window(context, text)[2]
        return weights
