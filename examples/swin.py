"""Swin transformer blocks (Liu et al., 2021): windows, cyclic shift, relative position bias."""

import torch
from torch import Tensor, nn
from torch.random import fork_rng

SIZE, WINDOW, HEADS = 8, 4, 2


def split(x: Tensor) -> Tensor:
    """[1, H, W, C] to [windows, WINDOW * WINDOW, C]."""
    parts = SIZE // WINDOW
    x = x.view(-1, parts, WINDOW, parts, WINDOW, x.shape[-1]).permute(0, 1, 3, 2, 4, 5)
    return x.reshape(-1, WINDOW * WINDOW, x.shape[-1])


def join(x: Tensor) -> Tensor:
    """The inverse of :func:`split`."""
    parts = SIZE // WINDOW
    x = x.view(-1, parts, parts, WINDOW, WINDOW, x.shape[-1]).permute(0, 1, 3, 2, 4, 5)
    return x.reshape(-1, SIZE, SIZE, x.shape[-1])


def shift_mask(shift: int) -> Tensor:
    """[windows, tokens, tokens]: -100 where two tokens come from different image regions."""
    edges = torch.tensor([0] * (SIZE - WINDOW) + [1] * (WINDOW - shift) + [2] * shift)
    region = split((3 * edges[:, None] + edges[None, :]).view(1, SIZE, SIZE, 1).float())[..., 0]
    return torch.where(region[:, :, None] == region[:, None, :], 0.0, -100.0)


def relative_index() -> Tensor:
    """[tokens, tokens]: row of the bias table for each pair of positions in a window."""
    place = torch.stack(torch.meshgrid(*[torch.arange(WINDOW)] * 2, indexing="ij")).flatten(1)
    d = place[:, :, None] - place[:, None, :] + WINDOW - 1
    return d[0] * (2 * WINDOW - 1) + d[1]


class SwinBlock(nn.Module):
    """Attention within (shifted) windows, then a perceptron."""

    index: Tensor
    mask: Tensor

    def __init__(self, width: int, shift: int) -> None:
        super().__init__()
        self.shift = shift
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.table = nn.Parameter(torch.randn((2 * WINDOW - 1) ** 2, HEADS) * 0.5)
        self.register_buffer("index", relative_index())
        self.register_buffer("mask", shift_mask(shift))

    def attend(self, x: Tensor) -> Tensor:
        windows, tokens, width = x.shape
        q, k, v = self.qkv(x).view(windows, tokens, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        logits = q @ k.transpose(-2, -1) * (width // HEADS) ** -0.5
        logits = logits + self.table[self.index].permute(2, 0, 1)
        if self.shift:
            logits = logits + self.mask[:, None]
        y = torch.softmax(logits, dim=-1) @ v
        out: Tensor = self.out(y.transpose(1, 2).reshape(windows, tokens, width))
        return out

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        if self.shift:
            y = torch.roll(y, (-self.shift, -self.shift), dims=(1, 2))
        y = join(self.attend(split(y)))
        if self.shift:
            y = torch.roll(y, (self.shift, self.shift), dims=(1, 2))
        x = x + y
        out: Tensor = x + self.down(nn.functional.gelu(self.up(self.norm2(x))))
        return out


@fork_rng()
def make() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """A plain and a shifted block on 8x8 tokens of width 32, and an example input."""
    torch.manual_seed(0)
    module = nn.Sequential(SwinBlock(32, 0), SwinBlock(32, WINDOW // 2))
    return module.eval(), (torch.randn(1, SIZE, SIZE, 32),)
