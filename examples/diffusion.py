"""Diffusion U-Net block (Ho et al., 2020): time embedding, residual GroupNorm blocks, attention."""

import math

import torch
from torch import Tensor, nn
from torch.random import fork_rng


def time_embedding(t: Tensor, width: int) -> Tensor:
    """Sines and cosines ``[batch, width]`` of the step numbers ``[batch]``."""
    rate = torch.exp(-math.log(10000.0) / (width // 2) * torch.arange(width // 2))
    angle = t.to(torch.float32)[:, None] * rate[None, :]
    return torch.cat((angle.sin(), angle.cos()), dim=1)


class Residual(nn.Module):
    """GroupNorm, SiLU, convolution, twice; the time enters as a bias for each channel."""

    def __init__(self, c_in: int, c_out: int, time: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(4, c_in), nn.GroupNorm(4, c_out)
        self.conv1 = nn.Conv2d(c_in, c_out, 3, padding=1)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1)
        self.time = nn.Linear(time, c_out)
        self.skip = nn.Identity() if c_in == c_out else nn.Conv2d(c_in, c_out, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        silu = nn.functional.silu
        y = self.conv1(silu(self.norm1(x))) + self.time(silu(time))[:, :, None, None]
        out: Tensor = self.conv2(silu(self.norm2(y))) + self.skip(x)
        return out


class Attention(nn.Module):
    """Self-attention over the positions of an image."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(4, width)
        self.qkv, self.out = nn.Conv2d(width, 3 * width, 1), nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm(x)).flatten(2).transpose(1, 2).chunk(3, dim=-1)
        y = nn.functional.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])
        out: Tensor = x + self.out(y[:, 0].transpose(1, 2).reshape(x.shape))
        return out


class Diffusion(nn.Module):
    """Image ``x`` ``[batch, 3, 16, 16]`` and step ``t`` ``[batch]`` (int64) to the noise."""

    def __init__(self) -> None:
        super().__init__()
        self.time = nn.Sequential(nn.Linear(32, 64), nn.SiLU(), nn.Linear(64, 64))
        self.inward, self.down = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 16, 3, 2, 1)
        self.first, self.middle = Residual(16, 16, 64), Residual(16, 32, 64)
        self.attention = Attention(32)
        self.up, self.last = nn.Conv2d(32, 16, 3, padding=1), Residual(32, 16, 64)
        self.norm, self.out = nn.GroupNorm(4, 16), nn.Conv2d(16, 3, 3, padding=1)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        time = self.time(time_embedding(t, 32))
        a = self.first(self.inward(x), time)
        b = self.attention(self.middle(self.down(a), time))
        b = self.up(nn.functional.interpolate(b, scale_factor=2.0, mode="nearest"))
        y = self.last(torch.cat((a, b), dim=1), time)
        out: Tensor = self.out(nn.functional.silu(self.norm(y)))
        return out


@fork_rng()
def make() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The network, with seeded weights, and an example image at step 37."""
    torch.manual_seed(0)
    return Diffusion().eval(), (torch.randn(1, 3, 16, 16), torch.tensor([37]))
