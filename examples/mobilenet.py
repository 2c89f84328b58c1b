"""Small MobileNets for 64x64 images: V1 (Howard, 2017), V2 (Sandler, 2018), V3 (Howard, 2019)."""

import torch
from torch import Tensor, nn
from torch.random import fork_rng


def conv(c_in: int, c_out: int, k: int, stride: int, groups: int, act: nn.Module) -> nn.Module:
    """Convolution, batch normalisation, activation."""
    padding = k // 2
    layer = nn.Conv2d(c_in, c_out, k, stride, padding, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(c_out), act)


class SqueezeExcite(nn.Module):
    """A factor per channel, computed from the channel means (Hu et al., 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(channels // 4, 8)
        self.reduce, self.expand = nn.Conv2d(channels, hidden, 1), nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        s = torch.relu(self.reduce(nn.functional.adaptive_avg_pool2d(x, 1)))
        return x * nn.functional.hardsigmoid(self.expand(s))


class Inverted(nn.Module):
    """Expansion, depthwise convolution, optional squeeze-excite, linear projection."""

    def __init__(
        self, c_in: int, c_out: int, k: int, stride: int, act: type[nn.Module], squeeze: bool
    ) -> None:
        super().__init__()
        hidden = 3 * c_in
        self.same = stride == 1 and c_in == c_out
        self.body = nn.Sequential(
            conv(c_in, hidden, 1, 1, 1, act()),
            conv(hidden, hidden, k, stride, hidden, act()),
            SqueezeExcite(hidden) if squeeze else nn.Identity(),
            conv(hidden, c_out, 1, 1, 1, nn.Identity()),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return x + y if self.same else y


def _network(*layers: nn.Module, width: int) -> tuple[nn.Module, tuple[Tensor, ...]]:
    tail = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10))
    module = nn.Sequential(*layers, *tail)
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.7, 1.3)
            nn.init.normal_(layer.bias, std=0.2)
    return module.eval(), (torch.randn(1, 3, 64, 64),)


@fork_rng()
def make_v1() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Depthwise separable convolutions with ReLU6; seeded weights, and an example input."""
    torch.manual_seed(0)
    widths = [(8, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1)]
    layers: list[nn.Module] = [conv(3, 8, 3, 2, 1, nn.ReLU6())]
    for a, b, stride in widths:
        layers += [conv(a, a, 3, stride, a, nn.ReLU6()), conv(a, b, 1, 1, 1, nn.ReLU6())]
    return _network(*layers, width=64)


@fork_rng()
def make_v2() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Inverted residuals with linear bottlenecks; seeded weights, and an example input."""
    torch.manual_seed(0)
    stem = conv(3, 8, 3, 2, 1, nn.ReLU6())
    sizes = [(8, 16, 2), (16, 16, 1), (16, 24, 2), (24, 24, 1)]
    blocks = [Inverted(a, b, 3, stride, nn.ReLU6, False) for a, b, stride in sizes]
    return _network(stem, *blocks, conv(24, 64, 1, 1, 1, nn.ReLU6()), width=64)


@fork_rng()
def make_v3() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Squeeze-excite and hard swish; seeded weights, and an example input."""
    torch.manual_seed(0)
    blocks = [
        Inverted(8, 16, 3, 2, nn.ReLU, True),
        Inverted(16, 16, 3, 1, nn.ReLU, False),
        Inverted(16, 24, 5, 2, nn.Hardswish, True),
        Inverted(24, 24, 5, 1, nn.Hardswish, True),
    ]
    stem, last = conv(3, 8, 3, 2, 1, nn.Hardswish()), conv(24, 64, 1, 1, 1, nn.Hardswish())
    return _network(stem, *blocks, last, width=64)
