"""The networks of the benchmarks that are no example of their own: seeded, for 224x224 images
or 64 tokens, factories for `dataflow export`."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.random import fork_rng

from examples.gpt2 import GPT2


def conv(c_in: int, c_out: int, k: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Convolution and batch normalisation."""
    layer = nn.Conv2d(c_in, c_out, k, stride, k // 2, groups=groups, bias=False)
    return [layer, nn.BatchNorm2d(c_out)]


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 and a shortcut."""

    def __init__(self, c_in: int, middle: int, stride: int) -> None:
        super().__init__()
        c_out = 4 * middle
        self.body = nn.Sequential(
            *conv(c_in, middle, 1), nn.ReLU(), *conv(middle, middle, 3, stride), nn.ReLU(),
            *conv(middle, c_out, 1),
        )  # fmt: skip
        self.shortcut: nn.Module = nn.Identity()
        if c_in != c_out or stride > 1:
            self.shortcut = nn.Sequential(*conv(c_in, c_out, 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


class Inverted(nn.Module):
    """Expansion, depthwise convolution, projection, and a shortcut where shapes allow it."""

    def __init__(self, c_in: int, c_out: int, stride: int, factor: int) -> None:
        super().__init__()
        hidden = c_in * factor
        expand = [] if factor == 1 else [*conv(c_in, hidden, 1), nn.ReLU6()]
        self.body = nn.Sequential(
            *expand, *conv(hidden, hidden, 3, stride, hidden), nn.ReLU6(), *conv(hidden, c_out, 1)
        )
        self.same = stride == 1 and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return x + y if self.same else y


def _seeded(layers: list[nn.Module], width: int) -> tuple[nn.Module, tuple[Tensor, ...]]:
    tail = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 1000))
    module = nn.Sequential(*layers, *tail)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.0)
            nn.init.uniform_(layer.running_var, 0.5, 1.5)  # type: ignore[arg-type]
    return module.eval(), (torch.randn(1, 3, 224, 224),)


@fork_rng()
def resnet50() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """ResNet-50 (He et al., 2015), stride in the 3x3."""
    torch.manual_seed(0)
    layers = [*conv(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    width = 64
    for middle, count, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for i in range(count):
            layers.append(Bottleneck(width, middle, 1 if i else stride))
            width = 4 * middle
    return _seeded(layers, width)


@fork_rng()
def mobilenet_v2() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """MobileNetV2 (Sandler et al., 2018), width 1."""
    torch.manual_seed(0)
    layers = [*conv(3, 32, 3, 2), nn.ReLU6()]
    width = 32
    stages = (
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
        (6, 320, 1, 1),
    )  # fmt: skip
    for factor, c_out, count, stride in stages:
        for i in range(count):
            layers.append(Inverted(width, c_out, 1 if i else stride, factor))
            width = c_out
    return _seeded([*layers, *conv(320, 1280, 1), nn.ReLU6()], 1280)


@fork_rng()
def gpt2() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """GPT-2 of 124 million parameters, seeded, on 64 tokens."""
    torch.manual_seed(0)
    module = GPT2(50257, 768, 12, 12, 1024)
    return module.eval(), (torch.randint(0, 50257, (1, 64)),)
