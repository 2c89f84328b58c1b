"""PointNet (Qi et al., 2017) with an input transform: the maximum over an unordered set."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.random import fork_rng


def shared(*widths: int) -> nn.Sequential:
    """A perceptron applied to each point."""
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        layers += [nn.Conv1d(a, b, 1), nn.BatchNorm1d(b), nn.ReLU()]
    return nn.Sequential(*layers)


class PointNet(nn.Module):
    """Points ``[batch, 3, points]`` to 10 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.align = shared(3, 16, 32)
        self.transform = nn.Linear(32, 9)
        self.points = shared(3, 32, 64)
        self.head = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))

    def forward(self, x: Tensor) -> Tensor:
        matrix = self.transform(self.align(x).amax(dim=2)).view(-1, 3, 3) + torch.eye(3)
        x = torch.bmm(x.transpose(1, 2), matrix).transpose(1, 2)
        y: Tensor = self.head(self.points(x).max(dim=2).values)
        return y


@fork_rng()
def make() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The network, with seeded weights and in evaluation mode, and 128 points."""
    torch.manual_seed(0)
    module = PointNet()
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm1d):
            nn.init.uniform_(layer.weight, 0.7, 1.3)
            nn.init.normal_(layer.bias, std=0.2)
    return module.eval(), (torch.randn(1, 3, 128),)
