"""GPT-2 (Radford et al., 2019): a causal block, and a small network with tied embeddings."""

import torch
from torch import Tensor, nn
from torch.random import fork_rng


class Block(nn.Module):
    """Causal attention written by hand and a perceptron, normalised before."""

    future: Tensor

    def __init__(self, width: int, heads: int, context: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.register_buffer("future", torch.ones(context, context).triu(1).bool())

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        heads = self.qkv(self.norm1(x)).view(batch, tokens, 3, self.heads, -1)
        q, k, v = heads.permute(2, 0, 3, 1, 4).unbind(0)
        logits = q @ k.transpose(-2, -1) / (width // self.heads) ** 0.5
        logits = logits.masked_fill(self.future[:tokens, :tokens], float("-inf"))
        y = (torch.softmax(logits, dim=-1) @ v).transpose(1, 2).reshape(batch, tokens, width)
        x = x + self.out(y)
        y = nn.functional.gelu(self.up(self.norm2(x)), approximate="tanh")
        out: Tensor = x + self.down(y)
        return out


class GPT2(nn.Module):
    """Embeddings, blocks, and logits over the vocabulary through the tied token embedding."""

    def __init__(self, vocabulary: int, width: int, heads: int, layers: int, context: int) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        self.blocks = nn.Sequential(*(Block(width, heads, context) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.tokens(ids) + self.places.weight[: ids.shape[1]]
        out: Tensor = self.norm(self.blocks(x)) @ self.tokens.weight.T
        return out


@fork_rng()
def make_block() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """One block of width 64 on 32 positions, with seeded weights, and an example input."""
    torch.manual_seed(0)
    return Block(64, 4, 32).eval(), (torch.randn(1, 32, 64),)


@fork_rng()
def make() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Two blocks of width 64, vocabulary 128, with seeded weights, and 24 example tokens."""
    torch.manual_seed(0)
    module = GPT2(128, 64, 4, 2, 32)
    nn.init.normal_(module.tokens.weight, std=0.3)
    return module.eval(), (torch.randint(0, 128, (1, 24)),)


@fork_rng()
def small() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """GPT-2 small: 12 blocks of width 768, seeded weights, and 128 example tokens."""
    torch.manual_seed(0)
    return GPT2(50257, 768, 12, 12, 1024).eval(), (torch.randint(0, 50257, (1, 128)),)
