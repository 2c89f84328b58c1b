"""Temporal convolutional network (Bai et al., 2018): dilated causal 1-D convolutions."""

import torch
from torch import Tensor, nn
from torch.random import fork_rng


class Block(nn.Module):
    """Two causal convolutions of the same dilation, and a residual sum."""

    def __init__(self, c_in: int, c_out: int, dilation: int) -> None:
        super().__init__()
        self.pad = nn.ConstantPad1d((2 * dilation, 0), 0.0)
        self.conv1 = nn.Conv1d(c_in, c_out, 3, dilation=dilation)
        self.conv2 = nn.Conv1d(c_out, c_out, 3, dilation=dilation)
        self.shortcut = nn.Identity() if c_in == c_out else nn.Conv1d(c_in, c_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.conv1(self.pad(x)))
        y = torch.relu(self.conv2(self.pad(y)))
        return torch.relu(y + self.shortcut(x))


@fork_rng()
def make() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Blocks of dilation 1, 2, 4, 8, and a linear layer for each step; an example input."""
    torch.manual_seed(0)
    blocks = [Block(8, 24, 1), Block(24, 24, 2), Block(24, 24, 4), Block(24, 24, 8)]
    module = nn.Sequential(*blocks, nn.Conv1d(24, 4, 1))
    for layer in module.modules():
        if isinstance(layer, nn.Conv1d):
            nn.init.kaiming_normal_(layer.weight)
    return module.eval(), (torch.randn(1, 8, 64),)
