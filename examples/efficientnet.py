"""EfficientNet blocks (Tan and Le, 2019) for 32x32 images: MBConv, squeeze-excite, SiLU."""

import torch
from torch import Tensor, nn
from torch.random import fork_rng


def conv(c_in: int, c_out: int, k: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution and batch normalisation."""
    layer = nn.Conv2d(c_in, c_out, k, stride, k // 2, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(c_out))


class MBConv(nn.Module):
    """Expansion, depthwise convolution, squeeze-excite with a sigmoid, linear projection."""

    def __init__(self, c_in: int, c_out: int, k: int, stride: int) -> None:
        super().__init__()
        hidden = 4 * c_in
        self.same = stride == 1 and c_in == c_out
        self.expand = conv(c_in, hidden, 1)
        self.depthwise = conv(hidden, hidden, k, stride, hidden)
        self.reduce, self.excite = nn.Conv2d(hidden, c_in, 1), nn.Conv2d(c_in, hidden, 1)
        self.project = conv(hidden, c_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        silu = nn.functional.silu
        y = silu(self.depthwise(silu(self.expand(x))))
        s = self.excite(silu(self.reduce(y.mean(dim=(2, 3), keepdim=True))))
        y = self.project(y * torch.sigmoid(s))
        out: Tensor = x + y if self.same else y
        return out


@fork_rng()
def make() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The network, with seeded weights and in evaluation mode, and an example input."""
    torch.manual_seed(0)
    module = nn.Sequential(
        conv(3, 8, 3, 2),
        nn.SiLU(),
        MBConv(8, 16, 3, 1),
        MBConv(16, 16, 5, 1),
        MBConv(16, 24, 5, 2),
        MBConv(24, 24, 3, 1),
        conv(24, 64, 1),
        nn.SiLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.7, 1.3)
            nn.init.normal_(layer.bias, std=0.2)
    return module.eval(), (torch.randn(1, 3, 32, 32),)
