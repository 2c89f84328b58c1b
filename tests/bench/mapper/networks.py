"""ResNet-50 (He et al., 2016), MobileNetV2 (Sandler et al., 2018) at 224 x 224, seeded weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.random import fork_rng

SPECS = {
    "bert": "examples/bert.py:make_base",
    "gpt2": "examples/gpt2.py:small",
    "resnet50": "tests/bench/mapper/networks.py:resnet50",
    "mobilenet_v2": "tests/bench/mapper/networks.py:mobilenet_v2",
}
"""What ``dataflow export`` makes of each network, from the root of the project."""

Made = tuple[nn.Module, tuple[Tensor, ...]]


def _conv(c_in: int, c_out: int, k: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    layer = nn.Conv2d(c_in, c_out, k, stride, k // 2, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(c_out))


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 beside a shortcut."""

    def __init__(self, c_in: int, width: int, stride: int) -> None:
        super().__init__()
        out = 4 * width
        self.body = nn.Sequential(
            _conv(c_in, width, 1),
            nn.ReLU(),
            _conv(width, width, 3, stride),
            nn.ReLU(),
            _conv(width, out, 1),
        )
        same = c_in == out and stride == 1
        self.shortcut = nn.Identity() if same else _conv(c_in, out, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


class Inverted(nn.Module):
    """Expansion, depthwise convolution, linear projection."""

    def __init__(self, c_in: int, c_out: int, stride: int, expand: int) -> None:
        super().__init__()
        hidden = c_in * expand
        first = [] if expand == 1 else [_conv(c_in, hidden, 1), nn.ReLU()]
        depthwise = _conv(hidden, hidden, 3, stride, hidden)
        self.body = nn.Sequential(*first, depthwise, nn.ReLU(), _conv(hidden, c_out, 1))
        self.same = stride == 1 and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return x + y if self.same else y


def _made(layers: list[nn.Module], width: int) -> Made:
    module = nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 1000)
    ).eval()
    return module, (torch.randn(1, 3, 224, 224),)


@fork_rng()
def resnet50() -> Made:
    """ResNet-50."""
    torch.manual_seed(0)
    layers: list[nn.Module] = [_conv(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    channels = 64
    for width, many, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for k in range(many):
            layers.append(Bottleneck(channels, width, 1 if k else stride))
            channels = 4 * width
    return _made(layers, channels)


@fork_rng()
def mobilenet_v2() -> Made:
    """MobileNetV2."""
    torch.manual_seed(0)
    layers: list[nn.Module] = [_conv(3, 32, 3, 2), nn.ReLU()]
    channels = 32
    for expand, out, many, stride in (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ):
        for k in range(many):
            layers.append(Inverted(channels, out, 1 if k else stride, expand))
            channels = out
    return _made([*layers, _conv(320, 1280, 1), nn.ReLU()], 1280)
