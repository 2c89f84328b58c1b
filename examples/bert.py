"""BERT (Devlin et al., 2019): one layer in two spellings; BERT-mini and BERT-base on 128 tokens."""

import torch
from torch import Tensor, nn
from torch.random import fork_rng


class Layer(nn.Module):
    """Self-attention and a perceptron, normalised after; ``sdpa`` chooses torch's fused call."""

    def __init__(self, width: int, heads: int, sdpa: bool) -> None:
        super().__init__()
        self.heads, self.sdpa = heads, sdpa
        self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-12), nn.LayerNorm(width, eps=1e-12)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        batch, tokens, width = x.shape
        q, k, v = (
            p(x).view(batch, tokens, self.heads, -1).transpose(1, 2)
            for p in (self.q, self.k, self.v)
        )
        if self.sdpa:
            y = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        else:
            logits = q @ k.transpose(-2, -1) / (width // self.heads) ** 0.5
            y = torch.softmax(logits if mask is None else logits + mask, dim=-1) @ v
        x = self.norm1(x + self.out(y.transpose(1, 2).reshape(batch, tokens, width)))
        z: Tensor = self.norm2(x + self.down(nn.functional.gelu(self.up(x))))
        return z


class Bert(nn.Module):
    """Token, position and segment embeddings, layers, pooled output.

    Inputs ``[batch, tokens]`` of int64: token ids, segments (0 or 1), attention mask (1 = read).
    """

    def __init__(self, vocabulary: int, width: int, heads: int, layers: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions, self.segments = nn.Embedding(512, width), nn.Embedding(2, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.layers = nn.ModuleList(Layer(width, heads, sdpa=True) for _ in range(layers))
        self.pooler = nn.Linear(width, width)

    def forward(self, ids: Tensor, segments: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        places = self.positions.weight[: ids.shape[1]]
        x = self.norm(self.tokens(ids) + self.segments(segments) + places)
        additive = (1.0 - mask[:, None, None, :].to(x.dtype)) * -1e4
        additive = additive.expand(-1, -1, ids.shape[1], -1)
        for layer in self.layers:
            x = layer(x, additive)
        return x, torch.tanh(self.pooler(x[:, 0]))


def _layer(sdpa: bool) -> tuple[nn.Module, tuple[Tensor, ...]]:
    torch.manual_seed(0)
    return Layer(64, 4, sdpa).eval(), (torch.randn(1, 32, 64),)


def _bert(*sizes: int, tokens: int) -> tuple[nn.Module, tuple[Tensor, ...]]:
    torch.manual_seed(0)
    module = Bert(*sizes)
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Embedding):
            # BERT's own 0.02, widened for narrow layers so that attention is not uniform
            nn.init.normal_(layer.weight, std=0.02 if sizes[1] >= 256 else 0.1)
    ids = torch.randint(0, sizes[0], (1, tokens))
    mask = (torch.arange(tokens) < tokens - tokens // 8).long()[None]
    return module.eval(), (ids, torch.zeros_like(ids), mask)


@fork_rng()
def make_layer() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """A layer of width 64 on 32 tokens, attention written by hand, and an example input."""
    return _layer(sdpa=False)


@fork_rng()
def make_sdpa() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The same layer with ``scaled_dot_product_attention``, and an example input."""
    return _layer(sdpa=True)


@fork_rng()
def make_tiny() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Embeddings, two masked layers of width 64, pooler, and example inputs of 16 tokens."""
    return _bert(100, 64, 4, 2, tokens=16)


@fork_rng()
def make_mini() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """BERT-mini: 4 layers of width 256, 4 heads, seeded weights; inputs of 128 tokens."""
    return _bert(30522, 256, 4, 4, tokens=128)


@fork_rng()
def make_base() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """BERT-base: 12 layers of width 768, 12 heads, seeded weights; inputs of 128 tokens."""
    return _bert(30522, 768, 12, 12, tokens=128)
