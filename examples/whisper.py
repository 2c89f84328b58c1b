"""Whisper-like audio encoder (Radford et al., 2022): two 1-D convolutions, then attention."""

import math

import torch
from torch import Tensor, nn
from torch.random import fork_rng


def sinusoids(tokens: int, width: int) -> Tensor:
    """Positions ``[tokens, width]``: sines, then cosines, of geometric frequencies."""
    rate = torch.exp(-math.log(10000.0) / (width // 2 - 1) * torch.arange(width // 2))
    angle = torch.arange(tokens)[:, None] * rate[None, :]
    return torch.cat((angle.sin(), angle.cos()), dim=1)


class Encoder(nn.Module):
    """Mel spectrogram ``[batch, 16, 64]`` to ``[batch, 32, 48]``."""

    positions: Tensor

    def __init__(self, mels: int = 16, width: int = 48, layers: int = 2) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(mels, width, 3, padding=1)
        self.conv2 = nn.Conv1d(width, width, 3, stride=2, padding=1)
        self.register_buffer("positions", sinusoids(32, width))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, 4, 4 * width, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.gelu(self.conv1(x))
        x = nn.functional.gelu(self.conv2(x)).transpose(1, 2) + self.positions
        for layer in self.layers:
            x = layer(x)
        y: Tensor = self.norm(x)
        return y


@fork_rng()
def make() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Two layers of torch's own encoder layer, seeded weights, and an example input."""
    torch.manual_seed(0)
    return Encoder().eval(), (torch.randn(1, 16, 64),)
