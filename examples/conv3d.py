"""A 3-D convolutional network for short clips (after C3D, Tran et al., 2015)."""

import torch
from torch import Tensor, nn
from torch.random import fork_rng


@fork_rng()
def make() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The network, with seeded weights, and a clip of 8 frames of 16x16."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv3d(3, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool3d((1, 2, 2)),
        nn.Conv3d(8, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool3d(2),
        nn.Conv3d(16, 16, (3, 1, 1), padding=(1, 0, 0), groups=4),
        nn.ReLU(),
        nn.AvgPool3d(2),
        nn.Flatten(),
        nn.Linear(128, 10),
    )
    for layer in module.modules():
        if isinstance(layer, nn.Conv3d):
            nn.init.kaiming_normal_(layer.weight)
    return module.eval(), (torch.randn(1, 3, 8, 16, 16),)
