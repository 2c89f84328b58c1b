"""ConvNeXt (Liu et al., 2022), two stages of two blocks, for 32x32 images."""

import torch
from torch import Tensor, nn
from torch.random import fork_rng


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of an NCHW tensor."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Block(nn.Module):
    """Depthwise 7x7, normalisation, a perceptron in channels-last order, layer scale."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.scale = nn.Parameter(torch.empty(width).uniform_(0.1, 1.0))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.scale * self.down(nn.functional.gelu(self.up(y)))
        out: Tensor = x + y.permute(0, 3, 1, 2)
        return out


class ConvNeXt(nn.Module):
    """Patch stem, two stages with a downsampling between, pooled classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 24, 4, stride=4),
            ChannelNorm(24),
            Block(24),
            Block(24),
            ChannelNorm(24),
            nn.Conv2d(24, 48, 2, stride=2),
            Block(48),
            Block(48),
        )
        self.norm = nn.LayerNorm(48)
        self.head = nn.Linear(48, 10)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.norm(self.body(x).mean(dim=(2, 3))))
        return y


@fork_rng()
def make_block() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """One block of 32 channels on 14x14, with seeded weights, and an example input."""
    torch.manual_seed(0)
    return Block(32).eval(), (torch.randn(1, 32, 14, 14),)


@fork_rng()
def make() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The network, with seeded weights and in evaluation mode, and an example input."""
    torch.manual_seed(0)
    return ConvNeXt().eval(), (torch.randn(1, 3, 32, 32),)
