"""Recurrent classifiers on ``[1, 24, 16]`` sequences: LSTM, GRU, plain RNN, both directions."""

import torch
from torch import Tensor, nn
from torch.random import fork_rng


class Classifier(nn.Module):
    """A recurrent layer or two, and a linear layer on the last step."""

    def __init__(self, cell: nn.RNNBase) -> None:
        super().__init__()
        self.cell = cell
        self.head = nn.Linear(cell.hidden_size * (2 if cell.bidirectional else 1), 10)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.cell(x)
        y: Tensor = self.head(states[:, -1])
        return y


class Tagger(Classifier):
    """The same with a result for each step."""

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.cell(x)[0])
        return y


@fork_rng()
def make_lstm() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """LSTM of 32 cells; seeded weights, and an example input."""
    torch.manual_seed(0)
    return Classifier(nn.LSTM(16, 32, batch_first=True)).eval(), (torch.randn(1, 24, 16),)


@fork_rng()
def make_gru() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """GRU of 32 cells; seeded weights, and an example input."""
    torch.manual_seed(0)
    return Classifier(nn.GRU(16, 32, batch_first=True)).eval(), (torch.randn(1, 24, 16),)


@fork_rng()
def make_rnn() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Two layers of 32 tanh cells; seeded weights, and an example input."""
    torch.manual_seed(0)
    cell = nn.RNN(16, 32, num_layers=2, batch_first=True)
    return Classifier(cell).eval(), (torch.randn(1, 24, 16),)


@fork_rng()
def make_bidirectional() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Two bidirectional LSTM layers that tag every step; seeded weights, and an example input."""
    torch.manual_seed(0)
    cell = nn.LSTM(16, 24, num_layers=2, batch_first=True, bidirectional=True)
    return Tagger(cell).eval(), (torch.randn(1, 24, 16),)
