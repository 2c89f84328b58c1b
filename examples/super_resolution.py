"""Super-resolution by sub-pixel convolution (ESPCN, Shi et al., 2016), factor 3."""

import torch
from torch import Tensor, nn
from torch.random import fork_rng


@fork_rng()
def make() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The network, with seeded weights, and a 24x24 luminance image."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(1, 24, 5, padding=2),
        nn.Tanh(),
        nn.Conv2d(24, 16, 3, padding=1),
        nn.Tanh(),
        nn.Conv2d(16, 9, 3, padding=1),
        nn.PixelShuffle(3),
    )
    return module.eval(), (torch.rand(1, 1, 24, 24),)
