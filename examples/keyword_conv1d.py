"""Keyword spotting on raw audio with 1-D convolutions (after the M5 of Dai et al., 2017)."""

import torch
from torch import Tensor, nn
from torch.random import fork_rng


def stage(c_in: int, c_out: int, k: int, stride: int) -> list[nn.Module]:
    """Convolution, batch normalisation, ReLU, pool."""
    conv = nn.Conv1d(c_in, c_out, k, stride, bias=False)
    return [conv, nn.BatchNorm1d(c_out), nn.ReLU(), nn.MaxPool1d(4)]


@fork_rng()
def make() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The network, with seeded weights and in evaluation mode, and 4000 samples of audio."""
    torch.manual_seed(0)
    module = nn.Sequential(
        *stage(1, 16, 80, 8),
        *stage(16, 16, 3, 1),
        *stage(16, 32, 3, 1),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(32, 12),
        nn.LogSoftmax(dim=1),
    )
    for layer in module.modules():
        if isinstance(layer, nn.Conv1d):
            nn.init.kaiming_normal_(layer.weight)
        if isinstance(layer, nn.BatchNorm1d):
            nn.init.uniform_(layer.weight, 0.7, 1.3)
            nn.init.normal_(layer.bias, std=0.2)
    return module.eval(), (torch.randn(1, 1, 4000),)
