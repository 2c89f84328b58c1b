"""Fourier neural operator layer (Li et al., 2021) with matrices in place of the FFT."""

import math

import torch
from torch import Tensor, nn
from torch.random import fork_rng


class SpectralLayer(nn.Module):
    """Mixes channels of the lowest ``modes`` frequencies along the last axis."""

    def __init__(self, channels: int, points: int, modes: int) -> None:
        super().__init__()
        angle = 2 * math.pi / points * torch.outer(torch.arange(modes), torch.arange(points))
        self.register_buffer("cosine", angle.cos() / math.sqrt(points))
        self.register_buffer("sine", angle.sin() / math.sqrt(points))
        scale = channels**-0.5
        self.real = nn.Parameter(scale * torch.randn(channels, channels, modes))
        self.imaginary = nn.Parameter(scale * torch.randn(channels, channels, modes))
        self.local = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        re = torch.einsum("bcn,kn->bck", x, self.cosine)
        im = -torch.einsum("bcn,kn->bck", x, self.sine)
        mixed = "bck,cdk->bdk"
        out_re = torch.einsum(mixed, re, self.real) - torch.einsum(mixed, im, self.imaginary)
        out_im = torch.einsum(mixed, re, self.imaginary) + torch.einsum(mixed, im, self.real)
        y = torch.einsum("bdk,kn->bdn", out_re, self.cosine)
        y = y - torch.einsum("bdk,kn->bdn", out_im, self.sine)
        return nn.functional.gelu(y + self.local(x))


@fork_rng()
def make() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Lifting, two layers on 64 points with 12 modes, projection; an example input."""
    torch.manual_seed(0)
    layers = (SpectralLayer(16, 64, 12), SpectralLayer(16, 64, 12))
    module = nn.Sequential(nn.Conv1d(2, 16, 1), *layers, nn.Conv1d(16, 1, 1))
    return module.eval(), (torch.randn(1, 2, 64),)
