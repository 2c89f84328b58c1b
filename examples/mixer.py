"""MLP-Mixer (Tolstikhin et al., 2021) for 32x32 images: patches of 8, width 48, 2 layers."""

import torch
from torch import Tensor, nn
from torch.random import fork_rng


class MixerLayer(nn.Module):
    """A perceptron over the patches, then one over the channels, each with a residual sum."""

    def __init__(self, patches: int, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.tokens = self._mlp(patches, 2 * patches)
        self.channels = self._mlp(width, 4 * width)

    @staticmethod
    def _mlp(width: int, hidden: int) -> nn.Module:
        return nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        out: Tensor = x + self.channels(self.norm2(x))
        return out


class Mixer(nn.Module):
    """Patch embedding, layers, mean over the patches, 10 classes."""

    def __init__(self, width: int = 48, layers: int = 2) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, width, 8, stride=8)
        self.layers = nn.Sequential(*(MixerLayer(16, width) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.layers(self.embed(x).flatten(2).transpose(1, 2))
        y: Tensor = self.head(self.norm(tokens).mean(dim=1))
        return y


@fork_rng()
def make() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The network, with seeded weights and in evaluation mode, and an example input."""
    torch.manual_seed(0)
    return Mixer().eval(), (torch.randn(1, 3, 32, 32),)
