"""Llama (Touvron et al., 2023): RMSNorm, rotary positions, grouped queries, SwiGLU."""

import torch
from torch import Tensor, nn
from torch.random import fork_rng


def rotary(tokens: int, width: int, base: float = 10000.0) -> tuple[Tensor, Tensor]:
    """Cosines and sines ``[tokens, width]`` (Su et al., 2021), halves repeated."""
    frequency = base ** (-torch.arange(0, width, 2) / width)
    angle = torch.outer(torch.arange(tokens).float(), frequency)
    angle = torch.cat((angle, angle), dim=-1)
    return angle.cos(), angle.sin()


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Turns each pair (k, k + width/2) by its angle."""
    a, b = x.chunk(2, dim=-1)
    return x * cosine + torch.cat((-b, a), dim=-1) * sine


class Block(nn.Module):
    """Causal grouped-query attention and SwiGLU, each after RMSNorm, each with a residual."""

    cosine: Tensor
    sine: Tensor

    def __init__(self, width: int, heads: int, groups: int, tokens: int) -> None:
        super().__init__()
        self.heads, self.groups, self.size = heads, groups, width // heads
        self.norm1, self.norm2 = nn.RMSNorm(width, eps=1e-5), nn.RMSNorm(width, eps=1e-5)
        self.q = nn.Linear(width, width, bias=False)
        self.k, self.v = (nn.Linear(width, groups * self.size, bias=False) for _ in range(2))
        self.out = nn.Linear(width, width, bias=False)
        self.gate, self.up = (nn.Linear(width, 2 * width, bias=False) for _ in range(2))
        self.down = nn.Linear(2 * width, width, bias=False)
        cosine, sine = rotary(tokens, self.size)
        self.register_buffer("cosine", cosine)
        self.register_buffer("sine", sine)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        y = self.norm1(x)
        q = self.q(y).view(batch, tokens, self.heads, self.size).transpose(1, 2)
        k = self.k(y).view(batch, tokens, self.groups, self.size).transpose(1, 2)
        v = self.v(y).view(batch, tokens, self.groups, self.size).transpose(1, 2)
        q, k = (rotate(t, self.cosine, self.sine) for t in (q, k))
        y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        x = x + self.out(y.transpose(1, 2).reshape(batch, tokens, width))
        y = self.norm2(x)
        out: Tensor = x + self.down(nn.functional.silu(self.gate(y)) * self.up(y))
        return out


class Llama(nn.Module):
    """Embedding, blocks, norm, logits."""

    def __init__(self, vocabulary: int, width: int, layers: int, tokens: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.blocks = nn.Sequential(*(Block(width, 4, 2, tokens) for _ in range(layers)))
        self.norm = nn.RMSNorm(width, eps=1e-5)
        self.head = nn.Linear(width, vocabulary, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        y: Tensor = self.head(self.norm(self.blocks(self.embed(ids))))
        return y


@fork_rng()
def make_block() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """A block of width 64, 4 query and 2 key heads, 16 positions, and an example input."""
    torch.manual_seed(0)
    return Block(64, 4, 2, 16).eval(), (torch.randn(1, 16, 64),)


@fork_rng()
def make() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Two blocks of width 64, vocabulary 128, with seeded weights, and 16 example tokens."""
    torch.manual_seed(0)
    return Llama(128, 64, 2, 16).eval(), (torch.randint(0, 128, (1, 16)),)
