"""Vision transformer (Dosovitskiy et al., 2021): 2 layers for 32x32 images, and ViT-Tiny."""

import torch
from torch import Tensor, nn
from torch.random import fork_rng


class Layer(nn.Module):
    """Attention and a perceptron, normalised before."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        heads = self.qkv(self.norm1(x)).view(batch, tokens, 3, self.heads, -1)
        q, k, v = heads.permute(2, 0, 3, 1, 4).unbind(0)
        y = torch.softmax(q @ k.transpose(-2, -1) / (width // self.heads) ** 0.5, dim=-1) @ v
        x = x + self.out(y.transpose(1, 2).reshape(batch, tokens, width))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class ViT(nn.Module):
    """Patch embedding, class token, positions, layers, classifier on the class token."""

    def __init__(
        self,
        width: int = 64,
        heads: int = 4,
        layers: int = 2,
        patch: int = 8,
        patches: int = 16,
        classes: int = 10,
    ) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, width, patch, stride=patch)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.positions = nn.Parameter(0.5 * torch.randn(1, patches + 1, width))
        self.layers = nn.Sequential(*(Layer(width, heads) for _ in range(layers)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        patches = self.embed(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.token.expand(x.shape[0], -1, -1), patches), dim=1) + self.positions
        y: Tensor = self.head(self.norm(self.layers(x)[:, 0]))
        return y


@fork_rng()
def make() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The network, with seeded weights and in evaluation mode, and an example input."""
    torch.manual_seed(0)
    return ViT().eval(), (torch.randn(1, 3, 32, 32),)


@fork_rng()
def make_tiny() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """ViT-Tiny: 12 layers of width 192, 3 heads, images of 224x224 in patches of 16."""
    torch.manual_seed(0)
    return ViT(192, 3, 12, 16, 14 * 14, 1000).eval(), (torch.randn(1, 3, 224, 224),)
