"""Dense autoencoder for anomaly detection (MLPerf Tiny), 640-128-128-8-128-128-640."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.random import fork_rng


@fork_rng()
def make() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The network, with seeded weights and in evaluation mode, and an example input."""
    torch.manual_seed(0)
    widths = [640, 128, 128, 128, 8, 128, 128, 128, 640]
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        linear = nn.Linear(a, b)
        nn.init.kaiming_normal_(linear.weight)
        nn.init.normal_(linear.bias, std=0.1)
        layers += [linear, nn.BatchNorm1d(b), nn.ReLU()]
    return nn.Sequential(*layers[:-2]).eval(), (torch.randn(1, 640),)
