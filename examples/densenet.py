"""DenseNet (Huang et al., 2017) for 32x32 images: two dense blocks of growth 8."""

import torch
from torch import Tensor, nn
from torch.random import fork_rng


class DenseLayer(nn.Module):
    """Normalisation before activation; the result is joined to the input."""

    def __init__(self, c_in: int, growth: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(c_in)
        self.conv = nn.Conv2d(c_in, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((x, self.conv(torch.relu(self.norm(x)))), dim=1)


def block(c_in: int, layers: int, growth: int) -> list[nn.Module]:
    """Layers that each see the outputs of all before them."""
    return [DenseLayer(c_in + k * growth, growth) for k in range(layers)]


@fork_rng()
def make() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The network, with seeded weights and in evaluation mode, and an example input."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False),
        *block(16, 3, 8),
        nn.BatchNorm2d(40),
        nn.ReLU(),
        nn.Conv2d(40, 20, 1, bias=False),
        nn.AvgPool2d(2),
        *block(20, 3, 8),
        nn.BatchNorm2d(44),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(44, 10),
    )
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.7, 1.3)
            nn.init.normal_(layer.bias, std=0.2)
    return module.eval(), (torch.randn(1, 3, 32, 32),)
