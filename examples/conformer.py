"""Conformer block (Gulati et al., 2020): attention and a gated depthwise convolution."""

import torch
from torch import Tensor, nn
from torch.random import fork_rng


class FeedForward(nn.Sequential):
    """Normalised perceptron with SiLU."""

    def __init__(self, width: int) -> None:
        up, down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        super().__init__(nn.LayerNorm(width), up, nn.SiLU(), down)


class Conformer(nn.Module):
    """Half a perceptron, attention, convolution, half a perceptron, norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.first, self.last = FeedForward(width), FeedForward(width)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.inward = nn.Conv1d(width, 2 * width, 1)
        self.depthwise = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.batch = nn.BatchNorm1d(width)
        self.outward = nn.Conv1d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = x + 0.5 * self.first(x)
        y = self.norm1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        y = nn.functional.glu(self.inward(self.norm2(x).transpose(1, 2)), dim=1)
        y = nn.functional.silu(self.batch(self.depthwise(y)))
        x = x + self.outward(y).transpose(1, 2)
        out: Tensor = self.norm3(x + 0.5 * self.last(x))
        return out


@fork_rng()
def make() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """A block of width 48 with 4 heads on 24 frames, seeded weights, and an example input."""
    torch.manual_seed(0)
    return Conformer(48, 4).eval(), (torch.randn(1, 24, 48),)
