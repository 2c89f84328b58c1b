"""T5-like encoder and decoder (Raffel et al., 2020): cross attention, bucketed position bias."""

import torch
from torch import Tensor, nn
from torch.random import fork_rng


class Attention(nn.Module):
    """Unscaled attention of ``x`` to ``memory`` with an additive bias."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.out = (nn.Linear(width, width, bias=False) for _ in range(4))
        nn.init.normal_(self.q.weight, std=width**-0.5 * (width // heads) ** -0.5)

    def forward(self, x: Tensor, memory: Tensor, bias: Tensor | None) -> Tensor:
        q, k, v = (
            p(t).view(t.shape[0], t.shape[1], self.heads, -1).transpose(1, 2)
            for p, t in ((self.q, x), (self.k, memory), (self.v, memory))
        )
        logits = q @ k.transpose(-2, -1)
        y = torch.softmax(logits if bias is None else logits + bias, dim=-1) @ v
        out: Tensor = self.out(y.transpose(1, 2).reshape(x.shape))
        return out


class Layer(nn.Module):
    """Self-attention, optionally cross attention, gated perceptron; normalised before."""

    def __init__(self, width: int, heads: int, cross: bool) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.RMSNorm(width, eps=1e-6) for _ in range(3))
        self.attend = Attention(width, heads)
        self.cross = Attention(width, heads) if cross else None
        self.gate, self.up = (nn.Linear(width, 2 * width, bias=False) for _ in range(2))
        self.down = nn.Linear(2 * width, width, bias=False)

    def forward(self, x: Tensor, bias: Tensor, memory: Tensor | None = None) -> Tensor:
        y = self.norms[0](x)
        x = x + self.attend(y, y, bias)
        if self.cross is not None and memory is not None:
            x = x + self.cross(self.norms[1](x), memory, None)
        y = self.norms[2](x)
        y = nn.functional.gelu(self.gate(y), approximate="tanh") * self.up(y)
        out: Tensor = x + self.down(y)
        return out


class T5(nn.Module):
    """``source`` and ``target`` token ids ``[1, 16]`` and ``[1, 12]`` to decoder logits."""

    def __init__(self, vocabulary: int = 128, width: int = 48, heads: int = 4) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.bias = nn.Embedding(8, heads)
        self.encoder, self.decoder = Layer(width, heads, False), Layer(width, heads, True)
        self.norm1, self.norm2 = nn.RMSNorm(width, eps=1e-6), nn.RMSNorm(width, eps=1e-6)
        self.head = nn.Linear(width, vocabulary, bias=False)
        distance = torch.arange(16)[None, :] - torch.arange(16)[:, None]
        self.register_buffer("bucket", distance.abs().clamp(max=3) + 4 * (distance > 0))
        self.register_buffer("future", torch.full((16, 16), -1e4).triu(1))

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        bias = self.bias(self.bucket).permute(2, 0, 1)
        memory = self.norm1(self.encoder(self.embed(source), bias))
        n = target.shape[1]
        causal = (bias + self.future)[:, :n, :n]
        y: Tensor = self.head(self.norm2(self.decoder(self.embed(target), causal, memory)))
        return y


@fork_rng()
def make() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """An encoder and a decoder layer with seeded weights, and example token ids."""
    torch.manual_seed(0)
    return T5().eval(), (torch.randint(0, 128, (1, 16)), torch.randint(0, 128, (1, 12)))
