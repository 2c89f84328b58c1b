"""ResNet-18 for 224x224 images and 1000 classes (He et al., 2015)."""

from itertools import pairwise

import numpy as np
import torch
from torch import nn


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(c_out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or c_in != c_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class ResNet18(nn.Module):
    """A 7x7 stem, four stages of two blocks, average pool, classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 64, 7, 2, 3, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, 1),
        )
        widths = [64, 64, 128, 256, 512]
        self.stages = nn.Sequential(
            *(
                nn.Sequential(Block(a, b, 1 if a == b else 2), Block(b, b, 1))
                for a, b in pairwise(widths)
            )
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(512, 1000)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.classifier(torch.flatten(self.pool(self.stages(self.stem(x))), 1))
        return y


def make() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    """The network, with seeded weights and in evaluation mode, and an example input."""
    torch.manual_seed(0)
    module = ResNet18()
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.7, 1.3)
            nn.init.normal_(layer.bias, std=0.2)
            layer.momentum = None  # statistics are the mean over all batches
    module.train()
    with torch.no_grad():
        module(torch.from_numpy(calibration(4, seed=1)["x"]))
    return module.eval(), (torch.zeros(1, 3, 224, 224),)


def calibration(n: int = 4, seed: int = 0) -> dict[str, np.ndarray]:
    """``n`` random inputs."""
    rng = np.random.default_rng(seed)
    return {"x": rng.standard_normal((n, 3, 224, 224)).astype(np.float32)}
