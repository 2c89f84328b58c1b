"""WaveNet-like network (van den Oord et al., 2016): gated dilated causal convolutions, skips."""

import torch
from torch import Tensor, nn
from torch.random import fork_rng


class Gated(nn.Module):
    """tanh(filter) * sigmoid(gate) of a causal convolution; a residual and a skip output."""

    def __init__(self, channels: int, skip: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.filter, self.gate = (
            nn.Conv1d(channels, channels, 2, dilation=dilation) for _ in range(2)
        )
        self.residual, self.skip = nn.Conv1d(channels, channels, 1), nn.Conv1d(channels, skip, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        padded = nn.functional.pad(x, (self.dilation, 0))
        y = torch.tanh(self.filter(padded)) * torch.sigmoid(self.gate(padded))
        return x + self.residual(y), self.skip(y)


class WaveNet(nn.Module):
    """Dilations 1 to 32; 32 output levels for each sample."""

    def __init__(self, channels: int = 16, skip: int = 24) -> None:
        super().__init__()
        self.inward = nn.Conv1d(1, channels, 1)
        self.layers = nn.ModuleList(Gated(channels, skip, 2**k) for k in range(6))
        self.mix, self.out = nn.Conv1d(skip, skip, 1), nn.Conv1d(skip, 32, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.inward(x)
        total = torch.zeros(1)
        for layer in self.layers:
            x, skip = layer(x)
            total = total + skip
        y: Tensor = self.out(torch.relu(self.mix(torch.relu(total))))
        return y


@fork_rng()
def make() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The network, with seeded weights and in evaluation mode, and 128 samples."""
    torch.manual_seed(0)
    return WaveNet().eval(), (torch.randn(1, 1, 128),)
