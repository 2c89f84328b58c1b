"""Networks without batch statistics: GroupNorm (Wu and He, 2018), InstanceNorm (Ulyanov, 2016)."""

import torch
from torch import Tensor, nn
from torch.random import fork_rng


def _affine(module: nn.Module) -> nn.Module:
    for layer in module.modules():
        if isinstance(layer, nn.GroupNorm | nn.InstanceNorm2d):
            nn.init.uniform_(layer.weight, 0.7, 1.3)
            nn.init.normal_(layer.bias, std=0.3)
    return module.eval()


@fork_rng()
def make_group() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """A classifier with GroupNorm; seeded weights, and an example input."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False),
        nn.GroupNorm(4, 16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False),
        nn.GroupNorm(8, 32),
        nn.Mish(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
    )
    return _affine(module), (torch.randn(1, 3, 32, 32),)


@fork_rng()
def make_instance() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Style transfer: reflection padding, InstanceNorm, nearest upsampling; an example input."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.ReflectionPad2d(2),
        nn.Conv2d(3, 12, 5),
        nn.InstanceNorm2d(12, affine=True),
        nn.LeakyReLU(0.2),
        nn.Conv2d(12, 24, 3, stride=2, padding=1),
        nn.InstanceNorm2d(24, affine=True),
        nn.PReLU(24),
        nn.Upsample(scale_factor=2, mode="nearest"),
        nn.ReflectionPad2d(1),
        nn.Conv2d(24, 3, 3),
        nn.Tanh(),
    )
    return _affine(module), (torch.randn(1, 3, 24, 24),)
