"""RetNet-like block (Sun et al., 2023): retention in its parallel form with decay by distance."""

import torch
from torch import Tensor, nn
from torch.random import fork_rng


class Retention(nn.Module):
    """(Q K^T * D) V with D[n, m] = gamma^(n-m) for m <= n, group norm per head, swish gate."""

    def __init__(self, width: int, heads: int, tokens: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.q, self.k, self.v = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.gate, self.out = (nn.Linear(width, width, bias=False) for _ in range(2))
        self.group = nn.GroupNorm(heads, width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        gamma = 1 - torch.exp2(-5.0 - torch.arange(heads))
        distance = torch.arange(tokens)[:, None] - torch.arange(tokens)[None, :]
        decay = gamma[:, None, None] ** distance.clamp(min=0) * (distance >= 0)
        self.register_buffer("decay", decay)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        y = self.norm1(x)
        q, k, v = (
            p(y).view(batch, tokens, self.heads, -1).transpose(1, 2)
            for p in (self.q, self.k, self.v)
        )
        kept = (q @ k.transpose(-2, -1) * (width // self.heads) ** -0.5 * self.decay) @ v
        kept = kept.transpose(1, 2).reshape(batch * tokens, width)
        kept = self.group(kept).view(batch, tokens, width)
        x = x + self.out(nn.functional.silu(self.gate(y)) * kept)
        out: Tensor = x + self.down(nn.functional.gelu(self.up(self.norm2(x))))
        return out


@fork_rng()
def make() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """A block of width 48 with 4 heads on 24 tokens, seeded weights, and an example input."""
    torch.manual_seed(0)
    return Retention(48, 4, 24).eval(), (torch.randn(1, 24, 48),)
