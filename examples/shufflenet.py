"""ShuffleNet units (Zhang et al., 2018) for 32x32 images: grouped 1x1, channel shuffle."""

import torch
from torch import Tensor, nn
from torch.random import fork_rng


class Unit(nn.Module):
    """Grouped 1x1, shuffle, depthwise 3x3, grouped 1x1; a stride of 2 joins a pooled input."""

    def __init__(self, c_in: int, c_out: int, stride: int, groups: int = 4) -> None:
        super().__init__()
        self.stride = stride
        branch = c_out - c_in if stride == 2 else c_out
        hidden = c_out // 4
        self.reduce = nn.Conv2d(c_in, hidden, 1, groups=groups)
        self.shuffle = nn.ChannelShuffle(groups)
        self.depthwise = nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden)
        self.expand = nn.Conv2d(hidden, branch, 1, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        y = self.expand(self.depthwise(self.shuffle(torch.relu(self.reduce(x)))))
        if self.stride == 2:
            return torch.relu(torch.cat((nn.functional.avg_pool2d(x, 3, 2, 1), y), dim=1))
        return torch.relu(x + y)


@fork_rng()
def make() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The network, with seeded weights and in evaluation mode, and an example input."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        Unit(16, 48, 2),
        Unit(48, 48, 1),
        Unit(48, 96, 2),
        Unit(96, 96, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(96, 10),
    )
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
    return module.eval(), (torch.randn(1, 3, 32, 32),)
